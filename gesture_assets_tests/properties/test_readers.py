"""The readers under generated files: whatever lands, every record comes out once or the file is refused with a reason.

How many records a file holds is known from how it was made, never from a reader. `make test-fast` and `make test` draw
the same files each time, few and more of them; `make proof` draws 10,000 new ones. A file that fails is written to
`files/` beside this module, where every later run reads it: commit it with what mends it.
"""

import gzip
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gesture_assets.errors import SourceError
from gesture_assets.events.tables import REASONS
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import LandingFile, open_file, readable
from gesture_assets.sources.redaction import mask_refused_rows
from gesture_assets.warehouse.warehouse import connect

INDEXED_AT = datetime(2026, 3, 10, 2)
NATIVE = load_descriptions(Path("nowhere"))["native"]
# What must never come out, wherever it went in.
SECRETS = ("jane.secret@example.com", "203.0.113.77", "Mozilla/5.0 Secret")
REQUIRED = ("user_id", "event_type", "event_at")
COLUMNS = (
    "event_id",
    *REQUIRED,
    "received_at",
    "device",
    "country",
    "email",
    "user_agent",
    "dwell_seconds",
    "scroll_depth_pct",
    "ip_address",
    "mood",
)
FEW, MORE, MANY = 60, 1_000, 10_000  # files of all kinds together
KEPT = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Generated:
    """A file's name, its bytes, and how many records it holds."""

    name: str
    content: bytes
    records: int


# ---- values ----

TIMES = (
    "2026-03-09 10:00:00",
    "2026-03-09T10:00:00Z",
    "2026-03-09T10:00:00+14:00",
    "2026-03-09",
    "1773050400",
    "1773050400123",
    "1773050400123456",
    "1773050400123456789",
    "0",
    "-1",
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "294247-01-10 04:00:54",
    "290309-12-22 (BC) 00:00:00",
    "99999-12-31",
    "0000-00-00",
    "9999-12-31 23:59:59",
    "1899-12-31",
    "2026-02-30",
    "24:00",
    "2026-03-09 10:00:00 Europe/Berlin",
    "2026-03-09T25:61:61Z",
    "tomorrow",
    "",
)
NUMBERS = (
    "0",
    "-0",
    "1e308",
    "-1e308",
    "1e400",
    "nan",
    "inf",
    "-Infinity",
    "12.5",
    "0x10",
    "1_000",
    "1,5",
    "½",
    "",
    "9" * 40,
)
WORDS = (
    "",
    " ",
    "u",
    "page_view",
    "purchase",
    "'; drop table live.raw_events; --",
    "=cmd()",
    "\ufeff",
    "💥🏳️‍🌈",
    "null",
    "NaN",
    "a\tb",
    "tab\t",
    "İ",
    "ﬁ",
    "e\u0301",
    "\u202e",
    "%s{}",
    "\\",
    "\\n",
    "$.a",
    "x" * 5_000,
    *SECRETS[:2],
)
words = st.sampled_from(WORDS) | st.text(max_size=12)
OF_COLUMN = {
    "event_at": st.sampled_from(TIMES),
    "received_at": st.sampled_from(TIMES),
    "event_type": st.just("page_view") | words,
    "dwell_seconds": st.sampled_from(NUMBERS),
    "scroll_depth_pct": st.sampled_from(NUMBERS),
    "email": st.sampled_from(SECRETS[:1]) | words,
    "ip_address": st.just(SECRETS[1]),
    "user_agent": st.just(SECRETS[2]),
}
# Personal values stand where exports have them: not every text column is searched for addresses on the way in,
# no_text_holds_an_ip_or_email_address stops the day instead.
harmless = words.filter(lambda text: not any(secret in text for secret in SECRETS))
values = {name: OF_COLUMN.get(name, words if name == "user_id" else harmless) for name in COLUMNS}
some_columns = st.permutations(COLUMNS).map(list) | st.permutations(COLUMNS[:5]).map(list)


# ---- CSV ----

