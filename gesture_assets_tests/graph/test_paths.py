"""A back-ticked path in a docstring, a comment or a document leads to a file or folder that is there."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, TESTS, DOCS = ROOT / "gesture_assets", ROOT / "gesture_assets_tests", ROOT / "docs"
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *PACKAGE.rglob("*.py"),
        *TESTS.rglob("*.py"),
        *DOCS.rglob("*.md"),
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
    )
)
# Of the data folder, which every deployment has for itself, however much of the path is written.
DEPLOYED = ("data", "landing", "published")
TICKED = re.compile(r"`(\w[\w.*/-]*)`")
IS_FILE = re.compile(r"\.(py|toml|sql|md|yaml)$")


def prose(path: Path) -> Iterator[str]:
    """Docstrings and comments of Python, the comments of a Makefile, all of a document."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (docstring := ast.get_docstring(node)):
                yield docstring
        if not re.search("#.*`", text):
            return
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        yield from (token.string for token in tokens if token.type == tokenize.COMMENT)
    elif path.suffix == ".md":
        yield text
    else:
        yield from re.findall("#.*", text)


def bases(path: Path) -> tuple[Path, ...]:
    """Where a path that `path` names may begin: beside it, in the package or the tests, at the root, in docs/."""
    return (path.parent, PACKAGE, TESTS, ROOT, DOCS)


def is_path(name: str, path: Path) -> bool:
    """Whether `name` means a file or folder: `rules/lint.py`, `rules/`, `rules/sets/*.toml`, but no alert's key."""
    first, is_nested, _ = name.partition("/")
    if first in DEPLOYED:
        return False
    begins_in_tree = bool(is_nested) and any((base / first).is_dir() for base in bases(path))
    return begins_in_tree or name.endswith("/") or bool(IS_FILE.search(name))


def lost(path: Path, text: str) -> list[str]:
    """Paths in `text`, as `path` says them, that lead nowhere."""
    named = [name for name in TICKED.findall(text) if is_path(name, path)]
    return [name for name in named if not any(any(base.glob(name.rstrip("/"))) for base in bases(path))]


@pytest.mark.parametrize("name", FILES)
def test_every_path_leads_somewhere(name: str) -> None:
    assert [missing for text in prose(ROOT / name) for missing in lost(ROOT / name, text)] == []


@pytest.mark.parametrize(
    "path", ["rules/nonesuch.py", "nonesuch/", "views.nothing.sql", "rules/sets/*.yaml", "gone.md"]
)
def test_a_path_that_leads_nowhere_is_found(path: str) -> None:
    assert lost(PACKAGE / "rules" / "lint.py", f"Not here (`{path}`).") == [path]


@pytest.mark.parametrize(
    "path", ["rules/lint.py", "scorer.py", "rules/", "sets/*.toml", "data/rules/", "model/unavailable", "README.md"]
)
def test_a_path_that_leads_somewhere_passes(path: str) -> None:
    assert lost(PACKAGE / "rules" / "lint.py", f"Here: `{path}`, `data/rules/<name>.toml`.") == []
