"""CSV files whose refused lines would take their neighbours with them, written out evenly so that they do not.

Belongs here: looking at lines and quotes, those of landing files in latin-1, where every byte is a sign. Does not
belong here: columns and values (`readers.py`, `crm.py`).
"""

import csv
import io
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gesture_assets.sources.landing_file import CHUNK, LONGEST_LINE, LandingFile
from gesture_assets.sources.long_lines import next_line, quarantined, text_of

QUOTED_LINES = 100  # a field that runs over more lines than these is taken for one whose quote was never closed

csv.field_size_limit(LONGEST_LINE)


def has_blank_lines(file: LandingFile) -> bool:
    """Whether two line ends of the file, unpacked, follow each other."""
    with file.stream() as stream:
        last = b""
        while chunk := stream.read(CHUNK):
            chunk = last + chunk
            if any(pair in chunk for pair in (b"\n\n", b"\n\r", b"\r\r")):
                return True
            last = chunk[-1:]
    return False


def write_evenly(file: LandingFile, copy: Path, width: int) -> Path:
    """Write `file`, unpacked, to `copy`: line feeds as line ends, no blank lines, and no quote that stays open.

    A line with a quote that does not close as the header's `width` columns ask for is no record. It is written as one
    quoted field and more fields than there are columns, which the reader refuses without touching its neighbours.
    """
    delimiter = file.delimiter
    # Every byte is a sign of latin-1, so nothing is changed that is not looked at; line ends become line feeds.
    with (
        file.stream() as stream,
        text_of(stream) as text,
        copy.open("w", encoding="latin-1", newline="\n") as written,
    ):
        written.write(text.readline())
        for _, record, is_whole in records(text, delimiter, width):
            if is_whole:
                written.write(record)
            else:
                broken = quarantined(record).replace('"', '""')
                written.write(f'"{broken}"{refused_end(delimiter, width)}\n')
    return copy


def records(text: TextIO, delimiter: str, width: int) -> Iterator[tuple[int, str, bool]]:
    """The records of `text`, whose header has been read: first line from 1, text, and whether its quotes close.

    One over several lines needs the header's `width` columns. What is no record is one line, so that it takes none of
    its neighbours along. Blank lines are none.
    """
    ahead: deque[str] = deque()
    number = 1
    while line := ahead.popleft() if ahead else next_line(text):
        number += 1
        if line == "\n":
            continue
        taken = _record_lines(line, ahead, text, delimiter, width)
        yield number, line + "".join(ahead.popleft() for _ in range(taken or 0)), taken is not None
        number += taken or 0


def refused_end(delimiter: str, width: int) -> str:
    """What follows the quoted field of a line that is no record: more fields than there are columns."""
    return delimiter * width + "-"


def _record_lines(line: str, ahead: deque[str], text: TextIO, delimiter: str, width: int) -> int | None:
    """How many lines after `line` belong to its record; None where it is none. `ahead` is filled from `text`."""
    if len(line) > LONGEST_LINE:
        return None
    if '"' not in line:
        return 0
    record, taken = line, 0
    while True:
        # Lines without a quote cannot close one: parsing waits for those that may.
        if taken == 0 or '"' in ahead[taken - 1]:
            try:
                fields = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=True))
            except csv.Error as error:
                if str(error) != "unexpected end of data":
                    return None
            else:
                return taken if taken == 0 or len(fields) == width else None
        if taken == len(ahead):
            ahead.extend(following := [next_line(text)] if taken < QUOTED_LINES else [])
            if not following or not following[0]:
                if ahead and not ahead[-1]:
                    ahead.pop()
                return None
        record += ahead[taken]
        taken += 1
        if taken > QUOTED_LINES or len(record) > LONGEST_LINE:
            return None
