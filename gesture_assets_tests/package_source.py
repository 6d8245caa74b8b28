"""The package's own code as syntax trees, parsed once for all tests that read it.

Belongs here: reading the files. Does not belong here: what a test looks for in them.
"""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "gesture_assets"
TREES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


@cache
def walk(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of `tree`, as `ast.walk` gives them; gathered once."""
    return tuple(ast.walk(tree))


def dotted(node: ast.AST) -> str:
    """`os.environ` as it is written; empty where anything but names stands in it."""
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return base and f"{base}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
