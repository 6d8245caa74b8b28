"""Dagster's event log in SQLite, in which what a step tells in one breath is written in one transaction.

Why: a night has 350 checks, and Dagster tells each in three events: planned, evaluated, its output. It writes every one
by itself, in up to four statements and transactions, two or three times in full, and what is said of a range once for
each of its days. That is more work than a small night, and most of what Dagster keeps. Versions: dagster 1.13.
Upstream: `store_event_batch` is there, but SQLite's storage does not batch, and evaluations are not told in batches.
Goes: when both are so.

Dagster's own configuration names this class (`cli/dagster_home.py`). A home that names another storage works, slower.

Belongs here: the storage. Does not belong here: where its files are, what is told (`defs/events.py`).
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster import AssetKey, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy import bindparam

from gesture_assets.compat.dagster_packing import pack, unpack

PLANNED, EVALUATED = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION
OUTPUT = DagsterEventType.STEP_OUTPUT
MATERIALIZED = DagsterEventType.ASSET_MATERIALIZATION
ASSETS = (MATERIALIZED, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
# Told many at a time, and followed at once by one that is not: a step's start or end, a run's.
HELD = {PLANNED, EVALUATED, *ASSETS, OUTPUT}

LONG = {"sql", "days", "dagster/column_lineage"}  # of a materialisation's metadata

# A check that was evaluated, as `_evaluation` tells it: where it stands, and what was found.
PLACE = {
    "run_id": bindparam("of_run"),
    "asset_key": bindparam("of_asset"),
    "check_name": bindparam("of_check"),
    "partition": bindparam("of_partition"),
}
FOUND = {
    "execution_status": bindparam("status"),
    "evaluation_event": bindparam("event"),
    "evaluation_event_timestamp": bindparam("at"),
    "evaluation_event_storage_id": bindparam("event_id"),
    "materialization_event_storage_id": bindparam("target"),
}
EVALUATE = (
    Checks.update().where(*(Checks.c[name].is_not_distinct_from(value) for name, value in PLACE.items())).values(FOUND)
)
UNPLANNED = Checks.insert().values(PLACE | FOUND)
# What Dagster asks of every table that a step reads; to put its own query together takes longer than to run it.
IS_WIPED = "select 1 from asset_keys where asset_key = ? and asset_details is not null"
LATEST_TAGS = """select latest.partition, tags.key, tags.value from (
    select partition, max(id) as id from event_logs
    where asset_key = ? and dagster_event_type = ? and partition in (select value from json_each(?))
    group by partition) as latest
