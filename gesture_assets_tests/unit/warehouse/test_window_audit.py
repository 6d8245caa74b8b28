"""The days of a window: each has the verdict and the figures that a night of its own gives it."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import narwhals as nw
import pytest

from gesture_assets.contracts.contract import between, no_rows
from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.unit.warehouse.test_audit import CODES

USUAL = "row_count_is_near_its_usual_level"
SIZES = between("sizes_are_small", "size", 0, 99, recovery="mend the size")
SHORT = no_rows("codes_are_short", "select code from {batch} where length(code) > 5", recovery="mend the code")
TABLE = replace(CODES, may_be_empty=False, expectations=(SIZES, SHORT))
DAYS = [date(2026, 3, 1) + timedelta(days=n) for n in range(6)]
Verdicts = Mapping[date, tuple[bool, Mapping[str, CheckOutcome]]]


Open = Callable[[], AbstractContextManager[Session]]


@pytest.fixture(params=[(), (USUAL, SIZES.name, SHORT.name)], ids=["reports", "blocks"])
def open_new(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """A new warehouse, in which more or fewer checks block."""

    @contextmanager
    def opened() -> Iterator[Session]:
        path = tmp_path / f"{uuid.uuid4()}.duckdb"
        run = RunInfo("run-0001", datetime(2026, 3, 10, 2), tuple(DAYS), "a_test")
        with Warehouse(path, 10, blocking=request.param, create=RECORDS).open(run) as session:
            yield session

    return opened


def committed(session: Session, counts: Mapping[date, int], *odd: str) -> Verdicts:
    """Whether each day of `counts` (day -> rows) passed and which checks did not, with rows `odd` (SQL) besides."""
    rows = [f"(date '{day}', 'c{n}', {n % 50})" for day, count in counts.items() for n in range(count)]
    frame = session.connection.sql(
        f"select day::date as as_of_date, code::varchar as code, size::integer as size "
        f"from (values {', '.join([*rows, *odd])}) as t(day, code, size)"
    )
    (commit,) = session.commit((TABLE, nw.from_native(frame)), days=list(counts))
    return {day.day: (day.passed, {one.name: one for one in day.outcomes if not one.passed}) for day in commit.days}


def night_by_night(session: Session, counts: Mapping[date, int], odd: Mapping[date, Sequence[str]]) -> Verdicts:
    verdicts: dict[date, tuple[bool, Mapping[str, CheckOutcome]]] = {}
    for day, count in counts.items():
        verdicts |= committed(session, {day: count}, *odd.get(day, ()))
    return verdicts


@pytest.mark.parametrize(
    ("counts", "odd", "unusual"),
    [
        ((10, 10, 10, 10, 10, 40), {}, [5]),  # a jump on the last day
        ((10, 10, 10, 10, 40, 10), {}, [4]),  # and before it
        ((10, 10, 10, 2, 10, 30), {}, [3, 5]),
        ((10, 10, 10, 40, 40, 40), {}, [3, 4, 5]),  # several in a row, each beside the good ones
        ((10, 10, 10, 40, 40, 10), {}, [3, 4]),
        ((10, 10, 10, 10, 10, 10), {2: "'x', 100", 4: "'y', 200"}, []),  # values, of two days
        ((10, 10, 10, 10, 10, 10), {1: "'a-long-code', 1"}, []),  # rows that do not say their day
        ((10, 10, 10, 10, 10, 40), {0: "'a-long-code', 100"}, [5]),
    ],
)
def test_a_day_of_a_window_has_the_verdict_of_a_night_of_its_own(
    open_new: Open, counts: Sequence[int], odd: Mapping[int, str], unusual: list[int]
) -> None:
    by_day = dict(zip(DAYS, counts, strict=True))
    odd_rows = {DAYS[n]: [f"(date '{DAYS[n]}', {values})"] for n, values in odd.items()}
    with open_new() as session:
        together = committed(session, by_day, *(row for rows in odd_rows.values() for row in rows))
    with open_new() as session:
        alone = night_by_night(session, by_day, odd_rows)
    assert together == alone
    assert [n for n, day in enumerate(DAYS) if USUAL in together[day][1]] == unusual


@pytest.mark.slow
@hypothesis.given(counts=st.lists(st.sampled_from([10, 10, 10, 3, 40]), min_size=6, max_size=6))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_days_of_any_size_have_the_verdicts_of_nights(open_new: Open, counts: list[int]) -> None:
    by_day = dict(zip(DAYS, counts, strict=True))
    with open_new() as together, open_new() as alone:
        assert committed(together, by_day) == night_by_night(alone, by_day, {})


def test_each_day_shows_rows_of_its_own_however_many_another_has(open_new: Open) -> None:
    day, other = DAYS[:2]
    many = [f"(date '{day}', 'd{n}', {100 + n})" for n in range(1_200)]
    with open_new() as session:
        verdicts = committed(session, {day: 1, other: 1}, *many, f"(date '{other}', 'e', 5000)")
    sizes = {day: failed[SIZES.name] for day, (_, failed) in verdicts.items()}
    assert (sizes[day].found, sizes[day].observed, len(sizes[day].sample)) == (1_200, "1,200 of 1,201 values", 5)
    assert (sizes[other].observed, sizes[other].sample) == ("1 of 2 values", ({"size": "5000"},))


def test_what_was_rejected_or_changed_is_not_known_for_good(open_new: Open) -> None:
    day, other = DAYS[:2]
    with open_new() as session:
        verdicts = committed(session, {day: 3, other: 3}, f"(date '{day}', 'c0', 1)")
        assert [passed for passed, _ in verdicts.values()] == [False, True]
        assert {known_day for _, known_day, _ in session.known.hashed} == {other}
        for _ in range(2):
            assert session.not_as_passed(TABLE, {other: "another hash"}) == [other]
        session.read(TABLE, on=other)
        assert session.known.verified
        session.known.forget(TABLE.name)
        assert (session.known.verified, TABLE.name in session.known.verdicts) == (set(), False)


def test_a_row_of_no_day_keeps_all_days_back(open_new: Open) -> None:
    with open_new() as session:
        said = committed(session, dict.fromkeys(DAYS, 3), "(date '2020-01-01', 'stray', 1)")
    assert {passed for passed, _ in said.values()} == {False}


def test_the_log_says_how_many_checks_did_not_pass_and_which(
    open_new: Open, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with open_new() as session, caplog.at_level("INFO", logger="gesture_assets"):
        committed(session, dict.fromkeys(DAYS[:4], 5))
        committed(session, {DAYS[4]: 50})
    usual, unusual = (message for message in caplog.messages if " checks " in message)
    count = int(usual.split()[1])
    assert usual == f"{TABLE.name}: {count} checks passed"
    blocked, warned = f"1 of {count} checks failed", f"{count - 1} checks passed, 1 warned"
    assert unusual.startswith(f"{TABLE.name}: {blocked if 'blocks' in request.node.name else warned}: {USUAL}")