ENDS = ("\n", "\r\n", "\r")
# One record each, whatever surrounds it: no line ends, and no quote that could be another's end.
BROKEN = (
    b"short",
    b",",
    b"\xff\xfe,\x00,x",
    b"a\x00b",
    b"caf\xe9,u",
    b"," * 40,
    b"  ",
    b'o,"open',
    b'"a"b,c',
    b'x,"',
    b"\xed\xa0\x80",
)


def csv_cell(text: str, end: str, *, quoted: bool) -> str:
    text = text.replace("\r", " ").replace("\n", end if quoted else " ")
    return '"' + text.replace('"', '""') + '"' if quoted else text.replace('"', "").replace(",", ";")


@st.composite
def csv_files(draw: st.DrawFn) -> Generated:
    columns = draw(some_columns)
    ends = draw(st.sampled_from([("\n",), ("\r\n",), ("\r",), ENDS, ("\n", "\r\n")]))
    end = st.sampled_from(ends)
    chunks = [draw(st.sampled_from((b"", b"\xef\xbb\xbf"))), ",".join(columns).encode(), draw(end).encode()]
    count = 0
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            record = draw(st.sampled_from(BROKEN))
        elif kind == 1:
            record = draw(st.binary(min_size=1, max_size=20)).translate(None, b'\r\n"') or b"-"
        elif kind == 2:
            chunks.append(draw(end).encode())  # a blank line, which is no record
            continue
        else:
            quoting = draw(st.sampled_from((0, 1, 2)))
            cells = [
                csv_cell(draw(values[name]), ends[0], quoted=quoting == 1 or (quoting == 2 and draw(st.booleans())))
                for name in columns
            ]
            record = ",".join(cells).encode("utf-8", "surrogatepass")
        chunks += [record, draw(end).encode()]
        count += 1
    if count and draw(st.booleans()):
        chunks.pop()  # no line end at the end of the file
    return packed(draw, "a.csv", b"".join(chunks), count)


def packed(draw: st.DrawFn, name: str, content: bytes, count: int) -> Generated:
    how = draw(st.sampled_from(("", "", ".gz", ".zst")))
    if how == ".gz":
        content = gzip.compress(content, 1)
    elif how == ".zst":
        content = pa.compress(content, codec="zstd", asbytes=True)
    return Generated(name + how, content, count)


# ---- JSON lines ----

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | words
    | st.sampled_from((*TIMES, *NUMBERS))
    | st.sampled_from((10**400, -(10**30), 1e308))
)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(harmless, inner, max_size=3), max_leaves=5
)
NO_OBJECTS = (
    b"{",
    b"[1]",
    b"7",
    b'"text"',
    b"null",
    b"{'a': 1}",
    b'{"a": 1}}',
    b"\x00",
    b'{"a": "\xff"}',
    b'{"\xff": 1}',
    b'{"user_id": "jane.secret@example.com',
    b'{"ip": "203.0.113.77"',
    b"\t",
    b'{"user_id": "\\ud800"}',
    b"[" * 3_000,
    b'{"a":' * 2_000,
)


@st.composite
def jsonl_files(draw: st.DrawFn) -> Generated:
    ends = draw(st.sampled_from([(b"\n",), (b"\r\n",), (b"\n", b"\r\n")]))
    chunks, count = [], 0
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.integers(0, 6))
        if kind == 0:
            line = draw(st.sampled_from(NO_OBJECTS))
        elif kind == 1:
            chunks.append(draw(st.sampled_from((b"", b"  "))) + draw(st.sampled_from(ends)))
            continue
        else:
            names = draw(some_columns)
            odd = draw(st.dictionaries(harmless, nested.filter(innocent), max_size=2)) if kind == 2 else {}
            document = {name: draw(values[name] | (scalars if name in REQUIRED else values[name])) for name in names}
            line = json.dumps({**odd, **document}, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
        chunks += [line, draw(st.sampled_from(ends))]
        count += 1
    return packed(draw, "a.jsonl", b"".join(chunks), count)


def innocent(value: object) -> bool:
    return not any(secret in str(value) for secret in SECRETS)


# ---- Parquet ----

ARROW: tuple[tuple[pa.DataType, st.SearchStrategy[Any]], ...] = (
    (pa.string(), words.map(lambda text: text.encode("utf-8", "replace").decode())),
    (pa.binary(), st.binary(max_size=8)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.just(1773050400)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.decimal128(38, 9), st.integers(-(10**28), 10**28).map(Decimal)),
    (pa.date32(), st.dates() | st.just(date(9999, 12, 31))),
    (pa.timestamp("us"), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))),
    (pa.timestamp("ns"), st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))),
    (pa.timestamp("us", tz="UTC"), st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))),
    (pa.time64("us"), st.just(time(10, 30))),
    (pa.duration("us"), st.just(timedelta(days=3))),
    (pa.list_(pa.int32()), st.lists(st.integers(0, 9), max_size=3)),
    (pa.struct([("a", pa.string())]), st.just({"a": "x"})),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(("page_view", "purchase"))),
    (pa.null(), st.none()),
)
TEXT = ARROW[0][0]