join asset_event_tags as tags on tags.event_id = latest.id where tags.key in (select value from json_each(?))"""


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
        self._unindexed: list[tuple[EventLogEntry, dict[str, Any]]] = []  # in their run's file already
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

    def get_latest_tags_by_partition(
        self,
        asset_key: AssetKey,
        event_type: DagsterEventType,
        tag_keys: Sequence[str],
        asset_partitions: Sequence[str] | None = None,
        before_cursor: int | None = None,
        after_cursor: int | None = None,
    ) -> Mapping[str, Mapping[str, str]]:
        """Partition -> tags of its newest event; of a wiped asset, and for cursors, by Dagster's own query."""
        if asset_partitions is not None and before_cursor is None and after_cursor is None:
            key, tags = asset_key.to_string(), {partition: dict[str, str]() for partition in asset_partitions}
            values = (key, event_type.value, json.dumps(list(asset_partitions)), json.dumps(list(tag_keys)))
            with self.index_connection() as connection:
                if not connection.exec_driver_sql(IS_WIPED, (key,)).fetchone():
                    for partition, name, value in connection.exec_driver_sql(LATEST_TAGS, values):
                        tags[partition][name] = value
                    return {partition: found for partition, found in tags.items() if found}
        return super().get_latest_tags_by_partition(
            asset_key, event_type, tag_keys, asset_partitions, before_cursor, after_cursor
        )

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
        """Write what is held, of one run after the other; what could not be written is held, and tried again."""
        with self._holding:
            while self._held or self._unindexed:
                if not self._unindexed:
                    run_id, of_run = next(groupby(self._held, lambda event: event.run_id))
                    events = list(of_run)
                    told = [(event, self._event_to_row(event)) for event in _once(events)]
                    with super()._connect(run_id) as connection:
                        connection.execute(Events.insert(), [row for _, row in told])
                    del self._held[: len(events)]
                    self._unindexed = [(event, row) for event, row in told if event.dagster_event_type is not OUTPUT]
                if self._unindexed:
                    with super()._connect(INDEX_SHARD_NAME) as connection:
                        self._index(connection, *zip(*self._unindexed, strict=True))
                    self._unindexed = []

    def _index(self, connection: Any, events: Sequence[EventLogEntry], rows: Sequence[dict[str, Any]]) -> None:
        """The events and what Dagster looks up by asset or check, many in a statement."""
        first: Any = connection.execute(Events.insert(), rows[0]).inserted_primary_key[0]
        # Nobody else writes before this transaction ends: the numbers that follow are free.
        ids = range(first, first + len(rows))
        if len(rows) > 1:
            connection.execute(
                Events.insert(), [row | {"id": number} for row, number in zip(rows[1:], ids[1:], strict=True)]
            )
        of_assets = [place for place, event in enumerate(events) if event.dagster_event_type in ASSETS]
        if of_assets:
            told = [events[place] for place in of_assets]
            self._store_asset_event_tags(connection, told, [ids[place] for place in of_assets])
            for place in of_assets:
                self._store_asset_event(connection, events[place], ids[place])
        of_checks = list(zip(events, rows, ids, strict=True))
        planned = [plan for told in of_checks if told[0].dagster_event_type is PLANNED for plan in _plans(*told)]
        if planned:
            connection.execute(Checks.insert(), planned)
        evaluated = [_evaluation(*told) for told in of_checks if told[0].dagster_event_type is EVALUATED]
        if evaluated and connection.execute(EVALUATE, evaluated).rowcount != len(evaluated):
            for values in evaluated:  # some that nobody planned
                if not connection.execute(EVALUATE, values).rowcount:
                    connection.execute(UNPLANNED, values)

    def _has_asset_key_col_on_connection(self, conn: Any, column_name: str) -> bool:
        return True  # of every file that this class has made; Dagster reads the schema for each event


def _plans(event: EventLogEntry, row: Mapping[str, Any], event_id: int) -> Iterator[dict[str, Any]]:
    """The rows of a planned check, one a day, without its event, which a range would repeat for every day."""
    found: Any = event.get_dagster_event().event_specific_data
    for day in found.partitions_subset.get_partition_keys() if found.partitions_subset else [None]:
        yield {
            "asset_key": found.asset_key.to_string(),
            "check_name": found.check_name,
            "run_id": event.run_id,
            "partition": day,
            "execution_status": Status.PLANNED.value,
            "evaluation_event_timestamp": row["timestamp"],
            "evaluation_event_storage_id": event_id,
        }


def _evaluation(event: EventLogEntry, row: Mapping[str, Any], event_id: int) -> dict[str, Any]:
    """What `PLACE` and `FOUND` stand for."""
    found: Any = event.get_dagster_event().event_specific_data
    target = found.target_materialization_data
    return {
        "of_run": event.run_id,
        "of_asset": found.asset_key.to_string(),
        "of_check": found.check_name,
        "of_partition": found.partition,
        "status": (Status.SUCCEEDED if found.passed else Status.FAILED).value,
        "event": row["event"],
        "at": row["timestamp"],
        "event_id": event_id,
        "target": target.storage_id if target else None,
    }


def _once(events: Sequence[EventLogEntry]) -> Iterator[EventLogEntry]:
    """`events`, which each say what no other of them says.

    The tags of the run stand at its start. An output's metadata are those of the materialisation. Of an asset's
    materialisations, one for each day of a range, the last has what is `LONG` and the same for all.
    """
    last = {event.get_dagster_event().asset_key: event for event in events if event.dagster_event_type is MATERIALIZED}
    for event in events:
        told = event.get_dagster_event()._replace(logging_tags={})
        data: Any = told.event_specific_data
        if event.dagster_event_type is OUTPUT:
            told = told._replace(event_specific_data=data._replace(metadata={}))
        elif event.dagster_event_type is EVALUATED:
            told = told._replace(step_handle=None, node_handle=None, message=None)
        elif event.dagster_event_type is MATERIALIZED and last[told.asset_key] is not event:
            short = {name: value for name, value in data.materialization.metadata.items() if name not in LONG}
            told = told._replace(
                event_specific_data=data._replace(materialization=data.materialization.with_metadata(short))
            )
        yield event._replace(dagster_event=told)
