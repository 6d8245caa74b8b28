"""SQL is written and run in the rooms whose work it is; wherever else it stands today is named, with the reason.

Both count: a call that runs a statement, and a text that begins like one.
"""

import ast
import re

import pytest

from gesture_assets_tests.package_source import TREES, walk

# What they are there for. Beside them each domain's tables, whose expectations are queries over a staged batch.
ROOMS = ("warehouse", "contracts", "sources", "publication")
ELSEWHERE = {
    "cli/console.py": "completes users and days from the published file while a command is typed, and reads its rules",
    "cli/judge.py": "asks the published file for the newest day that rules scored",
    "cli/layout.py": "exports what a query over the published file gives",
    "cli/left_out.py": "asks the published file what landed and is in no score",
    "cli/look.py": "answers questions from the published file",
    "cli/models.py": "asks the published file for its newest day",
    "cli/monitoring.py": "asks the published file whether a user was scored",
    "cli/rankers.py": "lists the trainings, and asks the published file for the newest whole day of lists",
    "cli/recs.py": "answers questions from the published file",
    "cli/screen.py": "shows what a run has published",
    "cli/unheard.py": "asks the published file what the rules that scored give no points for",
    "compat/dagster_event_log.py": "writes the rows of Dagster's own log",
    "compat/dagster_storage.py": "sets a pragma of Dagster's own SQLite",
    "demo/files.py": "writes a CRM database as a shop has one",
    "nights/alerts.py": "masks a message by the expression that masks columns",
    "nights/night.py": "hands the days of the night to the engine as rows",
    "nights/publishing.py": "shows the published file's health on the run page",
    "records/activations.py": "owns the table of activations",
    "records/alert_log.py": "owns the log of alerts",
    "records/audit_log.py": "owns the audit log",
    "records/quarantine.py": "asks the quarantine, and owns the table of replays",
    "reports/model_report.py": "asks the published file what a page shows",
    "reports/night_report.py": "asks the published file what a page shows",
    "reports/page.py": "runs the questions of the pages",
}
RUNS = ("sql", "execute", "executemany")
STATEMENT = re.compile(
    r"\s*(select|insert\s+into|update\s+\S+\s+set|delete\s+from|copy\s*\(|with\s+(recursive\s+)?\w+\s+as\s*\(|"
    r"(create|alter|drop)\s+(or\s+replace\s+)?(temp\s+)?(table|view|schema|macro|sequence)|attach|detach|describe|pragma)\b",
    re.I,
)


def sql_in(tree: ast.AST) -> list[str]:
    """Calls in `tree` that run SQL, and texts that begin like a statement; no docstrings."""
    said = {
        id(node.body[0].value)
        for node in walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in walk(tree):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
        if is_call or (is_text and STATEMENT.match(node.value)):  # pyright: ignore
            found.append(ast.unparse(node))
    return found


def is_named(module: str) -> bool:
    """Whether `module` is of a room that SQL belongs to, or has a domain's tables."""
    room, _, name = module.partition("/")
    return room in ROOMS or name == "tables.py"


def test_sql_stands_where_it_belongs_or_where_a_reason_is_given() -> None:
    found = {module: sql for module, tree in TREES.items() if not is_named(module) and (sql := sql_in(tree))}
    assert {module: sql for module, sql in found.items() if module not in ELSEWHERE} == {}
    assert set(ELSEWHERE) <= set(found), "a module without SQL any more is taken off the list"


def test_what_dagster_loads_has_no_sql() -> None:
    assert {module for module in ELSEWHERE if module.startswith("defs")} == set()
    assert {module: sql for module, tree in TREES.items() if module.startswith("defs") and (sql := sql_in(tree))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "connection.sql(question)",
        "session.connection.execute(f'truncate {table}')",
        "con.executemany(statement, rows)",
        "QUESTION = 'select 1'",
        "q = f'SELECT * FROM {table}'",
        "q = '''\n  with days as (select 1) from days'''",
        "q = 'insert into t values (1)'",
        "q = 'create or replace table t as from s'",
        "q = 'delete from t'",
    ],
)
def test_sql_is_found(code: str) -> None:
    assert sql_in(ast.parse(f"def f():\n    {code}"))


@pytest.mark.parametrize(
    "code",
    [
        "'''Select what to build.'''",
        "def f():\n    '''select nothing'''",
        "frame.select('user_id')",
        "x = 'selection'",
        "y = 'updated the table'",
    ],
)
def test_what_is_no_sql_passes(code: str) -> None:
    assert not sql_in(ast.parse(code))
