"""Opening the warehouse: the private DuckDB file, for this process alone.

Belongs here: the writer's lock, the file, its bookkeeping tables, a connection. Does not belong here: what is done with
an open warehouse (`session.py`), the file for everybody else (`publication/`).
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from gesture_assets.settings import Settings
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.format import create_file, migrate, raise_unreadable
from gesture_assets.warehouse.landed_days import create_landed_days
from gesture_assets.warehouse.ledger import create_ledger
from gesture_assets.warehouse.lock import attach_when_free, writer_lock
from gesture_assets.warehouse.restatement import create_restatements
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.schemas import AUDIT_SCHEMA, REJECTED, STAGE, STEPS, SUPERSEDED
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import raise_unwritable

Create = Callable[[duckdb.DuckDBPyConnection], None]
OWN_TABLES: tuple[Create, ...] = (create_ledger, create_restatements, create_landed_days)


@dataclass(frozen=True)
class Warehouse:
    """Where the private file is and how patiently to wait for it."""

    path: Path
    lock_timeout_seconds: float
    threads: int | None = None
    memory_limit: str | None = None
    published: Path | None = None
    blocking: tuple[str, ...] = ()
    create: tuple[Create, ...] = ()  # each makes a table that somebody else keeps in the file, where there is none

    @classmethod
    def of(cls, settings: Settings, *, create: tuple[Create, ...] = ()) -> "Warehouse":
        """The warehouse that `settings` describe. With the records in it: `warehouse_of` of `records/opening.py`."""
        return cls(
            settings.warehouse,
            settings.lock_timeout_seconds,
            settings.duckdb_threads,
            settings.duckdb_memory_limit,
            settings.published,
            settings.blocking_checks,
            create,
        )

    @contextmanager
    def locked(self, holder: str, ahead: Callable[[], str | None] = lambda: None) -> Iterator[None]:
        """Hold the writer's lock without opening the file; `ahead` names whom to let pass before."""
        lock = self.path.with_suffix(".lock")
        with writer_lock(lock, holder=holder, timeout_seconds=self.lock_timeout_seconds, ahead=ahead):
            yield

    @contextmanager
    def open(self, run: RunInfo) -> Iterator[Session]:
        """The open warehouse, for this process alone; a backfill lets the nightly pass, between any two of its steps.

        Raises `WarehouseBusy` naming the holder when time is up, `DiskFull`, `NotWritable`, and `ConfigError` for a
        file that cannot be worked with: damaged, somebody else's, or of a newer version.
        """
        ahead = RunQueue.beside(self.path).who_goes_first if run.is_only_backfill else lambda: None
        doing = f"{run.step} for {run.window}" if run.days else run.step
        with (
            raise_unwritable(doing, self.path),
            raise_unreadable(self.path),
            self.locked(f"{run.step}, run {run.run_id[:8]}", ahead),
        ):
            spill = self.path.with_suffix(".spill")
            shutil.rmtree(spill, ignore_errors=True)  # a killed run leaves one behind
            connection = connect(self.threads, self.memory_limit)
            try:
                if not self.path.exists():
                    create_file(self.path)
                attach_when_free(
                    connection, self.path, name="warehouse", holder=run.step, timeout_seconds=self.lock_timeout_seconds
                )
                migrate(connection, self.path)
                # Staged rows live for minutes: compressing them costs more than all audits. What memory cannot hold
                # goes to the spill folder.
                connection.execute("attach ':memory:' as scratch")
                connection.execute(f"set temp_directory = {literal(spill)}")
                for schema in (REJECTED, SUPERSEDED, STAGE, STEPS, AUDIT_SCHEMA):
                    connection.execute(f"create schema if not exists {schema}")
                for create in (*OWN_TABLES, *self.create):
                    create(connection)
                yield Session(connection, run, self.published, self.blocking)
            finally:
                connection.close()
                shutil.rmtree(spill, ignore_errors=True)


def connect(threads: int | None = None, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory connection in UTC, offline: it never installs or loads an extension by itself."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    if threads:
        connection.execute(f"set threads = {threads}")
    if memory_limit:
        connection.execute(f"set memory_limit = {literal(memory_limit)}")
    return connection
