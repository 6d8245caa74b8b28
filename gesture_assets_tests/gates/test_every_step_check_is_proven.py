"""Every check of every step, proven by a fault planted through a night: one thing wrong, exactly that check fails.

Belongs here: the count of these checks and their faults, and the nights. Does not belong here: the checks of tables
(`test_every_check_is_proven.py`), every way in which a published file can be wrong (`unit/publication/test_checks.py`).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from gesture_assets.nights.all_steps import all_steps
from gesture_assets.nights.runner import NightResult
from gesture_assets.nights.steps import Check, Step
from gesture_assets_tests.gates.steps import STEP_FAULTS, StepFault
from gesture_assets_tests.small_world import DAYS

CHECKED = [step for step in all_steps() if step.checks]


def checks_of(steps: Iterable[Step]) -> set[tuple[str, str]]:
    return {(step.name, check.name) for step in steps for check in step.checks}


def test_there_is_a_fault_for_every_check_of_a_step_and_for_nothing_else() -> None:
    assert set(STEP_FAULTS) == checks_of(all_steps())


def test_a_check_without_a_fault_is_missed_by_the_count_whichever_step_has_it() -> None:
    new = Check("the_moon_is_full", "Nobody has planted a new moon.")
    for step in all_steps():
        more = replace(step, checks=(*step.checks, new))
        others = [other for other in all_steps() if other is not step]
        assert checks_of([*others, more]) - set(STEP_FAULTS) == {(step.name, new.name)}


@pytest.fixture
def night(copied_world: Callable[[str], Path]) -> Callable[[StepFault], NightResult]:
    """Plant a fault in the small world, whose tables are live, and run the steps with checks of its last day."""
    from gesture_assets_tests.running import run_night
    from gesture_assets_tests.worlds import SMALL_MOMENT

    def run(fault: StepFault) -> NightResult:
        data_dir = copied_world("small")
        if fault.sql:
            with duckdb.connect(str(data_dir / "warehouse.duckdb")) as con:
                changed = con.execute(fault.sql).fetchall()
            assert changed == [(1,)], "the fault is planted in one row"
        select = " or ".join(step.name for step in CHECKED)
        return run_night(DAYS[-1], now=SMALL_MOMENT + fault.late_by, rebuild=False, select=select)

    return run


def failed(result: NightResult) -> set[tuple[str, str]]:
    return {(name, check.name) for name, step in result.results.items() for check in step.checks if not check.passed}


@pytest.mark.slow
def test_a_good_night_passes_every_check_of_a_step_and_each_is_as_it_was_declared(
    night: Callable[[StepFault], NightResult],
) -> None:
    result = night(StepFault()).raise_failure()
    assert failed(result) == set()
    told = {(name, check.name): check.severity for name, step in result.results.items() for check in step.checks}
    assert told == {(step.name, check.name): check.severity for step in CHECKED for check in step.checks}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "check"), STEP_FAULTS, ids=[check for _, check in STEP_FAULTS])
def test_a_planted_fault_is_caught_by_its_check_and_by_no_other(
    night: Callable[[StepFault], NightResult], step: str, check: str
) -> None:
    result = night(STEP_FAULTS[step, check])
    assert failed(result) == {(step, check)}
    assert set(result.results) == {other.name for other in CHECKED}, "every step came to its end"
