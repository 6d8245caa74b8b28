"""Why nothing can be written, said as what it is: a full disk, or a place that this user may not write to.

Belongs here: telling the two from other failures, how much room there is and is needed, which place it is. Does not
belong here: putting things back (transactions do), deciding what to delete.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gesture_assets.errors import DiskFull, GestureError, NotWritable

FULL = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the largest file size that this process may write is reached",
}
FORBIDDEN = {
    errno.EROFS: "the disk is mounted read-only",
    errno.EACCES: "this user may not",
    errno.EPERM: "the operation is not permitted",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file stands where a folder is to be",
    errno.EISDIR: "a folder stands where a file is to be",
}
# DuckDB passes on the words of the operating system, or says that its share of the disk for spilling is used up.
SIGNS = {
    "No space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "max_temp_directory_size": errno.ENOSPC,
    "Read-only file system": errno.EROFS,
    "readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "Permission denied": errno.EACCES,
    "Operation not permitted": errno.EPERM,
    "Not a directory": errno.ENOTDIR,
    "Is a directory": errno.EISDIR,
}
# Polars gives the number in words, and the path after them; DuckDB puts the path in quotes.
NUMBER_IN_WORDS = re.compile(r"\(os error (\d+)\)")
PATH_IN_WORDS = re.compile(r"""\(os error \d+\): (/[^\n]+)|["'](/[^"'\n]+)["']""")


def why_unwritable(error: BaseException) -> tuple[type[GestureError], str] | None:
    """Why nothing can be written, where that is what `error` is about, and the kind of our errors that says so."""
    number = _number_of(error)
    if number in FULL:
        return DiskFull, FULL[number]
    if number in FORBIDDEN:
        return NotWritable, FORBIDDEN[number]
    return None


def _number_of(error: BaseException) -> int | None:
    """The operating system's number of `error`, or of the words in it."""
    if isinstance(error, OSError):
        in_words = NUMBER_IN_WORDS.search(str(error))
        return error.errno or (int(in_words[1]) if in_words else None)
    # DuckDB's, SQLite's (Dagster's storage is in the same folder) and SQLAlchemy's errors share this name.
    if any(kind.__name__ == "OperationalError" for kind in type(error).__mro__):
        text = str(error).lower()
        return next((number for sign, number in SIGNS.items() if sign.lower() in text), None)
    return None


@contextmanager
def raise_unwritable(doing: str, path: Path, *, next_step: str = "") -> Iterator[None]:
    """Let a full disk under `path` come out as `DiskFull`, a forbidden place as `NotWritable`.

    `doing` names the step and its window; `next_step` what to do where the disk is not the data folder's.
    """
    try:
        yield
    except Exception as error:
        if refusal := unwritable(doing, path, error, next_step=next_step):
            raise refusal from error
        raise


def unwritable(doing: str, path: Path, error: Exception, *, next_step: str = "") -> GestureError | None:
    """Our error for `error`, where it says that nothing can be written; `path` is named where it names none."""
    found = why_unwritable(error)
    if found is None:
        return None
    kind, why = found
    if kind is DiskFull:
        return disk_full(doing, path, why, next_step=next_step)
    return not_writable(doing, _path_of(error) or path, why)


def _path_of(error: Exception) -> Path | None:
    """The path that `error` names."""
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return Path(error.filename)
    named = PATH_IN_WORDS.search(str(error))
    return Path(named[1] or named[2]) if named else None


def not_writable(doing: str, path: Path, why: str) -> NotWritable:
    """The error for a place that this user may not write to."""
    return NotWritable(
        f"{doing} could not be finished; nothing that was live has changed.",
        expected="a folder and files that this user may read and write",
        found=why,
        where=str(path),
        next_step=f"look whose it is ( ls -ld {path.parent} ) and let this user write there, or choose another folder "
        "(for data: GESTURE_DATA_DIR); what reads the published file works as it is, such as  gesture rank",
    )


def require_room(doing: str, folder: Path, byte_count: int) -> None:
    """Refuse to begin a copy of `byte_count` bytes into `folder` that would not fit. Raises `DiskFull`."""
    if shutil.disk_usage(folder).free < byte_count:
        raise disk_full(doing, folder, FULL[errno.ENOSPC], byte_count)


def disk_full(doing: str, path: Path, why: str, byte_count: int = 0, *, next_step: str = "") -> DiskFull:
    """The error; `byte_count` is what is needed at least where it is known, else twice what the warehouse has now."""
    folder = path if path.is_dir() else path.parent
    # Staging needs as much as the largest table, publishing a copy of the warehouse: twice its size does for both.
    needed = byte_count or 2 * (path.stat().st_size if path.is_file() else 0)
    return DiskFull(
        f"{doing} could not be finished; nothing that was live has changed.",
        expected=f"about {megabytes(needed)} of room" if needed else "room to write",
        found=f"{why}; {megabytes(shutil.disk_usage(folder).free)} are free",
        where=str(folder),
        next_step=next_step or "make room there (fewer published files: GESTURE_PUBLISHED_KEEP), then  gesture run",
    )


def megabytes(byte_count: int) -> str:
    """`byte_count` in MB (10⁶ bytes), at least 1."""
    return f"{max(1, round(byte_count / 1e6)):,} MB"
