"""The lines of a text file, counted in its bytes; those that are longer than a row may be are cut in a copy.

Belongs here: looking for line ends, in bytes or in latin-1, where every byte is a sign. Does not belong here: formats
and records (`readers.py`, `uneven_csv.py`). The engine passes over a line longer than its buffer without a word, and
over lines that it refuses at the beginning of a buffer.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from gesture_assets.sources.landing_file import BUFFER, CHUNK, LONGEST_LINE, QUARANTINED_TEXT, LandingFile

TOO_LONG = f"(longer than {LONGEST_LINE:,} bytes) "


@dataclass(frozen=True)
class Lines:
    """The lines of a text file, as its bytes tell: how many, and whether one is longer than a row may be.

    `count` is None where the engine reads the file in one piece and cannot lose a line between two.
    """

    has_long: bool = False
    count: int | None = None


def look_through(stream: pa.NativeFile) -> Lines:
    """The lines of `stream`, which is read to its end."""
    longest = since_end = count = size = 0
    while chunk := stream.read(CHUNK):
        end = b"\n" if b"\n" in chunk else b"\r"
        first = chunk.find(end)
        if first < 0:
            since_end += len(chunk)
        else:
            longest = max(longest, since_end + first)
            since_end = len(chunk) - 1 - chunk.rfind(end)
        longest, count, size = max(longest, since_end), count + chunk.count(b"\n"), size + len(chunk)
    return Lines(longest > LONGEST_LINE, count + bool(since_end) if size > BUFFER else None)


def count_blank_lines(stream: pa.NativeFile) -> int:
    """The blank lines of `stream`; too few where several follow each other."""
    count, last = 0, b""
    while chunk := stream.read(CHUNK):
        text = (last + chunk).replace(b"\r", b"")
        count, last = count + text.count(b"\n\n"), text[-1:]
    return count


def text_of(stream: pa.NativeFile) -> TextIO:
    """The text of `stream`, every byte a sign of latin-1, line feeds as line ends."""
    return io.TextIOWrapper(stream, encoding="latin-1", newline=None)  # pyright: ignore[reportArgumentType]


def next_line(text: TextIO) -> str:
    """The next line of `text`, empty at the end; of one that is too long a part, which is too long as well."""
    line = text.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE and not line.endswith("\n"):
        while (rest := text.readline(CHUNK)) and not rest.endswith("\n"):
            pass
        line += "\n"
    return line


def quarantined(line: str) -> str:
    """What the quarantine keeps of a line, without its end."""
    text = line.rstrip("\n")[:QUARANTINED_TEXT]
    return TOO_LONG + text if len(line) > LONGEST_LINE else text


def write_cut(file: LandingFile, copy: Path) -> Path:
    """Write the lines of `file`, unpacked, to `copy`; one that is too long becomes what the quarantine keeps of it."""
    with file.stream() as stream, text_of(stream) as text, copy.open("w", encoding="latin-1", newline="\n") as written:
        while line := next_line(text):
            written.write(f"{quarantined(line)}\n" if len(line) > LONGEST_LINE else line)
    return copy
