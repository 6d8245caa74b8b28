"""A hash over the code of the product: what was made by other code is made anew.

Belongs here: reading the files. Does not belong here: which rooms a table depends on (`unchanged.py`).
"""

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CODE = ("*.py", "*.sql", "*.toml")
VIEWS = "views.sql"  # which the publication makes anew each night: no row depends on it


@cache
def code_digest(rooms: frozenset[str], package: Path = PACKAGE) -> str:
    """One hash over the code, SQL, rule sets and source descriptions of `rooms` (folders or modules) of `package`."""
    digest = hashlib.sha256()
    for path in sorted(path for room in rooms for path in _files(package / room)):
        digest.update(f"{path.relative_to(package).as_posix()}:".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(room: Path) -> list[Path]:
    return [path for pattern in CODE for path in room.rglob(pattern) if path.name != VIEWS] if room.is_dir() else [room]
