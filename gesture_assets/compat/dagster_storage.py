"""Dagster's log in SQL, written without waiting for the disk at every entry.

Why: a night writes more than a thousand log entries. Dagster makes a SQLAlchemy engine without a pool and a connection
for each: it learns the dialect and compiles every statement anew, and a WAL file is flushed whenever its last
connection closes. That costs more than a small night's work. Versions: dagster 1.13, and every one before it. Upstream:
none is open; Dagster recommends PostgreSQL for load. Goes: when the SQLite storage keeps its engines.

And the days of a range get what their checks found: Dagster notes for each check and day of it that the check is
planned, and lets a check result stand for no day of a range, so the plans would stay for ever. Telling it an evaluation
a day works and costs 1.4 ms each, half a minute for 60 nights. Goes: when `AssetCheckResult` takes partitions.

And a check that stands behind a failure was never asked: Dagster keeps its plan, and shows a plan of a run that has
ended as a check that failed. Goes: when Dagster tells checks that were not reached from those that crashed.

Belongs here: the patch. Does not belong here: where the storage is (`cli/dagster_home.py`).
"""

import atexit
import functools
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from gesture_assets.compat.dagster_packing import replaced

HELD = 8  # Dagster has three files, and one for each run


def write_without_waiting() -> None:
    """Let SQLite hand Dagster's log to the system and go on, and keep Dagster's engines and their connections.

    A crash of ours loses nothing this way, and a power cut at most the last entries. Nothing of Dagster's is imported:
    the first connection to a file below DAGSTER_HOME finds the modules that make engines, whenever they came in.
    """
    from sqlalchemy import Engine, event

    event.listen(Engine, "connect", _relax)


def _relax(connection: object, _record: object) -> None:
    home = os.environ.get("DAGSTER_HOME")
    if not isinstance(connection, sqlite3.Connection) or not home:
        return
    if any(row[2].startswith(home) for row in connection.execute("pragma database_list") if row[1] == "main"):
        connection.execute("pragma synchronous = normal")
        _keep_engines()


def _keep_engines() -> None:
    """Give Dagster's modules another `create_engine`: were they to change, a night would be slower and no more."""
    import sqlalchemy

    for name, module in tuple(sys.modules.items()):
        if name.startswith("dagster.") and vars(module).get("create_engine") is sqlalchemy.create_engine:
            vars(module)["create_engine"] = _create_engine()


@functools.cache
def _create_engine() -> Callable[..., Any]:
    """SQLAlchemy's function, but of engines without a pool the latest `HELD` are kept, with their connections."""
    from sqlalchemy import NullPool, QueuePool, create_engine

    engines: dict[str, Any] = {}

    def leave_connections() -> None:  # SQLite's are not for two processes
        for engine in engines.values():
            type(engine).dispose(engine, close=False)

    def close_connections() -> None:  # or what was written last stays beside its file for good
        for engine in engines.values():
            type(engine).dispose(engine)

    os.register_at_fork(after_in_child=leave_connections)
    atexit.register(close_connections)

    @functools.wraps(create_engine)
    def kept_or_new(address: str, **options: Any) -> Any:
        if options.get("poolclass") is not NullPool:
            return create_engine(address, **options)
        engine: Any = engines.pop(address, None)
        if engine is None:
            engine = create_engine(address, **options | {"poolclass": QueuePool})
            engine.dispose = lambda close=True: None  # asked for after every use
        while len(engines) >= HELD:
            oldest = engines.pop(next(iter(engines)))
            type(oldest).dispose(oldest)
        engines[address] = engine
        return engine

    return kept_or_new


COPY = """update asset_check_executions set
(execution_status, evaluation_event, evaluation_event_timestamp, evaluation_event_storage_id) = (
    select told.execution_status, replace(told.evaluation_event, :told, :day), told.evaluation_event_timestamp,
        told.evaluation_event_storage_id
    from asset_check_executions told
    where told.run_id = :run_id and told.asset_key = :asset_key and told.check_name = :check_name
        and told.partition = :told)
where run_id = :run_id and asset_key = :asset_key and check_name = :check_name and partition = :day"""


FORGET = "delete from asset_check_executions where run_id = :run_id and execution_status = 'PLANNED'"


def forget_plans(instance: Any, run_id: str) -> None:
    """Let no check be planned any more in a run that has ended: it has the colour that it had before."""
    _execute(instance, FORGET, [{"run_id": run_id}])


def copy_evaluations(instance: Any, run_id: str, evaluations: Sequence[tuple[Any, Sequence[date]]]) -> None:
    """Let each stored `AssetCheckEvaluation` of the run stand for further days, which Dagster has as planned.

    A storage without an SQL index keeps them as planned: what a check found is then seen at the day it was told for.
    """
    copies = [
        {
            "run_id": run_id,
            "asset_key": evaluation.asset_key.to_string(),
            "check_name": evaluation.check_name,
            "told": evaluation.partition,
            "day": str(day),
        }
        for evaluation, days in evaluations
        for day in days
    ]
    _execute(instance, COPY, copies)


def _execute(instance: Any, statement: str, values: Sequence[dict[str, str]]) -> None:
    """Run `statement` for each of `values`, together, where the storage of `instance` has an SQL index."""
    import sqlalchemy

    storage = instance.event_log_storage
    if values and hasattr(storage, "index_connection"):
        with storage.index_connection() as connection:  # in a transaction of its own
            driver = connection.connection.driver_connection
            if isinstance(driver, sqlite3.Connection):
                driver.create_function("replace", 3, replaced, deterministic=True)
            connection.execute(sqlalchemy.text(statement), values)
