"""Compaction: a DuckDB file gives free space back.

Belongs here: how much of a file is free, and rewriting one that holds too much of it. Does not belong here: when that
is done (`publish.py`, once a night). DuckDB fills free blocks again, so rebuilt days hardly make a file grow; what has
been dropped or moved out leaves room that nothing may ever fill.
"""

import logging
import os
import shutil
from pathlib import Path

import duckdb

from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.format import attach
from gesture_assets.warehouse.warehouse import connect

log = logging.getLogger(__name__)

# A file is to be at most 1.2 × what its rows need. Row groups of rebuilt days waste some of that unseen (a tenth with
# days of 20,000 rows, more with small ones), free blocks may take 6 %. Small files are left alone: their blocks of
# 256 kB are mostly half-filled.
LARGEST_FREE_SHARE = 0.06
SMALLEST_BYTES = 32 * 2**20


def free_share(path: Path) -> float:
    """The share of the blocks of the file at `path`, which no other process writes, that hold nothing."""
    with duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute("select total_blocks, free_blocks from pragma_database_size()").fetchone()
    assert row is not None
    return row[1] / row[0] if row[0] else 0.0


def compact(path: Path, *, smallest_bytes: int = SMALLEST_BYTES, memory_limit: str | None = None) -> bool:
    """Rewrite the file at `path` where more than `LARGEST_FREE_SHARE` of it is free; whether it was.

    Nobody else may have it open. The new file takes the place of the old one in one step; a crash before leaves the old
    one. Where the copy would not fit on the disk the file stays as it is: it is large, but nothing is wrong with it.
    """
    remove_leftovers(path)
    if path.stat().st_size < smallest_bytes or (share := free_share(path)) <= LARGEST_FREE_SHARE:
        return False
    before = path.stat().st_size
    if shutil.disk_usage(path.parent).free < before * (1 - share):
        log.warning("%s: %.0f %% of it is free, and there is no room to compact it", path.name, 100 * share)
        return False
    beside = path.with_name(path.name + ".tmp-compact")
    try:
        with connect(memory_limit=memory_limit, spill=beside.with_name(beside.name + ".spill")) as connection:
            connection.execute(f"attach {literal(path)} as old (read_only)")
            attach(connection, beside, "new")
            connection.execute("copy from database old to new")
            connection.execute("checkpoint new")
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        remove_leftovers(path)
    log.info("%s: compacted from %.0f to %.0f MB", path.name, before / 1e6, path.stat().st_size / 1e6)
    return True


def remove_leftovers(path: Path) -> None:
    """Remove what a compaction of `path` leaves behind that was killed."""
    for leftover in path.parent.glob(f"{path.name}.tmp-compact*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
