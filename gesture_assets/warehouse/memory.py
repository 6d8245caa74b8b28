"""How much memory the engine may take, and what is said where that is too little.

Belongs here: the limit where none is set, and its error. Does not belong here: a full disk (`space.py`), how much is
built at once (`nights/night.py`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from gesture_assets.errors import NotEnoughMemory
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.run_info import RunInfo

SHARE = 1 / 4  # of the machine's memory: Python, Polars and what else runs there have the rest
LEAST, MOST = 500_000_000, 2_000_000_000  # bytes; more helps where hundreds of thousands of users are counted a night
WIDE = 100  # columns
ENGINES_SHARE = 0.8  # that DuckDB takes by itself, of the machine or of the container that it runs in
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def limit_memory(connection: duckdb.DuckDBPyConnection, limit: str | None) -> None:
    """Let the engine of `connection` take `limit`; without one a quarter of the machine, 2 GB at most."""
    if limit is None:
        (own,) = connection.execute("select current_setting('memory_limit')").fetchone() or ("",)
        number, unit = str(own).split()
        of_machine = float(number) * UNITS[unit] / ENGINES_SHARE
        limit = f"{round(min(max(of_machine * SHARE, LEAST), MOST) / 1e6)}MB"
    connection.execute(f"set memory_limit = {literal(limit)}")


@contextmanager
def writing(connection: duckdb.DuckDBPyConnection, columns: int, run: RunInfo) -> Iterator[None]:
    """One thread while a table of so many `columns` is written, where they are many and the days of `run` are too.

    The parts of a range have few rows, and each thread holds a group of them for itself: several take twice the memory
    and half as much processor time again, and are hardly done sooner. A night by itself is one part, however large.
    """
    if columns < WIDE or len(run.days) < 2:
        yield
        return
    with connection.cursor() as beside:  # whatever becomes of the transaction
        (threads,) = beside.execute("select current_setting('threads')").fetchone() or (1,)
        beside.execute("set threads = 1")
        try:
            yield
        finally:
            beside.execute(f"set threads = {threads}")


@contextmanager
def raise_not_enough_memory(doing: str, path: Path) -> Iterator[None]:
    """Let a statement that the memory limit stopped come out as `NotEnoughMemory`; `doing`: the step and its window."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        used = re.search(r"\(([^()]+)/([^()]+) used\)", str(error))
        raise NotEnoughMemory(
            f"{doing} could not be finished; nothing that was live has changed.",
            expected=f"a statement that takes {used[2]} of memory at most" if used else "enough memory",
            found=f"{used[1]} taken, and more was needed than could be put aside on disk" if used else str(error),
            where=str(path),
            next_step="raise GESTURE_DUCKDB_MEMORY_LIMIT (such as 4GB), or lower GESTURE_DUCKDB_THREADS, then  "
            "gesture run",
        ) from error
