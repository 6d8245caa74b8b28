"""The writer's lock: one process at a time, and those who wait know whom they wait for.

Belongs here: taking and releasing the lock, and the patience in between. Does not belong here: what is done under it.
The kernel holds the lock for the process (`flock`), so a killed process leaves none behind.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from gesture_assets.errors import WarehouseBusy

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0


@contextmanager
def writer_lock(path: Path, *, holder: str, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file at `path`, waiting up to `timeout_seconds` with growing pauses.

    `holder` (what is being done, for which run) is written into the file with the PID, for those who wait. Raises
    `WarehouseBusy` naming the holder when the time is up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        started, pause, told = time.monotonic(), FIRST_WAIT_SECONDS, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - started
                who = _holder(path)
                if waited >= timeout_seconds:
                    raise WarehouseBusy(
                        f"{holder} could not start: the warehouse is being written by {who}.",
                        expected=f"the writer's lock within {timeout_seconds:g} s",
                        found=f"still held after {waited:.0f} s",
                        where=str(path),
                        next_step="wait for that run or end it, then run again; "
                        "GESTURE_LOCK_TIMEOUT_SECONDS sets how long to wait",
                    ) from None
                if not told:
                    log.info("%s waits for the warehouse, held by %s", holder, who)
                    told = True
                time.sleep(min(pause, timeout_seconds - waited))
                pause = min(pause * 2, LONGEST_WAIT_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "holder": holder}).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def attach_when_free(
    connection: duckdb.DuckDBPyConnection, path: Path, *, name: str, holder: str, timeout_seconds: float
) -> None:
    """Attach the DuckDB file at `path`, waiting for whoever opened it without the lock: an analyst in the wrong file.

    Raises `WarehouseBusy` with the process that DuckDB names when the time is up.
    """
    started, told = time.monotonic(), False
    while True:
        try:
            connection.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as {name}")
            return
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            who = str(error).splitlines()[0]
            if time.monotonic() - started >= timeout_seconds:
                raise WarehouseBusy(
                    f"{holder} could not start: another program has the warehouse open.",
                    expected="the private file for this process alone",
                    found=who,
                    where=str(path),
                    next_step="close it there (data/gesture.duckdb is the file to read), then run again",
                ) from error
            if not told:
                log.info("%s waits: %s", holder, who)
                told = True
            time.sleep(min(LONGEST_WAIT_SECONDS, timeout_seconds))


def _holder(path: Path) -> str:
    """Who wrote the lock file last: `PID 4711 (user_features, run 1a2b3c4d)`."""
    try:
        written = json.loads(path.read_text())
        return f"PID {written['pid']} ({written['holder']})"
    except (OSError, ValueError, KeyError):
        return "a process that has not said who it is yet"
