"""What a module imports, read from its code: statements, relative ones too, and calls that import by name.

Belongs here: finding it. Does not belong here: who may import what (`graph/test_layers.py`, `graph/test_boundary.py`).
"""

import ast
from collections.abc import Iterator

from gesture_assets_tests.package_source import walk

BY_NAME = ("import_module", "__import__")


def imported(tree: ast.AST, package: str = "") -> Iterator[str]:
    """What is imported anywhere in `tree`, in functions and under TYPE_CHECKING too, as `package.module.name`.

    `package` is the package of the module, from which relative imports start. A call that imports by a name that is put
    together gives what stands before the first gap; see `hidden`.
    """
    for node in walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, (_above(package, node.level), node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif name := _named(node):
            relative = name.lstrip(".")
            yield ".".join(filter(None, (_above(package, len(name) - len(relative)), relative)))


def hidden(tree: ast.AST, *, ours: str) -> list[str]:
    """Imports by name that cannot be read: the name is computed, or of a module of `ours` with a gap in it.

    So is the function that imports when it is given another name or handed on.
    """
    calls = [node for node in walk(tree) if isinstance(node, ast.Call) and _imports(node.func)]
    read = {id(call.func) for call in calls}
    found = [ast.unparse(call) for call in calls if _is_computed(call, ours)]
    for node in walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and _imports(node) and id(node) not in read:
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom):
            found += [
                f"{alias.name} as {alias.asname}" for alias in node.names if alias.name in BY_NAME and alias.asname
            ]
    return found


def _above(package: str, level: int) -> str:
    """The package that `level` dots stand for in `package`; nothing without dots."""
    parts = package.split(".")
    return ".".join(parts[: len(parts) - level + 1]) if level else ""


def _imports(function: ast.expr) -> bool:
    return getattr(function, "attr", getattr(function, "id", "")) in BY_NAME


def _named(node: ast.AST) -> str:
    """The constant beginning of what a call imports by name; nothing of any other node."""
    if not (isinstance(node, ast.Call) and _imports(node.func) and node.args):
        return ""
    name = node.args[0]
    if isinstance(name, ast.JoinedStr) and name.values:
        name = name.values[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""


def _is_computed(call: ast.Call, ours: str) -> bool:
    if call.args and isinstance(call.args[0], ast.Constant):
        return False
    package, dot, _ = _named(call).partition(".")
    return not dot or package in ("", ours)
