"""Dagster's own storage under the data folder.

Belongs here: the folder, its dagster.yaml, how its SQLite files are written. Does not belong here: what Dagster runs
(`definitions.py`). `prepare` is called before Dagster is imported, for it reads DAGSTER_HOME then.
"""

import fcntl
import functools
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gesture_assets.settings import Settings

# The warehouse has one writer, and runs wait for it step by step. Two may be under way, one of them a backfill: so the
# nightly starts beside a backfill of weeks, which lets it pass between any two steps. The schedule's priority brings it
# to the head of the queue. The lines of our own logger (who waits for whom) belong on the run page.
DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
    tag_concurrency_limits:
      - key: dagster/backfill
        limit: 1
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
python_logs:
  managed_python_loggers: [gesture_assets]
  python_log_level: INFO
"""

HELD = 8  # Dagster has three files, and one for each run

# The same location as workspace.yaml in the checkout, for an installed package that has no checkout beside it.
WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: gesture_assets.definitions
      location_name: gesture_assets
"""


def prepare(settings: Settings) -> Path:
    """Create the folder and its configuration where there are none, and name it in DAGSTER_HOME unless one is named."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).resolve()
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(DAGSTER_YAML, encoding="utf-8")
    (home / "workspace.yaml").write_text(WORKSPACE_YAML, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    return home


def _one_a_file(create_engine: Callable[..., Any]) -> Callable[..., Any]:
    """`create_engine`, asked once for each of the latest `HELD` addresses."""
    kept: dict[str, Any] = {}

    @functools.wraps(create_engine)
    def found_or_made(address: str, **options: Any) -> Any:
        engine = kept.pop(address, None) or create_engine(address, **options)
        while len(kept) >= HELD:
            kept.pop(next(iter(kept)))
        kept[address] = engine
        return engine

    return found_or_made


@contextmanager
def opened_alone() -> Iterator[None]:
    """One process at a time: two that make the tables of Dagster's storage at once break them."""
    with (Path(os.environ["DAGSTER_HOME"]) / "opening.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_without_waiting() -> None:
    """Let SQLite hand Dagster's log to the system without waiting for the disk at every entry.

    A night writes some 600 log entries, each through a connection of its own, and a WAL file is flushed whenever the
    last connection to it closes: that costs more than a small night's work. So one connection to each of Dagster's
    files stays open. A crash of ours loses nothing this way, and a power cut at most the last entries.

    Dagster also makes a SQLAlchemy engine for every connection, which learns the dialect and compiles each statement
    anew: a quarter of a small night. One that is kept makes the same connections.
    """
    import sqlalchemy
    from sqlalchemy import Engine, event

    # Whichever modules of Dagster make engines: were they to change, a night would be slower again and no more.
    for name, module in tuple(sys.modules.items()):
        if name.startswith("dagster.") and vars(module).get("create_engine") is sqlalchemy.create_engine:
            vars(module)["create_engine"] = _one_a_file(sqlalchemy.create_engine)
    held: dict[str, sqlite3.Connection] = {}

    @event.listens_for(Engine, "connect")
    def relax(connection: object, _record: object) -> None:
        home = os.environ.get("DAGSTER_HOME")
        if not isinstance(connection, sqlite3.Connection) or not home:
            return
        connection.execute("pragma synchronous = normal")
        path = next((row[2] for row in connection.execute("pragma database_list") if row[1] == "main"), "")
        if (
            not path.startswith(home)
            or path in held
            or connection.execute("pragma journal_mode").fetchone() != ("wal",)
        ):
            return
        while len(held) >= HELD:
            held.pop(next(iter(held))).close()
        held[path] = sqlite3.connect(path, check_same_thread=False)
        held[path].execute("select count(*) from sqlite_master").fetchone()  # opens the file
