"""Bad input of every kind, as it lands beside good files: what is said about it, and that no row goes missing.

Belongs here: a table of bad files and bad CRMs with the words a user reads. Does not belong here: how one row is judged
(`test_landing.py`), typing of CRM values (`test_crm.py`), rule files (`unit/rules/`).
"""

import gzip
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import narwhals as nw
import pyarrow as pa
import pytest

from gesture_assets.errors import SourceError
from gesture_assets.events import accept
from gesture_assets.frames import to_polars
from gesture_assets.settings import Settings
from gesture_assets.sources import crm
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import LandingFile, content_hash, find_files
from gesture_assets.sources.landing_index import LandingIndex
from gesture_assets.warehouse.session import Session
from gesture_assets_tests.events_by_hand import EVENT_SCHEMA, deduplicate, lazy, table

DAY = date(2026, 3, 9)
HEADER = "event_id,user_id,event_type,event_at"
AT = "2026-03-09 10:00:00"
WHOLE = (HEADER + "\n" + "".join(f"e{n},u{n * n},page_view,{AT}\n" for n in range(3_000))).encode()
GZ, ZST = gzip.compress(WHOLE), pa.compress(WHOLE, codec="zstd", asbytes=True)


def parquet(cut: int | None = None) -> bytes:
    import pyarrow.csv
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(pa.BufferReader(WHOLE)), sink)
    return sink.getvalue().to_pybytes()[:cut]


def long_figures() -> bytes:
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table({"user_id": pa.array([700], pa.decimal256(76, 38))}), sink)
    return sink.getvalue().to_pybytes()


def alike(first: str, second: str) -> bytes:
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    names = ["user_id", "event_type", "event_at", first, second]
    pyarrow.parquet.write_table(
        pa.table([pa.array([text]) for text in ("u", "search", AT, "Bonn", "Rome")], names), sink
    )
    return sink.getvalue().to_pybytes()


