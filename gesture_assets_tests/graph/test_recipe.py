"""The recipe for a table (`CONTRIBUTING.md`), followed on a copy of the code: five files, and everything has it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CONTRACT = """
BUSY_HOURS = Contract(
    name="busy_hours",
    grain="One row per hour in which somebody did something.",
    description="How many events fell into each hour of the day (UTC).",
    group="events",
    owner=DATA_ENGINEERING,
    upstream=("raw_events",),
    key=("hour_of_day",),
    columns=(
        Column(PARTITION, "DATE", "The day at whose end this was known."),
        Column("hour_of_day", "SMALLINT", "Hour of the day (UTC), 0 to 23."),
        Column("event_count", "BIGINT", "Events in it.", unit="count"),
    ),
    expectations=(
        between("hours_lie_between_0_and_23", "hour_of_day", 0, 23, recovery="mend events/busy_hours.py"),
    ),
)
"""
FUNCTION = '''"""Busy hours: events by the hour of the day.

Belongs here: counting them. Does not belong here: anything else.
"""

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame


def busy_hours(events: Frame) -> Frame:
    """One row per day and hour with events, of rows of `raw_events`."""
    hour = nw.col("event_at").dt.hour().cast(nw.Int16).alias("hour_of_day")
    return events.select(PARTITION, hour).group_by(PARTITION, "hour_of_day").agg(event_count=nw.len().cast(nw.Int64))
'''
STEP = '''

def busy_hours(night: Night, days: Days) -> Built:
    """Count events by the hour of the day."""
    return Built({BUSY_HOURS: count_hours(night.read_window(RAW_EVENTS))})


STEPS = (*STEPS, Step("busy_hours", busy_hours, (BUSY_HOURS,)))
'''
UNIT = '''"""Busy hours, counted by hand."""

from datetime import date, datetime

import polars as pl

from gesture_assets.events.busy_hours import busy_hours
from gesture_assets_tests.events_by_hand import collected, lazy

DAY = date(2026, 3, 2)


def test_events_are_counted_by_the_hour_they_fell_into() -> None:
    moments = [datetime(2026, 3, 2, 9, 0), datetime(2026, 3, 2, 9, 59), datetime(2026, 3, 2, 10, 0)]
    events = pl.DataFrame({"as_of_date": [DAY] * 3, "event_at": moments})
    assert sorted(collected(busy_hours(lazy(events))).rows()) == [(DAY, 9, 2), (DAY, 10, 1)]
'''
USE = """
from datetime import date, datetime
from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.definitions import build_definitions
from gesture_assets.nights.runner import run_night
from gesture_assets.settings import load_settings
import dagster as dg