@st.composite
def parquet_files(draw: st.DrawFn) -> Generated:
    count = draw(st.integers(0, 6))
    arrays = {}
    for name in draw(some_columns):
        kind, of_kind = (TEXT, values[name].map(lambda text: text.encode("utf-8", "replace").decode()))
        if name in (*REQUIRED, "received_at", "dwell_seconds") and draw(st.booleans()):
            kind, of_kind = draw(st.sampled_from(ARROW))
        made = draw(st.lists(st.none() | of_kind, min_size=count, max_size=count))
        arrays[name] = pa.array(made, kind) if kind != ARROW[-2][0] else pa.array(made, TEXT).dictionary_encode()
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(arrays), sink, compression=draw(st.sampled_from(("none", "snappy", "zstd"))), row_group_size=3
    )
    return Generated("a.parquet", sink.getvalue().to_pybytes(), count)


# ---- files that are no files of their kind ----


@st.composite
def damaged_files(draw: st.DrawFn) -> Generated:
    """A generated file of any kind with bytes cut off, changed or put in: nobody knows what it holds."""
    whole = draw(st.one_of(csv_files(), jsonl_files(), parquet_files()))
    content = bytearray(whole.content)
    at = draw(st.integers(0, len(content)))
    how = draw(st.sampled_from(("cut", "change", "put in", "replace")))
    noise = draw(st.binary(min_size=1, max_size=40))
    if how == "cut":
        del content[at:]
    elif how == "change":
        content[at : at + len(noise)] = noise
    elif how == "put in":
        content[at:at] = noise
    else:
        content = bytearray(noise)
    return Generated(whole.name, bytes(content), -1)


# ---- what holds for all of them ----


numbered = itertools.count()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """One connection and one folder for all files: opening them anew would take longer than reading."""
    con = connect()
    con.execute("set threads = 1; attach ':memory:' as scratch")  # each prepares all patterns
    yield con, tmp_path_factory.mktemp("generated")
    con.close()


def read(reader: tuple[duckdb.DuckDBPyConnection, Path], file: Generated) -> list[dict[str, Any]] | None:
    """The rows of `file`; None where it was refused, which must be said in four parts and without personal data."""
    con, folder = reader
    # A name of its own: the engine remembers what it read under a name a moment ago.
    path = folder / f"{next(numbered)}-{file.name}"
    path.write_bytes(file.content)
    landed = LandingFile(path, f"native/{file.name}", NATIVE, file.name.split(".")[1])
    try:
        opened = open_file(con, landed, table="scratch.main.rows_x", key="k", indexed_at=INDEXED_AT)
        with readable(landed):
            con.execute(f"create or replace temp table found as from {opened.sql}")
            mask_refused_rows(con, "found")
            result = con.execute("from found")
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    except SourceError as error:
        refusal = error
    finally:
        path.unlink()
    assert refusal.doing.startswith(f"The landing file native/{file.name} cannot be read as native")
    assert refusal.expected
    assert refusal.found
    assert "gesture run" in refusal.next_step
    assert refusal.where == str(path)
    assert not any(secret in str(refusal) for secret in SECRETS[:2])
    return None


