"""Every record of a CSV file that several threads read has its own line, whatever stands around it.

The files are larger than one buffer of the engine's reader and than one of its row groups.
"""

import csv
import gzip
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import find_files, open_file
from gesture_assets.sources.landing_file import LONGEST_LINE
from gesture_assets_tests.conftest import KEY

HEADER = ("event_id", "user_id", "event_type", "event_at", "city", "user_agent")
RECORDS = 260_000
ROW_GROUP = 122_880
AGENT = (
    '"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"'
)

Fault = Callable[[random.Random, str], str]


def well_formed(draw: random.Random, line: str) -> str:
    return line


def refused(draw: random.Random, line: str) -> str:
    """A line with too few columns, or too many; over several lines it would be as many records."""
    return line if "\n" in line else draw.choice((line + ",too,many", line.partition(",")[0], line))


def of_every_kind(draw: random.Random, line: str) -> str:
    """A line that is refused, or followed by blank ones, or ends in its own way."""
    return refused(draw, line) + draw.choice(("", "\r", "\r\n", "\n\n", "\r\n\n\r\n"))


def write_file(path: Path, fault: Fault, seed: int) -> None:
    """Records of quotes, line ends within quotes, offsets and a mark of byte order, with a `fault` now and then."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        file.write(",".join(HEADER) + "\n")
        for number in range(RECORDS):
            city = draw.choice(("Leeds", '"Leeds, ""West"""', '"two\nlines"', "Zürich", '" x "'))
            at = f"2026-03-0{number % 9 + 1}{draw.choice(' T')}10:00:{number % 60:02}{draw.choice(('', 'Z', '+02'))}"
            line = f"e{number},u{number % 1000},page_view,{at},{city},{AGENT}"
            file.write((fault(draw, line) if draw.random() < 0.001 else line).rstrip("\n") + "\n")


def expected_lines(path: Path) -> list[tuple[int, str | None, datetime | None, str | None]]:
    """Line, id, moment and city of every record, by Python's own reader; of a refused one the line alone."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = [record for record in csv.reader(file) if record]
    moments: dict[str, datetime] = {}

    def moment(text: str) -> datetime:
        if text not in moments:
            parsed = datetime.fromisoformat(text)
            moments[text] = (parsed - (parsed.utcoffset() or parsed - parsed)).replace(tzinfo=None)
        return moments[text]

    return [
        (line, record[0], moment(record[3]), " ".join(record[4].split()))
        if len(record) == len(HEADER)
        else (line, None, None, None)
        for line, record in enumerate(records[1:], start=2)
    ]


@pytest.mark.parametrize("fault", [well_formed, refused, of_every_kind])
def test_a_large_file_has_the_lines_that_another_reader_finds(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, fault: Fault
) -> None:
    path = tmp_path / "landing" / "native" / "large.csv"
    path.parent.mkdir(parents=True)
    write_file(path, fault, seed=7)
    assert path.stat().st_size > 4 * LONGEST_LINE, "several threads read it"
    assert RECORDS > 2 * ROW_GROUP
    connection.execute("set threads = 4")
    (file,) = find_files(tmp_path / "landing", load_descriptions(tmp_path), tmp_path)
    opened = open_file(connection, file, table="memory.main.large_rows", key=KEY, indexed_at=datetime(2026, 3, 10))
    found = connection.execute(
        f"select landing_line, event_id, event_at, city from {opened.sql} order by landing_line"
    ).fetchall()
    expected = expected_lines(path)
    assert found == expected
    assert (sum(row[1] is None for row in expected) > 10) == (fault is not well_formed)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl"])
def test_lines_that_are_refused_where_a_part_begins_are_counted(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, form: str
) -> None:
    """A thread that begins at a line that it refuses looks for a better one, and tells nobody of those before."""
    good, refused = b"e,u,page_view,2026-03-09 10:00:00\n", b"x" * 500_000 + b"\n"
    if form == "jsonl":
        refused = b"\xff" + refused
        good = b'{"user_id": "u", "event_type": "search", "event_at": 1773050400, "received_at": 1773050400}\n'
    content = good * 10 + refused * 80 + good * 10
    assert len(content) > 4 * LONGEST_LINE
    content = content if form == "jsonl" else b"event_id,user_id,event_type,event_at\n" + content
    path = tmp_path / "landing" / "native" / f"large.{form}"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(content, 1) if form.endswith("gz") else content)
    connection.execute("set threads = 4")
    (file,) = find_files(tmp_path / "landing", load_descriptions(tmp_path), tmp_path)
    opened = open_file(connection, file, table="memory.main.large_rows", key=KEY, indexed_at=datetime(2026, 3, 10))
    found = connection.execute(f"select landing_line, reason from {opened.sql} order by landing_line").fetchall()
    first = 1 + (form != "jsonl")
    assert found == [(first + place, "unreadable_row" if 10 <= place < 90 else None) for place in range(100)]
