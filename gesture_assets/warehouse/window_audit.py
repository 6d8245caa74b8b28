"""The audit of a window: as a whole, and where something is wrong, of each of its days.

Belongs here: what an audit sees of what is staged, and telling good days from bad ones. Does not belong here: running
a check (`audit.py`), what follows from the verdict (`promotion.py`).
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import GestureError, listing
from gesture_assets.warehouse.answers import answers_by_day
from gesture_assets.warehouse.audit import Audit, CheckOutcome, audit, not_evaluated, outcome_of, outcomes_of
from gesture_assets.warehouse.relations import days_sql
from gesture_assets.warehouse.schemas import AUDIT_SCHEMA, STAGE

log = logging.getLogger(__name__)

Audits = dict[str, Audit]  # by table


@dataclass(frozen=True)
class StagedWindow:
    """The tables that are staged together, for `days`; of the checks that only report, `blocking` block as well."""

    connection: duckdb.DuckDBPyConnection
    contracts: Sequence[Contract]
    days: Sequence[date]
    blocking: Collection[str] = ()

    def by_day(self, whole: Audits) -> dict[date, Audits]:
        """Day -> its audits, where `whole` are those of all days.

        A check may compare a day with those before it, so days are looked at together, and what is found is told by the
        day that it is about. What is behind a day that is kept back is looked at again without it, as nights that come
        after it do; one day at a time where a check failed that compares.
        """
        by_day: dict[date, Audits] = {}
        left, audits = list(self.days), whole
        while left:
            of_days = self._of_each(left, audits)
            bad = [day for day in left if not all(result.passed for result in of_days[day].values())]
            judged = (bad[:1] if self._was_compared(audits) else bad) or left
            by_day |= {day: of_days[day] for day in judged}
            left = [day for day in left if day not in judged]
            audits = self.audit(left) if left else {}
        return {day: by_day[day] for day in self.days}

    def _was_compared(self, audits: Audits) -> bool:
        """Whether a check failed that looks at earlier days of its own table."""
        return any(
            contract.looks_back(check)
            for contract in self.contracts
            if audits[contract.name].is_structured
            for check, outcome in zip(contract.checks, audits[contract.name].outcomes, strict=True)
            if not outcome.passed
        )

    def _of_each(self, days: Sequence[date], audits: Audits) -> dict[date, Audits]:
        """Day -> its audits, where `audits` are those of `days`, and of no other."""
        by_day = {day: dict(audits) for day in days}
        if len(days) == 1 or not all(result.is_structured for result in audits.values()):
            return by_day
        for contract in self.contracts:
            failed = [outcome for outcome in audits[contract.name].outcomes if not outcome.passed]
            if failed:
                own = {outcome.name: self._outcomes(contract, outcome, days) for outcome in failed}
                for day in days:
                    outcomes = (
                        own[outcome.name][day] if outcome.name in own else outcome
                        for outcome in audits[contract.name].outcomes
                    )
                    by_day[day][contract.name] = Audit(contract.name, tuple(outcomes))
        return by_day

    def _outcomes(self, contract: Contract, failed: CheckOutcome, days: Sequence[date]) -> dict[date, CheckOutcome]:
        """Day -> what a check says of it that `failed` for `days` together."""
        check = next(check for check in contract.checks if check.name == failed.name)
        answered = answers_by_day(self.connection, contract, check, days)
        if answered is not None:
            return {day: outcome_of(check, answer, contract, self.blocking) for day, answer in answered.items()}
        # Its rows do not say of which day they are, so each day is shown alone.
        alone: dict[date, CheckOutcome] = {}
        for day in days:
            self._show_only([day])
            alone[day] = outcomes_of(self.connection, contract, [failed.name], self.blocking)[failed.name]
        self._show_only(days)
        return alone if not all(outcome.passed for outcome in alone.values()) else dict.fromkeys(days, failed)

    def audit(self, days: Sequence[date]) -> Audits:
        """Audit what is staged, seen through views that hold `days` only. Raises `GestureError` for a broken check."""
        self._show_only(days)
        audits: Audits = {}
        crashed: dict[str, GestureError] = {}
        for contract in self.contracts:
            try:
                audits[contract.name] = audit(self.connection, contract, self.blocking)
            except GestureError as error:
                crashed[contract.name] = error
        if crashed and all(result.is_structured for result in audits.values()):
            raise next(iter(crashed.values()))
        # A check that looks at a sister table cannot be evaluated where the sister's structure does not hold.
        audits |= {contract.name: not_evaluated(contract) for contract in self.contracts if contract.name in crashed}
        if len(days) == len(self.days):
            for name, result in audits.items():
                log.info("%s: %s", name, _in_words(result))
        return audits

    def _show_only(self, days: Sequence[date]) -> None:
        """Point the views that checks look through to `days`."""
        values = ", ".join(f"(date '{day}')" for day in days)
        self.connection.execute(
            f"create or replace view {AUDIT_SCHEMA}.requested_days as select * from (values {values}) t({PARTITION})"
        )
        # A day of a range sees its own rows, and the strays that belong to no day: they put every day in doubt.
        others = days_sql([day for day in self.days if day not in days])
        only = f" where {PARTITION} is null or {PARTITION} not in ({others})" if others else ""
        for contract in self.contracts:
            self.connection.execute(
                f"create or replace view {AUDIT_SCHEMA}.{contract.name} as select * from {STAGE}.{contract.name}{only}"
            )


def _in_words(found: Audit) -> str:
    """`18 checks passed`, `17 checks passed, 1 warned: …`, or `1 of 18 checks failed: …`."""
    count, others = len(found.outcomes), [outcome for outcome in found.outcomes if not outcome.passed]
    named = listing(outcome.in_short for outcome in found.breaches or others)
    if found.breaches:
        return f"{len(found.breaches)} of {count} checks failed: {named}"
    return f"{count - len(others)} checks passed" + (f", {len(others)} warned: {named}" if others else "")
