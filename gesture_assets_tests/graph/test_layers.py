"""Who may stand on whom: every import goes to the same room or to a lower layer, and no circle runs inside a room."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "gesture_assets"
# From the ground up; rooms of one layer do not know each other.
LAYERS = (
    ("errors", "frames"),
    ("vocabulary",),
    ("settings",),
    ("contracts",),
    ("compat",),
    ("warehouse",),
    ("events",),
    ("subscribers",),
    ("features",),
    ("rules",),
    ("models",),
    ("monitoring",),
    ("sources",),
    ("demo",),
    ("records",),
    ("publication",),
    ("reports",),
    ("nights",),
    ("defs",),
    ("definitions",),
    ("cli",),
)
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
DOMAINS = ("events", "subscribers", "features", "rules", "models", "monitoring")
NOT_PURE = ("gesture_assets.warehouse", "dagster", "duckdb", "os.environ", "os.getenv")
MODULES = {
    ".".join(("gesture_assets", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """What is imported anywhere in `tree`, in functions and under TYPE_CHECKING too, as `package.module.name`.

    `contracts/catalogue.py` finds the domains by name, which is no import statement: nothing below it knows one.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(module: str) -> str:
    """The room of `gesture_assets.room.module.name`; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def upward(module: str, tree: ast.AST) -> list[str]:
    """Imports of `module` that go to another room which is not on a lower layer."""
    room = room_of(module)
    ours = [name for name in imported(tree) if name.startswith("gesture_assets.") and room_of(name) != room]
    return [name for name in ours if HEIGHT[room_of(name)] >= HEIGHT[room]]


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, if there is one."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_room_has_its_layer() -> None:
    assert {room_of(module) for module in MODULES} - {""} == set(HEIGHT)


def test_every_import_goes_down() -> None:
    assert {
        module: names for module, tree in TREES.items() if room_of(module) and (names := upward(module, tree))
    } == {}


@pytest.mark.parametrize("code", ["from gesture_assets.rules.scorer import rank", "import gesture_assets.rules.lint"])
def test_an_import_that_goes_up_is_found_wherever_it_is(code: str) -> None:
    for wrapped in (code, f"def f():\n  {code}", f"if TYPE_CHECKING:\n  {code}"):
        assert upward("gesture_assets.features.outliers", ast.parse(wrapped))
        assert not upward("gesture_assets.models.labels", ast.parse(wrapped))
        assert not upward("gesture_assets.rules.tables", ast.parse(wrapped))


@pytest.mark.parametrize("room", sorted(HEIGHT))
def test_no_circle_runs_inside_a_room(room: str) -> None:
    modules = [module for module in MODULES if room_of(module) == room]
    named = {
        module: {*(names := list(imported(TREES[module]))), *(n.rpartition(".")[0] for n in names)}
        for module in modules
    }
    assert circle({module: names & set(modules) - {module} for module, names in named.items()}) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


def impure(tree: ast.AST) -> list[str]:
    """What `tree` imports or names that no pure function needs; `test_boundary.py` has the clock and more."""
    names = [*imported(tree), *(ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))]
    return [name for name in names if f"{name}.".startswith(tuple(f"{forbidden}." for forbidden in NOT_PURE))]


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in DOMAINS])
def test_a_domain_knows_neither_warehouse_nor_dagster_nor_engine_nor_environment(module: str) -> None:
    assert impure(TREES[module]) == []


@pytest.mark.parametrize(
    "code",
    [
        "from gesture_assets.warehouse.warehouse import Session",
        "import dagster as dg",
        "import duckdb",
        "os.environ['A']",
        "from os import getenv",
    ],
)
def test_what_is_not_pure_is_found(code: str) -> None:
    assert impure(ast.parse(f"def f():\n  {code}"))
    assert not impure(ast.parse("import os\nos.getpid()\nfrom gesture_assets.frames import Frame"))
