"""What a new table costs here: its good rows, and the faults of its own checks. Everything else follows from it."""

from dataclasses import replace
from pathlib import Path

from gesture_assets.contracts.contract import PARTITION, Column, Contract, between, no_rows
from gesture_assets.events.tables import TABLES
from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.gates.collected import GOOD
from gesture_assets_tests.gates.faults import Faults, Rows, faults_of, first_row
from gesture_assets_tests.gates.night import GoodNight, failed
from gesture_assets_tests.gates.world import DAY, NIGHT
from gesture_assets_tests.good_night import committed_together

CALLS = Contract(
    name="calls",
    grain="One row per call and day.",
    description="Who was called, and how it went.",
    group="events",
    owner="sales@gesture.example",
    key=("call_id",),
    upstream=("daily_activity",),
    columns=(
        Column(PARTITION, "DATE", "Day."),
        Column("call_id", "VARCHAR", "Which call."),
        Column("user_id", "VARCHAR", "Who was called.", personal="pseudonym"),
        Column("called_at", "TIMESTAMP", "When."),
        Column("promised_date", "DATE", "When they want to be called again.", True),
        Column("length_minutes", "DOUBLE", "How long it took.", unit="minutes"),
        Column("attempt_count", "BIGINT", "Calls until somebody answered.", unit="count"),
        Column("question_count", "BIGINT", "Questions that were asked.", unit="count"),
        Column("outcome", "VARCHAR", "How it ended.", True, null_ceiling=0.9),
        Column("is_interested", "BOOLEAN", "Whether they want more."),
    ),
    expectations=(
        between("no_call_takes_longer_than_a_day", "length_minutes", 0, 1440, recovery="mend the telephone"),
        no_rows(
            "every_call_has_an_attempt",
            "select call_id from {batch} where attempt_count = 0",
            recovery="mend the telephone",
        ),
    ),
)
GOOD_CALLS: Rows = [{"call_id": f"c{n}", "user_id": "ada", "attempt_count": 1, "outcome": "sold"} for n in (1, 2)]
OWN_FAULTS: Faults = {
    "no_call_takes_longer_than_a_day": first_row("length_minutes = 1441"),
    "every_call_has_an_attempt": first_row("attempt_count = 0"),
}
DOMAIN = {contract.name: contract for contract in (*TABLES, CALLS)}


def test_its_shared_checks_are_proven_without_a_further_line(tmp_path: Path) -> None:
    faults = faults_of(CALLS, GOOD_CALLS, OWN_FAULTS)
    assert list(faults) == [check.name for check in CALLS.checks]
    assert len(set(faults) - set(OWN_FAULTS)) == 10
    with Warehouse(tmp_path / "warehouse.duckdb", 10, create=RECORDS).open(
        RunInfo("run-1", NIGHT, (DAY,), "a_proof")
    ) as session:
        night = GoodNight(session, DOMAIN, {**GOOD, "calls": GOOD_CALLS})
        assert failed(night.audit("calls")) == set()
        assert {check: failed(night.audit("calls", fault.sql)) for check, fault in faults.items()} == {
            check: {check} for check in faults
        }


def test_a_check_of_its_own_without_a_fault_is_missed() -> None:
    faults = faults_of(CALLS, GOOD_CALLS, {})
    assert [check.name for check in CALLS.checks if check.name not in faults] == list(OWN_FAULTS)


def step_of(table: str, order: list[tuple[str, ...]]) -> int:
    return next(place for place, tables in enumerate(order) if table in tables)


def test_it_is_committed_after_what_it_is_made_of_and_with_whom_its_checks_look_at() -> None:
    order = committed_together(DOMAIN)
    assert step_of("calls", order) > step_of("daily_activity", order)
    looks = no_rows("no_call_is_a_visit", "select call_id from {staged}.sessions semi join {batch}", recovery="none")
    alone = replace(CALLS, upstream=(), group="sales")
    assert ("calls",) in committed_together({**DOMAIN, "calls": alone})
    assert ("sessions", "calls") in committed_together({**DOMAIN, "calls": replace(alone, expectations=(looks,))})
