"""One landing file: where it lies, whose it is, and how it is refused.

Belongs here: what the finder and every reader know of a file. Does not belong here: finding files (`landing.py`),
reading them (`readers.py`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from gesture_assets.errors import SourceError
from gesture_assets.sources.description import SourceDescription
from gesture_assets.vocabulary.personal_data import EMAIL_PATTERN, IP_PATTERN, IPV6_PATTERN
from gesture_assets.vocabulary.sql import literal

FORMATS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "parquet": "parquet"}
COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}  # ending -> what engine and decoder call it

# A row longer than this is no event; it is quarantined instead of filling the memory.
LONGEST_LINE = 8 * 1024 * 1024
BUFFER = 4 * LONGEST_LINE  # bytes that the engine reads of a text file at once
SHOWN = 2_000  # characters of what was found instead of a file's header: to look for addresses takes their square
QUARANTINED_TEXT = 4_000  # characters of a refused row that the quarantine keeps
CHUNK = 1024 * 1024  # bytes that are looked at together
# Without the group that looks at what follows: it would swallow what the next address begins with.
ADDRESSES = re.compile("|".join((EMAIL_PATTERN, *(p[: p.rindex("([^")] for p in (IPV6_PATTERN, IP_PATTERN)))))


@dataclass(frozen=True)
class LandingFile:
    """A file below the landing folder. `name` is its path there, with forward slashes."""

    path: Path
    name: str
    source: SourceDescription
    format: str

    @property
    def compression(self) -> str | None:
        """How the file is packed; None where it is not."""
        return COMPRESSIONS.get(endings(self.path)[-1])

    @property
    def delimiter(self) -> str:
        """What stands between the columns of a text file."""
        return "\t" if ending_of_format(self.path) == "tsv" else self.source.delimiter

    @property
    def sql(self) -> str:
        """The path as the engine's readers take it, which look for patterns in paths: here a name is a name."""
        return literal(re.sub(r"[\[*?]", r"[\g<0>]", str(self.path)))

    def stream(self) -> pa.NativeFile:
        """The bytes of the file, unpacked."""
        return pa.input_stream(self.path, compression=self.compression)


def endings(path: Path) -> list[str]:
    """The endings of a file's name in lower case, without dots; one empty text where there is none."""
    return [ending.lstrip(".").lower() for ending in path.suffixes] or [""]


def ending_of_format(path: Path) -> str:
    """The ending that tells the format: the last, or the one before that of a packed file."""
    found = endings(path)
    return found[-2] if found[-1] in COMPRESSIONS and found[1:] else found[-1]


def refusal(file: LandingFile, *, expected: str, found: str, next_step: str | None = None) -> SourceError:
    """The error for a file of which nothing is loaded; what was `found` shows no address."""
    if len(found) > SHOWN:  # without its last word, which may be a part of an address
        found = re.sub(r"\S*$", "…", found[:SHOWN])
    return SourceError(
        f"The landing file {file.name} cannot be read as {file.source.name}; nothing of it was loaded.",
        expected=expected,
        found=ADDRESSES.sub("***", found),  # where the header is missing, this is a row
        where=str(file.path),
        next_step=next_step or "mend the file or move it out of data/landing, then  gesture run",
    )
