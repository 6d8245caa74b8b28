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


def _kept(create_engine: Callable[..., Any]) -> Callable[..., Any]:
    """`create_engine` that keeps what Dagster would throw away: the latest `HELD` engines and their connections."""
    from sqlalchemy import NullPool, QueuePool

    kept: dict[str, Any] = {}

    def without_connections() -> None:  # SQLite's are not for two processes
        for engine in kept.values():
            type(engine).dispose(engine, close=False)

    os.register_at_fork(after_in_child=without_connections)

    @functools.wraps(create_engine)
    def found_or_made(address: str, **options: Any) -> Any:
        if options.get("poolclass") is not NullPool:
            return create_engine(address, **options)
        engine = kept.pop(address, None)
        if engine is None:
            engine = create_engine(address, **options | {"poolclass": QueuePool})
            engine.dispose = lambda: None  # asked for after every use
        while len(kept) >= HELD:
            oldest = kept.pop(next(iter(kept)))
            type(oldest).dispose(oldest)
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

    A night writes more than a thousand log entries, and Dagster makes a SQLAlchemy engine and a connection for each: it
    learns the dialect and compiles every statement anew, and a WAL file is flushed whenever its last connection closes.
    That costs more than a small night's work, so engines and connections are kept. A crash of ours loses nothing this
    way, and a power cut at most the last entries.
    """
    import sqlalchemy
    from sqlalchemy import Engine, event

    # Whichever modules of Dagster make engines: were they to change, a night would be slower again and no more.
    create_engine = _kept(sqlalchemy.create_engine)
    for name, module in tuple(sys.modules.items()):
        if name.startswith("dagster.") and vars(module).get("create_engine") is sqlalchemy.create_engine:
            vars(module)["create_engine"] = create_engine

    @event.listens_for(Engine, "connect")
    def relax(connection: object, _record: object) -> None:
        home = os.environ.get("DAGSTER_HOME")
        if not isinstance(connection, sqlite3.Connection) or not home:
            return
        if any(row[2].startswith(home) for row in connection.execute("pragma database_list") if row[1] == "main"):
            connection.execute("pragma synchronous = normal")
