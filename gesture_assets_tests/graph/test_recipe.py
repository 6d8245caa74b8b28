"""The recipe for a table (`CONTRIBUTING.md`), followed on a copy of the code: five files, and everything has it."""

import os
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
USE = """
import json, sys
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


@pytest.mark.slow
def test_a_table_is_added_in_five_files(tmp_path: Path) -> None:
    from gesture_assets_tests.worlds import copy_world

    for name in ("gesture_assets", "gesture_assets_tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package, tests = tmp_path / "gesture_assets", tmp_path / "gesture_assets_tests"
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
    changed = [*package.rglob("*.py"), *tests.rglob("*.py")]
    touched = [path for path in changed if _is_new(path, tmp_path)]
    assert len(touched) + 1 <= 5  # and a unit test of the function
    data_dir = copy_world("small", tmp_path / "data")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GESTURE_", "DAGSTER_"))}
    environment |= {
        "GESTURE_DATA_DIR": str(data_dir),
        "GESTURE_PSEUDONYM_KEY": "a key for tests only",
        "PYTHONPATH": str(tmp_path),
    }
    for command in (
        ["-W", "ignore", "-c", USE],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "gesture_assets_tests/gates", "-k", "busy_hours or for_every"],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _imports() -> str:
    return (
        "from gesture_assets.events.busy_hours import busy_hours as count_hours\n"
        "from gesture_assets.events.tables import BUSY_HOURS\n"
    )


def _is_new(path: Path, copied: Path) -> bool:
    original = ROOT / path.relative_to(copied)
    return not original.exists() or original.read_bytes() != path.read_bytes()
