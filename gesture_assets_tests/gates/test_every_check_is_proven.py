"""Every check of every contract, proven by a planted fault: one thing wrong in a good night, exactly that check fails.

Belongs here: planting the faults and the boundaries that the domains' modules state. Does not belong here: what follows
from a failed check (`unit/warehouse/test_warehouse.py`, `test_the_gate_holds.py`).
"""

import pytest

from gesture_assets.warehouse.answers import filled_in
from gesture_assets.warehouse.audit import NOT_EVALUATED
from gesture_assets_tests.gates.collected import BOUNDARIES, GOOD, STATED
from gesture_assets_tests.gates.faults import MISSING, faults_of
from gesture_assets_tests.gates.night import GoodNight, failed
from gesture_assets_tests.good_night import CONTRACTS

FAULTS = {
    (name, check): fault
    for name, contract in CONTRACTS.items()
    for check, fault in faults_of(contract, GOOD[name], STATED.get(name, {})).items()
}


def test_there_is_a_fault_for_every_check_and_for_nothing_else() -> None:
    checks = {(name, check.name) for name, contract in CONTRACTS.items() for check in contract.checks}
    assert set(FAULTS) == checks
    assert {(name, check) for name, faults in STATED.items() for check in faults} <= checks
    assert set(GOOD) == set(CONTRACTS)


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_good_night_passes_every_check(night: GoodNight, name: str) -> None:
    audit = night.audit(name)
    assert failed(audit) == set()
    assert [outcome.name for outcome in audit.outcomes] == [check.name for check in CONTRACTS[name].checks]


# At each commit: a table's own checks, and what all tables share on two of them. `make test`: everything on each.
SHOWN = ("raw_events", "rule_scores")
FAST = {(name, check.name) for name, contract in CONTRACTS.items() for check in contract.expectations} | {
    (name, check) for name, check in FAULTS if name in SHOWN
}


@pytest.mark.parametrize(
    ("name", "check"),
    [pytest.param(*fault, id="-".join(fault), marks=() if fault in FAST else pytest.mark.slow) for fault in FAULTS],
)
def test_a_planted_fault_is_caught_by_its_check_and_by_no_other(night: GoodNight, name: str, check: str) -> None:
    fault = FAULTS[name, check]
    audit = night.audit(name, fault.sql)
    assert failed(audit) == {check, *fault.companions}
    structural = {one.name for one in CONTRACTS[name].structure}
    assert audit.is_structured == (check not in structural)
    caught = next(outcome for outcome in audit.outcomes if outcome.name == check)
    assert audit.passed == (not caught.blocks)
    assert caught.recovery
    assert caught.observed


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_check_that_looks_at_its_tables_own_past_says_of_which_day_it_speaks(night: GoodNight, name: str) -> None:
    # In a range a day is judged beside the days before it, and what is found must be told apart.
    night.audit(name)
    for check in CONTRACTS[name].checks:
        if CONTRACTS[name].looks_back(check):
            described = night.con.execute(f"describe {filled_in(check.query, name)}").fetchall()
            assert "as_of_date" in [column for column, *_ in described], check.name


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_required_column_is_missed_when_it_is_null(night: GoodNight, name: str) -> None:
    contract = CONTRACTS[name]
    check = next(one for one in contract.checks if one.name == MISSING)
    required = [column.name for column in contract.columns if not column.nullable]
    # One row for each required column, in which that column alone is null.
    nulls = ", ".join(f"if(n = {place}, null, {column}) as {column}" for place, column in enumerate(required))
    batch = f"(select {nulls} from (from memory.good.{name} limit 1), range({len(required)}) as t(n))"
    sql = check.arguments["unexpected_rows_query"].replace("{batch}", batch)
    assert night.con.execute(sql).fetchall() == [(1,) * len(required)]


VALIDATED = "validated_subscribers"
COLUMNS, TYPES = "columns_are_as_contracted_and_in_order", "column_types_are_as_contracted"


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        (VALIDATED, "alter mailchimp_id type integer", {TYPES}),
        (VALIDATED, "alter email_domain type varchar[] using [email_domain]", {TYPES}),
        (VALIDATED, "add column shoe_size integer", {COLUMNS}),
        (VALIDATED, "drop column country", {COLUMNS}),
        (VALIDATED, "rename country to land", {COLUMNS}),
        ("raw_events", "alter landing_line type double", {TYPES}),
        ("top_users", "alter mailchimp_id type integer", {TYPES}),
    ],
)
def test_another_structure_is_refused_and_nothing_else_is_judged(
    night: GoodNight, name: str, change: str, expected: set[str]
) -> None:
    audit = night.audit(name, f"alter table {name} {change}")
    assert failed(audit) == expected
    assert not audit.is_structured
    judged = [outcome.name for outcome in audit.outcomes if outcome.observed != NOT_EVALUATED]
    assert judged == [check.name for check in CONTRACTS[name].structure]


@pytest.mark.parametrize(("name", "sql", "expected"), BOUNDARIES)
def test_the_boundary_of_a_check_is_where_the_contract_says(
    night: GoodNight, name: str, sql: str, expected: set[str]
) -> None:
    assert failed(night.audit(name, sql)) == expected
