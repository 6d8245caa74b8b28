"""Dagster's event log in SQLite, in which what a step tells in one breath is written in one transaction.

Why: a night has 350 checks, and Dagster tells each in three events: planned, evaluated, its output. It writes every one
by itself, in up to four statements and transactions, two or three times in full, and what is said of a range once for
each of its days. That is more work than a small night, and most of what Dagster keeps. Versions: dagster 1.13.
Upstream: `store_event_batch` is there, but SQLite's storage does not batch, and evaluations are not told in batches.
Goes: when both are so.

Dagster's own configuration names this class (`cli/dagster_home.py`). A home that names another storage works, slower.

Belongs here: the storage. Does not belong here: where its files are, what is told (`defs/events.py`).
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData

from gesture_assets.compat.dagster_packing import pack, unpack

PLANNED, EVALUATED = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION
MATERIALIZED = DagsterEventType.ASSET_MATERIALIZATION
ASSETS = (MATERIALIZED, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
# Told many at a time, and followed at once by one that is not: a step's start or end, a run's.
HELD = {PLANNED, EVALUATED, *ASSETS, DagsterEventType.STEP_OUTPUT}

LONG = {"sql", "days", "dagster/column_lineage"}  # of a materialisation's metadata

EVALUATE = Checks.update().where(
    Checks.c.run_id == sqlalchemy.bindparam("of_run"),
    Checks.c.asset_key == sqlalchemy.bindparam("of_asset"),
    Checks.c.check_name == sqlalchemy.bindparam("of_check"),
    Checks.c.partition.is_not_distinct_from(sqlalchemy.bindparam("of_partition")),
)


class Packed(sqlalchemy.types.TypeDecorator[str]):
    """A text that may have been packed when it was written."""

    impl = sqlalchemy.Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: object) -> str | None:
        """The text."""
        return unpack(value)


class StepwiseEventLog(SqliteEventLogStorage):
    """Dagster's storage at its default place, whose events are held until the next that is no part of many.

    Whoever asks this storage has them written first; another process sees them with what follows. A process that is
    killed in between loses what one step told of itself after its work was done.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._held: list[EventLogEntry] = []
        self._holding = threading.RLock()
        # Whoever reads these columns in this process, of whichever storage, is given texts.
        Events.c.event.type = Checks.c.evaluation_event.type = Packed()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """Nothing to set."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        """Below DAGSTER_HOME, wherever that has been moved to."""
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Hold `event`, or write it after what was held."""
        if event.run_id and event.is_dagster_event and event.dagster_event_type in HELD:
            with self._holding:
                self._held.append(event)
        else:
            super().store_event(event)

    def dispose(self) -> None:
        """Leave nothing unwritten."""
        self._write_held()
        super().dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        self._write_held()
        with super()._connect(shard) as connection:
            yield connection

    def _initdb(self, engine: sqlalchemy.Engine, for_index_shard: bool = False) -> None:
        """A run's file is made like the index is: to ask Alembic for the newest schema takes 0.2 s every night."""
        is_new = engine.url.database and not Path(engine.url.database).exists()
        if for_index_shard or not is_new:
            super()._initdb(engine, for_index_shard)
            return
        with closing(sqlite3.connect(self.path_for_shard(INDEX_SHARD_NAME))) as index:
            (version,) = index.execute("select version_num from alembic_version").fetchone()
        with engine.connect() as connection:
            connection.exec_driver_sql("pragma journal_mode = wal")
        with engine.begin() as connection:
            Events.metadata.create_all(connection)
            connection.exec_driver_sql("create table alembic_version (version_num varchar(32) not null primary key)")
            connection.exec_driver_sql("insert into alembic_version values (?)", (version,))

    def _event_to_row(self, event: EventLogEntry) -> dict[str, Any]:
        row = super()._event_to_row(event)
        return row | {"event": pack(row["event"])}

    def _write_held(self) -> None:
        with self._holding:
            held, self._held = self._held, []
            for run_id, events in groupby(held, lambda event: event.run_id):
                self._write(run_id, [(event, self._event_to_row(event)) for event in _once(list(events))])

    def _write(self, run_id: str, told: Sequence[tuple[EventLogEntry, dict[str, Any]]]) -> None:
        """Events of one run and their rows, to the run's file and to the index of all runs."""
        with super()._connect(run_id) as connection:
            connection.execute(Events.insert(), [row for _, row in told])
        with super()._connect(INDEX_SHARD_NAME) as connection:
            for event, row in told:
                if event.dagster_event_type is not DagsterEventType.STEP_OUTPUT:
                    inserted: Any = connection.execute(Events.insert(), row).inserted_primary_key
                    self._index(connection, event, row, inserted[0])

    def _index(self, connection: Any, event: EventLogEntry, row: dict[str, Any], event_id: int) -> None:
        """What Dagster looks up by asset or check."""
        found: Any = event.get_dagster_event().event_specific_data
        if event.dagster_event_type in ASSETS:
            self._store_asset_event_tags(connection, [event], [event_id])
            self._store_asset_event(connection, event, event_id)
            return
        values = {
            "execution_status": Status.PLANNED.value,
            "evaluation_event_timestamp": row["timestamp"],
            "evaluation_event_storage_id": event_id,
        }
        key = {"asset_key": found.asset_key.to_string(), "check_name": found.check_name, "run_id": event.run_id}
        if event.dagster_event_type is PLANNED:  # without its event, which a range would repeat for every day
            days = found.partitions_subset.get_partition_keys() if found.partitions_subset else [None]
            connection.execute(Checks.insert(), [key | values | {"partition": day} for day in days])
            return
        target = found.target_materialization_data
        values |= {
            "execution_status": (Status.SUCCEEDED if found.passed else Status.FAILED).value,
            "evaluation_event": row["event"],
            "materialization_event_storage_id": target.storage_id if target else None,
        }
        where = {
            "of_run": event.run_id,
            "of_asset": key["asset_key"],
            "of_check": found.check_name,
            "of_partition": found.partition,
        }
        if not connection.execute(EVALUATE.values(**values), where).rowcount:
            connection.execute(Checks.insert(), key | values | {"partition": found.partition})

    def _has_asset_key_index_cols_on_connection(self, conn: Any) -> bool:
        return True  # of every file that this class has made; Dagster reads the schema for each event


def _once(events: Sequence[EventLogEntry]) -> Iterator[EventLogEntry]:
    """`events`, which each say what no other of them says.

    The tags of the run stand at its start. An output's metadata are those of the materialisation. Of an asset's
    materialisations, one for each day of a range, the last has what is `LONG` and the same for all.
    """
    last = {event.get_dagster_event().asset_key: event for event in events if event.dagster_event_type is MATERIALIZED}
    for event in events:
        told = event.get_dagster_event()._replace(logging_tags={})
        data: Any = told.event_specific_data
        if event.dagster_event_type is DagsterEventType.STEP_OUTPUT:
            told = told._replace(event_specific_data=data._replace(metadata={}))
        elif event.dagster_event_type is EVALUATED:
            told = told._replace(step_handle=None, node_handle=None, message=None)
        elif event.dagster_event_type is MATERIALIZED and last[told.asset_key] is not event:
            short = {name: value for name, value in data.materialization.metadata.items() if name not in LONG}
            told = told._replace(
                event_specific_data=data._replace(materialization=data.materialization.with_metadata(short))
            )
        yield event._replace(dagster_event=told)
