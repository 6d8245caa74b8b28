"""The writer's lock: one process at a time, and those who wait know whom they wait for, and for how long.

Belongs here: taking and releasing the lock, and the patience of whoever waits. Does not belong here: what is done under
it, and which run lets which one pass (`run_queue.py`). The kernel holds the lock for the process (`flock`), so a killed
process leaves none behind.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb

from gesture_assets.errors import GestureError, WarehouseBusy
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.format import attach, unreadable

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 1.0
NEXT_IN_LINE_SECONDS = 0.1  # whoever is next holds up everybody behind, and looks more often
REMINDER_SECONDS = 30.0


class Obstacle(NamedTuple):
    """Who or what is in the way, and the longest pause (seconds) before looking again."""

    who: str
    longest_wait: float = LONGEST_WAIT_SECONDS


def wait_while(
    look: Callable[[], Obstacle | None],
    *,
    waiter: str,
    waits_for: str,
    timeout_seconds: float,
    give_up: Callable[[str, float], GestureError],
) -> None:
    """Look again with growing pauses until nothing is in the way.

    The log says for whom `waiter` waits and for how long at most, again whenever that is somebody else or half a minute
    has passed, and how long it took. Raises what `give_up(who, seconds)` makes when `timeout_seconds` are over.
    """
    started, pause, logged, logged_at = time.monotonic(), FIRST_WAIT_SECONDS, "", 0.0
    while obstacle := look():
        waited = time.monotonic() - started
        if waited >= timeout_seconds:
            raise give_up(obstacle.who, waited)
        if not logged:
            log.info("%s waits for %s, held by %s; for up to %g s", waiter, waits_for, obstacle.who, timeout_seconds)
        elif obstacle.who != logged or waited - logged_at >= REMINDER_SECONDS:
            log.info("%s has waited %.0f s for %s, now held by %s", waiter, waited, waits_for, obstacle.who)
        if obstacle.who != logged or waited - logged_at >= REMINDER_SECONDS:
            logged, logged_at = obstacle.who, waited
        time.sleep(min(pause, obstacle.longest_wait, timeout_seconds - waited))
        pause = min(pause * 2, LONGEST_WAIT_SECONDS)
    if logged:
        log.info("%s waited %.1f s for %s", waiter, time.monotonic() - started, waits_for)


@dataclass(frozen=True)
class HeldLock:
    """The writer's lock while this process has it: the lock's file and the file of who is next, both open."""

    descriptor: int
    line: int

    def sign(self, holder: str) -> None:
        """Say what is being done now."""
        _sign(self.descriptor, holder)

    def is_wanted(self) -> bool:
        """Whether somebody stands in line."""
        if not _try(self.line):
            return True
        fcntl.flock(self.line, fcntl.LOCK_UN)
        return False


@contextmanager
def writer_lock(
    path: Path, *, holder: str, timeout_seconds: float, ahead: Callable[[], str | None] = lambda: None
) -> Iterator[HeldLock]:
    """Hold the lock file at `path`, waiting up to `timeout_seconds` with growing pauses.

    Who waits stands in line: a holder that gives the lock back and wants it again comes after whoever is next. `ahead`
    names whom to let pass, if anybody. `holder` (what is being done, for which run) is written into the file with the
    PID, for those who wait. Raises `WarehouseBusy` naming the holder when the time is up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    line_path = path.with_name(path.name + ".next")
    line = os.open(line_path, os.O_RDWR | os.O_CREAT, 0o644)

    def obstacle() -> Obstacle | None:
        if who := ahead():
            fcntl.flock(line, fcntl.LOCK_UN)
            return Obstacle(f"{who}, which goes first")
        if not _try(line):
            # What the lock's file says may be old news, when nobody has it and somebody else is next.
            who = _holder(path)
            return Obstacle(_holder(line_path) if who.startswith(f"PID {os.getpid()} ") else who)
        _sign(line, holder)
        if not _try(descriptor):
            return Obstacle(_holder(path), NEXT_IN_LINE_SECONDS)
        return None

    def give_up(who: str, waited: float) -> WarehouseBusy:
        return WarehouseBusy(
            f"{holder} could not start: the warehouse is being written by {who}.",
            expected=f"the writer's lock within {timeout_seconds:g} s",
            found=f"still held after {waited:.0f} s",
            where=str(path),
            next_step="wait for that run or end it, then run again; GESTURE_LOCK_TIMEOUT_SECONDS sets how long to wait",
        )

    try:
        wait_while(obstacle, waiter=holder, waits_for="the warehouse", timeout_seconds=timeout_seconds, give_up=give_up)
        fcntl.flock(line, fcntl.LOCK_UN)
        _sign(descriptor, holder)
        yield HeldLock(descriptor, line)
    finally:
        os.close(line)
        os.close(descriptor)  # releases the lock


def attach_when_free(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    name: str,
    holder: str,
    timeout_seconds: float,
    read_only: bool = False,
) -> None:
    """Attach the DuckDB file at `path`, waiting for whoever opened it without the lock: an analyst in the wrong file.

    Raises `WarehouseBusy` with the process that DuckDB names when the time is up, `ConfigError` for what is no DuckDB
    file, is damaged, or was written by a newer DuckDB.
    """

    def obstacle() -> Obstacle | None:
        try:
            if read_only:
                connection.execute(f"attach {literal(path)} as {name} (read_only)")
            else:
                attach(connection, path, name)
        except duckdb.Error as error:
            if "Could not set lock" not in str(error):
                if refusal := unreadable(path, error):
                    raise refusal from error
                raise
            return Obstacle(str(error).splitlines()[0])
        return None

    def give_up(who: str, waited: float) -> WarehouseBusy:
        return WarehouseBusy(
            f"{holder} could not start: another program has the warehouse open.",
            expected=f"the private file for this process alone within {timeout_seconds:g} s",
            found=f"{who} (after {waited:.0f} s)",
            where=str(path),
            next_step="close it there (data/gesture.duckdb is the file to read), then run again",
        )

    wait_while(obstacle, waiter=holder, waits_for="the private file", timeout_seconds=timeout_seconds, give_up=give_up)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int, holder: str) -> None:
    """Write into the lock file who holds it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "holder": holder}).encode(), 0)


def _holder(path: Path) -> str:
    """Who wrote the lock file last: `PID 4711 (user_features, run 1a2b3c4d)`."""
    try:
        written = json.loads(path.read_text())
        return f"PID {written['pid']} ({written['holder']})"
    except (OSError, ValueError, KeyError):
        return "a process that has not said who it is yet"
