"""The planted faults of the checks that steps have beside those of tables: what leaves the warehouse.

Belongs here: for each such check, one thing that is wrong in the data folder of a good world, or about the moment of
the run. Does not belong here: running the night (`test_every_step_check_is_proven.py`), the faults of tables
(`<domain>.py`), the verdict functions alone (`unit/publication/test_checks.py`).
"""

from dataclasses import dataclass
from datetime import timedelta

from gesture_assets.publication.checks import HOLDS_WHAT_PASSED, IS_UP_TO_DATE
from gesture_assets.publication.validation_results import SAYS_WHAT_CHECKS_SAY
from gesture_assets_tests.small_world import DAYS


@dataclass(frozen=True)
class StepFault:
    """Statements on the warehouse that make one thing wrong, and how much later than usual the night is run."""

    sql: str = ""
    late_by: timedelta = timedelta()


# (step, check) -> the fault that it catches.
STEP_FAULTS = {
    ("published_warehouse", HOLDS_WHAT_PASSED): StepFault(
        f"delete from rule_scores where user_id = 'ada' and as_of_date = date '{DAYS[0]}'"
    ),
    ("published_warehouse", IS_UP_TO_DATE): StepFault(late_by=timedelta(days=1)),
    ("validation_results", SAYS_WHAT_CHECKS_SAY): StepFault(
        "update gate_ledger set checks = replace(checks::varchar, '\"passed\": true', '\"passed\": false') "
        f"where table_name = 'rule_scores' and partition = date '{DAYS[-1]}'"
    ),
}
