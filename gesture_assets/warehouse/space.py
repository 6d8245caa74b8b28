"""A full disk, said as what it is.

Belongs here: telling a full disk from other failures, and how much room there is and is needed. Does not belong here:
putting things back (transactions do), deciding what to delete.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gesture_assets.errors import DiskFull

FULL = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the largest file size that this process may write is reached",
}
# DuckDB passes on the words of the operating system, or says that its share of the disk for spilling is used up.
SIGNS = {
    "No space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "max_temp_directory_size": errno.ENOSPC,
}


def why_full(error: BaseException) -> str | None:
    """Why nothing more can be written, where that is what `error` is about."""
    if isinstance(error, OSError) and error.errno in FULL:
        return FULL[error.errno]
    # DuckDB's, SQLite's (Dagster's storage is on the same disk) and SQLAlchemy's errors share this name.
    if any(kind.__name__ == "OperationalError" for kind in type(error).__mro__):
        for sign, number in SIGNS.items():
            if sign.lower() in str(error).lower():
                return FULL[number]
    return None


@contextmanager
def raise_disk_full(doing: str, path: Path) -> Iterator[None]:
    """Let a full disk under `path` come out as `DiskFull`. `doing` names the step and its window."""
    try:
        yield
    except Exception as error:
        if why := why_full(error):
            raise disk_full(doing, path, why) from error
        raise


def require_room(doing: str, folder: Path, byte_count: int) -> None:
    """Refuse to begin a copy of `byte_count` bytes into `folder` that would not fit. Raises `DiskFull`."""
    if shutil.disk_usage(folder).free < byte_count:
        raise disk_full(doing, folder, FULL[errno.ENOSPC], byte_count)


def disk_full(doing: str, path: Path, why: str, byte_count: int = 0) -> DiskFull:
    """The error; `byte_count` is what is needed at least where it is known, else twice what the warehouse has now."""
    folder = path if path.is_dir() else path.parent
    # Staging needs as much as the largest table, publishing a copy of the warehouse: twice its size does for both.
    needed = byte_count or 2 * (path.stat().st_size if path.is_file() else 0)
    return DiskFull(
        f"{doing} could not be finished; nothing that was live has changed.",
        expected=f"about {megabytes(needed)} of room" if needed else "room to write",
        found=f"{why}; {megabytes(shutil.disk_usage(folder).free)} are free",
        where=str(folder),
        next_step="make room there (fewer published files: GESTURE_PUBLISHED_KEEP), then  gesture run",
    )


def megabytes(byte_count: int) -> str:
    """`byte_count` in MB (10⁶ bytes), at least 1."""
    return f"{max(1, round(byte_count / 1e6)):,} MB"
