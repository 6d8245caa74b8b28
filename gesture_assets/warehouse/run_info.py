"""Who writes: the run, its moment, its days and the reasons it was given.

Belongs here: what follows from these alone. Does not belong here: asking Dagster or a clock for them (`defs/`, `cli/`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta


def window_of(days: Sequence[date]) -> str:
    """`2026-03-04`, or `2026-03-01 to 2026-03-04`."""
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"


@dataclass(frozen=True)
class RunInfo:
    """Who writes: Dagster run, the moment it started (UTC, naive), its days, and the reasons given for exceptions."""

    run_id: str
    now: datetime
    days: tuple[date, ...]
    step: str
    force_reason: str | None = None  # opens closed gates, recorded in the ledger
    restate_reason: str | None = None  # lets old days change that readers already have
    restate_crm: bool = False  # … and today's CRM take the place of what it was on an old day
    rebuild: bool = False  # builds also what has not changed

    @property
    def is_forced(self) -> bool:
        """Whether everything is to be built, unchanged or not."""
        return bool(self.rebuild or self.force_reason or self.restate_reason or self.restate_crm)

    @property
    def is_only_backfill(self) -> bool:
        """Whether no day of the run is the last complete one."""
        return bool(self.days) and all(map(self.is_backfill, self.days))

    @property
    def window(self) -> str:
        """`2026-03-04`, or `2026-03-01 to 2026-03-04`."""
        return window_of(self.days)

    def is_backfill(self, day: date) -> bool:
        """Whether a newer day than `day` was already complete when the run started."""
        return day < self.now.date() - timedelta(days=1)
