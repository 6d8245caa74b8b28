"""The boundaries between the rooms, proved by reading the code: who knows Dagster, the environment, the clock.

Each rule is also shown to find what it looks for, in a few lines planted for it.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gesture_assets_tests.conftest import PURE
from gesture_assets_tests.imports import imported
from gesture_assets_tests.package_source import TREES, dotted, walk

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {"great_expectations", "xgboost", "mlflow", "pandas"}
CLOCKS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "datetime.datetime.now",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "pendulum.now",
    "uuid.uuid1",
}
SQL_CLOCK = re.compile(r"\b(current_(date|timestamp|time)|now\(\)|get_current_timestamp|localtimestamp)", re.I)


def imports(tree: ast.AST) -> set[str]:
    """Top-level packages that are imported anywhere in `tree`."""
    return {name.partition(".")[0] for name in imported(tree, "gesture_assets.room")}


def at_module_level(node: ast.AST) -> Iterator[ast.stmt]:
    """Statements that run on import: not those of functions, nor of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from at_module_level(child)


def imports_on_load(tree: ast.AST) -> set[str]:
    """Top-level packages that come in as soon as the module is imported."""
    return {
        name
        for statement in at_module_level(tree)
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in imports(statement)
    }


def reads_environment(tree: ast.AST) -> bool:
    """Whether `os.environ`, `os.getenv` or `environ` from os is used."""
    for node in walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node) in ("os.environ", "os.environb", "os.getenv"):
            return True
        is_of_os = isinstance(node, ast.ImportFrom) and node.module == "os"
        if is_of_os and {alias.name for alias in node.names} & {"environ", "getenv"}:  # pyright: ignore
            return True
    return False


def calls_a_clock(tree: ast.AST) -> set[str]:
    """Calls that ask what time it is, in Python or in SQL."""
    found = set()
    for node in walk(tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func)) in CLOCKS:
            found.add(name)
    docstrings = {
        id(node.body[0].value)
        for node in walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if is_text and (match := SQL_CLOCK.search(node.value)):  # pyright: ignore
            found.add(match.group(0))
    return found


def tracked_files() -> list[Path]:
    """What git holds or would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


# Written in pieces, so that this file does not hold what it looks for.
PLACES = re.compile(
    "|".join(
        [
            "(?<![\\w.])/" + "work/",
            "/" + "tmp/v\\b",
            "(?<![\\w.])/" + "root\\b",
            "(?<![\\w.])/" + "home/\\w+",
            "https?://[^\\s\"')]*(?:" + "py" + "pi|artifac" + "tory|nex" + "us|/simp" + "le\\b|regis" + "try)",
            "(?:extra-)?index" + "-url",
        ]
    ),
    re.I,
)


def test_only_defs_definitions_and_the_command_line_know_dagster() -> None:
    found = {name for name, tree in TREES.items() if any(package.startswith("dagster") for package in imports(tree))}
    others = {"definitions.py", "cli/run.py", "compat/dagster_event_log.py"}  # Dagster loads the log by its name
    assert {name for name in found if not name.startswith("defs/")} == others


@pytest.mark.parametrize(
    "code", ["import dagster", "def f():\n  from dagster import asset", "import dagster_dbt", "__import__('dagster')"]
)
def test_an_import_of_dagster_is_found_wherever_it_is(code: str) -> None:
    assert any(package.startswith("dagster") for package in imports(ast.parse(code)))


def test_the_environment_is_read_by_the_settings_only() -> None:
    found = {name for name, tree in TREES.items() if reads_environment(tree)}
    # cli/dagster_home.py sets DAGSTER_HOME for Dagster, compat/ knows Dagster's files by it; `gesture config show` says
    # which values come from the environment.
    compat = {"compat/dagster_storage.py", "compat/dagster_event_log.py"}
    assert found == {"settings.py", "cli/dagster_home.py", "cli/judge.py", *compat}


def test_the_command_line_asks_the_environment_only_where_a_value_comes_from() -> None:
    readers = {
        function.name
        for function in walk(TREES["cli/judge.py"])
        if isinstance(function, ast.FunctionDef) and reads_environment(function)
    }
    assert readers == {"_setting"}


@pytest.mark.parametrize("code", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ"])
def test_a_look_at_the_environment_is_found(code: str) -> None:
    assert reads_environment(ast.parse(code))
    assert not reads_environment(ast.parse("import os\nos.getpid()"))


def test_only_the_command_line_and_schedules_call_a_clock() -> None:
    found = {name: clocks for name, tree in TREES.items() if (clocks := calls_a_clock(tree))}
    assert found == {"cli/console.py": {"datetime.now"}}


def test_waiting_and_scoring_are_measured_and_nothing_else() -> None:
    modules = {name for name, tree in TREES.items() if "time" in imports(tree)}
    assert modules <= {"warehouse/lock.py", "nights/model_scores.py"}


@pytest.mark.parametrize(
    "code",
    ["datetime.now(UTC)", "date.today()", "time.time()", "sql('select current_date')", "q = f'select now() from {t}'"],
)
def test_a_clock_is_found_in_python_and_in_sql(code: str) -> None:
    assert calls_a_clock(ast.parse(code))
    assert not calls_a_clock(ast.parse("time.monotonic(); con.sql('select now from t')"))


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    found = {name: heavy for name, tree in TREES.items() if (heavy := imports_on_load(tree) & HEAVY)}
    # Classes that are derived from a library's have a module of their own, which is imported where they are used.
    assert found == {"warehouse/suites.py": {"great_expectations"}}
    on_load = (ast.unparse(statement) for tree in TREES.values() for statement in at_module_level(tree))
    assert [statement for statement in on_load if "gesture_assets.warehouse.suites" in statement] == []


def test_a_heavy_import_is_found_at_module_level_only() -> None:
    assert imports_on_load(ast.parse("try:\n  import pandas\nexcept ImportError: pass")) == {"pandas"}
    assert imports_on_load(ast.parse("class A:\n  import pandas")) == {"pandas"}
    assert not imports_on_load(ast.parse("def f():\n  import pandas\nif TYPE_CHECKING:\n  import mlflow"))


def test_no_private_part_of_dagster_is_used() -> None:
    private = {
        name
        for name, tree in TREES.items()
        for node in walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dagster._")
    }
    assert private == {"compat/dagster_event_log.py"}, (
        "a storage is what Dagster lets one replace, and has no public name"
    )


def test_every_module_says_what_belongs_in_it() -> None:
    silent = {
        name
        for name, tree in TREES.items()
        if not name.endswith("__init__.py")
        and name != "definitions.py"
        and "Belongs here" not in (ast.get_docstring(tree) or "")
    }
    assert silent == set()


def test_every_room_has_a_docstring() -> None:
    rooms = {name for name in TREES if name.endswith("__init__.py")}
    assert {name for name in rooms if not ast.get_docstring(TREES[name])} == set()


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = {}
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        if match := PLACES.search(text):
            found[path.relative_to(ROOT).as_posix()] = match.group(0)
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["/" + "work/main", "see /" + "tmp/v/bin", "cd /" + "root", "https://py" + "pi.example/x", "--index" + "-url x"],
)
def test_a_path_of_one_machine_is_found(text: str) -> None:
    assert PLACES.search(text)
    assert not PLACES.search("src/work/notes, ./root.txt, https://example.org/docs")


def test_the_makefile_asks_the_coverage_of_the_rooms_whose_tests_are_followed() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\nPURE := {' '.join(PURE)}\n" in makefile
