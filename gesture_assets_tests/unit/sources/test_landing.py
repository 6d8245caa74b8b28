"""Landing files: every row of every format comes out once, in our words or with the reason why not."""

import gzip
import hashlib
import hmac
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from gesture_assets.errors import ConfigError, SourceError
from gesture_assets.events.tables import IGNORED, REASONS
from gesture_assets.sources.description import SourceDescription, load_descriptions
from gesture_assets.sources.landing import LandingFile, OpenFile, find_files, open_file
from gesture_assets.sources.redaction import mask_refused_rows

KEY = "a key for tests only"
INDEXED_AT = datetime(2026, 3, 10, 2, 0)
HEADER = "event_id,user_id,event_type,event_at,received_at"
GOOD = "2026-03-09 10:00:00,2026-03-09 10:00:05"


@dataclass
class Landing:
    """A landing folder whose files are found and opened as the warehouse does it."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    opened: int = 0

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def files(self, *own: SourceDescription) -> list[LandingFile]:
        nobody = self.folder.parent / "sources"
        known = load_descriptions(nobody) | {description.name: description for description in own}
        return list(find_files(self.folder, known, nobody))

    def open(self, name: str, content: str | bytes | None = None, *own: SourceDescription) -> OpenFile:
        if content is not None:
            self.write(name, content)
        (file,) = [file for file in self.files(*own) if file.name == name]
        self.opened += 1
        table = f"scratch.main.rows_{self.opened}"
        return open_file(self.connection, file, table=table, key=KEY, indexed_at=INDEXED_AT)

    def rows(self, name: str, content: str | bytes | None = None, *own: SourceDescription) -> list[dict]:
        opened = self.open(name, content, *own)
        self.connection.execute(f"create or replace temp table found as from {opened.sql}")
        mask_refused_rows(self.connection, "found")
        result = self.connection.execute("from found order by landing_line")
        columns = [column[0] for column in result.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def row(self, header: str, values: str, *own: SourceDescription, folder: str = "native") -> dict:
        (row,) = self.rows(f"{folder}/one.csv", f"{header}\n{values}\n", *own)
        return row

    def reasons(self, name: str, content: str | bytes | None = None) -> list[tuple[int, str | None]]:
        return [(row["landing_line"], row["reason"]) for row in self.rows(name, content)]


@pytest.fixture
def landing(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Iterator[Landing]:
    connection.execute(f"set threads = 1; attach '{tmp_path / 'x.duckdb'}' as scratch")  # each prepares all patterns
    folder = tmp_path / "landing"
    folder.mkdir()
    yield Landing(connection, folder)
    connection.execute("detach scratch")


def described(name: str = "shop", **changes: object) -> SourceDescription:
    columns = {"event_id": ("id",), "user_id": ("user",), "event_type": ("type",), "event_at": ("at",)}
    return SourceDescription(name=name, **{"columns": columns, **changes})  # type: ignore[arg-type]


def keyed(email: str) -> str:
    return hmac.new(KEY.encode(), email.encode(), hashlib.sha256).hexdigest()


# ---- formats ----

SAMPLE = """select * from (values
    ('e1', '7', 'page_view', timestamp '2026-03-09 10:00:00.25', timestamp '2026-03-09 10:00:05', 'GB', 1.5),
    ('e2', '8', 'purchase', timestamp '2026-03-09 23:59:59', timestamp '2026-03-10 00:00:01', null, null),
    ('e3', 'Ümit, "the buyer"', 'search', timestamp '2026-03-08 10:00:00', timestamp '2026-03-09 11:00:00', 'DE', 0)
) as t(event_id, user_id, event_type, event_at, received_at, country, dwell_seconds)"""


def sample(landing: Landing, name: str, options: str, select: str = "*") -> list[dict]:
    path = landing.folder / "native" / name
    path.parent.mkdir(exist_ok=True)
    landing.connection.execute(f"copy (select {select} from ({SAMPLE})) to '{path}' ({options})")
    return landing.rows(f"native/{name}")


def comparable(rows: list[dict], header_lines: int) -> list[dict]:
    return [{**row, "landing_file": "", "landing_line": row["landing_line"] - header_lines} for row in rows]


def test_every_format_gives_the_same_rows(landing: Landing) -> None:
    zoned = "* replace (event_at::timestamptz as event_at, received_at::timestamptz as received_at)"
    expected = comparable(sample(landing, "a.csv", "format csv, header"), 1)
    assert [row["user_id"] for row in expected] == ["7", "8", 'Ümit, "the buyer"']
    assert [row["landing_line"] for row in expected] == [1, 2, 3]
    assert expected[0]["event_at"] == datetime(2026, 3, 9, 10, 0, 0, 250_000)
    assert [row["reason"] for row in expected] == [None] * 3
    assert [str(row["filing_day"]) for row in expected] == ["2026-03-09", "2026-03-10", "2026-03-09"]
    assert comparable(sample(landing, "b.csv.gz", "format csv, header, compression gzip"), 1) == expected
    assert comparable(sample(landing, "c.csv.zst", "format csv, header, compression zstd"), 1) == expected
    assert comparable(sample(landing, "d.tsv", "format csv, header, delimiter '\t'"), 1) == expected
    assert comparable(sample(landing, "e.jsonl", "format json"), 0) == expected
    assert comparable(sample(landing, "f.jsonl.gz", "format json, compression gzip"), 0) == expected
    assert comparable(sample(landing, "g.parquet", "format parquet"), 0) == expected
    assert comparable(sample(landing, "h.parquet", "format parquet", zoned), 0) == expected
    as_text = "* replace (event_at::varchar as event_at, received_at::varchar as received_at)"
    assert comparable(sample(landing, "i.parquet", "format parquet", as_text), 0) == expected


def test_an_integer_id_of_parquet_is_the_text_that_csv_has(landing: Landing) -> None:
    as_integer = "* replace (coalesce(try_cast(user_id as bigint), 9) as user_id)"
    rows = sample(landing, "a.parquet", "format parquet", as_integer)
    assert [row["user_id"] for row in rows] == ["7", "8", "9"]
    assert landing.row(HEADER, f"e1,7,page_view,{GOOD}")["user_id"] == "7"
    assert landing.row(HEADER, f"e1,07,page_view,{GOOD}")["user_id"] == "07", "leading zeros belong to an id"


def test_parquet_dates_and_nanoseconds_are_times(landing: Landing) -> None:
    select = "* replace (event_at::date as event_at, received_at::timestamp_ns as received_at)"
    rows = sample(landing, "a.parquet", "format parquet", select)
    assert [row["event_at"] for row in rows] == [datetime(2026, 3, 9), datetime(2026, 3, 9), datetime(2026, 3, 8)]
    assert [row["reason"] for row in rows] == [None] * 3


def test_epoch_seconds_of_parquet_are_times(landing: Landing) -> None:
    select = "* replace (epoch(event_at)::bigint as event_at, epoch_ms(received_at) as received_at)"
    rows = sample(landing, "a.parquet", "format parquet", select)
    assert rows[0]["event_at"] == datetime(2026, 3, 9, 10)
    assert rows[0]["received_at"] == datetime(2026, 3, 9, 10, 0, 5)


def test_a_header_without_rows_gives_none(landing: Landing) -> None:
    assert landing.rows("native/a.csv", HEADER + "\n") == []
    assert landing.rows("native/b.csv", HEADER) == [], "also without an end of line"


def test_files_that_are_still_being_written_are_left_alone(landing: Landing) -> None:
    for name in ("a.csv.tmp", "a.csv.part", ".a.csv", "_SUCCESS"):
        landing.write(f"native/{name}", HEADER)
    assert landing.files() == []
    landing.write("native/2026/03/a.csv", HEADER)
    assert [file.name for file in landing.files()] == ["native/2026/03/a.csv"]


# ---- names of files and folders ----

ONE = f"{HEADER}\ne1,u,page_view,{GOOD}\n"
ODD_NAMES = (
    "a[1]",
    "a*",
    "a?",
    "[a-z]",
    "[",
    "]",
    "[!a]",
    "**",
    "it's",
    'a "b"',
    "a{1,2}",
    "a b",
    "%41",
    "ä",
    "a\\b",
    "#",
)


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "csv.gz"])
def test_a_file_name_is_a_name_and_no_pattern(landing: Landing, name: str, form: str) -> None:
    options = {"jsonl": "format json", "parquet": "format parquet"}.get(form, "format csv, header")
    for file, event_id in (("a1", "other"), ("aa", "other"), ("a", "other"), ("x", "own")):
        path = landing.folder / "native" / f"{file}.{form}"
        path.parent.mkdir(exist_ok=True)
        select = f"select * replace ('{event_id}' as event_id) from ({SAMPLE}) limit 1"
        landing.connection.execute(f"copy ({select}) to '{path}' ({options})")
    (landing.folder / "native" / f"x.{form}").rename(landing.folder / "native" / f"{name}.{form}")
    assert [row["event_id"] for row in landing.rows(f"native/{name}.{form}")] == ["own"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_is_called_as_its_source_is(landing: Landing, name: str) -> None:
    (row,) = landing.rows(f"{name}/date=2026-03-09/a.csv", "user,type,at\nu,page_view,2026-03-09\n", described(name))
    assert (row["source"], row["user_id"]) == (name, "u")


def test_a_name_that_is_no_text_is_refused(landing: Landing) -> None:
    folder = landing.folder / "native"
    folder.mkdir()
    (folder / b"a\xff.csv".decode(errors="surrogateescape")).write_text(ONE)
    with pytest.raises(SourceError, match=r"(?s)a name in UTF-8.*a\\udcff.csv"):
        landing.files()


@pytest.mark.parametrize(
    "name", ["A.CSV", "a.CSV.GZ", "A.Csv.Gz", "a.TSV", "a.TSV.gz", "A.JSONL", "a.NDJSON.ZST", "a.PARQUET"]
)
def test_an_ending_is_known_in_any_case(landing: Landing, name: str) -> None:
    form = name.lower().split(".")[1]
    kind = {"tsv": "csv, delimiter '\t'", "ndjson": "json", "jsonl": "json"}.get(form, form)
    packed = {"gz": ", compression gzip", "zst": ", compression zstd"}.get(name.lower().split(".")[-1], "")
    assert [row["event_id"] for row in sample(landing, name, f"format {kind}{packed}")] == ["e1", "e2", "e3"]


def test_a_packed_file_of_any_case_keeps_its_refused_rows(landing: Landing) -> None:
    good = f"e,u,page_view,{GOOD}"
    packed = gzip.compress("\n".join([HEADER, good, "", "e,u", good, 'e,"u', ""]).encode())
    expected = [(2, None), (3, "unreadable_row"), (4, None), (5, "unreadable_row")]
    assert landing.reasons("native/A.CSV.GZ", packed) == expected


def test_a_file_still_being_written_may_say_so_in_capitals(landing: Landing) -> None:
    landing.write("native/a.csv.TMP", ONE)
    assert landing.files() == []


# ---- nothing is passed over in silence ----


def test_a_linked_folder_is_read_as_one_that_lies_there(landing: Landing, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "a.csv").write_text(ONE)
    landing.write("native/b.csv", ONE)
    (landing.folder / "native" / "linked").symlink_to(tmp_path / "elsewhere")
    (landing.folder / "scoring_csv").symlink_to(tmp_path / "elsewhere" / "deep")
    assert [file.name for file in landing.files()] == ["native/b.csv", "native/linked/deep/a.csv", "scoring_csv/a.csv"]
    assert [row["event_id"] for row in landing.rows("native/linked/deep/a.csv")] == ["e1"]


@pytest.mark.parametrize("target", [".", "..", "../native"])
def test_a_link_that_leads_back_is_refused(landing: Landing, target: str) -> None:
    landing.write("native/b.csv", ONE)
    (landing.folder / "native" / "again").symlink_to(target)
    with pytest.raises(SourceError, match=r"(?s)native/again.*a link back to a folder it lies in"):
        landing.files()


def test_what_is_no_file_is_refused_by_name(landing: Landing) -> None:
    landing.write("native/b.csv", ONE)
    link = landing.folder / "native" / "gone.csv"
    link.symlink_to("/nowhere/x.csv")
    with pytest.raises(SourceError, match=r"(?s)native/gone.csv cannot be read.*a link to /nowhere/x.csv.*gesture run"):
        landing.files()
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(SourceError, match=r"(?s)native/gone.csv cannot be read.*no file and no folder"):
        landing.files()
    link.unlink()
    (landing.folder / "shop").symlink_to("/nowhere")
    with pytest.raises(SourceError, match=r"(?s)shop cannot be read.*a link to /nowhere"):
        landing.files()


@pytest.mark.parametrize("name", ["loose.csv", "LOOSE.CSV.GZ", "loose.parquet", "loose.json"])
def test_a_file_that_lies_in_no_source_s_folder_is_refused_by_name(landing: Landing, name: str) -> None:
    landing.write(name, ONE)
    with pytest.raises(
        SourceError, match=rf"(?s)The landing file {name} cannot be read.*move the file into the folder"
    ):
        landing.files()


def test_a_note_beside_the_folders_of_sources_is_named(landing: Landing, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("README.md", "notes", ".keep", "_SUCCESS", "a.csv.part"):
        landing.write(name, "anything")
    assert landing.files() == []
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["README.md", "notes"]


# ---- rows that are no events ----

MALFORMED = [
    (f"e,u,page_view,{GOOD}", None),
    (f"e,,page_view,{GOOD}", "missing_user_id"),
    (f"e,  ,page_view,{GOOD}", "missing_user_id"),
    (f"e,u,,{GOOD}", "missing_event_type"),
    (f"e,u,levitation,{GOOD}", "unknown_event_type"),
    ("e,u,page_view,yesterday,2026-03-09 10:00:05", "unparsable_timestamp"),
    ("e,u,page_view,,2026-03-09 10:00:05", "unparsable_timestamp"),
    ("e,u,page_view,2026-02-30 10:00:00,2026-03-09 10:00:05", "unparsable_timestamp"),
    ("e,u,page_view,2026-03-09T10:00:00+14:00,2026-03-09 10:00:05", None),
    ("e,u,page_view,2026-03-09T10:00:00+25:00,2026-03-09 10:00:05", "unparsable_timestamp"),  # no zone is so far away
    ("e,u,page_view,2026-03-09 10:00:00,soon", "unparsable_received_at"),
    ("e,u,page_view,2026-03-09 10:00:00,", "unparsable_received_at"),
    ("e,u,page_view,2026-03-09 10:05:00,2026-03-09 10:00:00", None),
    ("e,u,page_view,2026-03-09 10:05:01,2026-03-09 10:00:00", "future_ts"),
    ("e,u,page_view,2025-03-09 10:00:00,2026-03-09 10:00:00", None),
    ("e,u,page_view,2025-03-09 09:59:59,2026-03-09 10:00:00", "too_old"),
    (f"e,10.1.2.3,page_view,{GOOD}", "personal_id"),
    (f"e,2001:db8:85a3:8d3:1319:8a2e:370:7348,page_view,{GOOD}", "personal_id"),
    *((f"e,{ip},page_view,{GOOD}", "personal_id") for ip in ("::1", "fe80::1%eth0", "2001:db8::")),
    *((f"e,{name},page_view,{GOOD}", None) for name in ("1.2.3", "node::12", "::")),
    (f'e,"{{""a"": 1}}",page_view,{GOOD}', "structured_id"),
    (f"e,[1],page_view,{GOOD}", "structured_id"),
    (f"e,subscriber:80,page_view,{GOOD}", "reserved_id"),
    (f"e,anon:v9,page_view,{GOOD}", "reserved_id"),
    (f"anon:v9,ad:80,page_view,{GOOD}", None),
    (f"e,{{3F2504E0-4F89-11D3-9A0C-0305E82C3301}},page_view,{GOOD}", None),
    (f"e,1.2345678901234568e+16,page_view,{GOOD}", "inexact_id"),
    (f"e,u,page_view,{GOOD},one too many", "unreadable_row"),
    ("e,u,page_view", "unreadable_row"),
    ('e,"u,page_view', "unreadable_row"),
    (f"e,u\xff,page_view,{GOOD}", "unreadable_row"),
]


@pytest.mark.parametrize(("row", "reason"), MALFORMED)
def test_a_malformed_row_comes_out_once_with_its_reason_and_line(
    landing: Landing, row: str, reason: str | None
) -> None:
    good = f"e,u,page_view,{GOOD}"
    content = f"{HEADER}\n{good}\n{good}\n{row}\n".encode("latin-1")
    content += f"{good}\n{good}\n".encode()
    assert landing.reasons("native/a.csv", content) == [(2, None), (3, None), (4, reason), (5, None), (6, None)]


def test_the_malformed_rows_above_show_every_reason() -> None:
    assert {reason for _, reason in MALFORMED if reason} == set(REASONS)


def test_lines_stay_right_after_several_refused_rows(landing: Landing) -> None:
    content = "\n".join([HEADER, *(row for row, _ in MALFORMED)]).encode("latin-1")
    expected = [reason for _, reason in MALFORMED]
    assert landing.reasons("native/a.csv", content) == list(enumerate(expected, start=2))


@pytest.mark.parametrize(
    "header", ["line", "broken", "rowid", "place", "column_1", "file_row_number", "reason", "raw_1"]
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_header_that_is_a_name_of_ours_moves_no_line(landing: Landing, header: str, form: str) -> None:
    path = landing.write("native/one.csv", f"{header},{HEADER}\n7,e1,u,page_view,{GOOD}\nx,e2,u,odd,{GOOD}\n")
    if form == "parquet":
        landing.connection.execute(f"copy (from '{path}') to '{path.with_suffix('.parquet')}'")
    rows = landing.rows(f"native/one.{form}")
    assert [(row["event_id"], row["reason"]) for row in rows] == [("e1", None), ("e2", "unknown_event_type")]
    assert [row["landing_line"] for row in rows] == ([2, 3] if form == "csv" else [1, 2])
    assert json.loads(rows[1]["masked_row"])[header] == "x"


def test_a_field_with_line_ends_is_one_record(landing: Landing) -> None:
    content = f'{HEADER}\ne,"u\nv\nw",page_view,{GOOD}\ne,,page_view,{GOOD}\ne,u\ne,u,page_view,{GOOD}\n'
    rows = landing.rows("native/a.csv", content)
    assert [(row["landing_line"], row["reason"]) for row in rows] == [
        (2, None),
        (3, "missing_user_id"),
        (4, "unreadable_row"),
        (5, None),
    ]
    assert rows[0]["user_id"] == "u\nv\nw"


def test_lines_stay_right_after_field_with_line_ends_and_refused_rows_in_turn(landing: Landing) -> None:
    good, long, short = f"e,u,page_view,{GOOD}", f'e,"u\nv",page_view,{GOOD}', "e,u"
    records = [short, long, short, good, long, long, short, short, good]
    reasons = ["unreadable_row" if record == short else None for record in records]
    content = "\n".join([HEADER, *records, ""])
    assert landing.reasons("native/a.csv", content) == list(enumerate(reasons, start=2))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("open_quote", ['e,"u', 'e,"u\\"x', 'e,u","', 'e,"u"x,"', '"'])
def test_a_quote_that_is_never_closed_costs_its_own_record_only(landing: Landing, open_quote: str, end: str) -> None:
    good, several = f"e,u,page_view,{GOOD}", f'e,"u{end}{end}""v""{end}w",page_view,{GOOD}'
    broken = f"{open_quote},page_view,{GOOD}"
    records = [good, broken, several, good, broken, good, *[good] * 200, several, broken]
    rows = landing.rows("native/a.csv", end.join([HEADER, *records, ""]))
    assert [row["landing_line"] for row in rows] == list(range(2, len(records) + 2))
    assert [row["reason"] for row in rows] == ["unreadable_row" if r == broken else None for r in records]
    assert rows[1]["masked_row"] == broken
    assert rows[2]["user_id"].replace(end, "\n") == 'u\n\n"v"\nw'


def test_blank_lines_are_no_records_and_move_no_line_numbers(landing: Landing) -> None:
    good = f"e,u,page_view,{GOOD}"
    lines = [HEADER, good, "", "", "e,u", good, "", f"e,,page_view,{GOOD}", "e,u", good, "", ""]
    expected = [(2, None), (3, "unreadable_row"), (4, None), (5, "missing_user_id"), (6, "unreadable_row"), (7, None)]
    assert landing.reasons("native/a.csv", "\n".join(lines)) == expected
    assert landing.reasons("native/b.csv", "\r\n".join(lines)) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(landing: Landing, end: str) -> None:
    content = end.join([HEADER, f"e,u,page_view,{GOOD}", "e,u", f"f,v,purchase,{GOOD}", ""])
    rows = landing.rows("native/a.csv", content)
    assert [(row["landing_line"], row["reason"]) for row in rows] == [(2, None), (3, "unreadable_row"), (4, None)]
    assert rows[2]["received_at"] == datetime(2026, 3, 9, 10, 0, 5)


def test_mixed_line_ends_lose_no_row(landing: Landing) -> None:
    good = f"e,u,page_view,{GOOD}"
    content = f"{HEADER}\r\n{good}\n{good}\r\ne,u\n{good}\n"
    expected = [(2, None), (3, None), (4, "unreadable_row"), (5, None)]
    assert landing.reasons("native/a.csv", content) == expected


def test_a_list_of_nothing_has_no_rows(landing: Landing) -> None:
    assert landing.rows("matomo/a.json", "[]") == landing.rows("native/a.json", "\ufeff [\n]\n") == []


def test_fields_of_json_are_known_in_any_letters_as_headers_are(landing: Landing) -> None:
    """Written as `City` they were lost without a word, where a CSV file gave them."""
    written = {"Event_ID": "e1", "USER_ID": "u1", "Event_Type": "page_view", "event_at": "2026-03-09T10:00:00Z"}
    written |= {
        "received_at": "2026-03-09T10:00:01Z",
        "City": "Berlin",
        " Dwell_Seconds ": 12.5,
        "Email": "a@b.example",
    }
    csv = ",".join(written) + "\n" + ",".join(map(str, written.values())) + "\n"
    names = ("event_id", "user_id", "event_type", "city", "dwell_seconds", "email_key")
    of_csv, of_json = (
        [{name: row[name] for name in names} for row in landing.rows(file, content)]
        for file, content in (("native/a.csv", csv), ("native/a.jsonl", json.dumps(written) + "\n"))
    )
    assert of_json == of_csv
    assert (of_json[0]["city"], of_json[0]["dwell_seconds"]) == ("Berlin", 12.5)
    both = json.dumps(written | {"city": "Bonn"}) + "\n" + json.dumps(written) + "\n"
    assert [reason for _, reason in landing.reasons("native/b.jsonl", both)] == ["unreadable_row", None]
    tab = json.dumps(written | {"user_id\t": "u2"}) + "\n"
    assert [reason for _, reason in landing.reasons("native/c.jsonl", tab)] == ["unreadable_row"]


@pytest.mark.parametrize("sign", ["\u200b", "\u00a0", "\u2060", "\ufeff", "\t"])
def test_a_name_with_a_sign_around_it_that_nobody_sees_is_known(landing: Landing, sign: str) -> None:
    """In JSON it was lost without a word."""
    event = {
        "event_id": "e",
        "user_id": "u",
        "event_type": "page_view",
        "event_at": "2026-03-09",
        f"city{sign}": "Rome",
    }
    (of_json,) = landing.rows("native/a.jsonl", json.dumps(event) + "\n")
    (of_csv,) = landing.rows("native/a.csv", ",".join(event) + "\n" + ",".join(event.values()) + "\n")
    assert (of_json["city"], of_csv["city"]) == ("Rome", "Rome")


def test_an_event_of_a_list_has_its_own_fields_in_any_letters_before_its_record_s(landing: Landing) -> None:
    source = described(format="jsonl", event_list="hits")
    record = {"user": "u", "type": "page_view", "time": "2026-03-09T09:00:00Z"}
    hit = {"Id": "2", "Type": "purchase", "Time": "2026-03-09T10:00:00Z"}
    of_own = json.dumps({"user": "u", "hits": [hit]}) + "\n"
    (row,) = landing.rows("shop/a.jsonl", of_own, source)
    assert (row["event_id"], row["event_type"]) == ("2", "purchase")
    # The record has a type, too, in other letters: which one is meant nobody knows.
    (row,) = landing.rows("shop/b.jsonl", json.dumps(record | {"hits": [hit]}), source)
    assert row["reason"] == "unreadable_row"


def test_a_field_that_stands_there_twice_says_nothing(landing: Landing) -> None:
    line = '{"user_id":"u","event_type":"page_view","event_at":"2026-03-09","received_at":"2026-03-09",%s}\n'
    twice = ('"user_id":"v"', '"x":1,"x":2', '"context":{"user_id":"v"}')
    reasons = landing.reasons("native/a.jsonl", "".join(line % more for more in twice))
    assert reasons == [(1, "unreadable_row"), (2, None), (3, None)], "which of two is meant; none is read for x"


def test_json_lines_that_are_no_objects_come_out_with_their_lines(landing: Landing) -> None:
    good = json.dumps(
        {
            "event_id": "e",
            "user_id": 7,
            "event_type": "page_view",
            "event_at": "2026-03-09T10:00:00Z",
            "received_at": "2026-03-09T10:00:05Z",
        }
    )
    lines = [good, "{", good, "[1]", "", "7", good.replace("page_view", "levitation"), good]
    expected = [
        (1, None),
        (2, "unreadable_row"),
        (3, None),
        (4, "unreadable_row"),
        (6, "unreadable_row"),
        (7, "unknown_event_type"),
        (8, None),
    ]
    assert landing.reasons("native/a.jsonl", "\n".join(lines) + "\n") == expected
    assert landing.rows("native/a.jsonl")[0]["user_id"] == "7"


@pytest.mark.parametrize("key", ["", "\0", "\\", '"', "a.b", "*", "$", "[0]", "\n", "💥", "'; drop table x; --"])
def test_a_json_field_of_any_name_stops_nothing(landing: Landing, key: str) -> None:
    document = {
        "user_id": "u",
        "event_type": "page_view",
        "event_at": "2026-03-09",
        "received_at": "2026-03-09",
        key: "x",
    }
    assert landing.reasons("native/a.jsonl", json.dumps(document) + "\n") == [(1, None)]


def test_json_lines_keep_their_numbers_after_one_that_is_no_text(landing: Landing) -> None:
    good = b'{"user_id": "u", "event_type": "page_view", "event_at": 1773050400, "received_at": 1773050400}'
    content = b"\n".join([good, b'{"user_id": "\xff"}', good, b"", b'{"\xff"}', b"{", good])
    expected = [(1, None), (2, "unreadable_row"), (3, None), (5, "unreadable_row"), (6, "unreadable_row"), (7, None)]
    assert landing.reasons("native/a.jsonl", content) == expected


def test_a_json_line_with_quotes_and_control_signs_is_one_row(landing: Landing) -> None:
    document = {"user_id": 'a "b" \x01\t', "event_type": "page_view", "event_at": 1773050400, "received_at": 1773050400}
    (row,) = landing.rows("native/a.jsonl", json.dumps(document) + "\n")
    assert (row["reason"], row["event_at"]) == (None, datetime(2026, 3, 9, 10))


# ---- headers ----


@pytest.mark.parametrize("header", ["OUser_ID ", "user_id", " User_Id", "\ufeffuser_id", '"user_id"', "OUSER_ID"])
def test_a_header_is_recognised_whatever_its_case_and_spaces(landing: Landing, header: str) -> None:
    row = landing.row(f"{header},EVENT_TYPE, event_at ,received_at", f"u,page_view,{GOOD}")
    assert (row["user_id"], row["reason"]) == ("u", None)


def test_the_aliases_of_the_o_columns_work_in_every_source(landing: Landing) -> None:
    mine = described(columns={"user_id": ("user",), "event_type": ("type",), "event_at": ("at",)})
    row = landing.row("ouser_id,type,OCreated_At", "u,page_view,2026-03-09 10:00:00", mine, folder="shop")
    assert (row["user_id"], row["event_at"]) == ("u", datetime(2026, 3, 9, 10))


def test_a_ping_of_the_o_columns_loads_and_its_unknown_columns_are_named(landing: Landing) -> None:
    header = "OPing_ID ,OUser_ID ,omain_hashtag,event_type,ocreated_at,received_at"
    opened = landing.open("native/a.csv", f"{header}\np1,u,tea,page_view,{GOOD}\n")
    assert opened.unused_columns == ("omain_hashtag", "oping_id")
    (row,) = landing.rows("native/a.csv")
    assert (row["user_id"], row["event_at"], row["reason"]) == ("u", datetime(2026, 3, 9, 10), None)


def test_an_unknown_column_is_named_and_dropped(landing: Landing) -> None:
    opened = landing.open("native/a.csv", f"{HEADER},mood\ne,u,page_view,{GOOD},fine\n")
    assert (opened.unused_columns, opened.personal_columns) == (("mood",), ())
    assert "fine" not in str(landing.rows("native/a.csv"))


# ---- time ----


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2026-03-09 10:00:00", datetime(2026, 3, 9, 10)),
        ("2026-03-09T10:00:00", datetime(2026, 3, 9, 10)),
        ("2026-03-09T10:00:00Z", datetime(2026, 3, 9, 10)),
        ("2026-03-09T10:00:00.123456Z", datetime(2026, 3, 9, 10, 0, 0, 123_456)),
        ("2026-03-09T10:00:00+02:00", datetime(2026, 3, 9, 8)),
        ("2026-03-09 10:00:00-0530", datetime(2026, 3, 9, 15, 30)),
        ("2026-03-09 10:00:00+02", datetime(2026, 3, 9, 8)),
        ("2026-03-09", datetime(2026, 3, 9)),
        ("1773050400", datetime(2026, 3, 9, 10)),
        ("1773050400.5", datetime(2026, 3, 9, 10, 0, 0, 500_000)),
        ("1773050400500", datetime(2026, 3, 9, 10, 0, 0, 500_000)),
        ("1773050400500001", datetime(2026, 3, 9, 10, 0, 0, 500_001)),
        ("1773050400500001000", datetime(2026, 3, 9, 10, 0, 0, 500_001)),
        (" 2026-03-09 10:00:00 ", datetime(2026, 3, 9, 10)),
    ],
)
def test_a_time_becomes_utc(landing: Landing, written: str, utc: datetime) -> None:
    row = landing.row(HEADER, f"e,u,page_view,{written},2026-03-09 18:00:00")
    assert (row["event_at"], row["reason"]) == (utc, None)


ZONED = [
    *("2026-03-09 10:00:00 UTC", "2026-03-09 10:00:00.000 UTC", "2026-03-09 10:00:00 GMT", "2026-03-09T10:00:00 utc"),
    *("2026-03-09T10:00Z", "2026-03-09T10Z", "2026-03-09 10:00 UTC", "2026-03-09T10:00:00z", "2026-03-09t10:00:00Z"),
    *("20260309T100000Z", "20260309T1000Z", "20260309T100000.000Z", "20260309 100000 UTC", "20260309100000Z"),
    *("2026-03-09T11:00:00+01", "2026-03-09T11:00+01:00", "20260309T110000+0100", "2026-03-09 11:00:00 +0100"),
    *("2026-03-09 11:00:00 UTC+1", "2026-03-09 11:00:00 GMT+01:00", "2026-03-09 15:30:00 UTC+05:30"),
    *("2026-03-09 10:00:00 +0000 UTC", "2026-03-09 11:00:00 +0100 CET", "2026-03-09T11:00:00+01:00[Europe/Berlin]"),
    *("2026-03-09T10:00:00Z[UTC]", "2026-03-09 11:00:00 GMT+0100 (CET)", "2026-03-09 10:00:00 Zulu"),
    *("2026-03-09 05:30:00-0430", "2026/03/09 10:00:00 UTC", "2026-03-09 10:00:00,000 UTC", "2026-03-09T10:00:00.0Z"),
    *("2026-03-09 11:00:00 Europe/Berlin", "2026-03-09 06:00:00 America/New_York", "1773050400", "1773050400000"),
    *("2026-W11-1T10:00:00Z", "2026W111T100000Z", "2026-W11T11:00+01:00", "2026-068T10:00:00Z", "2026068T1000Z"),
    *("2026-03-09T09:59:60Z", "2026-03-09 10:59:60+01:00", "2026-03-09T09:59:60.0 UTC"),
]
LOCAL = [
    *("2026-03-09 11:00:00", "2026-03-09T11:00:00", "2026-03-09 11:00", "2026-03-09T11", "20260309T110000"),
    *(
        "20260309T1100",
        "20260309 110000",
        "20260309110000",
        "202603091100",
        "2026/03/09 11:00:00",
        "2026-03-09 11:00:00.000",
    ),
    *("2026-03-09 11:00:00,000", " 2026-03-09 11:00:00 "),
    *("2026-W11-1 11:00:00", "2026W11T11", "2026-068 11:00", "2026-03-09 10:59:60"),
]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
@pytest.mark.parametrize("written", ZONED)
def test_a_time_that_says_its_zone_is_of_that_zone(landing: Landing, written: str, zone: str) -> None:
    row = landing.row("id,user,type,at", f'e,u,page_view,"{written}"', described(time_zone=zone), folder="shop")
    assert (row["event_at"], row["reason"]) == (datetime(2026, 3, 9, 10), None)


@pytest.mark.parametrize("written", LOCAL)
def test_a_time_that_says_no_zone_is_of_the_source_s(landing: Landing, written: str) -> None:
    for zone, hour in (("Europe/Berlin", 10), ("UTC", 11)):
        row = landing.row("id,user,type,at", f'e,u,page_view,"{written}"', described(time_zone=zone), folder="shop")
        assert (row["event_at"], row["reason"]) == (datetime(2026, 3, 9, hour), None)


@pytest.mark.parametrize(
    "written", ["2026-W54-1", "2026-W11-8", "2025-W53-1", "2026-366", "2026-000", "2026-03-09T10:60:60"]
)
def test_a_day_that_no_year_has_is_refused_by_name(landing: Landing, written: str) -> None:
    assert landing.row("id,user,type,at", f"e,u,page_view,{written}", described(), folder="shop")["reason"] == (
        "unparsable_timestamp"
    )


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-27",
        "20261127",
        "2026/11/27",
        "2026-11-27 00:00:00",
        "2026-W48-5",
        "2026W485",
        "2026-331",
        "\t2026-11-27\u00a0",
    ],
)
def test_a_day_without_time_begins_where_the_source_is(landing: Landing, written: str) -> None:
    for zone, begin in (("Europe/Berlin", datetime(2026, 11, 26, 23)), ("America/New_York", datetime(2026, 11, 27, 5))):
        content = f"id,user,type,at\ne,u,page_view,{written}\nf,u,page_view,2026-11-27T12:00:00Z\n"
        rows = landing.rows("shop/a.csv", content, described(time_zone=zone, columns=described().columns))
        assert rows[0]["event_at"] == begin


@pytest.mark.parametrize(
    ("timestamp_format", "written"),
    [
        ("%d.%m.%Y %H:%M %z", "09.03.2026 12:00 +0200"),
        ("%d.%m.%Y %H:%M%z", "09.03.2026 12:00+02:00"),
        ("%d.%m.%Y %H:%M %Z", "09.03.2026 10:00 UTC"),
        ("%d.%m.%Y %H:%M %Z", "09.03.2026 06:00 America/New_York"),
        ("%d.%m.%Y %H:%M UTC", "09.03.2026 10:00 UTC"),
        ("%Y%m%dT%H%M%SZ", "20260309T100000Z"),
        ("%Y-%m-%d %H:%M:%S GMT", "2026-03-09 10:00:00 GMT"),
        ("%Y-%m-%d %H:%M:%S-04:30", "2026-03-09 05:30:00-04:30"),
        ("%Y-%m-%d %H:%M:%S+00", "2026-03-09 10:00:00+00"),
        ("100%%z %d.%m.%Y %H:%M", "100%z 09.03.2026 11:00"),
        ("%d.%m.%Y %H:%M", "09.03.2026 11:00"),
    ],
)
def test_a_zone_in_a_format_counts_more_than_the_source_s(
    landing: Landing, timestamp_format: str, written: str
) -> None:
    mine = described(timestamp_format=timestamp_format, time_zone="Europe/Berlin")
    row = landing.row("id,user,type,at", f"e,u,page_view,{written}", mine, folder="shop")
    assert (row["event_at"], row["reason"]) == (datetime(2026, 3, 9, 10), None)


AUTUMN = [
    ("2026-10-25T02:30:00", "2026-10-25T00:30:05Z", datetime(2026, 10, 25, 0, 30)),
    ("2026-10-25 02:30:00", "2026-10-25 00:30:00 UTC", datetime(2026, 10, 25, 0, 30)),
    ("2026-10-25T02:30:00", "2026-10-25T01:30:05Z", datetime(2026, 10, 25, 1, 30)),
    ("2026-10-25T02:30:00", "2026-10-25T01:29:59Z", datetime(2026, 10, 25, 0, 30)),
    ("2026-10-25T02:59:59", "2026-10-25T01:00:01Z", datetime(2026, 10, 25, 0, 59, 59)),
    ("2026-10-25T02:59:59", "2026-10-25T02:00:01", datetime(2026, 10, 25, 0, 59, 59)),
    ("2026-10-25T02:30:00", "2026-10-27T00:00:00Z", datetime(2026, 10, 25, 1, 30)),
    ("2026-10-25T01:30:00", "2026-10-24T23:30:05Z", datetime(2026, 10, 24, 23, 30)),
    ("2026-10-25T03:10:00", "2026-10-25T02:10:04Z", datetime(2026, 10, 25, 2, 10)),
    ("2026-10-25T03:02:00", "2026-10-25T02:00:00Z", datetime(2026, 10, 25, 2, 2)),
    ("2026-10-25T01:30:00Z", "2026-10-25T01:29:59Z", datetime(2026, 10, 25, 1, 30)),
    ("2026-10-25T02:30:00+01:00", "2026-10-25T01:29:59Z", datetime(2026, 10, 25, 1, 30)),
    ("1792891800", "2026-10-25T01:29:59Z", datetime(2026, 10, 25, 1, 30)),
]


@pytest.mark.parametrize(("written", "received", "utc"), AUTUMN)
def test_an_hour_that_a_clock_shows_twice_is_not_after_its_arrival(
    landing: Landing, written: str, received: str, utc: datetime
) -> None:
    columns = {**described().columns, "received_at": ("sent",)}
    mine = described(columns=columns, time_zone="Europe/Berlin")
    row = landing.row("id,user,type,at,sent", f"e,u,page_view,{written},{received}", mine, folder="shop")
    assert (row["event_at"], row["reason"]) == (utc, None)


@pytest.mark.parametrize(
    ("zone", "shown", "arrival", "utc"),
    [
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01 05:31:00", datetime(2026, 11, 1, 5, 30)),
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01 06:31:00", datetime(2026, 11, 1, 6, 30)),
        ("Australia/Lord_Howe", "2026-04-05 01:45:00", "2026-04-04 14:46:00", datetime(2026, 4, 4, 14, 45)),
    ],
)
def test_such_an_hour_is_read_alike_where_its_column_is_typed(
    landing: Landing, zone: str, shown: str, arrival: str, utc: datetime
) -> None:
    columns = {**described().columns, "received_at": ("sent",)}
    path = landing.folder / "shop" / "a.parquet"
    path.parent.mkdir()
    landing.connection.execute(
        f"""copy (select 'e' as id, 'u' as user, 'page_view' as type, timestamp '{shown}' as at,
            timestamptz '{arrival}+00' as sent) to '{path}' (format parquet)"""
    )
    mine = described(columns=columns, time_zone=zone)
    assert landing.rows("shop/a.parquet", None, mine)[0]["event_at"] == utc


@pytest.mark.parametrize(
    "written",
    [
        "12",
        "9.3.2026",
        "2026-03-09 25:00:00",
        "null",
        "1e9",
        "0",
        "infinity",
        "-infinity",
        "1970-01-01",
        "9999-12-31",
        "294247-01-10 04:00:54",
        "290309-12-22 (BC) 00:00:00",
        "99999999999999999999",
    ],
)
def test_what_is_no_time_is_none(landing: Landing, written: str) -> None:
    row = landing.row(HEADER, f"e,u,page_view,{written},2026-03-09 18:00:00")
    assert (row["event_at"], row["reason"]) == (None, "unparsable_timestamp")


@pytest.mark.parametrize("zone", ["BST", "AST", "PST", "EDT", "CEST", "IST", "EST5EDT", "Berlin"])
def test_an_abbreviation_that_several_zones_share_is_no_zone(landing: Landing, zone: str) -> None:
    row = landing.row(HEADER, f"e,u,page_view,2026-07-20 10:00:00 {zone},2026-07-20 18:00:00")
    assert (row["event_at"], row["reason"]) == (None, "unparsable_timestamp")
    mine = described(timestamp_format="%a %b %d %H:%M:%S %Z %Y")
    for written, hour in ((zone, None), ("utc", 10), ("Europe/Berlin", 8)):
        row = landing.row("id,user,type,at", f"e,u,page_view,Mon Jul 20 10:00:00 {written} 2026", mine, folder="shop")
        assert row["event_at"] == (hour and datetime(2026, 7, 20, hour))


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("202611281000", datetime(2026, 11, 28, 10)),
        ("202611281000Z", datetime(2026, 11, 28, 10)),
        ("202613281000", None),
        ("978307200000", datetime(2001, 1, 1)),  # milliseconds since 1970
    ],
)
def test_twelve_figures_that_begin_like_a_year_are_a_day_and_a_time(
    landing: Landing, written: str, utc: datetime | None
) -> None:
    assert landing.row("id,user,type,at", f"e,u,page_view,{written}", described(), folder="shop")["event_at"] == utc


@pytest.mark.parametrize(
    "local",
    [
        "2026-03-29 01:59:59",
        "2026-03-29 03:00:00",
        "2026-03-28 12:00:00",
        "2026-03-30 00:30:00",  # spring
        "2025-10-26 01:59:59",
        "2025-10-26 03:00:00",
        "2025-10-25 23:30:00",
        "2025-10-27 00:00:00",  # autumn
    ],
)
def test_a_time_without_offset_is_the_source_s_own_time_zone_s(landing: Landing, local: str) -> None:
    berlin = described(time_zone="Europe/Berlin")
    row = landing.row("id,user,type,at", f"e,u,page_view,{local}", berlin, folder="shop")
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(ZoneInfo("UTC"))
    assert row["event_at"] == moment.replace(tzinfo=None)


def test_an_hour_that_a_clock_shows_twice_or_never_is_still_within_an_hour(landing: Landing) -> None:
    berlin = described(time_zone="Europe/Berlin")
    rows = landing.rows(
        "shop/a.csv", "id,user,type,at\n1,u,page_view,2025-10-26 02:30:00\n2,u,page_view,2026-03-29 02:30:00\n", berlin
    )
    assert rows[0]["event_at"] in (datetime(2025, 10, 26, 0, 30), datetime(2025, 10, 26, 1, 30))
    assert abs(rows[1]["event_at"] - datetime(2026, 3, 29, 1, 0)) <= timedelta(hours=1)


def test_an_offset_counts_more_than_the_source_s_time_zone(landing: Landing) -> None:
    berlin = described(time_zone="Europe/Berlin")
    row = landing.row("id,user,type,at", "e,u,page_view,2025-07-01T10:00:00Z", berlin, folder="shop")
    assert row["event_at"] == datetime(2025, 7, 1, 10)
    row = landing.row("id,user,type,at", "e,u,page_view,1751364000", berlin, folder="shop")
    assert row["event_at"] == datetime(2025, 7, 1, 10), "and seconds since 1970 know no zone"


def test_a_timestamp_format_of_one_s_own(landing: Landing) -> None:
    mine = described(timestamp_format="%d.%m.%Y %H:%M", time_zone="Europe/Berlin")
    rows = landing.rows(
        "shop/a.csv", "id,user,type,at\n1,u,page_view,01.07.2025 12:00\n2,u,page_view,2025-07-01 12:00\n", mine
    )
    assert [(row["event_at"], row["reason"]) for row in rows] == [
        (datetime(2025, 7, 1, 10), None),
        (None, "unparsable_timestamp"),
    ]


def test_a_parquet_time_without_zone_is_the_source_s_own_time_zone_s(landing: Landing) -> None:
    berlin = described(time_zone="Europe/Berlin")
    path = landing.folder / "shop" / "a.parquet"
    path.parent.mkdir()
    landing.connection.execute(
        "copy (select 'e' as id, 'u' as user, 'page_view' as type, timestamp '2025-07-01 12:00:00' as at) "
        f"to '{path}' (format parquet)"
    )
    assert landing.rows("shop/a.parquet", None, berlin)[0]["event_at"] == datetime(2025, 7, 1, 10)


def test_where_there_is_one_clock_the_event_arrives_when_it_happens(landing: Landing) -> None:
    rows = landing.rows(
        "shop/a.csv",
        "id,user,type,at\n1,u,page_view,2026-03-09 10:00:00\n2,u,page_view,2026-03-10 02:05:00\n"
        "3,u,page_view,2026-03-10 02:05:01\n4,u,page_view,2020-01-01 00:00:00\n",
        described(),
    )
    assert rows[0]["received_at"] == rows[0]["event_at"] == datetime(2026, 3, 9, 10)
    assert [row["reason"] for row in rows] == [None, None, "future_ts", None], "an archive may be old"
    assert rows[2]["filing_day"] is None


@pytest.mark.parametrize("written", ["", "null", "2026-03-09T10:00:05Z"])
def test_a_clock_of_arrival_that_says_nothing_in_a_whole_file_is_none_in_every_format(
    landing: Landing, written: str
) -> None:
    event = {"event_id": "1", "user_id": "u", "event_type": "page_view", "event_at": "2026-03-09T10:00:00Z"}
    rows = [event, event | {"event_id": "2"}]
    full = [row | {"received_at": written} for row in rows]
    lines = "\n".join(map(json.dumps, full if written else rows))
    csv = "\n".join([HEADER, *(",".join(row.values()) for row in full)])
    expected = {"2026-03-09 10:00:05" if written.endswith("Z") else "2026-03-09 10:00:00"}
    for name, content in (("native/a.jsonl", lines), ("native/a.csv", csv)):
        found = landing.rows(name, content)
        assert [row["reason"] for row in found] == [None, None]
        assert {str(row["received_at"]) for row in found} == expected


# ---- personal data ----


@pytest.mark.parametrize("name", ["ip", "IP_Address", "client ip", "where_from", "notes"])
@pytest.mark.parametrize("value", ["10.1.2.3", "2001:db8:85a3:8d3:1319:8a2e:370:7348"])
def test_a_column_of_ip_addresses_is_dropped_and_named(landing: Landing, name: str, value: str) -> None:
    opened = landing.open("native/a.csv", f"{HEADER},{name}\ne,u,page_view,{GOOD},{value}\n")
    assert (opened.personal_columns, opened.unused_columns) == ((name.lower(),), ())
    assert value not in str(landing.rows("native/a.csv"))


def test_version_numbers_are_no_ip_addresses(landing: Landing) -> None:
    opened = landing.open("native/a.csv", f"{HEADER},app_version\ne,u,page_view,{GOOD},1.2.3\n")
    assert (opened.personal_columns, opened.unused_columns) == ((), ("app_version",))


def test_an_ip_address_in_a_refused_row_is_masked(landing: Landing) -> None:
    row = landing.row(f"{HEADER},ip,notes", f"e,,page_view,{GOOD},10.1.2.3,from 10.1.2.3 by ann@b.co")
    assert row["reason"] == "missing_user_id"
    assert "10.1.2.3" not in row["masked_row"]
    assert "ann@b.co" not in row["masked_row"]
    assert json.loads(row["masked_row"])["notes"] == "from *** by ***"


def test_names_are_masked_and_the_rest_of_a_refused_row_stays_readable(landing: Landing) -> None:
    row = landing.row(f"{HEADER},full_name,email", f"e,u,levitation,{GOOD},Ann Lee,ann@b.co")
    masked = json.loads(row["masked_row"])
    assert (masked["full_name"], masked["email"], masked["event_type"]) == ("***", "***", "levitation")
    assert "Ann" not in row["masked_row"]


def test_names_are_masked_in_refused_json_lines_too(landing: Landing) -> None:
    document = {
        "messageId": "m",
        "userId": "u",
        "event": "Levitated",
        "timestamp": "2026-03-09T10:00:00Z",
        "receivedAt": "2026-03-09T10:00:00Z",
        "context": {
            "ip": "10.1.2.3",
            "userAgent": "Mozilla/5.0 (X11)",
            "traits": {"name": "Ann Lee", "email": "ann@b.co"},
        },
    }
    (row,) = landing.rows("segment/a.jsonl", json.dumps(document) + "\n")
    assert row["reason"] == "unknown_event_type"
    assert "Levitated" in row["masked_row"]
    for personal in ("10.1.2.3", "Ann Lee", "ann@b.co", "Mozilla"):
        assert personal not in row["masked_row"]


def test_an_unreadable_row_of_a_file_with_names_is_hidden(landing: Landing) -> None:
    row = landing.row(f"{HEADER},full_name", f"e,u,page_view,{GOOD},Ann,Lee")
    assert row["reason"] == "unreadable_row"
    assert "Ann" not in row["masked_row"]
    assert "personal data" in row["masked_row"]


def test_names_in_a_broken_json_line_are_masked(landing: Landing) -> None:
    cut = '{"user_id": "u", "firstName": "Ann \\"A\\" Lee", "phone": 12345, "name": "Le'
    (row,) = landing.rows("native/a.jsonl", cut)
    assert row["reason"] == "unreadable_row"
    assert row["masked_row"] == '{"user_id": "u", "firstName": "***", "phone": "***", "name": "***"'


def test_an_ip_address_in_json_is_named_whatever_its_field_is_called(landing: Landing) -> None:
    document = {
        "user_id": "u",
        "event_type": "page_view",
        "event_at": "2026-03-09",
        "received_at": "2026-03-09",
        "from": "10.1.2.3",
        "ip": None,
        "mood": "fine",
    }
    assert landing.open("native/a.jsonl", json.dumps(document) + "\n").personal_columns == ("from",)


def test_addresses_in_an_unreadable_row_are_masked(landing: Landing) -> None:
    row = landing.row(HEADER, "e,ann@b.co,10.1.2.3,2001:db8:85a3:8d3:1319:8a2e:370:7348")
    assert row["reason"] == "unreadable_row"
    assert row["masked_row"] == "e,***,***,***"


def test_an_accepted_row_has_no_copy_of_itself(landing: Landing) -> None:
    assert landing.row(HEADER, f"e,u,page_view,{GOOD}")["masked_row"] is None


@pytest.mark.parametrize("written", ["ann@b.co", " Ann@B.co ", "ANN@B.CO"])
def test_an_email_address_becomes_a_keyed_hash(landing: Landing, written: str) -> None:
    row = landing.row(f"{HEADER},email", f"e,u,page_view,{GOOD},{written}")
    assert row["email_key"] == keyed("ann@b.co")
    assert "b.co" not in str(row).lower()


def test_what_is_no_email_address_is_not_hashed(landing: Landing) -> None:
    assert landing.row(f"{HEADER},email", f"e,u,page_view,{GOOD},none")["email_key"] is None


def test_an_email_address_as_user_id_is_pseudonymised(landing: Landing) -> None:
    rows = landing.rows(
        "native/a.csv", f"{HEADER},anonymous_id\n1,Ann@b.co,page_view,{GOOD},\n2,ann@b.co ,page_view,{GOOD},x@y.org\n"
    )
    assert {row["user_id"] for row in rows} == {"email:" + keyed("ann@b.co")[:32]}
    assert rows[1]["anonymous_id"] == "email:" + keyed("x@y.org")[:32]


ADDRESSES = [
    "o'brien@example.com",
    "jörg@bücher.example",
    "名前@例え.example",
    "почта@пример.рф",
    "a@b.xn--p1ai",
    '"john doe"@example.com',
    "ann+tag/x=y@example.com",
    "ann@localhost",
    "ann@[10.1.2.3]",
    "ann@[IPv6:2001:db8::1]",
    "{ann|bob}~#@example.co",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_any_letters_and_signs_is_pseudonymised(landing: Landing, address: str) -> None:
    cell = '"' + address.replace('"', '""') + ' "'
    row = landing.row(f"{HEADER},anonymous_id,session_id,email", f"{cell},{cell},page_view,{GOOD},{cell},{cell},{cell}")
    hashed = "email:" + keyed(address.lower())[:32]
    assert (row["user_id"], row["anonymous_id"], row["event_id"], row["reason"]) == (hashed, hashed, hashed, None)
    assert (row["source_session_id"], row["email_key"]) == (hashed, keyed(address.lower()))
    assert address not in str(row)


@pytest.mark.parametrize(
    "written",
    [
        *("JÖRG@bücher.example", "jo\u0308rg@bücher.example", "jörg%40bücher.example", "jörg%2540bücher.example"),
        *("jörg&#64;bücher.example", "jörg&commat;bücher.example", r"jörg\u0040bücher.example"),
        "\uff4aörg@bücher\uff0eexample",
    ],
)
@pytest.mark.parametrize("sign", ["@", "\uff20"])
def test_spellings_of_an_address_are_one_person(landing: Landing, written: str, sign: str) -> None:
    row = landing.row(HEADER, f"e,{written.replace('@', sign)},page_view,{GOOD}")
    assert row["user_id"] == "email:" + keyed("jörg@bücher.example")[:32]


@pytest.mark.parametrize("address", ["o'brien@example.com", "jörg@bücher.example", "名前@例え.jp", "ann\uff20b.co"])
def test_such_an_address_is_masked_in_the_quarantine(landing: Landing, address: str) -> None:
    row = landing.row(f"{HEADER},notes", f"e,{address},levitation,{GOOD},by {address}.")
    assert row["reason"] == "unknown_event_type"
    masked = json.loads(row["masked_row"])
    assert (masked["user_id"], masked["notes"]) == ("***", "by ***.")


def test_an_address_of_a_machine_in_signs_of_another_keyboard_is_one(landing: Landing) -> None:
    assert landing.row(HEADER, f"e,1.2.3.\uff14,page_view,{GOOD}")["reason"] == "personal_id"


@pytest.mark.parametrize("header", ["password", "auth_token", "credit_card", "Straße", "Postal Code", "cookie"])
def test_a_secret_in_a_refused_row_is_masked(landing: Landing, header: str) -> None:
    row = landing.row(f"event_id,event_type,event_at,user_id,{header}", "e,page_view,2026-03-09,,swordfish")
    assert row["reason"] == "missing_user_id"
    assert "swordfish" not in row["masked_row"]


def test_an_at_sign_alone_makes_no_email_address(landing: Landing) -> None:
    assert landing.row(HEADER, f"e,@ann,page_view,{GOOD}")["user_id"] == "@ann"


@pytest.mark.parametrize(
    ("agent", "family", "is_bot"),
    [
        ("Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 Chrome/120.0 Safari/537.36", "Chrome", False),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0", "Edge", False),
        ("Mozilla/5.0 (X11; rv:120.0) Gecko/20100101 Firefox/120.0", "Firefox", False),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "bot", True),
        ("python-requests/2.31", "bot", True),
        ("Something else", "other", False),
        ("", None, False),
    ],
)
def test_a_user_agent_is_dropped_and_its_family_stays(
    landing: Landing, agent: str, family: str | None, is_bot: bool
) -> None:
    row = landing.row(f"{HEADER},user_agent", f'e,u,page_view,{GOOD},"{agent}"')
    assert (row["user_agent_family"], row["is_bot_agent"]) == (family, is_bot)
    assert not agent or agent not in [row[name] for name in row if name != "user_agent_family"]


# ---- values ----


def test_sql_in_an_id_stays_a_text(landing: Landing) -> None:
    evil = "'; drop table x; --"
    landing.connection.execute("create table x as select 1 as one")
    row = landing.row(f"{HEADER},city", f"{evil},{evil},page_view,{GOOD},{evil}")
    assert (row["event_id"], row["user_id"], row["city"], row["reason"]) == (evil, evil, evil, None)
    assert landing.connection.execute("from x").fetchall() == [(1,)]


def test_sql_in_a_header_and_in_a_file_name_stays_a_text(landing: Landing) -> None:
    (row,) = landing.rows("native/it's; drop table x.csv", f"{HEADER},a\"b'c\ne,u,page_view,{GOOD},1\n")
    assert (row["landing_file"], row["reason"]) == ("native/it's; drop table x.csv", None)


def test_a_huge_text_is_no_event_and_stops_nothing(landing: Landing) -> None:
    good = f"e,u,page_view,{GOOD}"
    content = f"{HEADER}\n{good}\ne,{'u' * (9 * 1024 * 1024)},page_view,{GOOD}\n{good}\n"
    assert landing.reasons("native/a.csv", content) == [(2, None), (3, "unreadable_row"), (4, None)]


def test_a_formula_stays_a_text(landing: Landing) -> None:
    assert landing.row(HEADER, f"e,=cmd(),page_view,{GOOD}")["user_id"] == "=cmd()"


def test_devices_and_countries_are_translated(landing: Landing) -> None:
    rows = landing.rows(
        "native/a.csv",
        f"{HEADER},device,country\n"
        + "".join(
            f"{n},u,page_view,{GOOD},{device},{country}\n"
            for n, (device, country) in enumerate(
                [("Desktop", "gb"), ("iOS", "uk"), ("iPad", "USA"), ("fridge", ""), ("", "DE "), ("", "xx"), ("", "ZZ")]
            )
        ),
    )
    assert [row["device"] for row in rows] == ["desktop", "mobile", "tablet", "other", None, None, None]
    assert [row["country"] for row in rows] == ["GB", "GB", "US", None, "DE", None, None], "XX and ZZ are none"
    assert [row["unreadable"] for row in rows] == [None] * 7


def test_event_names_are_mapped_whatever_their_case(landing: Landing) -> None:
    rows = landing.rows(
        "shop_clickstream/a.csv",
        "user_id,event,timestamp,session_id\nu,HOME,2026-03-09 10:00:00,1\nu,purchase,2026-03-09 10:01:00,1\n"
        "u,page_view,2026-03-09 10:02:00,1\n",
    )
    assert [(row["event_type"], row["event_name"]) for row in rows] == [
        ("page_view", "home"),
        ("purchase", "purchase"),
        (None, "page_view"),
    ]
    assert rows[2]["reason"] == "unknown_event_type", "a source with names of its own uses those only"


def test_an_id_in_two_forms_of_unicode_is_one(landing: Landing) -> None:
    rows = landing.rows("native/a.csv", f"{HEADER}\n1,Caf\u00e9,page_view,{GOOD}\n2,Cafe\u0301,page_view,{GOOD}\n")
    assert [row["user_id"] for row in rows] == ["Caf\u00e9"] * 2


def test_event_names_are_mapped_whatever_stands_between_their_words(landing: Landing) -> None:
    own = 'ignore = ["page ping"]\n[event_types]\n"Demo Requested" = "demo_request_click"\n'
    (landing.folder.parent / "sources").mkdir(exist_ok=True)
    (landing.folder.parent / "sources" / "shop_clickstream.toml").write_text(own)
    names = ("demo_requested", "demo-requested", "DEMO  REQUESTED", "page_ping", "demorequested")
    lines = "".join(f"u,{name},2026-03-09 10:00:00,{n}\n" for n, name in enumerate(names))
    rows = landing.rows("shop_clickstream/a.csv", f"user_id,event,timestamp,session_id\n{lines}")
    assert [(row["event_type"], row["reason"]) for row in rows] == [
        *[("demo_request_click", None)] * 3,
        (None, IGNORED),
        (None, "unknown_event_type"),
    ]


def test_an_anonymous_visitor_has_an_id_of_its_own_kind(landing: Landing) -> None:
    rows = landing.rows(
        "native/a.csv",
        f"{HEADER},anonymous_id\n1,,page_view,{GOOD},x\n2,u,page_view,{GOOD},x\n3,,page_view,{GOOD},\n",
    )
    assert [(row["user_id"], row["known_user_id"], row["anonymous_id"], row["reason"]) for row in rows] == [
        ("anon:x", None, "x", None),
        ("u", "u", "x", None),
        (None, None, None, "missing_user_id"),
    ]


def test_numbers_and_flags_are_read_or_null(landing: Landing) -> None:
    row = landing.row(
        "event_id,user_id,event_type,timestamp,bounce_flag,spam_flag,is_repeat_session,time_on_page_sec,recent_pages_viewed",
        "e,u,page_view,2026-03-09 10:00:00,True,0,maybe,12.5,3.0",
        folder="scoring_csv",
    )
    flags = (row["is_bounce"], row["is_spam"], row["is_repeat_session"])
    assert (*flags, row["dwell_seconds"], row["recent_pages_viewed"]) == (True, False, None, 12.5, 3)


@pytest.mark.parametrize("written", ["nan", "inf", "-Infinity", "1e308", "1e400", "much", ""])
def test_a_number_beyond_all_sense_is_none(landing: Landing, written: str) -> None:
    row = landing.row(f"{HEADER},dwell_seconds,account_balance_usd", f"e,u,page_view,{GOOD},{written},{written}")
    assert (row["dwell_seconds"], row["account_balance_usd"], row["reason"]) == (None, None, None)
    is_said = written in ("1e308", "1e400", "much")
    assert row["unreadable"] == ("dwell_seconds account_balance_usd" if is_said else None)


@pytest.mark.parametrize(
    "written",
    ["12,5", "1.234,56", "1,234.56", "12.5 s", "45%", "$3", "0x10", "twelve", "1.2.3", "1_000", "true", "-1"],
)
def test_a_number_that_cannot_be_read_is_said_to_be_one(landing: Landing, written: str) -> None:
    header = "event_id,user_id,event_type,timestamp,time_on_page_sec,recent_pages_viewed,bounce_flag,spam_flag"
    row = landing.row(header, f'e,u,page_view,2026-03-09,"{written}","{written}",maybe,null', folder="scoring_csv")
    assert (row["dwell_seconds"], row["recent_pages_viewed"], row["is_bounce"], row["is_spam"]) == (None,) * 4
    assert (row["unreadable"], row["reason"]) == ("is_bounce dwell_seconds recent_pages_viewed", None)


def test_half_a_page_is_no_count_of_pages(landing: Landing) -> None:
    header = "event_id,user_id,event_type,timestamp,recent_pages_viewed,recent_pricing_views"
    row = landing.row(header, "e,u,page_view,2026-03-09,2.5,3.0", folder="scoring_csv")
    assert (row["recent_pages_viewed"], row["recent_pricing_views"]) == (None, 3)
    assert row["unreadable"] == "recent_pages_viewed"


WITH_COMMA = [
    ("12,5", 12.5),
    ("1.234,56", 1234.56),
    ("1.234", 1234),
    ("-1.234.567,8", -1234567.8),
    ("1234,5", 1234.5),
    ("1 234,5", 1234.5),
    ("1\u00a0234,5", 1234.5),
    ("1\u202f234,5", 1234.5),
    ("1'234,5", 1234.5),
    ("7", 7),
    (",5", 0.5),
    ("1,5e3", 1500),
    (" 12,5 ", 12.5),
    ("12.5", None),
    ("1,234.56", None),
    ("1.23,4", None),
    ("12,", None),
    ("12,5,6", None),
    ("", None),
]


@pytest.mark.parametrize(("written", "number"), WITH_COMMA)
def test_a_source_may_write_a_decimal_comma(landing: Landing, written: str, number: float | None) -> None:
    columns = {**described().columns, "account_balance_usd": ("balance",), "dwell_seconds": ("seconds", "time")}
    german = described(columns=columns, delimiter=";", decimal=",", impute={"dwell_seconds": "median"})
    content = f"id;user;type;at;balance;seconds;time\ne;u;page_view;2026-03-09;{written};;7,5\n"
    content += "f;u;page_view;2026-03-09;1,5;;\n"
    rows = landing.rows("shop/a.csv", content, german)
    assert (rows[0]["account_balance_usd"], rows[0]["reason"]) == (number, None)
    assert rows[0]["unreadable"] == ("account_balance_usd" if number is None and written else None)
    assert [row["dwell_seconds"] for row in rows] == [7.5, 7.5], "the median of a file reads its numbers as well"


def test_numbers_that_are_no_text_have_no_decimal_comma(landing: Landing) -> None:
    columns = {
        **described().columns,
        "account_balance_usd": ("balance",),
        "dwell_seconds": ("seconds", "time"),
        "recent_pages_viewed": ("pages",),
    }
    german = described(columns=columns, decimal=",")
    document = (
        '{"id": "e", "user": "u", "type": "page_view", "at": "2026-03-09", "seconds": %s, "balance": %s, "pages": 3}\n'
    )
    lines = document % ("1.234", "12.5") + document % ('"1.234"', '"12,5"') + document % ("null", "1.5E3")
    rows = landing.rows("shop/a.jsonl", lines, german)
    shown = ("dwell_seconds", "account_balance_usd", "recent_pages_viewed", "unreadable")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        (1.234, 12.5, 3, None),
        (1234, 12.5, 3, None),
        (None, 1500, 3, None),
    ]
    path = landing.folder / "shop" / "a.parquet"
    landing.connection.execute(
        f"""copy (select 'u' as user, 'page_view' as type, date '2026-03-09' as "at", 1.234::double as seconds,
            '1,5' as time, 12.500::decimal(9, 3) as balance, 3.0::double as pages) to '{path}' (format parquet)"""
    )
    (row,) = landing.rows("shop/a.parquet", None, german)
    assert tuple(row[name] for name in shown) == (1.234, 12.5, 3, None)


@pytest.mark.parametrize(
    ("written", "dwell", "imputed"),
    [
        (["10", "", "40", "", "30"], [10, 30, 40, 30, 30], [False, True, False, True, False]),
        (["10", "", "20"], [10, 15, 20], [False, True, False]),
        (["10", "nan", "-99"], [10, 10, 10], [False, True, True]),  # no time lasts less than nothing
        (["", "", "much"], [30, 30, 30], [True, True, True]),
    ],
)
def test_a_missing_dwell_time_is_the_median_of_its_file_where_the_source_asks(
    landing: Landing, written: list[str], dwell: list[float], imputed: list[bool]
) -> None:
    columns = {**described().columns, "dwell_seconds": ("seconds",)}
    content = "id,user,type,at,seconds\n" + "".join(f"{n},u,page_view,2026-03-09,{v}\n" for n, v in enumerate(written))
    rows = landing.rows("shop/a.csv", content, described(columns=columns, impute={"dwell_seconds": "median"}))
    assert [row["dwell_seconds"] for row in rows] == dwell
    assert [row["is_dwell_imputed"] for row in rows] == imputed
    rows = landing.rows("shop/a.csv", content, described(columns=columns))
    assert not any(row["is_dwell_imputed"] for row in rows), "no other source is touched"
    assert [row["dwell_seconds"] is None for row in rows] == imputed


@pytest.mark.parametrize(("dwell", "scroll"), [("-5", "400"), ("1e15", "-1")])
def test_what_no_visit_can_have_is_no_value(landing: Landing, dwell: str, scroll: str) -> None:
    content = f"{HEADER},dwell_seconds,scroll_depth_pct\ne,u,page_view,{GOOD},{dwell},{scroll}\n"
    (row,) = landing.rows("native/a.csv", content)
    assert (row["reason"], row["dwell_seconds"], row["scroll_depth_pct"]) == (None, None, None)
    assert row["event_id"] == "e"


def test_a_source_without_dwell_times_has_30_seconds_where_it_asks(landing: Landing) -> None:
    mine = described(impute={"dwell_seconds": "median"})
    row = landing.row("id,user,type,at", "e,u,page_view,2026-03-09", mine, folder="shop")
    assert (row["dwell_seconds"], row["is_dwell_imputed"]) == (30, True)


def test_properties_are_kept_as_json(landing: Landing) -> None:
    mine = described(properties=("plan", "seats"))
    row = landing.row("id,user,type,at,plan,seats", "e,u,page_view,2026-03-09,pro 'x',3", mine, folder="shop")
    assert json.loads(row["properties"]) == {"plan": "pro 'x'", "seats": "3"}
    row = landing.row("id,user,type,at", "e,u,page_view,2026-03-09", described(), folder="shop")
    assert row["properties"] is None


def test_nested_json_is_reached_by_its_path(landing: Landing) -> None:
    document = {
        "messageId": "m",
        "anonymousId": "x",
        "event": "Order Completed",
        "originalTimestamp": "2026-03-09T10:00:00Z",
        "receivedAt": "2026-03-09T10:00:01Z",
        "context": {"device": {"type": "ios"}},
        "properties": {"plan": "pro", "email": "ann@b.co", "dwell_seconds": 3},
    }
    (row,) = landing.rows("segment/a.jsonl", json.dumps(document) + "\n")
    assert (row["user_id"], row["event_type"], row["device"], row["reason"]) == ("anon:x", "purchase", "mobile", None)
    assert (row["event_at"], row["email_key"]) == (datetime(2026, 3, 9, 10), keyed("ann@b.co"))
    assert json.loads(row["properties"]) == {"properties.plan": "pro", "properties.product_id": None}


def test_an_ip_address_in_json_is_named(landing: Landing) -> None:
    document = {
        "userId": "u",
        "event": "Page Viewed",
        "timestamp": "2026-03-09T10:00:00Z",
        "receivedAt": "2026-03-09T10:00:01Z",
        "context": {"ip": "10.1.2.3"},
    }
    opened = landing.open("segment/a.jsonl", json.dumps(document) + "\n")
    assert opened.personal_columns == ("context.ip",)
    opened = landing.open("segment/b.jsonl", json.dumps({**document, "context": {}}) + "\n")
    assert opened.personal_columns == (), "what a file does not hold is not held against it"


# ---- ids ----

WITHOUT_IDS = "user_id,event_type,event_at,received_at"


def test_identical_rows_without_ids_are_separate_events(landing: Landing) -> None:
    row = f"u,page_view,{GOOD}"
    rows = landing.rows("native/a.csv", f"{WITHOUT_IDS}\n{row}\n{row}\nv,page_view,{GOOD}\n{row}\n")
    assert len({row["event_id"] for row in rows}) == 4


def test_the_same_rows_in_another_file_are_the_same_events(landing: Landing) -> None:
    row, other = f"u,page_view,{GOOD}", f"v,page_view,{GOOD}"
    first = landing.rows("native/a.csv", f"{WITHOUT_IDS}\n{row}\n{row}\n{other}\n")
    second = landing.rows("native/b.csv", f"{WITHOUT_IDS}\n{other}\n{row}\n{row}\n{row}\n")
    ids = {row["event_id"] for row in first}
    assert ids < {row["event_id"] for row in second}
    assert len({row["event_id"] for row in second}) == 4


def test_a_source_s_own_ids_stay(landing: Landing) -> None:
    assert landing.row(HEADER, f"e 1,u,page_view,{GOOD}")["event_id"] == "e 1"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_event_whose_id_is_missing_gets_one_from_its_content(landing: Landing, name: str) -> None:
    if name == "a.csv":
        content = f"{HEADER}\n,u,page_view,{GOOD}\n,u,page_view,{GOOD}\ne,u,page_view,{GOOD}\n"
    else:
        document = {"user_id": "u", "event_type": "page_view", "event_at": "2026-03-09", "received_at": "2026-03-09"}
        content = "".join(json.dumps(d) + "\n" for d in (document, document, {**document, "event_id": "e"}))
    ids = [row["event_id"] for row in landing.rows(f"native/{name}", content)]
    assert None not in ids
    assert len(set(ids)) == 3
    assert ids[2] == "e"


MISSING = [
    *("undefined", "null", "Null", "NULL", "None", "nil", "NaN", "nan", "-nan", "N/A", "<NA>", "(null)", "(not set)"),
    *(
        "inf",
        "-Infinity",
        r"\N",
        "[object Object]",
        "false",
        "{}",
        "[]",
        "-",
        "--",
        "''",
        "``",
        " undefined\t",
        "\u00a0",
    ),
    *("#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "1.#QNAN", "-1.#IND", "n.a.", "0" * 32),
    *("'null'", "\u201cnull\u201d", "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
]


@pytest.mark.parametrize("word", MISSING)
def test_a_word_for_nothing_is_no_id(landing: Landing, word: str) -> None:
    document = {"event_type": "page_view", "event_at": "2026-03-09", "received_at": "2026-03-09", "user_id": word}
    lines = [
        document,
        {**document, "anonymous_id": "x"},
        {**document, "user_id": "u", "anonymous_id": word, "event_id": word, "session_id": word},
        {**document, "user_id": "u", "anonymous_id": word, "event_id": word, "session_id": word},
    ]
    rows = landing.rows("native/a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert [(row["user_id"], row["anonymous_id"], row["reason"]) for row in rows] == [
        (None, None, "missing_user_id"),
        ("anon:x", "x", None),
        ("u", None, None),
        ("u", None, None),
    ]
    assert [row["source_session_id"] for row in rows] == [None] * 4
    assert len({row["event_id"] for row in rows}) == 4, "events whose ids are missing are not copies of each other"


@pytest.mark.parametrize("word", ['""""""', '"""undefined"""', "  ", "(null)", "undefined@undefined"])
def test_quotes_in_a_quoted_cell_are_no_id_either(landing: Landing, word: str) -> None:
    assert landing.row(HEADER, f"e,{word},page_view,{GOOD}")["reason"] == "missing_user_id"


@pytest.mark.parametrize(
    "name",
    [
        *("Null Smith", "anna.null", "null-7", "nullable", "Nonenmacher", "undefined1", "nan0", "Nancy", "infinite"),
        *("0", "-1", "00", "u", "u0", "none of us", "a--b", "1.2.3", "10.5", "guest", "(null) 2", "1-2"),
        *("00000000-0000-0000-0000-000000000001", "1e5", "5e12", "007", "=cmd()", "na'na"),
    ],
)
def test_an_id_that_only_resembles_a_word_for_nothing_stays(landing: Landing, name: str) -> None:
    row = landing.row(HEADER, f"{name},{name},page_view,{GOOD}")
    assert (row["user_id"], row["event_id"], row["reason"]) == (name, name, None)


def test_a_source_has_words_for_nothing_of_its_own(landing: Landing) -> None:
    mine = described(missing=("Guest", "0"))
    content = "id,user,type,at\n" + "".join(f"{n},{who},page_view,2026-03-09\n" for n, who in enumerate("u0"))
    content += "9,guest,page_view,2026-03-09\n8,guest 7,page_view,2026-03-09\n"
    rows = landing.rows("shop/a.csv", content, mine)
    assert [row["user_id"] for row in rows] == ["u", None, None, "guest 7"]
    assert [row["reason"] for row in rows] == [None, "missing_user_id", "missing_user_id", None]


def parquet(landing: Landing, name: str, select: str) -> list[dict]:
    path = landing.folder / "native" / name
    path.parent.mkdir(exist_ok=True)
    landing.connection.execute(
        f"""copy (select 'e' || row_number() over () as event_id, 'page_view' as event_type,
            timestamp '2026-03-09 10:00:00' as event_at, timestamp '2026-03-09 10:00:05' as received_at, {select})
        to '{path}' (format parquet)"""
    )
    return landing.rows(f"native/{name}")


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ("[700, -7]::bigint[]", ["700", "-7"]),
        (
            "[700, 'nan', 12.5, -0.0, 1e15, 9007199254740991]::double[]",
            ["700", None, "12.5", "0", "1" + "0" * 15, "9007199254740991"],
        ),
        ("['inf', '-inf', null]::double[]", [None, None, None]),
        ("['700', '16777215', 'nan']::float[]", ["700", "16777215", None]),
        ("[700, 12.50, 0.05]::decimal(10, 2)[]", ["700", "12.5", "0.05"]),
        ("[700]::decimal(38, 0)[]", ["700"]),
        ("[12345678901234567890123456789]::decimal(38, 0)[]", ["12345678901234567890123456789"]),
        ("[18446744073709551615]::ubigint[]", ["18446744073709551615"]),
        (
            "['700', '700.0', '700.00', '+700.0', '1.10', '007.0', '700.']",
            ["700", "700", "700", "+700", "1.10", "007", "700."],
        ),
        (r"[encode('jürgen'), encode('Zürich'), '\xFF\x01'::blob]", ["jürgen", "Zürich", r"\xFF\x01"]),
    ],
)
def test_an_id_of_any_type_has_one_text(landing: Landing, values: str, ids: list[str | None]) -> None:
    rows = parquet(landing, "a.parquet", f"unnest({values}) as user_id, unnest({values}) as city")
    assert [row["user_id"] for row in rows] == ids
    assert [row["reason"] for row in rows] == [None if known else "missing_user_id" for known in ids]


@pytest.mark.parametrize(
    "value",
    [
        *("12345678901234567::double", "9007199254740993::double", "-1e300::double", "16777217::float", "1e10::float"),
        *("'1.23457E+11'", "'1E+11'", "'1.2345678901234568E16'", "'12345678901234567.0'", "'9007199254740994.0'"),
    ],
)
@pytest.mark.parametrize("column", ["user_id", "anonymous_id", "session_id"])
def test_an_id_that_was_rounded_is_set_aside_by_name(landing: Landing, value: str, column: str) -> None:
    (row,) = parquet(landing, "a.parquet", f"{value} as {column}" + (", 'u' as user_id" if column != "user_id" else ""))
    assert row["reason"] == "inexact_id"


def test_a_number_of_json_is_the_id_that_csv_has(landing: Landing) -> None:
    line = '{"user_id": %s, "event_type": "page_view", "event_at": "2026-03-09", "received_at": "2026-03-09"}\n'
    rows = landing.rows("native/a.jsonl", "".join(line % number for number in ("700", "700.0", "12345678901234567")))
    assert [row["user_id"] for row in rows] == ["700", "700", "12345678901234567"]


def test_white_space_of_any_kind_around_an_id_is_none_of_it(landing: Landing) -> None:
    for written in ("u7\t", "\u00a0u7", "\u200bu7\ufeff", " u7 ", "u\u200b7", "u\u00ad7", "u\x007", "u\u202e7"):
        assert landing.row(HEADER, f"e,{written},page_view,{GOOD}")["user_id"] == "u7"


# ---- the first that is filled ----


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_first_column_that_is_filled_counts_in_each_row_of_every_format(landing: Landing, form: str) -> None:
    columns = {
        "event_id": ("id",),
        "anonymous_id": ("first", "second"),
        "event_type": ("type", "kind"),
        "event_at": ("at", "sent"),
        "dwell_seconds": ("seconds", "time_on_page"),
        "city": ("town", "city"),
    }
    landing.connection.execute(
        """create table given as select * from (values
            ('1', 'd1', 'n1', 'page_view', 'search', '2026-03-09 10:00:00', '2026-03-01', '1.5', '2', 'Ulm', 'x'),
            ('2', null, 'n2', null, 'search', null, '2026-03-09 11:00:00', null, '2', null, 'Bonn'),
            ('3', ' ', 'n3', '', 'search', '', '2026-03-09 11:00:00', '', '2', '  ', 'Bonn'),
            ('4', 'undefined', 'n4', 'page_view', null, '2026-03-09', null, 'NaN', '3', 'Ulm', null),
            ('5', '', '', 'page_view', '', '2026-03-09', '', '', '', '', '')
        ) as t(id, first, second, type, kind, "at", sent, seconds, time_on_page, town, city)"""
    )
    (landing.folder / "shop").mkdir()
    kind = {"csv": "format csv, header", "jsonl": "format json", "parquet": "format parquet"}[form]
    landing.connection.execute(f"copy given to '{landing.folder}/shop/a.{form}' ({kind})")
    rows = landing.rows(f"shop/a.{form}", None, described(columns=columns))
    shown = ("anonymous_id", "event_type", "event_at", "dwell_seconds", "city", "reason")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("d1", "page_view", datetime(2026, 3, 9, 10), 1.5, "Ulm", None),
        ("n2", "search", datetime(2026, 3, 9, 11), 2, "Bonn", None),
        ("n3", "search", datetime(2026, 3, 9, 11), 2, "Bonn", None),
        ("n4", "page_view", datetime(2026, 3, 9), 3, "Ulm", None),
        (None, "page_view", datetime(2026, 3, 9), None, None, "missing_user_id"),
    ]


@pytest.mark.parametrize("sent", ["timestamp '2026-07-01 12:00:00'", "'2026-07-01 12:00:00'", "'2026-07-01T10:00:00Z'"])
def test_typed_columns_are_taken_in_turn_too(landing: Landing, sent: str) -> None:
    columns = {"user_id": ("a", "b"), "event_type": ("type",), "event_at": ("at", "sent"), "dwell_seconds": ("s", "t")}
    path = landing.folder / "shop" / "a.parquet"
    path.parent.mkdir()
    landing.connection.execute(
        f"""copy (select 'page_view' as type, unnest([null, 'nan', '7']::double[]) as a, unnest(['x', 'y', 'z']) as b,
            unnest([null, null, timestamp '2026-07-01 12:00:00']) as at, {sent} as sent,
            unnest(['nan', '1.5', '2']::double[]) as s, 9 as t) to '{path}' (format parquet)"""
    )
    rows = landing.rows("shop/a.parquet", None, described(columns=columns, time_zone="Europe/Berlin"))
    assert [row["user_id"] for row in rows] == ["x", "y", "7"]
    assert [row["event_at"] for row in rows] == [datetime(2026, 7, 1, 10)] * 3
    assert [row["dwell_seconds"] for row in rows] == [9, 1.5, 2]


# ---- refusals ----


def refusal(landing: Landing, name: str, content: str | bytes, *own: SourceDescription) -> SourceError:
    with pytest.raises(SourceError) as caught:
        landing.rows(name, content, *own)
    error = caught.value
    assert name in error.doing
    assert error.expected
    assert error.found
    assert "gesture run" in error.next_step
    assert str(landing.folder / name) in error.where
    return error


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_an_empty_file_is_refused(landing: Landing, name: str) -> None:
    assert "empty file (0 bytes)" in refusal(landing, f"native/{name}", "").found


def test_a_file_of_blank_lines_is_refused(landing: Landing) -> None:
    assert "header" in refusal(landing, "native/a.csv", "\n\n").expected


def test_an_empty_compressed_file_is_refused(landing: Landing) -> None:
    import gzip

    assert "header" in refusal(landing, "native/a.csv.gz", gzip.compress(b"")).expected


def test_a_missing_column_is_named(landing: Landing) -> None:
    error = refusal(landing, "native/a.csv", "event_id,user_id,event_at\n1,u,2026-03-09\n")
    assert "event_type" in error.expected
    assert "event_id" in error.found
    assert "user_id" in error.found
    error = refusal(landing, "native/a.csv", "event_id,event_type,event_at\n1,page_view,2026-03-09\n")
    assert "user_id" in error.expected
    error = refusal(landing, "native/a.csv", "event_id,user_id,event_type\n1,u,page_view\n")
    assert "event_at" in error.expected


def test_a_missing_column_of_parquet_is_named(landing: Landing) -> None:
    landing.write("native/a.parquet", "")
    path = landing.folder / "native/a.parquet"
    landing.connection.execute(f"copy (select 'u' as user_id, 'page_view' as event_type) to '{path}' (format parquet)")
    with pytest.raises(SourceError, match="event_at"):
        landing.rows("native/a.parquet")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_wrong_delimiter_is_named(landing: Landing, delimiter: str) -> None:
    content = f"{HEADER}\ne,u,page_view,{GOOD}\n".replace(",", delimiter)
    error = refusal(landing, "native/a.csv", content)
    assert repr(delimiter) in error.found
    assert "','" in error.expected
    assert f"delimiter = {delimiter!r}" in error.next_step
    (row,) = landing.rows(
        "shop/a.csv",
        content,
        described(
            "shop",
            delimiter=delimiter,
            columns={"user_id": ("user_id",), "event_type": ("event_type",), "event_at": ("event_at",)},
        ),
    )
    assert row["reason"] is None


def test_an_unreadable_parquet_file_is_refused(landing: Landing) -> None:
    assert "readable parquet file" in refusal(landing, "native/a.parquet", "no parquet at all").expected


def test_a_compressed_file_that_is_cut_short_is_refused(landing: Landing) -> None:
    import gzip
    import random

    noise = "".join(f"e{random.Random(n).random()},u,page_view,{GOOD}\n" for n in range(500))
    whole = gzip.compress(f"{HEADER}\n{noise}".encode())
    refusal(landing, "native/a.csv.gz", whole[: len(whole) // 2])


def test_an_unknown_ending_is_refused(landing: Landing) -> None:
    landing.write("native/a.xlsx", "x")
    with pytest.raises(SourceError, match=r"(?s)CSV, JSON lines or Parquet.*a\.xlsx"):
        landing.files()


def test_a_format_that_the_description_rules_out_is_refused(landing: Landing) -> None:
    landing.write("segment/a.csv", "x")
    with pytest.raises(SourceError, match="jsonl, as the description of segment says"):
        landing.files()


def test_a_folder_without_description_is_refused_and_the_known_ones_are_listed(landing: Landing) -> None:
    landing.write("hubspot/a.csv", HEADER)
    with pytest.raises(ConfigError, match=r"(?s)'hubspot'.*native, ping_interactions.*pings, posthog, rudderstack"):
        landing.files()


def test_an_empty_folder_needs_no_description(landing: Landing) -> None:
    (landing.folder / "hubspot").mkdir()
    assert landing.files() == []


def test_a_repeated_header_is_refused(landing: Landing) -> None:
    error = refusal(landing, "native/a.csv", f"{HEADER},User_ID \ne,u,page_view,{GOOD},v\n")
    assert "user_id" in error.found
    assert "once" in error.expected


def test_a_repeated_header_of_parquet_is_refused_or_read_as_one(landing: Landing) -> None:
    landing.write("native/a.parquet", "")
    landing.connection.execute(
        "copy (select 'u' as user_id, 'v' as \" user_id\", 'page_view' as event_type, date '2026-03-09' as event_at, "
        f"timestamp '2026-03-09' as received_at) to '{landing.folder / 'native/a.parquet'}' (format parquet)"
    )
    with pytest.raises(SourceError, match="more than once"):
        landing.rows("native/a.parquet")


# ---- types that are left out on purpose ----


def test_a_type_that_is_left_out_is_counted_whoever_it_is_of_and_nothing_of_it_is_kept(landing: Landing) -> None:
    source = described("shop", ignore=("Page_Ping", "unstruct"))
    rows = landing.rows(
        "shop/a.csv",
        "id,user,type,at\n"
        "e1,u,page_view,2026-03-09T10:00:00Z\n"
        "e2,u,page_ping,2026-03-09T10:00:00Z\n"
        "e3,,PAGE_PING,2026-03-09T10:00:00Z\n"
        "e4,u,unstruct,2026-09-01T10:00:00Z\n"
        "e5,u,unstuct,2026-03-09T10:00:00Z\n"
        "e6,u,unstruct\n",
        source,
    )
    assert [(row["reason"], row["event_name"], row["masked_row"] is None) for row in rows] == [
        (None, "page_view", True),
        (IGNORED, "page_ping", True),
        (IGNORED, "page_ping", True),
        (IGNORED, "unstruct", True),
        ("unknown_event_type", "unstuct", False),
        ("unreadable_row", None, False),
    ]
    days = [str(row["filing_day"]) for row in rows[:4]]
    assert days == ["2026-03-09", "2026-03-09", "2026-03-09", "None"], "nothing is filed ahead of its arrival"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sent to Ada@Example.com", "sent to ***"),
        ("4111111111111111", "***"),
        ("paid 4111-1111-1111-1111", "paid ***"),
        ("\uff14111111111111111", "***"),
        ("from ::1", "from ***"),
    ],
)
def test_the_name_of_an_unknown_type_shows_no_address_and_no_card(landing: Landing, name: str, shown: str) -> None:
    row = landing.row(HEADER, f"e1,u,{name},{GOOD}")
    assert (row["reason"], row["event_name"]) == ("unknown_event_type", shown)
    assert json.loads(row["masked_row"])["event_type"].lower() == shown


# ---- types, values and ids that more than a name tells ----


def test_the_first_condition_that_fits_says_what_an_event_is(landing: Landing) -> None:
    source = described(
        "shop",
        conditions=(
            {"event_type": "ignore", "where": {"page": "/health"}},
            {"event_type": "pricing_page_view", "where": {"type": "view", "page": ("/pri*", "/100%_*")}},
        ),
        event_types={"view": "page_view", "buy": "purchase"},
    )
    pages = ("/Pricing/teams", "/health", "/1000 offers", "/100%_off", "", "/pricing")
    rows = "".join(
        f"e{n},u,{'buy' if n == 5 else 'View'},2026-03-09T10:00:00Z,{page}\n" for n, page in enumerate(pages)
    )
    found = landing.rows("shop/a.csv", "id,user,type,at,page\n" + rows, source)
    assert [(row["event_type"], row["event_name"], row["reason"]) for row in found] == [
        ("pricing_page_view", "view", None),
        (None, "view", IGNORED),
        ("page_view", "view", None),
        ("pricing_page_view", "view", None),
        ("page_view", "view", None),
        ("purchase", "buy", None),
    ]


def test_a_description_translates_values_and_names_of_countries(landing: Landing) -> None:
    columns = {**described().columns, "device": ("d",), "country": ("c",), "channel": ("ch",), "campaign": ("k",)}
    values = {"device": {"Kiosk": "desktop"}, "channel": {"AdWords": "paid search"}, "country": {"Holland": "NL"}}
    source = described("shop", columns=columns, values=values)
    head = "id,user,type,at,d,c,ch,k\n"
    (one, two) = landing.rows(
        "shop/a.csv",
        head
        + "e1,u,page_view,2026-03-09,KIOSK,holland,adwords,Spring\n"
        + "e2,u,page_view,2026-03-09,Phone,South Korea,Mail,\n",
        source,
    )
    names = ("device", "country", "channel", "campaign")
    assert [one[name] for name in names] == ["desktop", "NL", "paid search", "spring"]
    assert [two[name] for name in names] == ["mobile", "KR", "mail", None]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_path_goes_into_json_wherever_it_stands(landing: Landing, form: str) -> None:
    columns = {
        "user_id": ("who.$id",),
        "event_type": ("type",),
        "event_at": ("at",),
        "city": ("more[key=the city].value", "who.town"),
    }
    source = described("shop", columns=columns)
    rows = [
        {
            "who": {"$id": "u1", "town": "Bath"},
            "more": [{"key": "x", "value": "no"}, {"key": "the city", "value": "Ulm"}],
        },
        {"who": {"$id": "u2", "town": "Bath"}, "more": [{"key": "x", "value": "no"}]},
    ]
    rows = [{"type": "page_view", "at": "2026-03-09 10:00:00", **row} for row in rows]
    path = landing.write(f"shop/a.{form}", "\n".join(map(json.dumps, rows)))
    if form != "jsonl":
        lines = path.with_suffix(".txt")
        path.rename(lines)
        held = "* replace (to_json(who)::varchar as who, to_json(more)::varchar as more)" if form == "csv" else "*"
        read = f"read_json('{lines}', format = 'newline_delimited')"
        option = "format csv, header" if form == "csv" else "format parquet"
        landing.connection.execute(f"copy (select {held} from {read}) to '{path}' ({option})")
        lines.unlink()
    opened = landing.open(f"shop/a.{form}", None, source)
    assert opened.unused_columns == ()
    found = landing.connection.execute(f"select user_id, city, reason from {opened.sql} order by 1").fetchall()
    assert found == [("u1", "Ulm", None), ("u2", "Bath", None)]


def test_a_call_that_says_who_a_visitor_is_is_no_event_and_a_shared_id_names_nobody_yet(landing: Landing) -> None:
    columns = {**described().columns, "anonymous_id": ("device",)}
    links = {"types": ("hello",), "anonymous_id": ("before",)}
    source = described("shop", columns=columns, links=links, has_shared_ids=True)
    rows = landing.rows(
        "shop/a.csv",
        "id,user,type,at,device,before\n"
        "e1,d1,page_view,2026-03-09,d1,\n"
        "e2,visitor:d1,page_view,2026-03-09,d1,\n"
        "e3,u1,hello,2026-03-09,d9,d1\n"
        "e4,u1,page_view,2026-03-09,d9,d1\n",
        source,
    )
    assert [(row["user_id"], row["known_user_id"], row["anonymous_id"], row["is_link"]) for row in rows] == [
        ("anon:d1", None, "d1", False),
        ("anon:d1", None, "d1", False),
        ("u1", "u1", "d1", True),
        ("u1", "u1", "d9", False),
    ]
    assert [row["reason"] for row in rows] == [None, None, IGNORED, None]


# ---- JSON that is a text ----


def write_in_form(landing: Landing, rows: list[dict], form: str, *, nested: str) -> str:
    """Write `rows`, whose field `nested` is an object, as JSON lines of objects or of texts, as CSV or Parquet."""
    texts = [{**row, nested: row[nested] if isinstance(row[nested], str) else json.dumps(row[nested])} for row in rows]
    written = rows if form == "object.jsonl" else texts
    path = landing.write(f"shop/{form}", "\n".join(map(json.dumps, written)) + "\n")
    if not form.endswith("jsonl"):
        lines = path.with_suffix(".txt")
        path.rename(lines)
        read = f"read_json('{lines}', format = 'newline_delimited', columns = {dict.fromkeys(rows[0], 'varchar')})"
        option = "format csv, header" if form.endswith("csv") else "format parquet"
        landing.connection.execute(f"copy (select * from {read}) to '{path}' ({option})")
        lines.unlink()
    return path.name


FORMS = ["text.jsonl", "object.jsonl", "text.csv", "text.parquet"]
POINTS = described(
    columns={**described().columns, "campaign": ("more.campaign",), "user_id": ("who.$id", "user")},
    conditions=({"event_type": "pricing_page_view", "where": {"type": "page_view", "more.url": "*/pricing*"}},),
    properties=("more.plan",),
)


@pytest.mark.parametrize("form", FORMS)
def test_json_within_a_column_is_opened_in_every_format(landing: Landing, form: str) -> None:
    rows = [
        {"id": "e1", "type": "page_view", "at": "2026-03-09", "who": "", "user": "u1"},
        {"id": "e2", "type": "page_view", "at": "2026-03-09", "who": "", "user": "u2"},
    ]
    more = ({"url": "/pricing", "campaign": "spring", "plan": 'a "b"'}, {"url": "/"})
    rows = [{**row, "more": nested} for row, nested in zip(rows, more, strict=True)]
    found = landing.rows(f"shop/{write_in_form(landing, rows, form, nested='more')}", None, POINTS)
    assert [(row["event_type"], row["campaign"], row["unreadable"], row["reason"]) for row in found] == [
        ("pricing_page_view", "spring", None, None),
        ("page_view", None, None, None),
    ]
    assert [json.loads(row["properties"]) for row in found] == [{"more.plan": 'a "b"'}, {"more.plan": None}]


@pytest.mark.parametrize("form", ["text.jsonl", "text.csv", "text.parquet"])
def test_json_within_a_column_that_is_cut_off_is_counted_by_its_column(landing: Landing, form: str) -> None:
    row = {"type": "page_view", "at": "2026-03-09", "who": "", "user": "u1"}
    held = ('{"url": "/pricing', "", "NULL", '{"url": "/"}')
    rows = [{"id": f"e{place}", **row, "more": more} for place, more in enumerate(held)]
    found = landing.rows(f"shop/{write_in_form(landing, rows, form, nested='more')}", None, POINTS)
    assert [(row["unreadable"], row["reason"]) for row in found] == [("more", None), *[(None, None)] * 3]


@pytest.mark.parametrize("form", FORMS)
def test_json_of_a_kind_that_no_path_goes_into_is_counted_and_what_was_written_twice_is_read(
    landing: Landing, form: str
) -> None:
    row = {"type": "page_view", "at": "2026-03-09", "who": "", "user": "u1"}
    inner = {"campaign": "spring"}
    held = [inner, json.dumps(json.dumps(inner)), [inner], 5, "[]", json.dumps(json.dumps([1]))]
    rows = [{"id": f"e{place}", **row, "more": more} for place, more in enumerate(held)]
    found = landing.rows(f"shop/{write_in_form(landing, rows, form, nested='more')}", None, POINTS)
    expected = [("spring", None), ("spring", None), (None, "more"), (None, "more"), (None, None), (None, "more")]
    assert [(row["campaign"], row["unreadable"]) for row in found] == expected


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_list_is_read_where_a_path_takes_an_entry_of_it_and_an_object_there_is_counted(
    landing: Landing, form: str
) -> None:
    source = described(columns={**described().columns, "campaign": ("more[key=campaign].value",)})
    row = {"id": "e", "type": "page_view", "at": "2026-03-09", "user": "u1"}
    entry = {"key": "campaign", "value": "spring"}
    rows = [{**row, "more": [entry]}, {**row, "id": "e2", "more": entry}]
    found = landing.rows(f"shop/{write_in_form(landing, rows, f'object.{form}', nested='more')}", None, source)
    assert [(row["campaign"], row["unreadable"]) for row in found] == [("spring", None), (None, "more")]


# A path three steps deep, one into an entry that is chosen, one into an entry by its number.
DEEP = described(
    columns={
        **described().columns,
        "campaign": ("more.Traits.campaign", "more.campaign"),
        "city": ("more.places[key=home].value.city",),
        "channel": ("more.hits[0].channel",),
    },
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("top", ["more", " MORE"])
def test_fields_below_the_top_are_known_in_any_letters(landing: Landing, form: str, top: str) -> None:
    """Written as `Campaign` within an object they were lost without a word."""
    row = {"id": "e", "type": "page_view", "at": "2026-03-09", "user": "u1"}
    places = [{"Key": "work", "VALUE": {"CITY": "Bonn"}}, {"Key": "home", "VALUE": {"CITY": "Rome"}}]
    odd = {"TRAITS": {"Campaign ": "spring"}, "Places": places, "HITS": [{"Channel": "mail"}]}
    plain = {"Traits": {"campaign": "autumn"}, "places": [], "hits": []}
    rows = [{**row, top: odd}, {**row, "id": "f", top: plain}]
    found = landing.rows(f"shop/{write_in_form(landing, rows, form, nested=top)}", None, DEEP)
    told = [(row["campaign"], row["city"], row["channel"], row["unreadable"], row["reason"]) for row in found]
    assert told == [("spring", "Rome", "mail", None, None), ("autumn", None, None, None, None)]


def test_fields_of_nested_columns_of_parquet_are_known_in_any_letters(landing: Landing) -> None:
    path = landing.write("shop/a.parquet", "")
    more = "{'TRAITS': {'Campaign': 'spring'}, 'Hits': [{'CHANNEL': 'mail'}]}"
    row = f"'e' as id, 'page_view' as type, 'u' as user, '2026-03-09' as at, {more} as \"More\""
    landing.connection.execute(f"copy (select {row}) to '{path}' (format parquet)")
    (found,) = landing.rows("shop/a.parquet", None, DEEP)
    assert (found["campaign"], found["channel"], found["unreadable"]) == ("spring", "mail", None)


@pytest.mark.parametrize("form", ["object.jsonl", "text.jsonl", "text.csv", "text.parquet"])
@pytest.mark.parametrize(
    "twice",
    [
        '{"campaign": "a", "Campaign": "b"}',
        '{"campaign": "a", "campaign": "b"}',
        '{"Traits": {"campaign": 1, "CAMPAIGN": 2}}',
    ],
)
def test_two_fields_below_the_top_that_look_alike_say_nothing(landing: Landing, form: str, twice: str) -> None:
    """A line of JSON is set aside; a cell that holds JSON is counted as one that cannot be read."""
    row = {"id": "e", "type": "page_view", "at": "2026-03-09", "user": "u1"}
    rows = [{**row, "more": "M"}, {**row, "id": "f", "more": '{"campaign": "c", "x": 1, "X": 2}'}]
    if form == "object.jsonl":
        path = landing.write("shop/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)).relative_to(
            landing.folder
        )
        file = landing.folder / path
        file.write_text(file.read_text().replace('"M"', twice).replace(json.dumps(rows[1]["more"]), rows[1]["more"]))
        found = landing.rows("shop/a.jsonl", None, DEEP)
        assert [(row["campaign"], row["reason"]) for row in found] == [(None, "unreadable_row"), ("c", None)]
        return
    rows[0]["more"] = twice
    found = landing.rows(f"shop/{write_in_form(landing, rows, form, nested='more')}", None, DEEP)
    told = [(row["campaign"], row["unreadable"], row["reason"]) for row in found]
    assert told == [(None, "more", None), ("c", None, None)]


@pytest.mark.parametrize(
    ("field", "told"),
    [('"Properties":{"City":"Rome"}', "Rome"), ('"properties":{"City":"Rome"}', "Rome"), ('"city":"Rome"', "Rome")],
)
def test_a_record_of_a_list_is_read_below_the_top_in_any_letters(landing: Landing, field: str, told: str) -> None:
    source = described(
        format="jsonl", event_list="hits", columns={**described().columns, "city": ("properties.city", "city")}
    )
    hit = f'{{"id":"1","type":"page_view","at":"2026-03-09",{field}}}'
    assert [row["city"] for row in landing.rows("shop/a.jsonl", f'{{"user":"u","hits":[{hit}]}}\n', source)] == [told]
    both = f'{{"user":"u","hits":[{hit[:-1]},{field.replace("Rome", "Bonn")}}}]}}\n'
    assert [row["reason"] for row in landing.rows("shop/b.jsonl", both, source)] == ["unreadable_row"]


@pytest.mark.parametrize("form", FORMS)
def test_a_field_that_begins_with_a_bracket_is_a_field(landing: Landing, form: str) -> None:
    source = described(columns={**described().columns, "campaign": ("more.[Ads] Campaign",)})
    rows = [{"id": "e", "type": "page_view", "at": "2026-03-09", "user": "u1", "more": {"[Ads] Campaign": "spring"}}]
    (row,) = landing.rows(f"shop/{write_in_form(landing, rows, form, nested='more')}", None, source)
    assert (row["campaign"], row["unreadable"]) == ("spring", None)


def test_typed_values_of_parquet_that_no_path_goes_into_are_counted(landing: Landing) -> None:
    path = landing.write("shop/a.parquet", "")
    row = "'e' as id, 'page_view' as type, 'u' as user, '2026-03-09' as at"
    for more, unreadable in (("['spring']", "more"), ("{'campaign': 'spring'}", None), ("null::int", None)):
        landing.connection.execute(f"copy (select {row}, {more} as more) to '{path}' (format parquet)")
        assert [row["unreadable"] for row in landing.rows("shop/a.parquet", None, POINTS)] == [unreadable]


def test_a_column_that_is_used_whole_too_need_not_be_json(landing: Landing) -> None:
    source = described(columns={**described().columns, "campaign": ("more.campaign", "more")})
    row = landing.row("id,user,type,at,more", "e,u,page_view,2026-03-09,spring", source, folder="shop")
    assert (row["campaign"], row["unreadable"]) == ("spring", None)


# ---- what is filled and says nothing ----

COUNTRY = described(columns={**described().columns, "country": ("c",)})


@pytest.mark.parametrize(
    ("written", "country", "unreadable"),
    [
        *(("Germany", "DE", None), ("DEU", "DE", None), ("united states", "US", None), ("de\t", "DE", None)),
        *(("NA", "NA", None), ("uk", "GB", None), ("Samoa", "WS", None), ("usa", "US", None)),
        *(("(not set)", None, None), ("", None, None)),
        *(("Congo", None, "country"), ("Atlantis", None, "country"), ("49", None, "country")),
    ],
)
def test_a_country_is_read_by_its_codes_and_its_name_or_counted(
    landing: Landing, written: str, country: str | None, unreadable: str | None
) -> None:
    row = landing.row("id,user,type,at,c", f"e,u,page_view,2026-03-09,{written}", COUNTRY, folder="shop")
    assert (row["country"], row["unreadable"], row["reason"]) == (country, unreadable, None)


@pytest.mark.parametrize("sign", ["\t", "\u200b", "\u00a0", "\u2060", "\ufeff", "\x01"])
def test_white_space_of_any_kind_around_a_value_is_none_of_it(landing: Landing, sign: str) -> None:
    head = "event_id,user_id,event_type,event_at,device,country,campaign,city,dwell_seconds"
    values = ("e", "u", "page_view", "2026-03-09", "mobile", "DE", "spring", "Ulm", "1.5")
    for before, after in ((sign, ""), ("", sign)):
        padded = [
            before + value + after if name != "event_at" else value
            for name, value in zip(head.split(","), values, strict=True)
        ]
        row = landing.row(head, ",".join(padded))
        found = [row[name] for name in head.split(",") if name != "event_at"]
        assert found == ["e", "u", "page_view", "mobile", "DE", "spring", "Ulm", 1.5]


def test_a_condition_fits_whatever_white_space_surrounds_a_value(landing: Landing) -> None:
    row = landing.row(
        "id,user,type,at,more", 'e,u,page_view\t,2026-03-09,"{""url"": ""/pricing""}"', POINTS, folder="shop"
    )
    assert row["event_type"] == "pricing_page_view"


@pytest.mark.parametrize("word", ["undefined", "null", "(not set)", "NaN", "<NA>"])
def test_a_word_for_nothing_is_no_campaign_no_city_and_no_device(landing: Landing, word: str) -> None:
    names = ("campaign", "channel", "city", "device", "country", "lifecycle")
    row = landing.row(f"{HEADER},{','.join(names)}", f"e,u,page_view,{GOOD}{f',{word}' * 6}")
    assert [row[name] for name in (*names, "unreadable", "reason")] == [None] * 8


WORDS = {name: (f"p.{name}",) for name in ("campaign", "campaign_source", "city", "device", "country", "gender")}


def test_an_object_or_a_list_is_no_campaign_no_city_and_no_device_and_is_counted(landing: Landing) -> None:
    event = {"user": "u", "type": "page_view", "at": "2026-03-09"}
    held: list[object] = [["a", "b"], {"x": 1}, '["mobile"]', [], {}, "[brand] spring", "{campaignid}"]
    rows = [{**event, "id": f"e{place}", "p": dict.fromkeys(WORDS, value)} for place, value in enumerate(held)]
    source = described(columns={**described().columns, **WORDS})
    found = landing.rows("shop/a.jsonl", "\n".join(map(json.dumps, rows)), source)
    structured = "campaign campaign_source city gender country device"
    assert [set((row["unreadable"] or "").split()) for row in found] == [
        *[set(structured.split())] * 3,
        *[set[str]()] * 2,
        *[{"country"}] * 2,
    ]
    shown = [[row[name] for name in WORDS if name != "country"] for row in found]
    assert shown[:5] == [[None] * 5] * 5
    assert shown[5:] == [[text, text, text, "other", text] for text in ("[brand] spring", "{campaignid}")]


def test_a_description_may_translate_a_list(landing: Landing) -> None:
    source = described(columns={**described().columns, **WORDS}, values={"campaign": {'["a"]': "Both"}})
    event = {"id": "e", "user": "u", "type": "page_view", "at": "2026-03-09", "p": {"campaign": ["a"]}}
    (row,) = landing.rows("shop/a.jsonl", json.dumps(event), source)
    assert (row["campaign"], row["unreadable"]) == ("Both", None)


@pytest.mark.parametrize(
    "written",
    [
        "spring\nlaunch\t\u200b 2026",
        "\u00a0spring  launch\u3000\u2028 2026\0",
        "spri\u00adng \u200elaunch\u2009 2\u0000026 \u200c\ufeff",
        "spring launch 2026",
    ],
)
def test_words_that_look_alike_are_one(landing: Landing, written: str) -> None:
    event = {"id": "e", "user": "u", "type": "page_view", "at": "2026-03-09"}
    held = {**dict.fromkeys(WORDS, written), "country": "United\u00a0 King\u200bdom"}
    source = described(columns={**described().columns, **WORDS}, values={"gender": {"Spring\u00a0Launch  2026": "x"}})
    (row,) = landing.rows("shop/a.jsonl", json.dumps({**event, "p": held}), source)
    assert [row[name] for name in WORDS] == [*["spring launch 2026"] * 3, "other", "GB", "x"]


def test_letters_that_are_joined_stay_so(landing: Landing) -> None:
    row = landing.row(f"{HEADER},city", f"e,u,page_view,{GOOD},\u200dکتاب\u200cها\u200d")
    assert row["city"] == "کتاب\u200cها"


def test_a_description_may_translate_a_word_for_nothing(landing: Landing) -> None:
    source = described(columns={**described().columns, "channel": ("c",)}, values={"channel": {"(none)": "direct"}})
    row = landing.row("id,user,type,at,c", "e,u,page_view,2026-03-09,(none)", source, folder="shop")
    assert row["channel"] == "direct"


# ---- one list of events ----


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ending", ["json", "jsonl.gz", "json.zst"])
def test_a_file_that_is_one_list_of_events_is_read_entry_by_entry(
    landing: Landing, indent: int | None, ending: str
) -> None:
    events = [
        {"id": f"e{n}", "user": "u", "type": "page_view", "at": "2026-03-09 10:00:00", "more": {"url": "[{"}}
        for n in range(3)
    ]
    entries = [*events, 5, {"id": "e4"}]
    content = ("\ufeff" + json.dumps(entries, indent=indent)).encode()
    packed = {"gz": gzip.compress, "zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True)}
    written = packed.get(ending.rsplit(".", 1)[-1], bytes)(content)
    rows = landing.rows(f"shop/a.{ending}", written, described())
    assert [(row["landing_line"], row["event_id"], row["reason"]) for row in rows] == [
        *((n + 1, f"e{n}", None) for n in range(3)),
        (4, rows[3]["event_id"], "unreadable_row"),
        (5, "e4", "missing_user_id"),
    ]


def test_a_list_of_events_that_is_cut_off_is_refused_with_what_helps(landing: Landing) -> None:
    with pytest.raises(SourceError, match=r"(?s)one whole list.*jq -c '\.\[\]'"):
        landing.open("shop/a.json", '[{"id": "e1",\n "user": "u"},\n {"id": ', described())


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ending", ["json", "jsonl.gz"])
@pytest.mark.parametrize("around", [{}, {"status": "ok", "next": None, "count": 5, "more": {"a": 1}, "errors": []}])
def test_an_object_around_a_list_of_events_is_read_entry_by_entry(
    landing: Landing, indent: int | None, ending: str, around: dict
) -> None:
    """What the interface of a tracker answers: it was one refused row."""
    events = [
        {"id": f"e{n}", "user": "u", "type": "page_view", "at": "2026-03-09", "items": [{"sku": "}]"}]}
        for n in range(3)
    ]
    content = json.dumps({**around, "data": [*events, 5], "page": 1}, indent=indent).encode()
    rows = landing.rows(f"shop/a.{ending}", gzip.compress(content) if ending.endswith("gz") else content, described())
    assert [(row["landing_line"], row["event_id"], row["reason"]) for row in rows] == [
        *((n + 1, f"e{n}", None) for n in range(3)),
        (4, rows[3]["event_id"], "unreadable_row"),
    ]
    assert landing.rows("shop/b.json", json.dumps({**around, "data": []}, indent=indent), described()) == []


@pytest.mark.parametrize("indent", [None, 2])
def test_an_event_that_holds_a_list_is_one_event(landing: Landing, indent: int | None) -> None:
    event = {"items": [{"sku": "s"}], "id": "e", "user": "u", "type": "page_view", "at": "2026-03-09"}
    last = {name: event[name] for name in reversed(event)}
    for events in ([event], [last], [event, last], [{"items": [{"sku": "s"}]}, event]):
        content = "\n".join(json.dumps(event, indent=indent) for event in events)
        reasons = [row["reason"] for row in landing.rows("shop/a.json", content, described())]
        assert reasons == [None if "id" in event else "missing_user_id" for event in events]


def test_a_first_line_that_is_cut_off_takes_no_other_along(landing: Landing) -> None:
    line = '{"items": [{"sku": "s"}], "id": "e", "user": "u", "type": "page_view", "at": "2026-03-09"}'
    rows = landing.rows("shop/a.json", f"{line[:40]}\n{line}\n", described())
    assert [row["reason"] for row in rows] == ["unreadable_row", None]


def test_an_object_around_several_lists_is_refused_by_their_names(landing: Landing) -> None:
    content = json.dumps({"people": [{"id": "u"}], "events": [{"id": "e"}]})
    with pytest.raises(SourceError, match=r"(?s)several lists: events, people.*jq -c '\.events\[\]'"):
        landing.open("shop/a.json", content, described())


def test_an_object_around_a_list_that_is_cut_off_is_refused_with_what_helps(landing: Landing) -> None:
    with pytest.raises(SourceError, match=r"(?s)one whole list.*jq -c '\.\[\]\[\]\?'"):
        landing.open("shop/a.json", '{"data": [{"id": "e1",\n "user": "u"},\n {"id": ', described())


def test_the_advice_for_a_whole_file_works_as_typed(landing: Landing, tmp_path: Path) -> None:
    if not (jq := shutil.which("jq")):
        pytest.skip("needs jq")
    path = tmp_path / "a.json"
    for content, entries in (('{"n": 1, "data": [{"a": 1}, {"a": 2}]}', ".[][]?"), ('[{"a": 1}, {"a": 2}]', ".[]")):
        path.write_text(content)
        told = subprocess.run([jq, "-c", entries, path], capture_output=True, text=True, check=True)
        assert told.stdout == '{"a":1}\n{"a":2}\n'


def test_a_list_of_visits_is_as_many_events_as_they_hold(landing: Landing) -> None:
    source = described(format="jsonl", event_list="actions")
    visits = [{"user": "u", "at": "2026-03-09", "actions": [{"id": f"e{n}", "type": "page_view"}]} for n in range(2)]
    assert [row["event_id"] for row in landing.rows("shop/a.json", json.dumps(visits), source)] == ["e0", "e1"]


# ---- wide files, names that tell ----


def test_a_header_tells_by_its_words_that_it_is_personal(landing: Landing) -> None:
    header = "id,user,type,at,mobilePhone,customer_name,page"
    opened = landing.open("shop/a.csv", f"{header}\ne,u,levitation,2026-03-09,0815,Ada L,/a\n", described())
    assert (opened.personal_columns, opened.unused_columns) == (("customer_name", "mobilephone"), ("page",))
    row = landing.rows("shop/a.csv", None, described())[0]["masked_row"]
    assert "Ada" not in row
    assert "0815" not in row
    assert "/a" in row


def test_a_wide_file_is_looked_through_at_once(landing: Landing) -> None:
    many = [f"extra_{n}" for n in range(1_500)]
    values = [f"v{n}" for n in range(1_499)]
    begin = monotonic()
    opened = landing.open(
        "shop/a.csv",
        f"id,user,type,at,{','.join(many)}\ne,u,page_view,2026-03-09,{','.join(values)},10.1.2.3\n",
        described(),
    )
    assert monotonic() - begin < 30, "minutes, where the time grows with the square of columns"
    assert opened.personal_columns == ("extra_1499",)
    assert len(opened.unused_columns) == 1_499


@pytest.mark.parametrize("header", ["ada@example.com", "10.1.2.3", "+49 151 23456789", "DE89 3704 0044 0532 0130 00"])
def test_a_header_that_is_an_address_is_shown_masked_and_stops_nothing(landing: Landing, header: str) -> None:
    opened = landing.open("shop/a.csv", f"id,user,type,at,{header}\ne,u,page_view,2026-03-09,1\n", described())
    assert "***" in str(opened.unused_columns)
    assert header.lower() not in f"{opened.unused_columns} {opened.found_columns}"
    opened = landing.open("shop/b.jsonl", json.dumps({"id": "e", "user": "u", "type": "a", header: 1}), described())
    assert "***" in str(opened.found_columns)
    assert header not in str(opened.found_columns)


@pytest.mark.parametrize(
    "name",
    [
        "ada@example.com.csv",
        "of 10.1.2.3 a.csv",
        "+49 151 23456789/a.csv",
        "::1.csv",
        "+\uff1449 151\u202f23456789.csv",
    ],
)
def test_a_file_name_with_an_address_is_refused_with_what_helps(landing: Landing, name: str) -> None:
    landing.write(f"native/{name}", "")
    with pytest.raises(SourceError, match=r"(?s)\*\*\*.*rename the file") as caught:
        landing.files()
    assert not any(part in str(caught.value) for part in ("ada", "10.1.2.3", "23456789"))


@pytest.mark.parametrize("name", ["events 2026-11-28 10-30-00.csv", "export_20261128T103000Z.csv", "1.2.3/a.csv"])
def test_a_file_name_with_a_time_is_a_name(landing: Landing, name: str) -> None:
    landing.write(f"native/{name}", "")
    assert [file.name for file in landing.files()] == [f"native/{name}"]


def test_a_zero_byte_is_no_part_of_an_id(landing: Landing) -> None:
    day = "2026-03-09"
    event = {"user_id": "u1\0", "event_type": "page_view", "event_at": day, "received_at": day, "event_id": ["e"]}
    rows = landing.rows("native/a.jsonl", "\n".join(map(json.dumps, (event | {"event_id": "e\0"}, event))))
    assert [(row["user_id"], row["event_id"], row["reason"]) for row in rows] == [
        ("u1", "e", None),
        ("u1", '["e"]', "structured_id"),
    ]
