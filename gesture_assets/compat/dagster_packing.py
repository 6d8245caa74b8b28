"""Dagster's events as short as they can be said: the same JSON, deflated beside an example of each common kind.

Why: of a kilobyte that an evaluation takes, fifty letters are its own; the rest are the names of Dagster's classes and
fields. 60 nights in one run left 63 MB of it. Versions: dagster 1.13, and every one before it. Upstream: none is open.
Goes: when Dagster keeps evaluations in columns.

The examples (`dagster_events.json`) never change, for what was packed beside them is not to be read without. Other
forms of an event, of another version of Dagster, are packed less well, and nothing else.

Belongs here: packing texts. Does not belong here: which are packed (`dagster_event_log.py`), Dagster.
"""

import zlib
from functools import cache
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).with_name("dagster_events.json")
FORM = b"\x01"  # how what follows was packed: of a new form the first byte is another
WINDOW, MEMORY, LEVEL = 14, 6, 6  # twice the examples; more memory takes longer to prepare than it saves


def pack(text: str) -> bytes:
    """`text` in a tenth of its bytes, where it is like the examples."""
    packer = _packer().copy()
    return FORM + packer.compress(text.encode()) + packer.flush()


def unpack(stored: bytes | str | None) -> str | None:
    """What was packed, or `stored` itself where it is a text: of a home, or by a storage, that packs nothing."""
    if not isinstance(stored, bytes):
        return stored
    if not stored.startswith(FORM):
        raise ValueError(
            f"an event in Dagster's storage is packed in a form that this version does not know: {stored[:1]}"
        )
    return zlib.decompressobj(-WINDOW, _examples()).decompress(stored[len(FORM) :]).decode()


def replaced(stored: bytes | str | None, before: str, after: str) -> bytes | str | None:
    """SQL's `replace` for texts that may be packed."""
    if isinstance(stored, bytes):
        return pack((unpack(stored) or "").replace(before, after))
    return stored and stored.replace(before, after)


@cache
def _examples() -> bytes:
    return EXAMPLES.read_bytes()


@cache
def _packer() -> Any:
    return zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW, MEMORY, zlib.Z_DEFAULT_STRATEGY, _examples())
