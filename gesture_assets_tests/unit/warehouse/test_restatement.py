"""Restatements: what readers already have of an old day changes for a reason only, and the difference is kept."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import narwhals as nw
import pytest

from gesture_assets.contracts.contract import Column, Contract
from gesture_assets.errors import ContractBreach
from gesture_assets.settings import Settings
from gesture_assets.warehouse.session import Session

YESTERDAY = date(2026, 3, 9)
OLD = date(2026, 3, 5)
NOW = datetime.fromisoformat("2026-03-10T02:00")
SHOES = Contract(
    name="shoes",
    grain="One row per shoe and day.",
    description="Shoes.",
    columns=(
        Column("as_of_date", "DATE", "Day."),
        Column("shoe", "VARCHAR", "Which."),
        Column("size", "INTEGER", "How large.", True, "cm"),
        Column("colour", "VARCHAR", "Colour.", True),
    ),
    key=("shoe",),
    group="tests",
    owner="tests@gesture.example",
)
BEFORE = [("left", 42, "red"), ("right", 42, "red"), ("spare", 44, None)]
AFTER = [("left", 42, "red"), ("right", 43, "blue"), ("third", 40, "red")]
WHY = "the shop mended its export"

Rows = Sequence[tuple[str, int | None, str | None]]


def commit(session: Session, rows: Rows, day: date, contract: Contract = SHOES) -> None:
    texts = [f"(date '{day}', '{s}', {n or 'null'}::integer, {repr(c) if c else 'null'}::varchar)" for s, n, c in rows]
    relation = session.connection.sql(f"select * from (values {', '.join(texts)}) as t(as_of_date, shoe, size, colour)")
    columns = ", ".join(contract.column_names)
    session.commit((contract, nw.from_native(relation.query("t", f"select {columns} from t"))))


def live(session: Session) -> list[tuple]:
    return session.connection.execute("select shoe, size, colour from warehouse.main.shoes order by all").fetchall()


def restatements(session: Session) -> list[tuple]:
    return session.connection.execute(
        "select table_name, partition, rows_before, rows_after, added, removed, changed, changed_columns, reason, "
        "run_id from warehouse.main.restatements order by all"
    ).fetchall()


@pytest.fixture
def published(settings: Settings, open_session: Callable) -> Callable:
    """`with published(day) as session:` — a warehouse in which `day` holds BEFORE, and readers have a copy of it."""

    def opened(day: date = OLD, **reasons: str) -> object:
        with open_session(day, now=NOW) as session:
            commit(session, BEFORE, day)
        copy = settings.data_dir / "published.duckdb"
        shutil.copyfile(settings.warehouse, copy)
        settings.published.unlink(missing_ok=True)
        settings.published.symlink_to(copy)
        return open_session(day, now=NOW + timedelta(hours=1), run_id="run-0002", **reasons)

    return opened


def test_an_old_day_that_was_published_does_not_change_without_a_reason(published: Callable) -> None:
    with published() as session:
        with pytest.raises(ContractBreach) as refusal:
            commit(session, AFTER, OLD)
        assert live(session) == sorted(BEFORE)
        assert restatements(session) == []
        attempts = session.connection.execute("select max(attempt) from warehouse.main.gate_ledger").fetchone()
    assert attempts == (1,)
    message = str(refusal.value)
    assert "shoes@2026-03-05: 1 added, 1 removed, 1 changed (colour, size)" in message
    assert 'gesture run --date 2026-03-05 --restate --reason "why"' in message


def test_with_a_reason_it_changes_and_the_difference_is_kept(published: Callable) -> None:
    with published(restate_reason=WHY) as session:
        commit(session, AFTER, OLD)
        assert live(session) == sorted(AFTER)
        (row,) = restatements(session)
    assert row[:7] == ("shoes", OLD, 3, 3, 1, 1, 1)
    assert json.loads(row[7]) == {"size": 1, "colour": 1}
    assert row[8:] == (WHY, "run-0002")


def test_equal_rows_are_no_restatement(published: Callable) -> None:
    with published() as session:
        commit(session, list(reversed(BEFORE)), OLD)
        assert restatements(session) == []
        assert live(session) == sorted(BEFORE)


def test_the_day_that_has_just_ended_may_still_grow(published: Callable) -> None:
    with published(YESTERDAY) as session:
        commit(session, AFTER, YESTERDAY)
        assert live(session) == sorted(AFTER)
        assert restatements(session) == []


def test_an_old_day_that_nobody_has_read_may_change(settings: Settings, open_session: Callable) -> None:
    for rows in (BEFORE, AFTER):
        with open_session(OLD, now=NOW) as session:
            commit(session, rows, OLD)
            assert live(session) == sorted(rows)


def test_rows_that_somebody_changed_by_hand_are_put_back_without_a_reason(published: Callable) -> None:
    with published() as session:
        session.connection.execute("update warehouse.main.shoes set size = 1")
        commit(session, BEFORE, OLD)
        assert live(session) == sorted(BEFORE)
        assert restatements(session) == []


def test_a_column_that_readers_do_not_have_yet_counts_where_it_is_known(published: Callable) -> None:
    wider = replace(SHOES, columns=(*SHOES.columns, Column("sole", "VARCHAR", "Sole.", True)))
    with published(restate_reason=WHY) as session:
        rows = ", ".join(f"(date '{OLD}', '{s}', {n}, {repr(c) if c else 'null'}, 'flat')" for s, n, c in BEFORE)
        relation = session.connection.sql(
            f"select as_of_date, shoe, size::integer as size, colour::varchar as colour, sole from (values {rows}) "
            "as t(as_of_date, shoe, size, colour, sole)"
        )
        session.commit((wider, nw.from_native(relation)))
        (row,) = restatements(session)
    assert (row[6], json.loads(row[7])) == (3, {"sole": 3})
