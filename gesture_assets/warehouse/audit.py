"""Audits of a staged table: every check with what it found, and whether that keeps the table from going live.

Belongs here: outcomes, and telling a broken check from bad data. Does not belong here: what is expected (`contracts/`),
how it is asked and judged (`answers.py`, `suites.py`), what follows from a verdict (`promotion.py`).
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from gesture_assets.compat.lean_imports import UNUSED_BY_GX, deferred
from gesture_assets.contracts.contract import Contract, Expectation
from gesture_assets.errors import GestureError, listing
from gesture_assets.vocabulary.severity import Severity, severity_of
from gesture_assets.warehouse.answers import Answer

SHOWN_ROWS = 5
NOT_EVALUATED = "not evaluated, the structure differs"


@dataclass(frozen=True)
class CheckOutcome:
    """What one check found. `found` counts unexpected rows or values; `sample` shows the first of them."""

    name: str
    passed: bool
    severity: Severity
    observed: str
    found: int = 0
    sample: tuple[dict[str, Any], ...] = ()
    recovery: str = ""
    sql: str = ""

    @property
    def blocks(self) -> bool:
        """Whether this outcome keeps the partition from going live."""
        return not self.passed and self.severity is Severity.ERROR

    @property
    def in_short(self) -> str:
        """`name: 3 rows`, as error messages show it."""
        return f"{self.name}: {self.observed}"


@dataclass(frozen=True)
class Audit:
    """The outcomes of one table over one window."""

    table: str
    outcomes: tuple[CheckOutcome, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether nothing that blocks has failed."""
        return not any(outcome.blocks for outcome in self.outcomes)

    @property
    def is_structured(self) -> bool:
        """Whether columns and types hold, without which nothing else was evaluated."""
        return not any(outcome.observed == NOT_EVALUATED for outcome in self.outcomes)

    @property
    def breaches(self) -> tuple[CheckOutcome, ...]:
        """The failed checks that block, without those that could not be evaluated."""
        return tuple(outcome for outcome in self.outcomes if outcome.blocks and outcome.observed != NOT_EVALUATED)


def merge_outcomes(outcomes: Sequence[CheckOutcome]) -> CheckOutcome:
    """One check's `outcomes` over several windows: what failed, or the last where nothing did."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if not failed:
        return outcomes[-1]
    return replace(
        failed[0],
        observed="; ".join(dict.fromkeys(outcome.observed for outcome in failed)),
        found=sum(outcome.found for outcome in failed),
        sample=tuple(row for outcome in failed for row in outcome.sample)[:SHOWN_ROWS],
    )


def _outcome(check: Expectation, result: Any, contract: Contract, blocking: Collection[str]) -> CheckOutcome:
    info = result.exception_info or {}
    raised = info if "raised_exception" in info else next(iter(info.values()), {})
    if raised.get("raised_exception"):
        raise GestureError(
            f"The check {check.name} of {contract.name} could not be evaluated.",
            expected="a check that answers pass or fail",
            found=str(raised.get("exception_message"))[:500],
            where=f"the contract of {contract.name}",
            next_step="mend the check; nothing was promoted",
        )
    return outcome_of(check, result.result["observed_value"], contract, blocking)


def outcome_of(check: Expectation, answer: Answer, contract: Contract, blocking: Collection[str]) -> CheckOutcome:
    """What there is to say of `check`, which was answered so."""
    column = check.arguments.get("column")
    rows = f"{answer.found:,} row{'' if answer.found == 1 else 's'}"
    observed = (
        f"{answer.found:,} of {answer.of:,} values"
        if column
        else rows
        if check.query
        else f"{len(answer.columns)} columns"
    )
    if answer.columns and answer.found:
        wanted, seen = set(contract.column_names), set(answer.columns)
        observed = f"missing {listing(wanted - seen)}; unexpected {listing(seen - wanted)}" + (
            "" if wanted != seen else f"; order {list(answer.columns[:5])}"
        )
    sample = tuple(
        {name: str(value) for name, value in row.items() if name == column or not column}
        for row in answer.rows[:SHOWN_ROWS]
    )
    severity = severity_of(check.name, blocking)
    sql = "" if column else check.query
    found = answer.found if check.query else 0
    return CheckOutcome(check.name, not answer.found, severity, observed, found, sample, check.recovery, sql)


def audit(connection: duckdb.DuckDBPyConnection, contract: Contract, blocking: Collection[str] = ()) -> Audit:
    """Run every check of `contract` on `scratch.audit.<table>`; of those that only report, `blocking` block as well.

    Where the structure does not hold, the other checks are reported as failed and "not evaluated": they would only
    crash. Raises `GestureError` when a check itself breaks.
    """
    results = _run(connection, contract, contract.checks)
    structure = [_outcome(check, results[check.name], contract, blocking) for check in contract.structure]
    rest = contract.checks[len(contract.structure) :]
    if not all(outcome.passed for outcome in structure):
        skipped = (CheckOutcome(c.name, False, c.severity, NOT_EVALUATED, recovery=c.recovery) for c in rest)
        return Audit(contract.name, (*structure, *skipped))
    judged = (_outcome(check, results[check.name], contract, blocking) for check in rest)
    return Audit(contract.name, (*structure, *judged))


def outcomes_of(
    connection: duckdb.DuckDBPyConnection, contract: Contract, names: Collection[str], blocking: Collection[str] = ()
) -> dict[str, CheckOutcome]:
    """What the checks of `contract` with these `names` find alone, where its structure is known to hold."""
    checks = [check for check in contract.checks if check.name in names]
    results = _run(connection, contract, checks)
    return {check.name: _outcome(check, results[check.name], contract, blocking) for check in checks}


def not_evaluated(contract: Contract) -> Audit:
    """The audit of a table none of whose checks could be evaluated."""
    outcomes = (CheckOutcome(c.name, False, c.severity, NOT_EVALUATED, recovery=c.recovery) for c in contract.checks)
    return Audit(contract.name, tuple(outcomes))


def _run(connection: duckdb.DuckDBPyConnection, contract: Contract, checks: Sequence[Expectation]) -> dict[str, Any]:
    """GX's result of each of `checks`, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX, SQLAlchemy and duckdb_engine warn about each other
        with deferred(*UNUSED_BY_GX):
            from gesture_assets.warehouse.suites import validate

        return validate(connection, contract, checks)