def judged(rows: list[dict[str, Any]], secrets: tuple[str, ...] = SECRETS) -> None:
    """What holds for rows of any file."""
    lines = [row["landing_line"] for row in rows]
    assert len(set(lines)) == len(lines), "a row of the quarantine is known by file and line"
    for row in rows:
        assert row["reason"] is None or row["reason"] in REASONS
        assert (row["masked_row"] is None) == (row["reason"] is None)
        shown = row["masked_row"] if row["reason"] else str(row)
        assert not any(secret in shown for secret in secrets), shown
        if row["reason"] is None:
            assert row["event_id"]
            assert row["user_id"]
            assert row["filing_day"] == max(row["event_at"], row["received_at"]).date()


def nothing_is_lost(reader: tuple[duckdb.DuckDBPyConnection, Path], file: Generated) -> None:
    rows = read(reader, file)
    assert rows is not None, "the file is whole and of its kind"
    assert len(rows) == file.records
    judged(rows)


def any_refusal_is_told(reader: tuple[duckdb.DuckDBPyConnection, Path], file: Generated) -> None:
    # Where the name of a field is damaged nobody knows what it held; addresses are known by their form.
    judged(read(reader, file) or [], SECRETS[:2])


def kept(file: Generated) -> Path:
    """Write `file` where every later run reads it; its name says how many records it holds."""
    KEPT.mkdir(exist_ok=True)
    records = "damaged" if file.records < 0 else file.records
    path = KEPT / f"{hashlib.sha256(file.content).hexdigest()[:8]}-{records}-{file.name}"
    path.write_bytes(file.content)
    return path


def run(kind: str, reader: tuple[duckdb.DuckDBPyConnection, Path], count: int, *, is_drawn_anew: bool = False) -> None:
    """Read about `count` files times the share of `kind`: the same ones each time, unless they are drawn anew.

    The smallest file that fails is kept.
    """
    strategy, check, share = KINDS[kind]
    failed: list[Generated] = []

    @settings(max_examples=int(count * share), derandomize=not is_drawn_anew, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def every(file: Generated) -> None:
        try:
            check(reader, file)
        except Exception:
            failed.append(file)
            raise

    try:
        every()
    except Exception as error:
        if failed:  # the last one is what Hypothesis has shrunk it to
            error.add_note(f"kept as {kept(failed[-1])}")
        raise


KINDS = {
    "csv": (csv_files(), nothing_is_lost, 0.4),
    "jsonl": (jsonl_files(), nothing_is_lost, 0.2),
    "parquet": (parquet_files(), nothing_is_lost, 0.2),
    "damaged": (damaged_files(), any_refusal_is_told, 0.2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_record_of_a_generated_file_is_lost(reader: tuple[duckdb.DuckDBPyConnection, Path], kind: str) -> None:
    run(kind, reader, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_record_of_many_generated_files_is_lost(reader: tuple[duckdb.DuckDBPyConnection, Path], kind: str) -> None:
    run(kind, reader, MORE)


@pytest.mark.proof
@pytest.mark.parametrize("kind", KINDS)
def test_no_record_of_newly_drawn_files_is_lost(reader: tuple[duckdb.DuckDBPyConnection, Path], kind: str) -> None:
    run(kind, reader, MANY, is_drawn_anew=True)


@pytest.mark.parametrize("path", sorted(KEPT.iterdir()), ids=lambda path: path.name)
def test_no_record_of_a_file_that_failed_once_is_lost(
    reader: tuple[duckdb.DuckDBPyConnection, Path], path: Path
) -> None:
    _, records, name = path.name.split("-", 2)
    file = Generated(name, path.read_bytes(), -1 if records == "damaged" else int(records))
    (any_refusal_is_told if file.records < 0 else nothing_is_lost)(reader, file)


@pytest.mark.slow
def test_a_file_that_fails_is_kept_as_small_as_it_can_be_and_is_named(
    reader: tuple[duckdb.DuckDBPyConnection, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_reader: object, file: Generated) -> None:
        assert file.records < 2

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "KEPT", tmp_path / "files")
    monkeypatch.setitem(KINDS, "jsonl", (jsonl_files(), refuse, 1))
    with pytest.raises(AssertionError) as failure:
        run("jsonl", reader, 100)
    (path,) = (tmp_path / "files").iterdir()
    assert f"kept as {path}" in failure.value.__notes__
    assert path.name.split("-")[1] == "2"
    assert len(path.read_bytes().split()) == 2
