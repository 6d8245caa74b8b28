"""Hostile files of short videos, users and interactions, by chance: a day is built of them or refused, and every landed
row is accounted for.

Belongs here: what the steps make of such files. Does not belong here: what a reader makes of one of events
(`properties/test_readers.py`, whose values and broken lines these are).
"""

import csv
import io
import itertools
import json
from collections import Counter
from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gesture_assets.errors import ContractBreach
from gesture_assets.nights.runner import run_night
from gesture_assets.pings.tables import PING_REASONS
from gesture_assets.settings import load_settings
from gesture_assets_tests.properties.test_readers import (
    ARROW,
    BROKEN,
    NO_OBJECTS,
    NUMBERS,
    SECRETS,
    TIMES,
    Generated,
    packed,
    words,
)

D1, D2 = date(2026, 3, 8), date(2026, 3, 9)
NIGHT = datetime(2026, 3, 10, 2)
FEW, MORE = 2, 20
RECONCILIATION = "ping_reconciliation"
COUNTS = ("landed_count", "accepted_count", "duplicate_count", "quarantined_count", "coalesce(ignored_count, 0)")
ids = st.sampled_from(("u1", "p1", "u1 ", "P1", "0", "1e5", "null", "+49 151 2345678")) | words
numbers, times = st.sampled_from(NUMBERS), st.sampled_from(TIMES)
# Folder of the source -> column -> hostile values, and a row that is sound.
FILES = {
    "ping_interactions": (
        {
            "user_id": ids,
            "ping_id": ids,
            "event_type": st.sampled_from(("view", "LIKE", "share", "view like", "")) | words,
            "watch_time_sec": numbers,
            "event_timestamp": times,
        },
        ("u1", "p1", "view", "3", "2026-03-09 10:00:00"),
    ),
    "pings": (
        {
            "ping_id": ids,
            "creator_id": ids,
            "main_hashtag": words.filter(lambda text: not any(secret in text for secret in SECRETS)),
            "category": st.sampled_from(("dance", "", "null", "  ")),
            "duration_sec": numbers,
            "created_at": times,
        },
        ("p1", "u9", "music", "dance", "10", "2026-03-01"),
    ),
    "ping_users": (
        {
            "user_id": ids,
            "country": st.sampled_from(("GB", "Germany", "XX")) | words,
            "signup_date": times,
            "age": numbers,
        },
        ("u1", "GB", "2026-03-01", "30"),
    ),
}
numbered = itertools.count()


@st.composite
def dirty_files(draw: st.DrawFn, columns: dict[str, st.SearchStrategy[str]], sound: tuple[str, ...]) -> Generated:
    """A file of any format whose first record is `sound`, and how many records it holds."""
    rows = [list(sound), *draw(st.lists(st.tuples(*columns.values()).map(list), max_size=6))]
    kind = draw(st.sampled_from(("csv", "jsonl", "parquet")))
    if kind == "parquet":
        odd = draw(st.sampled_from((None, *list(columns)[2:-1])))  # without a readable time it is no file
        arrays = {name: pa.array([_utf8(row[place]) for row in rows]) for place, name in enumerate(columns)}
        if odd:
            type_, values = draw(st.sampled_from(ARROW[:-2]))
            arrays[odd] = pa.array(draw(st.lists(values, min_size=len(rows), max_size=len(rows))), type_)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(arrays), sink)
        return Generated("a.parquet", sink.getvalue().to_pybytes(), len(rows))
    broken = draw(st.lists(st.sampled_from(BROKEN if kind == "csv" else NO_OBJECTS), max_size=2))
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([list(columns), *rows])
        whole = text.getvalue().encode("utf-8", "surrogatepass")
    else:
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        whole = "".join(f"{line}\n" for line in lines).encode()
    return packed(draw, f"a.{kind}", whole + b"".join(line + b"\n" for line in broken), len(rows) + len(broken))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


worlds = st.fixed_dictionaries({folder: dirty_files(*of_kind) for folder, of_kind in FILES.items()})


def every_row_is_accounted_for(root: Path, files: dict[str, Generated]) -> None:
    data_dir = root / str(next(numbered))
    for folder, file in files.items():
        path = data_dir / "landing" / folder / file.name
        path.parent.mkdir(parents=True)
        path.write_bytes(file.content)
    own = load_settings({"GESTURE_DATA_DIR": str(data_dir), "GESTURE_PSEUDONYM_KEY": "a key for tests only"})
    result = run_night(own, [D1, D2], now=NIGHT, tables={"ping_interactions"})
    for error in result.failures.values():
        assert isinstance(error, ContractBreach), error
    with duckdb.connect(str(data_dir / "warehouse.duckdb"), read_only=True) as con:
        accounted = con.execute(f"select landing_file, as_of_date, {', '.join(COUNTS)} from {_of(con, RECONCILIATION)}")
        rows = accounted.fetchall()
        indexed = con.execute("select as_of_date, row_count from interaction_landing_days").fetchall()
        set_aside = con.execute(
            f"select landing_file, as_of_date, reason, masked_row from {_of(con, 'quarantined_ping_rows')}"
        ).fetchall()
    lost = [row for row in rows if row[2] != sum(row[3:])]
    assert lost == []
    quarantined = Counter((name, day) for name, day, *_ in set_aside)
    assert {(row[0], row[1]): row[5] for row in rows if row[5]} == quarantined
    landed = {(row[0], row[1]): row[2] for row in rows}
    of_days = dict(indexed)
    assert sum(of_days.values()) == files["ping_interactions"].records
    built = [day for day in (D1, D2) if day in of_days]  # a range leaves out days on which nothing landed
    expected = {("ping_interactions", day): of_days[day] for day in built}
    expected |= {(folder, day): files[folder].records for folder in ("pings", "ping_users") for day in built}
    assert landed == {(f"{folder}/{files[folder].name}", day): count for (folder, day), count in expected.items()}
    for *_, reason, masked in set_aside:
        assert reason in PING_REASONS
        assert not any(secret in masked for secret in SECRETS[:2]), masked


def _of(con: duckdb.DuckDBPyConnection, table: str) -> str:
    """The rows of `table`, of days that are live and of those that were rejected."""
    found = con.execute("select schema_name from duckdb_tables() where table_name = ? order by 1", [table]).fetchall()
    return f"({' union all by name '.join(f'from {schema}.{table}' for (schema,) in found)})"


def run(root: Path, count: int, *, is_drawn_anew: bool = False) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        derandomize=not is_drawn_anew,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a smaller world would be found by hundreds of nights
    )
    @given(worlds)
    def every(files: dict[str, Generated]) -> None:
        every_row_is_accounted_for(root, files)

    every()


def test_no_row_of_dirty_files_is_lost(tmp_path: Path) -> None:
    run(tmp_path, FEW)


@pytest.mark.slow
def test_no_row_of_many_dirty_files_is_lost(tmp_path: Path) -> None:
    run(tmp_path, MORE)


@pytest.mark.proof
def test_no_row_of_newly_drawn_dirty_files_is_lost(tmp_path: Path) -> None:
    run(tmp_path, 20 * MORE, is_drawn_anew=True)
