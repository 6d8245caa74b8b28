"""Who may stand on whom: every import goes to the same room or to a lower layer, and no circle runs inside a room."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import pytest

from gesture_assets_tests.imports import hidden, imported
from gesture_assets_tests.package_source import TREES as BY_PATH
from gesture_assets_tests.package_source import dotted, walk

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
    ("pings",),
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
DOMAINS = ("events", "subscribers", "features", "rules", "models", "pings", "monitoring")
NOT_PURE = (
    "gesture_assets.warehouse",
    "dagster",
    "duckdb",
    "mlflow",
    "sqlite3",
    "sqlalchemy",
    "os.environ",
    "os.getenv",
    # The network; `urllib.parse` only takes texts apart.
    "urllib.request",
    "urllib.error",
    "urllib3",
    "http",
    "socket",
    "ssl",
    "smtplib",
    "ftplib",
    "requests",
    "httpx",
    "aiohttp",
    # Other programs, and files beyond a folder that is given.
    "subprocess",
    "shutil",
    "tempfile",
    "fcntl",
)
# By name: a domain stands on the contracts, so the catalogue that collects the domains' tables cannot import one.
COLLECTS = "gesture_assets.contracts.catalogue"
MODULES = {
    ".".join(("gesture_assets", *PurePosixPath(path).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in BY_PATH
}
TREES = {module: BY_PATH[path] for module, path in MODULES.items()}


def package_of(module: str) -> str:
    """The package that relative imports of `module` start from."""
    path = MODULES.get(module)
    return module if path and path.endswith("__init__.py") else module.rpartition(".")[0]


def imported_by(module: str, tree: ast.AST | None = None) -> list[str]:
    """What `module`, or `tree` in its place, imports; the catalogue's collecting aside."""
    names = imported(tree or TREES[module], package_of(module))
    return [name for name in names if not (module == COLLECTS and name == "gesture_assets.")]


def room_of(module: str) -> str:
    """The room of `gesture_assets.room.module.name`; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def upward(module: str, tree: ast.AST) -> list[str]:
    """Imports of `module` that go to another room which is not on a lower layer."""
    room = room_of(module)
    names = imported_by(module, tree)
    ours = [name for name in names if name.startswith("gesture_assets.") and room_of(name) != room]
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


@pytest.mark.parametrize(
    "code",
    [
        "from gesture_assets.rules.scorer import rank",
        "import gesture_assets.rules.lint",
        "from gesture_assets import rules",
        "from ..rules.scorer import rank",
        "from ..rules import scorer",
        "from .. import rules",
        "import_module('gesture_assets.rules.tables')",
        "importlib.import_module('..rules.tables', __package__)",
        "__import__('gesture_assets.rules')",
    ],
)
def test_an_import_that_goes_up_is_found_wherever_it_is(code: str) -> None:
    for wrapped in (code, f"def f():\n  {code}", f"if TYPE_CHECKING:\n  {code}"):
        assert upward("gesture_assets.features.outliers", ast.parse(wrapped))
        assert not upward("gesture_assets.models.labels", ast.parse(wrapped))
        assert not upward("gesture_assets.rules.tables", ast.parse(wrapped))


def test_only_the_catalogue_imports_what_cannot_be_read() -> None:
    found = {module for module, tree in TREES.items() if hidden(tree, ours="gesture_assets")}
    assert found == {COLLECTS, "gesture_assets.compat.lean_imports"}  # the latter those of libraries, by the name given


@pytest.mark.parametrize(
    "code",
    [
        "import_module(name)",
        "import_module(f'gesture_assets.{room}.tables')",
        "import_module(f'{package}.tables')",
        "import_module(f'..{room}', __package__)",
        "__import__('gesture_assets.' + room)",
        "importlib.import_module(name=name)",
        "load = import_module",
        "map(importlib.import_module, names)",
        "from importlib import import_module as load",
    ],
)
def test_an_import_that_cannot_be_read_is_found(code: str) -> None:
    assert hidden(ast.parse(f"def f():\n  {code}"), ours="gesture_assets")


@pytest.mark.parametrize("code", ["import_module('gesture_assets.cli')", "import_module(f'scipy.{module}')"])
def test_an_import_by_name_that_can_be_read_passes(code: str) -> None:
    assert not hidden(ast.parse(f"from importlib import import_module\n{code}"), ours="gesture_assets")


@pytest.mark.parametrize("room", sorted(HEIGHT))
def test_no_circle_runs_inside_a_room(room: str) -> None:
    modules = [module for module in MODULES if room_of(module) == room]
    named = {module: {*(names := imported_by(module)), *(n.rpartition(".")[0] for n in names)} for module in modules}
    assert circle({module: names & set(modules) - {module} for module, names in named.items()}) == []


def test_a_circle_is_found() -> None:
    beside = imported_by("gesture_assets.models.labels", ast.parse("from . import splits\nfrom .splits import cut"))
    assert beside == ["gesture_assets.models.splits", "gesture_assets.models.splits.cut"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


def impure(tree: ast.AST) -> list[str]:
    """What `tree` imports or names that no pure function needs; `test_boundary.py` has the clock and more."""
    names = [*imported(tree), *filter(None, map(dotted, walk(tree)))]
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
        "import urllib.request",
        "from urllib import request",
        "import http.client",
        "from socket import socket",
        "import requests",
        "import sqlite3",
        "import subprocess",
        "import tempfile",
        "if TYPE_CHECKING:\n    from mlflow import MlflowClient",
        "__import__('mlflow')",
        "import_module(f'mlflow.{flavour}')",
    ],
)
def test_what_is_not_pure_is_found(code: str) -> None:
    assert impure(ast.parse(f"def f():\n  {code}"))
    pure = "import os\nos.getpid()\nfrom gesture_assets.frames import Frame\nfrom urllib.parse import quote"
    assert not impure(ast.parse(pure))
