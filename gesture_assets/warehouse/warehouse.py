"""Opening the warehouse: the private DuckDB file, for this process alone.

Belongs here: the writer's lock, the file, its bookkeeping tables, a connection. Does not belong here: what is done with
an open warehouse (`session.py`), the file for everybody else (`publication/`).
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from gesture_assets.settings import Settings
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.format import create_file, migrate, raise_unreadable
from gesture_assets.warehouse.gates import Known
from gesture_assets.warehouse.landed_days import create_landed_days
from gesture_assets.warehouse.ledger import create_ledger
from gesture_assets.warehouse.lock import HeldLock, attach_when_free, writer_lock
from gesture_assets.warehouse.memory import limit_memory, raise_not_enough_memory
from gesture_assets.warehouse.restatement import create_restatements
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.schemas import AUDIT_SCHEMA, REJECTED, STAGE, STEPS, SUPERSEDED
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import raise_unwritable

log = logging.getLogger(__name__)

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
    def locked(self, holder: str, ahead: Callable[[], str | None] = lambda: None) -> Iterator[HeldLock]:
        """Hold the writer's lock without opening the file; `ahead` names whom to let pass before."""
        lock = self.path.with_suffix(".lock")
        with writer_lock(lock, holder=holder, timeout_seconds=self.lock_timeout_seconds, ahead=ahead) as held:
            yield held

    @contextmanager
    def open(self, run: RunInfo) -> Iterator[Session]:
        """The open warehouse, for this process alone; a backfill lets the nightly pass, between any two of its steps.

        Within `kept_open` it stays open for the next step. Raises `WarehouseBusy` naming the holder when time is up,
        `DiskFull`, `NotWritable`, `NotEnoughMemory`, and `ConfigError` for a file that cannot be worked with: damaged,
        somebody else's, or of a newer version.
        """
        ahead = RunQueue.beside(self.path).who_goes_first if run.is_only_backfill else lambda: None
        doing = f"{run.step} for {run.window}" if run.days else run.step
        holder = f"{run.step}, run {run.run_id[:8]}"
        with (
            raise_not_enough_memory(doing, self.path),
            raise_unwritable(doing, self.path),
            raise_unreadable(self.path),
            ExitStack() as stack,
        ):
            lets_pass = ahead() is not None
            opened = _KEPT.take(self.path)
            if opened and lets_pass:
                opened.close()
                opened = None
            opened = opened or OpenWarehouse.of(self, run.step, holder, ahead)
            stack.callback(opened.close)
            opened.lock.sign(holder)
            opened.clear()
            try:
                yield Session(
                    opened.connection,
                    run,
                    self.published,
                    self.blocking,
                    opened.known,
                    self.path.with_suffix(".queries"),
                )
            except BaseException:
                _KEPT.give_up(self.path)
                raise
            if _KEPT.keep(self.path, opened):
                stack.pop_all()


@dataclass(frozen=True)
class OpenWarehouse:
    """The lock, the connection, and what is undone when they are given back."""

    connection: duckdb.DuckDBPyConnection
    lock: HeldLock
    spill: Path
    close: Callable[[], None]
    known: Known

    @classmethod
    def of(cls, warehouse: Warehouse, step: str, holder: str, ahead: Callable[[], str | None]) -> "OpenWarehouse":
        """Wait for the lock and open the file of `warehouse`, for `step`."""
        path = warehouse.path
        with ExitStack() as stack:
            lock = stack.enter_context(warehouse.locked(holder, ahead))
            spill = path.with_suffix(".spill")
            shutil.rmtree(spill, ignore_errors=True)  # a killed run leaves one behind
            stack.callback(shutil.rmtree, spill, ignore_errors=True)
            connection = stack.enter_context(connect(warehouse.threads, warehouse.memory_limit, spill=spill))
            if not path.exists():
                create_file(path)
            attach_when_free(
                connection, path, name="warehouse", holder=step, timeout_seconds=warehouse.lock_timeout_seconds
            )
            migrate(connection, path)
            for schema in (REJECTED, SUPERSEDED):
                connection.execute(f"create schema if not exists {schema}")
            for create in (*OWN_TABLES, *warehouse.create):
                create(connection)
            known = Known()
            stack.callback(_finish, known)
            return cls(connection, lock, spill, stack.pop_all().close, known)

    def clear(self) -> None:
        """Make the scratch database anew: what a step before has staged is of no use to the next."""
        # Staged rows live for minutes: compressing them costs more than all audits. What memory cannot hold goes to the
        # spill folder.
        self.connection.execute("use memory")
        for database in ("scratch", "published"):
            self.connection.execute(f"detach database if exists {database}")
        self.connection.execute("attach ':memory:' as scratch")
        for schema in (STAGE, STEPS, AUDIT_SCHEMA):
            self.connection.execute(f"create schema {schema}")


class _Kept:
    """The warehouses that runs of this process keep open between two of their steps, by path."""

    def __init__(self) -> None:
        self._runs: Counter[Path] = Counter()
        self._idle: dict[Path, OpenWarehouse] = {}
        self._given_up: set[Path] = set()

    def take(self, path: Path) -> OpenWarehouse | None:
        """The open warehouse, if nobody here uses it."""
        return self._idle.pop(path, None)

    def keep(self, path: Path, opened: OpenWarehouse) -> bool:
        """Whether `opened` is kept: a run here goes on, and nobody stands in line for the lock."""
        if not self._runs[path] or path in {*self._idle, *self._given_up} or opened.lock.is_wanted():
            return False
        self._idle[path] = opened
        return True

    def give_up(self, path: Path) -> None:
        """Keep nothing for the rest of a run: a step was broken off, and the run may wait before it tries again."""
        if self._runs[path]:
            self._given_up.add(path)

    @contextmanager
    def run(self, path: Path) -> Iterator[None]:
        """Within, the warehouse at `path` is kept."""
        self._runs[path] += 1
        try:
            yield
        finally:
            self._runs[path] -= 1
            if not self._runs[path]:
                self._given_up.discard(path)
                if opened := self.take(path):
                    opened.close()


_KEPT = _Kept()


@contextmanager
def kept_open(path: Path) -> Iterator[None]:
    """Meanwhile the warehouse at `path` stays open from one step to the next, unless somebody waits for it.

    Opening it takes longer than many a step. Once a step is broken off, it is opened and closed for each: the run may
    wait before it tries again.
    """
    with raise_unwritable("a run", path), _KEPT.run(path):
        yield


def _finish(known: Known) -> None:
    """Do what is to be done before the warehouse is closed; how a run ended matters more than what fails here."""
    for name, finish in known.at_end.items():
        try:
            finish()
        except Exception as reason:
            log.warning("%s was not written: %r", name, reason)


def connect(
    threads: int | None = None, memory_limit: str | None = None, *, spill: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory connection in UTC, offline: it never installs or loads an extension by itself.

    What its memory cannot hold goes to the folder `spill`; without one to where the process stands.
    """
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    if threads:
        connection.execute(f"set threads = {threads}")
    limit_memory(connection, memory_limit)
    # Groups of rows go to the file one by one: five together, as usual, take a fifth more memory where tables are wide.
    connection.execute("set write_buffer_row_group_count = 1")
    if spill:
        connection.execute(f"set temp_directory = {literal(spill)}")  # once it was used it cannot be changed
    return connection
