"""Written queries in a folder beside the warehouse: what one command has written, the next need not write again.

They are worth nothing but time: the folder may be deleted, a file that cannot be read or written is as if it were not
there, and none is read by other code, or beside another version of what writes SQL, than it was written by.

Belongs here: the files. Does not belong here: what a query is and when it is the same (`queries.py`).
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import duckdb
import narwhals as nw

from gesture_assets.warehouse.code_digest import PACKAGE, code_digest

log = logging.getLogger(__name__)


Written = tuple[tuple[str, ...], tuple[dict[str, str], ...]]  # the SQL of each frame, and its columns


def find(shelf: Path, what: str) -> Written | None:
    """What was put on `shelf` as `what` by this code."""
    try:
        digest, text = _path(shelf, what).read_text(encoding="utf-8").split("\n", 1)
    except (OSError, ValueError):
        return None
    if digest != _digest(what, text):
        return None
    sql, columns = json.loads(text)
    return tuple(sql), tuple(columns)


def put(shelf: Path, what: str, written: Written) -> None:
    """Keep `written` on `shelf`; what other code put there goes."""
    path, text = _path(shelf, what), json.dumps(written)
    try:
        if not path.parent.exists():
            shutil.rmtree(shelf, ignore_errors=True)
            path.parent.mkdir(parents=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(f"{_digest(what, text)}\n{text}", encoding="utf-8")
        new.replace(path)
    except OSError as reason:
        log.debug("a query is not kept: %r", reason)


def _path(shelf: Path, what: str) -> Path:
    return shelf / CODE[:32] / f"{_digest(what)[:32]}.json"


def _digest(*texts: str) -> str:
    """Of the first line of a file: what was written, and that it is still that."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def written_by(package: Path = PACKAGE) -> str:
    """One hash over the code of `package` and the versions of the libraries that write SQL."""
    rooms = frozenset(
        path.name for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    )
    return hashlib.sha256(
        json.dumps([code_digest(rooms, package), duckdb.__version__, nw.__version__]).encode()
    ).hexdigest()


CODE = written_by()  # when this process began: files that change while it lives are not what it runs
