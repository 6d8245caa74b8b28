"""Great Expectations inside DuckDB: what an audit answers for tables and checks that are out of the ordinary."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import duckdb
import pytest

from gesture_assets.contracts.contract import Column, Contract, Expectation, between, filled, no_rows, one_of
from gesture_assets.errors import GestureError
from gesture_assets.warehouse.audit import NOT_EVALUATED, Audit, CheckOutcome
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.window_audit import StagedWindow

DAY = date(2026, 3, 9)
CODES = Contract(
    name="codes",
    grain="One row per code and day.",
    description="Codes.",
    columns=(
        Column("as_of_date", "DATE", "Day."),
        Column("code", "VARCHAR", "Code.", True),
        Column("size", "INTEGER", "Size.", True),
    ),
    key=("code",),
    group="tests",
    owner="tests@gesture.example",
    may_be_empty=True,
)


def audited(session: Session, contract: Contract) -> Audit:
    """The audit of what is staged as `contract`."""
    return StagedWindow(session.connection, [contract], [DAY]).audit([DAY])["codes"]


def audit(session: Session, rows: str, *checks: Expectation) -> Audit:
    """The audit of `rows`, (code, size) as SQL values; "" for none."""
    values = f"from (values {rows}) as t(code, size)" if rows else "from (select null as code, null as size limit 0)"
    session.connection.execute(
        "create or replace table scratch.stage.codes as "
        f"select date '{DAY}' as as_of_date, code::varchar as code, size::integer as size {values}"
    )
    contract = replace(CODES, expectations=checks)
    return audited(session, contract)


def of(result: Audit, name: str) -> CheckOutcome:
    return next(outcome for outcome in result.outcomes if outcome.name == name)


def failed(result: Audit) -> list[str]:
    return [outcome.name for outcome in result.outcomes if not outcome.passed]


SHAPED = no_rows(
    "every_code_is_shaped",
    "select code from {batch} where not regexp_full_match(code, '[A-Z]{2}:\\d{3,4}%')",
    recovery="mend the code",
)


def test_braces_colons_and_percent_signs_of_a_pattern_reach_the_engine(open_session: Callable) -> None:
    with open_session(DAY) as session:
        assert failed(audit(session, "('AB:123%', 1), ('CD:4567%', 2)", SHAPED)) == []
        result = of(audit(session, "('AB:123%', 1), ('ABC:1%', 2)", SHAPED), SHAPED.name)
        assert (result.passed, result.found, result.observed) == (False, 1, "1 row")
        assert result.sample == ({"code": "ABC:1%"},)
        assert result.recovery == "mend the code"
        assert "{2}" in result.sql


def test_an_empty_table_answers_every_check(open_session: Callable) -> None:
    checks = (SHAPED, between("sizes_are_small", "size", 0, 9, recovery="."), filled("all_sized", "size", recovery="."))
    with open_session(DAY) as session:
        result = audit(session, "", *checks)
        assert failed(result) == []
        assert of(result, "sizes_are_small").observed == "0 of 0 values"


def test_a_column_that_is_all_null_answers_every_check(open_session: Callable) -> None:
    checks = (
        between("sizes_are_small", "size", 0, 9, recovery="."),
        one_of("sizes_are_known", "size", (1, 2), recovery="."),
        filled("all_sized", "size", recovery="."),
    )
    with open_session(DAY) as session:
        result = audit(session, "('a', null), ('b', null)", *checks)
        # A range is about values; that there are none is the business of the other checks.
        assert failed(result) == ["all_sized"]
        assert of(result, "all_sized").observed == "2 of 2 values"


def test_many_failing_rows_are_counted_exactly_and_shown_by_a_few(open_session: Callable) -> None:
    none = no_rows("nothing_at_all", "select code, size from {batch} order by size", recovery=".")
    small = between("sizes_are_small", "size", 0, 9, recovery=".")
    with open_session(DAY) as session:
        rows = ", ".join(f"('c{n}', {n})" for n in range(1500))
        result = audit(session, rows, none, small)
        assert of(result, "nothing_at_all").found == 1500
        assert of(result, "nothing_at_all").observed == "1,500 rows"
        assert of(result, "nothing_at_all").sample == tuple({"code": f"c{n}", "size": str(n)} for n in range(5))
        assert of(result, "sizes_are_small").found == 1490
        assert of(result, "sizes_are_small").observed == "1,490 of 1,500 values"
        assert len(of(result, "sizes_are_small").sample) == 5


def test_a_check_that_breaks_is_an_error_and_no_failed_data(open_session: Callable) -> None:
    broken = no_rows("codes_have_a_colour", "select colour from {batch}", recovery=".")
    with open_session(DAY) as session:
        with pytest.raises(GestureError, match="codes_have_a_colour of codes could not be evaluated") as error:
            audit(session, "('a', 1)", broken)
        assert "colour" in error.value.found
        assert failed(audit(session, "('a', 1)")) == []  # the connection is as good as before


def test_a_check_that_breaks_in_the_pass_over_all_rows_is_the_only_one_that_does(open_session: Callable) -> None:
    broken = no_rows("codes_are_numbers", "select code from {batch} where code::integer > 9", recovery=".")
    small = between("sizes_are_small", "size", 0, 9, recovery=".")
    assert broken.screen
    with open_session(DAY) as session:
        assert failed(audit(session, "('7', 1), ('8', 10)", broken, small)) == ["sizes_are_small"]
        with pytest.raises(GestureError, match="codes_are_numbers of codes could not be evaluated"):
            audit(session, "('a', 1), ('b', 10)", broken, small)


def test_a_machine_without_room_is_no_failed_check(open_session: Callable) -> None:
    hungry = no_rows("nothing_is_large", "select list(n) from {batch}, range(size) as t(n)", recovery=".")
    with open_session(DAY) as session:
        session.connection.execute("set memory_limit = '60MB'; set max_temp_directory_size = '0MB'")
        with pytest.raises(duckdb.OutOfMemoryException):
            audit(session, "('a', 100000000)", hungry)


@pytest.mark.parametrize(
    ("sql", "screen"),
    [
        ("select code from {batch} where size < 0", "bool_or(size < 0)"),
        ("select code, count(*) from {batch} where size < 0 group by all", "bool_or(size < 0)"),
        ("select code from {batch} where size < 0 or code is null order by size", "bool_or(size < 0 or code is null)"),
        ("select max(size) from {batch} where size < 0", ""),
        ("select code from {batch} where size < 0 group by all having count(*) > 1", ""),
        ("select code from {batch} where size < (select avg(size) from {batch})", ""),
        ("select code from {batch} where code in (select code from {live}.codes)", ""),
        ("select code from {batch} anti join {days} using (as_of_date) where size < 0", ""),
        ("select code from {batch} where size < 0 limit 5", ""),
    ],
)
def test_a_condition_on_single_rows_is_its_own_screen_and_no_other_query_has_one(sql: str, screen: str) -> None:
    assert no_rows("a_check", sql, recovery=".").screen == screen


def test_where_the_structure_fails_nothing_else_is_evaluated(open_session: Callable) -> None:
    with open_session(DAY) as session:
        session.connection.execute(
            f"create table scratch.stage.codes as select date '{DAY}' as as_of_date, 1 as size, 'AB:123%' as code"
        )
        result = audited(session, replace(CODES, expectations=(SHAPED,)))
        columns, types, *others = result.outcomes
        assert not columns.passed
        assert "order ['as_of_date', 'size', 'code']" in columns.observed
        assert types.passed
        assert {outcome.observed for outcome in others} == {NOT_EVALUATED}
        assert not any(outcome.passed for outcome in others)
        assert result.breaches == (columns,)


def test_a_missing_and_a_strange_column_are_named(open_session: Callable) -> None:
    with open_session(DAY) as session:
        session.connection.execute(
            f"create table scratch.stage.codes as select date '{DAY}' as as_of_date, 'a' as kode"
        )
        result = audited(session, CODES)
        assert result.outcomes[0].observed == "missing code, size; unexpected kode"


def test_a_check_sees_what_is_live_what_is_staged_and_which_days_are_asked_for(open_session: Callable) -> None:
    sql = """select 1 from {batch} where (select count(*) from {live}.gate_ledger) > 0
        or (select count(*) from {staged}.codes) <> 1 or as_of_date not in (select as_of_date from {days})"""
    with open_session(DAY) as session:
        assert failed(audit(session, "('a', 1)", no_rows("all_is_seen", sql, recovery="."))) == []
