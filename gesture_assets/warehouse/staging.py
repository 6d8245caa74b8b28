"""Frames become tables of the scratch database, where nobody reads them before they have passed.

Belongs here: writing frames, rows that are set aside for the session. Does not belong here: what a query is put
together from (`named_steps.py`), auditing what is staged (`window_audit.py`), letting it go live (`promotion.py`).
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import narwhals as nw
import polars as pl
import pyarrow as pa

from gesture_assets.contracts.contract import Contract
from gesture_assets.frames import Frame
from gesture_assets.vocabulary.personal_data import without_keys
from gesture_assets.warehouse.memory import writing
from gesture_assets.warehouse.named_steps import NamedSteps
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.schemas import STAGE

log = logging.getLogger(__name__)

IN_MEMORY = "frame_in_memory"
Frames = Frame | Iterable[Frame]


@dataclass(frozen=True)
class Staging:
    """The scratch database of one open warehouse, and the named steps of its queries."""

    steps: NamedSteps

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """To the warehouse and the scratch database."""
        return self.steps.connection

    def stage(self, contract: Contract, frames: Frames, run: RunInfo) -> str:
        """Write the frames where they wait for their audit; returns the SQL of the last."""
        table = f"{STAGE}.{contract.name}"
        with writing(self.connection, len(contract.columns), run):
            sql = without_keys(self.write(table, frames))
        (count,) = self.connection.execute(f"select count(*) from {table}").fetchone() or (0,)
        log.info("%s: staged %s rows", contract.name, f"{count:,}")
        return sql

    def write(self, table: str, frames: Frames) -> str:
        """Make `table` of the frames, one after the other; returns the SQL of the last."""
        sql = ""
        for position, frame in enumerate([frames] if isinstance(frames, nw.LazyFrame) else frames):
            verb = f"insert into {table} by name" if position else f"create or replace table {table} as"
            native = frame.to_native()
            if isinstance(native, duckdb.DuckDBPyRelation):
                sql = self.steps.with_steps(native.sql_query())
                self.connection.execute(f"{verb} {sql}")
            else:
                with in_memory(self.connection, frame.collect().to_arrow()) as rows:
                    self.connection.execute(f"{verb} {rows.to_native().sql_query()}")
        return sql

    def set_aside(self, name: str, frames: Frames) -> Frame:
        """The rows of `frames` as a table that lives as long as the session: for what is read more than once."""
        table = f"scratch.main.{name}"
        self.write(table, frames)
        return nw.from_native(self.connection.table(table))


@contextmanager
def in_memory(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> Iterator[Frame]:
    """`rows` as a frame of the engine, which reads them where they are."""
    connection.register(IN_MEMORY, rows)
    try:
        yield nw.from_native(connection.sql(f"from {IN_MEMORY}"))
    finally:
        connection.unregister(IN_MEMORY)


def in_parts(frame: Frame, *, by: str, rows: int) -> Iterator[pl.DataFrame]:
    """`frame` in memory, about `rows` rows at a time, with `row_hash`, a hash of each row's values.

    Which rows come together follows from their column `by`; their order is not promised.
    """
    relation = frame.to_native()
    (count,) = relation.count("*").fetchone()
    parts = max(1, -(-count // rows))
    hashed = relation.project("*, printf('%016x', hash(*columns(*))) as row_hash")
    for part in range(parts):
        yield pl.DataFrame(hashed.filter(f"hash({by}) % {parts} = {part}").to_arrow_table())
