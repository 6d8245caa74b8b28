"""Stage, audit, promote: what is live after a commit, what the ledger says of it, and what a reader is refused."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pytest

from gesture_assets.contracts.contract import Column, Contract, between
from gesture_assets.errors import ConfigError, ContractBreach, GateClosed
from gesture_assets.settings import Settings
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.commits import join_commits
from gesture_assets.warehouse.ledger import Verdict
from gesture_assets.warehouse.session import Session

D7, D8, D9 = date(2026, 3, 7), date(2026, 3, 8), date(2026, 3, 9)
LATER = datetime.fromisoformat("2026-03-10T05:00")

AS_OF = Column("as_of_date", "DATE", "Day.")
SHOES = Contract(
    name="shoes",
    grain="One row per shoe and day.",
    description="Shoes.",
    columns=(AS_OF, Column("shoe", "VARCHAR", "Which."), Column("size", "INTEGER", "How large.", True, "cm")),
    key=("shoe",),
    group="tests",
    owner="tests@gesture.example",
    expectations=(between("no_size_leaves_10_to_60", "size", 10, 60, recovery="measure again"),),
)
LACES = replace(SHOES, name="laces", grain="One row per lace and day.", may_be_empty=True)
SCORES = replace(SHOES, name="worn", keeps_history=True)

Rows = Sequence[tuple[date, str, int | None]]


def frame(session: Session, rows: Rows, columns: str = "as_of_date, shoe, size") -> nw.LazyFrame:
    values = ", ".join(f"(date '{day}', '{shoe}', {size or 'null'}::integer)" for day, shoe, size in rows)
    none = "select date '2026-03-09' as as_of_date, '' as shoe, 0 as size limit 0"
    source = f"select * from (values {values}) as t(as_of_date, shoe, size)" if rows else none
    return nw.from_native(session.connection.sql(f"select {columns} from ({source})"))


def commit(session: Session, rows: Rows, contract: Contract = SHOES) -> tuple[date, ...]:
    """Commit `rows`; the days that were rejected."""
    (one,) = session.commit((contract, frame(session, rows)))
    return tuple(verdict.day for verdict in one.bad_days)


def live(session: Session, table: str = "shoes", columns: str = "as_of_date, shoe, size") -> list[tuple]:
    return session.connection.execute(f"select {columns} from warehouse.main.{table} order by all").fetchall()


def rejected(session: Session, table: str = "shoes") -> list[tuple]:
    query = f"select as_of_date, shoe, size from warehouse.rejected.{table} order by all"
    return session.connection.execute(query).fetchall()


def verdicts(session: Session, table: str = "shoes") -> list[tuple]:
    return session.connection.execute(
        "select partition, attempt, verdict, row_count from warehouse.main.gate_ledger where table_name = ? "
        "order by all",
        [table],
    ).fetchall()


def land(session: Session, *days: date) -> None:
    for day in days:
        session.connection.execute("insert into warehouse.main.landing_days values ('h', ?, 1, 0)", [day])


GOOD = [(D9, "left", 42), (D9, "right", 43)]
BAD = [(D9, "left", 42), (D9, "right", 430)]


# ---- committing ------------------------------------------------------------


def test_a_first_commit_goes_live_with_a_pass(open_session: Callable) -> None:
    with open_session(D9) as session:
        assert commit(session, GOOD) == ()
        assert live(session) == GOOD
        assert verdicts(session) == [(D9, 1, "PASS", 2)]
        assert live(session, columns="run_id, is_backfill") == [("run-0001", False)] * 2


def test_a_rerun_with_the_same_rows_changes_none_and_counts_the_attempt(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        before = live(session, columns="*")
    with open_session(D9, now=LATER, run_id="run-0002") as session:
        (again,) = session.commit((SHOES, frame(session, GOOD[::-1])))
        assert [day.is_changed for day in again.days] == [False]
        assert live(session, columns="*") == before
        assert verdicts(session) == [(D9, 1, "PASS", 2), (D9, 2, "PASS", 2)]


def test_an_open_warehouse_knows_what_the_ledger_says_after_each_commit(open_session: Callable) -> None:
    good, bad = [(D8, "clog", 40), (D9, "boot", 42)], [(D8, "clog", 40), (D9, "boot", 99)]
    with open_session(D8, D9) as session:
        for rows in (good, good, bad, [(D8, "clog", 41), (D9, "boot", 42)], bad, good):
            session.latest("shoes")
            commit(session, rows)
            assert session.latest("shoes") == ledger.latest(session.connection, "shoes")["shoes"]
            built = session.built_with("shoes", [D8, D9])
            assert built == ledger.built_with(session.connection, [D8, D9], "shoes")["shoes"]
            assert session.built_with("shoes", [D9]) == {day: made for day, made in built.items() if day == D9}


def test_other_rows_replace_their_day_and_only_their_day(open_session: Callable) -> None:
    with open_session(D8, D9) as session:
        commit(session, [(D8, "old", 40), *GOOD])
    with open_session(D9, now=LATER, run_id="run-0002") as session:
        commit(session, [(D9, "new", 44)])
        assert live(session, columns="as_of_date, shoe, run_id") == [(D8, "old", "run-0001"), (D9, "new", "run-0002")]


def test_a_rejected_day_leaves_the_last_good_one_live(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        assert commit(session, BAD) == (D9,)
        assert live(session) == GOOD
        assert verdicts(session) == [(D9, 1, "PASS", 2), (D9, 2, "FAIL", 2)]
        assert rejected(session) == BAD
        assert commit(session, BAD[1:]) == (D9,)
        assert rejected(session) == BAD[1:]


@pytest.mark.parametrize("mended", [GOOD, [(D9, "left", 41)]], ids=["to what it was", "to something new"])
def test_a_pass_clears_the_rejected_rows(open_session: Callable, mended: Rows) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        commit(session, BAD)
        assert commit(session, mended) == ()
        assert rejected(session) == []
        assert live(session) == mended


def test_a_day_that_passes_empty_clears_the_rejected_rows(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, BAD, LACES)
        assert commit(session, [], LACES) == ()
        assert rejected(session, "laces") == []


def test_rows_of_another_structure_are_rejected_and_cleared_as_well(open_session: Callable) -> None:
    with open_session(D9) as session:
        (one,) = session.commit((SHOES, frame(session, GOOD, "shoe, size")))
        assert [day.passed for day in one.days] == [False]
        assert session.connection.execute("select shoe from warehouse.rejected.shoes order by all").fetchall() == [
            ("left",),
            ("right",),
        ]
        (one,) = session.commit((SHOES, frame(session, GOOD, "as_of_date, 7 as shoe, size")))
        assert [day.passed for day in one.days] == [False]
        assert commit(session, BAD) == (D9,)
        assert rejected(session) == BAD
        (one,) = session.commit((SHOES, frame(session, GOOD, "shoe, size")))
        assert commit(session, GOOD) == ()
        assert live(session) == GOOD


def test_an_address_is_masked_where_its_row_is_kept(open_session: Callable) -> None:
    with open_session(D9) as session:
        assert commit(session, [(D9, "ada@example.com", 42), (D9, "from 203.0.113.7", 42)]) == (D9,)
        kept = " ".join(shoe for _, shoe, _ in rejected(session))
        assert "ada@" not in kept
        assert "203.0" not in kept
        assert kept.count("***") == 2


def test_a_bad_day_of_a_range_is_rejected_and_the_others_go_live(open_session: Callable) -> None:
    with open_session(D7, D8, D9) as session:
        assert commit(session, [(D7, "a", 40), (D8, "b", 400), (D9, "c", 41)]) == (D8,)
        assert live(session) == [(D7, "a", 40), (D9, "c", 41)]
        assert rejected(session) == [(D8, "b", 400)]
        assert verdicts(session) == [(D7, 1, "PASS", 1), (D8, 1, "FAIL", 1), (D9, 1, "PASS", 1)]


@pytest.mark.parametrize("stray", ["date '2026-03-01'", "null::date"], ids=["of another day", "of no day"])
def test_a_stray_row_puts_every_day_of_a_range_in_doubt(open_session: Callable, stray: str) -> None:
    with open_session(D8, D9) as session:
        both = frame(session, [(D8, "a", 40), (D9, "b", 41)]).to_native().sql_query()
        strayed = session.connection.sql(f"{both} union all select {stray}, 'stray', 42")
        (one,) = session.commit((SHOES, nw.from_native(strayed)))
        assert [day.day for day in one.bad_days] == [D8, D9]
        assert live(session) == []


def test_two_tables_of_a_commit_go_live_together_or_not_at_all(open_session: Callable) -> None:
    with open_session(D8, D9) as session:
        tables = session.commit(
            (SHOES, frame(session, [(D8, "a", 40), (D9, "b", 41)])),
            (LACES, frame(session, [(D8, "a", 40), (D9, "b", 410)])),
        )
        assert [[day.day for day in one.bad_days] for one in tables] == [[D9], [D9]]
        assert live(session) == live(session, "laces") == [(D8, "a", 40)]
        assert verdicts(session) == [(D8, 1, "PASS", 1), (D9, 1, "FAIL", 1)]


def test_commits_of_parts_of_a_range_are_told_as_one(open_session: Callable) -> None:
    sizes = {D7: [400, 500], D8: [40], D9: [600]}
    with open_session(*sizes) as session:
        commits = [
            session.commit((SHOES, frame(session, [(day, f"s{size}", size) for size in found])), days=[day])
            for day, found in sizes.items()
        ]
    (one,) = join_commits(commits)
    assert [verdict.day for verdict in one.days] == list(sizes)
    assert [verdict.day for verdict in one.bad_days] == [D7, D9]
    assert one.row_count == 1
    assert [outcome.name for outcome in one.outcomes] == [outcome.name for outcome in commits[0][0].outcomes]
    (failed,) = [outcome for outcome in one.outcomes if not outcome.passed]
    assert failed.name == "no_size_leaves_10_to_60"
    assert failed.found == 3
    assert failed.observed == "; ".join(
        outcome.observed for commit in commits for outcome in commit[0].outcomes if not outcome.passed
    )
    assert [row["size"] for row in failed.sample] == ["400", "500", "600"]


def test_frames_that_come_one_after_the_other_are_matched_by_column_name(open_session: Callable) -> None:
    with open_session(D8, D9) as session:
        first = frame(session, [(D8, "a", 40)])
        second = frame(session, [(D9, "b", 41)], "size, shoe, as_of_date")
        session.commit((SHOES, [first, second]))
        assert live(session) == [(D8, "a", 40), (D9, "b", 41)]


def test_a_backfilled_day_is_marked_by_the_time_of_the_run(open_session: Callable) -> None:
    with open_session(D8, D9) as session:
        commit(session, [(D8, "a", 40), (D9, "b", 41)])
        assert live(session, columns="as_of_date, is_backfill") == [(D8, True), (D9, False)]
        query = "select partition, is_backfill from warehouse.main.gate_ledger order by all"
        assert session.connection.execute(query).fetchall() == [(D8, True), (D9, False)]


def test_replaced_rows_of_a_table_with_history_stay_readable(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD, SCORES)
    with open_session(D9, now=LATER, run_id="run-0002") as session:
        commit(session, GOOD, SCORES)
        commit(session, [(D9, "left", 44)], SCORES)
        kept = session.connection.execute(
            "select shoe, size, recorded_at < superseded_at, run_id, superseded_at from warehouse.superseded.worn "
            "order by all"
        ).fetchall()
        assert kept == [("left", 42, True, "run-0001", LATER), ("right", 43, True, "run-0001", LATER)]
        assert live(session, "worn") == [(D9, "left", 44)]


def test_the_order_of_rows_makes_no_other_content_and_a_cell_does(open_session: Callable) -> None:
    with open_session(D9) as session:

        def digest(rows: Rows) -> str:
            return session.commit((SHOES, frame(session, rows)))[0].content_hash

        assert digest(GOOD) == digest(GOOD[::-1])
        assert digest(GOOD) != digest([GOOD[0], (D9, "right", 44)])
        assert digest(GOOD) != digest([GOOD[0], (D9, "right", None)])


def test_a_failure_in_the_middle_of_promotion_changes_nothing(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        # The ledger has lost a column: the last statement of the transaction cannot succeed.
        session.connection.execute("alter table warehouse.main.gate_ledger drop column override_reason")
        with pytest.raises(duckdb.Error):
            commit(session, [(D9, "new", 44)])
        assert live(session) == GOOD
        assert verdicts(session) == [(D9, 1, "PASS", 2)]


def test_a_day_that_an_older_version_wrote_is_to_be_built_again_before_it_is_read(open_session: Callable) -> None:
    """Where the step that fills the table has not run since it gained a column: a training after an upgrade, say."""
    wider = replace(SHOES, columns=(*SHOES.columns, Column("colour", "VARCHAR", "Colour.", True)))
    with open_session(D9) as session:
        commit(session, GOOD)
    with open_session(D9) as session:
        with pytest.raises(ContractBreach, match="other rows on 2026-03-09") as refused:
            session.read(wider, on=D9)
        assert refused.value.next_step == "gesture run --date 2026-03-09"


def test_a_new_nullable_column_is_added_to_an_old_table(open_session: Callable) -> None:
    wider = replace(SCORES, columns=(*SCORES.columns, Column("colour", "VARCHAR", "Colour.", True)))
    with open_session(D9) as session:
        commit(session, GOOD, SCORES)
        commit(session, GOOD[:1], SCORES)  # a history exists now
    with open_session(D9, now=LATER) as session:
        red = frame(session, GOOD, "*, 'red' as colour")
        assert session.commit((wider, red))[0].bad_days == ()
        assert live(session, "worn", "shoe, colour") == [("left", "red"), ("right", "red")]
        said = session.connection.execute("select comment from duckdb_columns() where column_name = 'colour'")
        assert ("Colour.",) in said.fetchall()


def test_a_count_that_has_become_wider_is_widened_with_its_history_and_passes_as_it_did(open_session: Callable) -> None:
    narrow = replace(SCORES, columns=(*SCORES.columns[:2], Column("size", "SMALLINT", "How large.", True, "cm")))
    small = "as_of_date, shoe, size::smallint as size"
    with open_session(D9) as session:
        for rows in (GOOD, GOOD[:1]):  # a history exists now
            assert session.commit((narrow, frame(session, rows, small)))[0].bad_days == ()
    with open_session(D9, now=LATER) as session:
        session.ensure(SCORES)
        session.verify_unchanged(SCORES, [D9], since=D9)
        types = session.connection.execute(
            "select distinct data_type from duckdb_columns() where table_name = 'worn' and column_name = 'size' "
            "and database_name = 'warehouse'"
        )
        assert types.fetchall() == [("INTEGER",)]


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (Column("size", "DOUBLE", "How large.", True), "INTEGER"),
        (Column("sole", "DOUBLE", "New and required."), "missing"),
    ],
)
def test_another_type_or_a_new_required_column_is_refused(open_session: Callable, column: Column, found: str) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        with pytest.raises(ConfigError, match=found):
            session.ensure(replace(SHOES, columns=(*SHOES.columns[:2], column)))


def test_what_memory_could_not_hold_is_gone_when_the_session_ends(open_session: Callable, settings: Settings) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        session.connection.execute("set memory_limit = '50MB'")
        session.connection.execute(
            "create table scratch.main.large as select range as n, md5(range::varchar) as text from range(3_000_000)"
        )
        assert list(settings.warehouse.with_suffix(".spill").iterdir())
    with pytest.raises(ZeroDivisionError), open_session(D9):
        _ = 1 / 0
    assert not settings.warehouse.with_suffix(".spill").exists()
    assert not list(settings.data_dir.glob("*.wal"))


# ---- reading ------------------------------------------------------------


def read(session: Session, **window: Any) -> list[tuple]:
    return sorted(session.read(SHOES, **window).collect().rows())


def test_what_passed_is_read_without_provenance(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        assert read(session, on=D9) == GOOD
        assert read(session, through=D9) == GOOD


def test_a_day_that_was_never_audited_is_not_read(open_session: Callable) -> None:
    with open_session(D9, step="laces") as session, pytest.raises(GateClosed) as refusal:
        read(session, on=D9)
    message = str(refusal.value)
    assert message.startswith("laces cannot be built for 2026-03-09.")
    assert "expected: a PASS for shoes@2026-03-09" in message
    assert "found: shoes@2026-03-09 never audited" in message
    assert message.endswith("next: gesture run --date 2026-03-09")


def test_a_fail_after_a_pass_closes_the_gate(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        commit(session, BAD)
        with pytest.raises(GateClosed, match=r"FAIL \(attempt 2, no_size_leaves_10_to_60: 1 of 2 values\)") as refusal:
            read(session, on=D9)
        assert "mend what rejected.shoes shows, then  gesture run --date 2026-03-09" in str(refusal.value)
        commit(session, GOOD)
        assert read(session, on=D9) == GOOD


def test_a_table_rejected_with_its_sister_points_to_the_sister(open_session: Callable) -> None:
    with open_session(D9) as session:
        session.commit((SHOES, frame(session, GOOD)), (LACES, frame(session, BAD)))
        with pytest.raises(GateClosed, match=r"laces@2026-03-09 FAIL .*no_size_leaves_10_to_60") as refusal:
            read(session, on=D9)
        assert "rejected.laces" in str(refusal.value)
        commit(session, GOOD, LACES)  # the sister is well again, and this table was not built anew
        with pytest.raises(GateClosed, match=r"shoes@2026-03-09 FAIL .*rejected with its sister table"):
            read(session, on=D9)


def test_a_landed_day_that_never_ran_closes_the_gate_of_later_days(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        land(session, D7, D9)
        with pytest.raises(GateClosed, match="shoes@2026-03-07 never audited"):
            read(session, through=D9)
        assert read(session, since=D8, through=D9) == GOOD
        assert read(session, on=D9) == GOOD


def test_a_day_of_the_run_is_required_even_when_nothing_landed_on_it(open_session: Callable) -> None:
    with open_session(D7, D8, D9) as session:
        land(session, D7, D9)
        assert commit(session, [(D7, "a", 40), (D9, "c", 41)]) == (D8,)
        with pytest.raises(GateClosed, match=r"shoes@2026-03-08 FAIL \(attempt 1, every_day_has_rows: 1 row\)"):
            read(session, since=D7, through=D9)
    with open_session(D9) as session:
        assert len(read(session, through=D9)) == 2  # a later night does not wait for a day on which nothing landed


def test_a_reason_opens_a_gate_and_is_recorded(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        commit(session, BAD)
    with open_session(D9, force_reason="the sizes are children's") as session:
        assert read(session, on=D9) == GOOD  # the last good rows, never the rejected ones
        row = session.connection.execute(
            "select attempt, verdict, row_count, override_reason from warehouse.main.gate_ledger "
            "order by attempt desc limit 1"
        ).fetchone()
        assert row == (3, "OVERRIDE", 2, "the sizes are children's")
    with open_session(D9) as session:
        assert read(session, on=D9) == GOOD


def test_a_reason_opens_the_gate_of_a_table_that_never_was(open_session: Callable) -> None:
    with open_session(D9, force_reason="we have none") as session:
        assert read(session, on=D9) == []
        assert verdicts(session) == [(D9, 1, "OVERRIDE", 0)]


@pytest.mark.parametrize(
    "edit",
    [
        "update warehouse.main.shoes set size = 44 where shoe = 'left'",
        "delete from warehouse.main.shoes where shoe = 'left'",
        "delete from warehouse.main.shoes",
        "insert into warehouse.main.shoes from warehouse.main.shoes",
        "insert into warehouse.main.shoes select * replace (as_of_date - 1 as as_of_date) from warehouse.main.shoes",
    ],
)
def test_rows_that_were_edited_by_hand_are_noticed_and_a_rerun_mends_them(open_session: Callable, edit: str) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        session.connection.execute(edit)
    with open_session(D9) as session:
        with pytest.raises(ContractBreach, match="the rows of shoes that passed their audit"):
            read(session, since=D8, through=D9)
        commit(session, GOOD)
        assert [row for row in live(session) if row[0] == D9] == GOOD


def test_what_is_built_is_an_argument_and_not_the_run(open_session: Callable) -> None:
    with open_session(D7, D8, D9) as session:
        (first,) = session.commit((SHOES, frame(session, [(D7, "a", 40)])), days=[D7])
        (rest,) = session.commit((SHOES, frame(session, [(D8, "b", 400), (D9, "c", 41)])), days=[D8, D9])
        assert [day.day for day in (*first.days, *rest.days)] == [D7, D8, D9]
        assert [day.day for day in rest.bad_days] == [D8]
        assert live(session) == [(D7, "a", 40), (D9, "c", 41)]
        # Of the run, D8 is closed; what is built for the other days does not ask for it.
        assert session.required_days(through=D9) == [D7, D8, D9]
        assert session.required_days(through=D9, days=[D7]) == [D7, D9]
        with pytest.raises(GateClosed, match="shoes@2026-03-08"):
            read(session, through=D9)
        with pytest.raises(GateClosed, match=r"^a_test cannot be built for 2026-03-08 to 2026-03-09\."):
            read(session, through=D9, days=[D8, D9])
        assert session.digest(SHOES, through=D9) is None
        assert session.digest(SHOES, through=D9, days=[D7]) is not None
        assert read(session, through=D9, days=[D7]) == [(D7, "a", 40), (D9, "c", 41)]
        session.keep(LACES, Verdict.ABSENT, [D8])
        assert verdicts(session, "laces") == [(D8, 1, "ABSENT", 0)]


def test_the_ledger_has_what_was_read_what_else_it_was_made_of_and_the_key_of_the_build(open_session: Callable) -> None:
    with open_session(D8, D9) as session:
        commit(session, [(D8, "a", 40), *GOOD])
        read(session, on=D8)
        assert set(session.inputs_read) == {"shoes@2026-03-08"}
        with pytest.raises(TypeError):
            session.inputs_read["shoes@2026-03-08"] = "another"  # pyright: ignore[reportIndexIssue]
        rows = frame(session, [(D8, "a", 40), (D9, "b", 41)])
        session.commit((LACES, rows), inputs={"landing": "h1"}, keys={D9: "k9"}, version="v1")
        laces = "from warehouse.main.gate_ledger where table_name = 'laces'"
        written = session.connection.execute(f"select partition, input_hashes, version {laces}").fetchall()
        inputs = {day: json.loads(text) for day, text, _ in written}
        assert inputs[D8] == {**session.inputs_read, "landing": "h1"}
        assert inputs[D9] == {**session.inputs_read, "landing": "h1", "build": "k9", "before": inputs[D9]["before"]}
        assert {version for _, _, version in written} == {"v1"}
        session.commit((LACES, rows))  # sources and keys are of one commit, what was read is of the session
        last = "select input_hashes from warehouse.main.gate_ledger where table_name = 'laces' and attempt = 2"
        assert {text for (text,) in session.connection.execute(last).fetchall()} == {
            json.dumps(dict(session.inputs_read))
        }


def test_the_tables_that_were_read_are_known_in_order_and_bookkeeping_is_none_of_them(open_session: Callable) -> None:
    with open_session(D9) as session:
        commit(session, GOOD)
        commit(session, GOOD, LACES)
        assert session.reads == []
        for contract in (LACES, SHOES, LACES):
            session.read(contract, on=D9)
        session.select(SCORES)
        with pytest.raises(GateClosed):
            session.read(SCORES, on=D9)
        assert session.reads == ["laces", "shoes"]


def test_live_rows_are_selected_behind_no_gate(open_session: Callable) -> None:
    with open_session(D8, D9) as session:
        assert session.select(SHOES).collect().rows() == []  # a table that never was
        commit(session, [(D8, "a", 40), *GOOD])
        commit(session, [(D8, "a", 400), *GOOD])
        of_day = session.select(SHOES, f"as_of_date = date '{D8}'")
        assert of_day.collect().rows() == [(D8, "a", 40)]
        assert of_day.columns == list(SHOES.column_names)
        assert sorted(session.select(SHOES, columns=["shoe", "run_id"]).collect().rows())[0] == ("a", "run-0001")
        assert session.inputs_read == {}


# ---- a killed process ------------------------------------------------------------

WRITER = """
    import sys
    from datetime import date, datetime
    from pathlib import Path
    sys.path[:0] = [{root!r}, {here!r}]
    from gesture_assets.warehouse.run_info import RunInfo
    from gesture_assets.warehouse.warehouse import Warehouse
    import gesture_assets.warehouse.window_audit as module
    from gesture_assets.warehouse.audit import Audit
    import test_warehouse as tests
    # What is killed here is the promotion: an audit that takes no time lets more of the moments fall into it.
    module.audit = lambda connection, contract, blocking: Audit(contract.name)
    run = RunInfo("run-kill", datetime(2026, 3, 10, 2), (tests.D9,), "killed")
    with Warehouse(Path({path!r}), 10).open(run) as session:
        print("open", flush=True)
        for version in range(1, 100_000):
            rows = session.connection.sql(
                f"select date '2026-03-09' as as_of_date, 'shoe' || i as shoe, {{version}}::integer as size "
                "from range(20000) t(i)"
            )
            session.commit((tests.SCORES, tests.nw.from_native(rows)))
"""


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(0.21, marks=pytest.mark.slow),
        *(pytest.param(at, marks=pytest.mark.proof) for at in (0.05, 0.37, 0.62)),
    ],
)
def test_a_killed_commit_leaves_the_last_committed_state(
    open_session: Callable, settings: Settings, moment: float
) -> None:
    here = Path(__file__).parent
    code = textwrap.dedent(WRITER).format(root=str(here.parents[2]), here=str(here), path=str(settings.warehouse))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "open\n"
        time.sleep(moment)
        os.kill(writer.pid, signal.SIGKILL)
    with open_session(D9) as session:
        session.ensure(SCORES)
        recorded = verdicts(session, "worn")
        sizes = live(session, "worn", "distinct size")
        # Versions count up from 1 with the attempts: what is live is the last one that the ledger knows, complete.
        assert sizes == [(len(recorded),)] * bool(recorded)
        assert session.connection.execute("select count(*) from warehouse.main.worn").fetchone() == (
            20_000 if recorded else 0,
        )
        assert [attempt for _, attempt, _, _ in recorded] == list(range(1, len(recorded) + 1))
        assert commit(session, GOOD, SCORES) == ()
        assert live(session, "worn") == GOOD
