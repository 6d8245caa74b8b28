"""The audit of a window: as a whole where it passes, else in halves, down to the days.

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
from gesture_assets.warehouse.audit import Audit, audit, not_evaluated, outcomes_of
from gesture_assets.warehouse.relations import days_sql, ensure
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

    def by_day(self, days: Sequence[date], audits: Audits) -> dict[date, Audits]:
        """Day -> its audits, where `audits` are those of all `days`: halves that do not pass are halved again."""
        if all(result.passed for result in audits.values()):
            return self._reports_by_day(days, audits)
        if len(days) == 1 or not all(result.is_structured for result in audits.values()):
            return dict.fromkeys(days, audits)
        middle = len(days) // 2
        return {
            day: audits_of_day
            for half in (days[:middle], days[middle:])
            for day, audits_of_day in self.by_day(half, self.audit(half)).items()
        }

    def _reports_by_day(self, days: Sequence[date], audits: Audits) -> dict[date, Audits]:
        """Day -> its audits, where `days` pass together: a check that only reports is asked which of them it is about.

        What passes for all passes for each.
        """
        failed = {
            contract: [outcome.name for outcome in audits[contract.name].outcomes if not outcome.passed]
            for contract in self.contracts
        }
        if len(days) == 1 or not any(failed.values()):
            return dict.fromkeys(days, audits)
        by_day: dict[date, Audits] = {}
        for day in days:
            self._show_only([day])
            by_day[day] = dict(audits)
            for contract, names in failed.items():
                if names:
                    own = outcomes_of(self.connection, contract, names, self.blocking)
                    outcomes = (own.get(outcome.name, outcome) for outcome in audits[contract.name].outcomes)
                    by_day[day][contract.name] = Audit(contract.name, tuple(outcomes))
        return by_day

    def audit(self, days: Sequence[date]) -> Audits:
        """Audit what is staged, seen through views that hold `days` only. Raises `GestureError` for a broken check."""
        self._show_only(days)
        audits: Audits = {}
        crashed: dict[str, GestureError] = {}
        for contract in self.contracts:
            ensure(self.connection, contract)  # checks may look at earlier days
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
                breaches = listing(outcome.in_short for outcome in result.breaches)
                log.info(
                    "%s: %s checks %s",
                    name,
                    len(result.outcomes),
                    f"failed {breaches}" if result.breaches else "passed",
                )
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