settings = load_settings()
assert catalogue().ancestors("busy_hours") == ("raw_events",)
graph = build_definitions(settings).resolve_asset_graph()
assert dg.AssetKey("busy_hours") in graph.get_all_asset_keys()
checks = {key.name for key in graph.asset_check_keys if key.asset_key == dg.AssetKey("busy_hours")}
assert {"hours_lie_between_0_and_23", "each_key_occurs_once"} <= checks
assert dg.AssetKey("busy_hours") in graph.get(dg.AssetKey("published_warehouse")).parent_keys
run_night(settings, [date(2026, 3, 5)], now=datetime(2026, 3, 6, 2), tables={"busy_hours"}).raise_failure()
"""


def insert(path: Path, *edits: tuple[str, str]) -> None:
    """Write each second text after the first occurrence of the text before it; at the end where that is empty."""
    text = path.read_text(encoding="utf-8")
    for after, new in edits:
        head, found, rest = text.partition(after) if after else (text, "", "")
        assert found == after
        text = head + found + new + rest
    path.write_text(text, encoding="utf-8")


# What the recipe says is written by hand, and what its commands write.
BY_HAND = {
    "gesture_assets/events/tables.py",
    "gesture_assets/events/busy_hours.py",
    "gesture_assets/nights/events.py",
    "gesture_assets_tests/gates/events.py",
    "gesture_assets_tests/unit/events/test_busy_hours.py",
}
GENERATED = {"gesture_assets/publication/published_schema.json", "docs/schema_changelog.md", "README.md"}


def recipe() -> str:
    """What `CONTRIBUTING.md` says of adding a table."""
    found = re.search(
        r"^\*\*A table\*\*.*?(?=^\*\*)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert found
    return found[0]


def copy_of_the_tree(target: Path) -> Path:
    """Copy what the tests of the graph read: code, documents, and how they are run."""
    for name in ("gesture_assets", "gesture_assets_tests", "docs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, target)
    return target


def write_busy_hours(tree: Path) -> None:
    """Follow the recipe by hand: contract, function, step, faults, unit test."""
    package, tests = tree / "gesture_assets", tree / "gesture_assets_tests"
    insert(package / "events" / "tables.py", ("", CONTRACT + "TABLES = (*TABLES, BUSY_HOURS)\n"))
    (package / "events" / "busy_hours.py").write_text(FUNCTION, encoding="utf-8")
    insert(
        package / "nights" / "events.py",
        ("from gesture_assets.events import accept, roll_up, sessionise\n", _imports()),
        ("", STEP),
    )
    insert(
        tests / "gates" / "events.py",
        (
            "",
            'GOOD["busy_hours"] = [{"hour_of_day": hour, "event_count": 10} for hour in (9, 10)]\n'
            'FAULTS["busy_hours"] = {"hours_lie_between_0_and_23": first_row("hour_of_day = 24")}\n',
        ),
    )
    (tests / "unit" / "events" / "test_busy_hours.py").write_text(UNIT, encoding="utf-8")


@pytest.mark.slow
def test_a_table_is_added_in_five_files_and_what_commands_write(tmp_path: Path) -> None:
    from gesture_assets_tests.worlds import copy_world

    tree, said = copy_of_the_tree(tmp_path / "tree"), recipe()
    data_dir = copy_world("small", tmp_path / "data")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GESTURE_", "DAGSTER_"))}
    environment |= {"GESTURE_PSEUDONYM_KEY": "a key for tests only", "PYTHONPATH": str(tree)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(*arguments: str, **more: str) -> None:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tree, env=environment | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    write_busy_hours(tree)
    assert changed(tree) == BY_HAND
    commands = [shlex.split(command) for command in re.findall(r"`python (-m [^`]+)`", said)]
    assert len(commands) == 2
    for command in commands:
        run("-W", "ignore", *command)
    assert changed(tree) == BY_HAND | GENERATED
    assert {name for name in GENERATED if name.endswith(".json")} <= {
        f"gesture_assets/{path}" for path in _ticked(said)
    }
    run("-W", "ignore", "-c", USE, GESTURE_DATA_DIR=str(data_dir))
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(
        *tests,
        "-m",
        "not slow and not proof",
        "gesture_assets_tests/graph",
        "gesture_assets_tests/unit/events/test_busy_hours.py",
    )
    run(*tests, "gesture_assets_tests/gates", "-k", "busy_hours or for_every")


def changed(tree: Path) -> set[str]:
    """The files of the copy `tree` that are new or not as they were."""
    files = {path for path in tree.rglob("*") if path.is_file() and ".pytest_cache" not in path.parts}
    return {path.relative_to(tree).as_posix() for path in files if _is_new(path, tree)}


def _ticked(text: str) -> set[str]:
    return set(re.findall(r"`([\w/.]+)`", text))


def _imports() -> str:
    return (
        "from gesture_assets.events.busy_hours import busy_hours as count_hours\n"
        "from gesture_assets.events.tables import BUSY_HOURS\n"
    )


def _is_new(path: Path, copied: Path) -> bool:
    original = ROOT / path.relative_to(copied)
    return not original.exists() or original.read_bytes() != path.read_bytes()
