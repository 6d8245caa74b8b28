"""What the files of a source looked like is kept by day, and a day that differs from the one before says so."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import narwhals as nw
import pytest

from gesture_assets.settings import Settings, load_settings
from gesture_assets.sources.crm import read_crm
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import find_files, open_file
from gesture_assets.sources.landing_index import LandingIndex
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.session import Session
from gesture_assets_tests.good_night import CONTRACTS, DAY, good_table

NEW, GONE, TYPE = (f"no_column_of_a_source_{what}" for what in ("is_new", "is_gone", "has_another_type"))
SNAPSHOT = CONTRACTS["crm_snapshot"]
TYPED = {"id": "INTEGER", "mood": None}


def land(settings: Settings, name: str, write: Callable[[Path], object]) -> None:
    path = settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)


def columns_found(settings: Settings, connection: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    (file,) = find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources)
    opened = open_file(connection, file, table="rows_of_it", key="k", indexed_at=datetime(2026, 3, 10))
    return dict(opened.found_columns)


def test_a_csv_file_shows_the_names_of_its_columns(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    land(settings, "native/a.csv", lambda path: path.write_text("User_ID, event_type,event_at,mood\nu,search,x,fine\n"))
    assert columns_found(settings, connection) == dict.fromkeys(("user_id", "event_type", "event_at", "mood"))


def test_json_lines_show_their_top_fields(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [{"userId": "u", "event": "Search", "context": {"page": {"url": "x"}}}, {"userId": "v", "mood": "fine"}]
    land(settings, "segment/a.jsonl", lambda path: path.write_text("\n".join(map(json.dumps, rows))))
    assert columns_found(settings, connection) == dict.fromkeys(("userId", "event", "context", "mood"))


def test_parquet_shows_types_too(settings: Settings, connection: duckdb.DuckDBPyConnection) -> None:
    columns = "7::bigint as User_Id, 'search' as event_type, timestamp '2026-03-09 10:00:00' as event_at"
    land(settings, "native/a.parquet", lambda path: connection.execute(f"copy (select {columns}) to '{path}'"))
    assert columns_found(settings, connection) == {
        "user_id": "BIGINT",
        "event_type": "VARCHAR",
        "event_at": "TIMESTAMP",
    }


def test_the_crm_shows_the_types_that_its_tables_have_and_none_of_what_views_work_out(
    write_crm: Callable, tmp_path: Path
) -> None:
    import sqlite3

    path = write_crm([], dated_tags=True)
    with sqlite3.connect(path) as crm:
        crm.execute("alter table Tags rename to tags_of_old")
        crm.execute("create view Tags as select mailchimp_id, lower(tag) as tag from tags_of_old")
    types = read_crm(f"sqlite:///{path}", tmp_path).types
    assert types["Subscribers"]["mailchimp_id"] == "INTEGER"
    assert types["Transactions"]["user_email"] == "TEXT"
    assert types["Tags"] == {"mailchimp_id": "INTEGER", "tag": None}


def test_the_index_keeps_the_columns_and_an_older_one_does_without(open_session: Callable, settings: Settings) -> None:
    row = "user_id,event_type,event_at,received_at\nu,search,2026-03-09T10:00:00Z,2026-03-09T10:00:00Z\n"
    land(settings, "native/a.csv", lambda path: path.write_text(row))
    files = list(find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources))
    with open_session(DAY) as session:
        index = LandingIndex(session, "k")
        index.refresh(files)
        (row,) = session.connection.execute(f"select found_columns from {index.files}").fetchall()
        assert json.loads(row[0]) == dict.fromkeys(("user_id", "event_type", "event_at", "received_at"))
        session.connection.execute(f"alter table {index.files} drop column found_columns")
        assert LandingIndex(session, "k").refresh(files) == []
        assert session.connection.execute(f"select found_columns from {index.files}").fetchall() == [(None,)]


# ---- day after day: the tables of each day with their columns, and what the checks say of the last one ----

Looks = dict[str, dict[str, str | None] | None]
FIRST: Looks = {"Tags": TYPED}


def stage(session: Session, looks: dict[date, Looks]) -> nw.LazyFrame:
    """A frame of crm_snapshot with a row for each table of each day."""
    con = session.connection
    con.execute("drop table if exists memory.main.crm_snapshot; drop table if exists memory.main.looks")
    good_table(session, "crm_snapshot", "memory.main.crm_snapshot")
    con.execute("create table memory.main.looks (day date, name varchar, columns varchar)")
    rows = [(day, name, columns and json.dumps(columns)) for day, of in looks.items() for name, columns in of.items()]
    con.executemany("insert into memory.main.looks values (?, ?, ?)", rows)
    return nw.from_native(
        con.sql(
            """select * exclude (day, name, columns) replace (day as as_of_date, name as crm_table,
            columns as found_columns) from memory.main.looks, (from memory.main.crm_snapshot limit 1)"""
        )
    )


def failed(session: Session, looks: dict[date, Looks]) -> dict[str, tuple[dict, ...]]:
    (commit,) = session.commit((SNAPSHOT, stage(session, looks)))
    return {
        check.name: check.sample for check in commit.outcomes if not check.passed and check.name in (NEW, GONE, TYPE)
    }


@pytest.mark.parametrize(
    ("before", "today", "expected"),
    [
        ([], FIRST, set()),
        ([FIRST], FIRST, set()),
        ([FIRST], {"Tags": {"mood": None, "id": "INTEGER"}}, set()),
        ([FIRST], {"Tags": TYPED | {"size": None}}, {NEW}),
        ([FIRST], {"Tags": {"id": "INTEGER"}}, {GONE}),
        ([FIRST], {"Tags": {"id": "INTEGER", "temper": None}}, {NEW, GONE}),
        ([FIRST], {"Tags": TYPED | {"id": "DOUBLE"}}, {TYPE}),
        ([FIRST], {"Tags": TYPED | {"id": None}}, set()),
        ([FIRST], {"Tags": TYPED | {"mood": "VARCHAR"}}, set()),
        ([FIRST], {"Tags": None}, set()),
        ([{"Tags": None}], FIRST, set()),
        ([FIRST, {"Tags": None}], {"Tags": {"id": "INTEGER"}}, {GONE}),
        ([FIRST, {"Transactions": {"id": "TEXT"}}], {"Tags": {"id": "INTEGER"}}, {GONE}),
        ([{"Tags": {"id": "INTEGER"}}, FIRST], FIRST, set()),
        ([{"Tags": {'a "quoted" name, $.x': None}}], {"Tags": {'a "quoted" name, $.x': None}}, set()),
    ],
)
def test_a_source_is_compared_with_its_last_live_day(
    open_session: Callable, before: list[Looks], today: Looks, expected: set[str]
) -> None:
    for age, looks in enumerate(before, start=-len(before)):
        day = DAY + timedelta(days=age)
        with open_session(day) as session:
            failed(session, {day: looks})
    with open_session(DAY) as session:
        assert set(failed(session, {DAY: today})) == expected


def test_the_days_of_a_range_are_compared_with_each_other(open_session: Callable) -> None:
    days = [DAY - timedelta(days=age) for age in (2, 1, 0)]
    with open_session(*days) as session:
        failures = failed(session, dict(zip(days, [FIRST, {"Tags": {"id": "INTEGER"}}, FIRST], strict=True)))
    assert {name: [(row["as_of_date"], row["before"]) for row in rows] for name, rows in failures.items()} == {
        GONE: [(str(days[1]), str(days[0]))],
        NEW: [(str(days[2]), str(days[1]))],
    }


def test_a_check_that_only_reports_blocks_where_the_settings_say_so(
    open_session: Callable, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterday = DAY - timedelta(days=1)
    with open_session(yesterday) as session:
        failed(session, {yesterday: FIRST})
    frame_of: Looks = {"Tags": {"id": "INTEGER"}}
    for blocking, is_live in (("", True), (GONE, False), (NEW, True)):
        monkeypatch.setenv("GESTURE_BLOCKING_CHECKS", blocking)
        with open_session(DAY) as session:
            strict = replace(session, blocking=load_settings().blocking_checks)
            (commit,) = strict.commit((SNAPSHOT, stage(strict, {DAY: frame_of})))
        (outcome,) = [check for check in commit.outcomes if check.name == GONE]
        assert not outcome.passed
        assert outcome.severity is (Severity.WARN if is_live else Severity.ERROR)
        assert [day.passed for day in commit.days] == [is_live]
