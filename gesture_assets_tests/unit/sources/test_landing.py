"""Landing files: every row of every format comes out once, in our words or with the reason why not."""

import gzip
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from gesture_assets.errors import ConfigError, SourceError
from gesture_assets.events.tables import REASONS
from gesture_assets.sources.description import SourceDescription, load_descriptions
from gesture_assets.sources.landing import LandingFile, OpenFile, find_files, open_file

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
        result = self.connection.execute(f"select * from {opened.sql} order by landing_line")
        columns = [column[0] for column in result.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def row(self, header: str, values: str, *own: SourceDescription, folder: str = "native") -> dict:
        (row,) = self.rows(f"{folder}/one.csv", f"{header}\n{values}\n", *own)
        return row

    def reasons(self, name: str, content: str | bytes | None = None) -> list[tuple[int, str | None]]:
        return [(row["landing_line"], row["reason"]) for row in self.rows(name, content)]


@pytest.fixture
def landing(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Iterator[Landing]:
    connection.execute(f"attach '{tmp_path / 'x.duckdb'}' as scratch")
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
    ("e,u,page_view,2026-03-09 10:00:00,soon", "unparsable_received_at"),
    ("e,u,page_view,2026-03-09 10:00:00,", "unparsable_received_at"),
    ("e,u,page_view,2026-03-09 10:05:00,2026-03-09 10:00:00", None),
    ("e,u,page_view,2026-03-09 10:05:01,2026-03-09 10:00:00", "future_ts"),
    ("e,u,page_view,2025-03-09 10:00:00,2026-03-09 10:00:00", None),
    ("e,u,page_view,2025-03-09 09:59:59,2026-03-09 10:00:00", "too_old"),
    (f"e,10.1.2.3,page_view,{GOOD}", "personal_id"),
    (f"e,2001:db8:85a3:8d3:1319:8a2e:370:7348,page_view,{GOOD}", "personal_id"),
    (f"e,1.2.3,page_view,{GOOD}", None),
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
                [("Desktop", "gb"), ("iOS", "uk"), ("iPad", "USA"), ("fridge", ""), ("", "DE ")]
            )
        ),
    )
    assert [row["device"] for row in rows] == ["desktop", "mobile", "tablet", "other", None]
    assert [row["country"] for row in rows] == ["GB", "GB", None, None, "DE"]


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


@pytest.mark.parametrize(
    ("written", "dwell", "imputed"),
    [
        (["10", "", "40", "", "30"], [10, 30, 40, 30, 30], [False, True, False, True, False]),
        (["10", "", "20"], [10, 15, 20], [False, True, False]),
        (["10", "nan", "-99"], [10, 10, -99], [False, True, False]),
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
    with pytest.raises(ConfigError, match=r"(?s)'hubspot'.*native, scoring_csv, segment, shop_clickstream"):
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