# File, its bytes, the words that its refusal must hold.
REFUSED: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("wide.csv", (",".join(f"c{n}" for n in range(100_000)) + "\n").encode(), ("100,000 columns", "4,096")),
    ("empty.csv", b"", ("expected: a header and rows", "an empty file (0 bytes)")),
    ("cut.csv.gz", GZ[: len(GZ) // 2], ("expected: a whole compressed file", "cut short")),
    ("cut.csv.zst", ZST[: len(ZST) // 2], ("expected: a whole compressed file", "cut short")),
    ("cut.parquet", parquet(2_000), ("expected: a readable parquet file", "cut.parquet")),
    ("plain.csv.gz", WHOLE, ("expected: a whole compressed file", "or not compressed at all")),
    ("noise.parquet", b"\x00\x01\x02" * 50, ("expected: a readable parquet file",)),
    (
        "noise.csv",
        b"\x80\x81\x82\n\x83",
        ("expected: a header in UTF-8", "the byte 0x80 at place 1, which is no UTF-8", "save the file as UTF-8"),
    ),
    ("utf-16.csv", WHOLE.decode().encode("utf-16"), ("expected: a header in UTF-8", "zero bytes: UTF-16")),
    ("zeros.csv", b"\x00" * 100, ("expected: a header in UTF-8", "zero bytes: UTF-16, or no text at all")),
    ("utf-16.jsonl", '{"user_id": 1}'.encode("utf-16"), ("expected: JSON lines in UTF-8", "found: UTF-16")),
    ("alike.parquet", alike("City", "city"), ("column names that occur once", "city more than once")),
    ("same.parquet", alike("city", "city"), ("column names that occur once", "city more than once")),
    ("one_line.csv", b"x" * 2_000_000, ("expected: the column event_at", "found: columns")),
    ("figures.parquet", long_figures(), ("at most 38 figures", "more in user_id", "export the column as text")),
    (
        "no_header.csv",
        f"e1,ann@example.com,page_view,{AT},10.1.2.3,10.1.2.4\n".encode() * 2,
        ("expected: the column event_at", "found: columns", "***"),
    ),
    ("semicolons.csv", WHOLE.replace(b",", b";"), ("expected: columns separated by ','", "delimiter = ';'")),
    ("twice.csv", b"user_id,USER_ID,event_type,event_at\n", ("column names that occur once", "user_id more than once")),
    (
        "other_times.csv",
        f"{HEADER}\ne,u,page_view,09/03/26\nf,u,page_view,soon\n".encode(),
        ("at least one row with a readable time", "09/03/26", "set timestamp_format"),
    ),
]
# File, its bytes, how many records it holds and how many of these are quarantined.
TAKEN: list[tuple[str, bytes, int, int]] = [
    ("open_quote.csv", f'{HEADER}\na1,"u,page_view,{AT}\na2,u,page_view,{AT}\n'.encode(), 2, 1),
    ("no_utf8.csv", f"{HEADER}\nb1,\xfc,page_view,{AT}\nb2,u,page_view,{AT}\n".encode("latin-1"), 2, 1),
    ("line_ends.csv", f"{HEADER}\r\nc1,u,page_view,{AT}\nc2,u,page_view,{AT}\rc3,u\r\n".encode(), 3, 1),
    (
        "longer_than_the_reader.csv",
        f"{HEADER}\nl1,u,page_view,{AT}\n".encode() + b"l" * 40_000_000 + f"\nl2,u,page_view,{AT}\n".encode(),
        3,
        1,
    ),
    (
        "longer_in_quotes.csv.gz",
        gzip.compress(f'{HEADER}\nm1,"{"u" * 70_000_000}\n",page_view,{AT}\nm2,"u\nv",page_view,{AT}\n'.encode(), 1),
        3,
        2,
    ),
    (
        "longer_than_the_reader.jsonl",
        b'{"user_id": "n1", "event_type": "search", "event_at": 1773050400, "received_at": 1773050400}\n'
        b'{"user_id": "n1", "event_type": "search", "event_at": 1773050400, "received_at": 1773050400'
        + b" "
        * 40_000_000
        + b"}\n"
        b'{"user_id": "n2", "event_type": "search", "event_at": 1773050400, "received_at": 1773050400}\n',
        3,
        1,
    ),
    ("huge_cell.csv", f"{HEADER}\nd1,{'u' * 20_000_000},page_view,{AT}\nd2,u,page_view,{AT}\n".encode(), 2, 1),
    (
        "zones.csv",
        "\n".join(
            (
                HEADER,
                *(
                    f"f{n},u,page_view,{at}"
                    for n, at in enumerate(
                        (
                            AT,
                            "2026-03-09T10:00:00Z",
                            "2026-03-09T12:00:00+02:00",
                            "1773050400",
                            "1773050400000",
                            "1773050400000000",
                        )
                    )
                ),
            )
        ).encode(),
        6,
        0,
    ),
    ("formula.csv", f"{HEADER}\ng1,=cmd|' /C calc'!A0,page_view,{AT}\n".encode(), 1, 0),
    ("sql.csv", f"{HEADER}\n'; drop table raw_events; --,'; drop table raw_events; --,page_view,{AT}\n".encode(), 1, 0),
    ("twice_in_a_file.csv", f"{HEADER}\nh1,u,search,{AT}\nh1,u,search,{AT}\nh2,u,search,{AT}\n".encode(), 3, 0),
    ("twice_in_files.csv", f"{HEADER}\nh1,u,search,{AT}\n".encode(), 1, 0),
    (
        "skew.csv",
        f"{HEADER},received_at\ni1,u,search,2026-03-09 10:05:00,{AT}\ni2,u,search,2026-03-09 10:05:01,{AT}\n".encode(),
        2,
        1,
    ),
    (
        "no_json.jsonl",
        b'{"user_id": "u", "event_type": "search", "event_at": 1773050400, "received_at": 1773050400}\n{\n[1]\n\xff\n',
        4,
        3,
    ),
    ("folder.csv/part-0.csv", f"{HEADER}\nj1,u,page_view,{AT}\n".encode(), 1, 0),
]
DUPLICATES = {"native/twice_in_a_file.csv": 1, "native/twice_in_files.csv": 1}


@pytest.fixture
def session(open_session: Callable) -> Iterator[Session]:
    with open_session(DAY, step="landed_events") as opened:
        yield opened


def land(settings: Settings, name: str, content: bytes) -> Path:
    path = settings.landing / "native" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def landed(settings: Settings) -> list[LandingFile]:
    return list(find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources))


def has_four_parts(error: SourceError, where: str) -> None:
    assert all((error.doing, error.expected, error.found, error.next_step))
    assert where in error.where
    assert "gesture run" in error.next_step


@pytest.mark.parametrize(("name", "content", "words"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_a_file_that_cannot_be_read_is_refused_in_words(
    session: Session, settings: Settings, name: str, content: bytes, words: tuple[str, ...]
) -> None:
    path = land(settings, name, content)
    with pytest.raises(SourceError) as refusal:
        LandingIndex(session, "a key").refresh(landed(settings))
    message = str(refusal.value)
    assert message.startswith(f"The landing file native/{name} cannot be read as native; nothing of it was loaded.")
    assert [word for word in words if word not in message] == []
    assert not any(personal in message for personal in ("ann@", "10.1.2.3", "10.1.2.4"))
    has_four_parts(refusal.value, str(path))


def test_a_file_that_may_not_be_read_is_refused_in_words(settings: Settings) -> None:
    source = load_descriptions(settings.user_sources)["native"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "secret.csv"
        path.write_bytes(WHOLE)
        path.chmod(0)
        Path(folder).chmod(0o755)
        user = os.geteuid()
        if user == 0:  # may read everything
            os.seteuid(65534)
        try:
            with pytest.raises(SourceError, match="Permission denied") as refusal:
                content_hash(LandingFile(path, "native/secret.csv", source, "csv"))
        finally:
            os.seteuid(user)
    assert "expected: a file that can be read" in str(refusal.value)
    has_four_parts(refusal.value, "secret.csv")


def test_what_lands_is_accepted_quarantined_or_a_duplicate_to_the_last_row(
    session: Session, settings: Settings
) -> None:
    for name, content, _, _ in TAKEN:
        land(settings, name, content)
    files = landed(settings)
    assert len(files) == len(TAKEN)
    index = LandingIndex(session, "a key")
    index.refresh(files)
    rows = to_polars(index.load(files, [DAY]))
    accepted = deduplicate(accept.accepted(lazy(rows)), lazy(table((), EVENT_SCHEMA).select("event_id")))
    nothing = dict.fromkeys(("personal_columns", "unused_columns", "found_columns"))
    dropped = rows.select("landing_file").unique().with_columns(**nothing)
    counts = accept.reconciliation(lazy(rows), accepted, lazy(dropped)).collect("polars").to_native()
    outcomes = {
        name: (in_all, taken, twice, set_aside)
        for name, in_all, taken, twice, set_aside in counts.select(
            "landing_file", "landed_count", "accepted_count", "duplicate_count", "quarantined_count"
        ).rows()
    }
    expected = {}
    for name, _, records, set_aside in TAKEN:
        twice = DUPLICATES.get(f"native/{name}", 0)
        expected[f"native/{name}"] = (records, records - set_aside - twice, twice, set_aside)
    assert outcomes == expected
    events = nw.from_native(accepted.collect("polars").to_native())
    zones = events.filter(nw.col("landing_file") == "native/zones.csv")["event_at"].to_list()
    assert zones == [datetime(2026, 3, 9, 10)] * 6


def test_a_duplicate_of_an_earlier_day_is_counted_as_one(session: Session, settings: Settings) -> None:
    late = f"{HEADER},received_at\nk1,u,page_view,{AT},2026-03-10 01:00:00\nk2,u,page_view,{AT},2026-03-10 01:00:00\n"
    land(settings, "first.csv", f"{HEADER}\nk1,u,page_view,{AT}\n".encode())
    land(settings, "late.csv", late.encode())
    files = landed(settings)
    index = LandingIndex(session, "a key")
    index.refresh(files)
    first = to_polars(index.load(files, [DAY]))
    second = to_polars(index.load(files, [DAY + timedelta(days=1)]))
    deduplicated = deduplicate(accept.accepted(lazy(second)), lazy(first.select("event_id")))
    assert (first["event_id"].to_list(), second.height) == (["k1"], 2)
    assert deduplicated.collect("polars").to_native()["event_id"].to_list() == ["k2"]


# ---- the CRM ----


def test_a_crm_that_another_process_holds_locked_says_so(
    write_crm: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_crm([(1, "Ann Lee", "ann@example.com", 4, "2026-01-05", "GB")])
    held = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('begin exclusive'); "
    held += "print('locked', flush=True); sys.stdin.read()"
    monkeypatch.setattr(crm, "BUSY_SECONDS", 1)
    with subprocess.Popen(
        [sys.executable, "-c", held, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(SourceError) as refusal:
            crm.read_crm(f"sqlite:///{path}", path.parent)
        holder.communicate()
    message = str(refusal.value)
    assert "expected: a database that can be read within 1 seconds" in message
    assert "found: another process is writing it and holds it locked" in message
    assert "next: let the other process finish, then  gesture run" in message
    has_four_parts(refusal.value, "crm_database.sqlite")
    assert crm.read_crm(f"sqlite:///{path}", path.parent).tables["Subscribers"].height == 1, "and afterwards it is read"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("drop table Tags", "tables Subscribers, Transactions; for document_003 no Tags; for hubspot no *contacts*"),
        ("alter table Subscribers rename column user_email to mail", "for document_003 no user_email in Subscribers"),
    ],
)
def test_a_crm_of_another_schema_is_refused_in_words(
    write_crm: Callable[..., Path], statement: str, found: str
) -> None:
    path = write_crm([])
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(SourceError) as refusal:
        crm.read_crm(f"sqlite:///{path}", path.parent)
    message = str(refusal.value)
    assert message.startswith("The CRM cannot be read; subscribers stay as they were.")
    assert "expected: the tables and columns of a CRM description: document_003, hubspot, mailchimp" in message
    assert found in message
    has_four_parts(refusal.value, "crm_database.sqlite")
