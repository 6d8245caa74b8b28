"""How a commit ended: table by table, day by day.

Belongs here: the answer of `Session.commit`. Does not belong here: making it (`promotion.py`), telling Dagster
(`defs/`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from gesture_assets.contracts.contract import Contract
from gesture_assets.warehouse.audit import CheckOutcome, merge_outcomes


@dataclass(frozen=True)
class DayVerdict:
    """How one day of one table ended. `is_changed` says whether live rows were replaced.

    `outcomes` are those of the window that the day was audited in: its own where the whole did not pass.
    """

    day: date
    passed: bool
    row_count: int
    content_hash: str
    attempt: int
    is_changed: bool
    outcomes: tuple[CheckOutcome, ...] = ()


@dataclass(frozen=True)
class TableCommit:
    """What a commit did with one table: an audit for the whole window, or one a day where the whole did not pass."""

    contract: Contract
    days: tuple[DayVerdict, ...]
    outcomes: tuple[CheckOutcome, ...]
    sql: str = ""

    @property
    def row_count(self) -> int:
        """Rows that are live after the commit, over the good days."""
        return sum(day.row_count for day in self.days if day.passed)

    @property
    def bad_days(self) -> tuple[DayVerdict, ...]:
        """Days that were rejected."""
        return tuple(day for day in self.days if not day.passed)

    @property
    def content_hash(self) -> str:
        """One hash over the good days."""
        good = "".join(f"{day.day}:{day.content_hash};" for day in self.days if day.passed)
        return hashlib.sha256(good.encode()).hexdigest()[:32]


def join_commits(commits: Sequence[Sequence[TableCommit]]) -> tuple[TableCommit, ...]:
    """The commits of a step's tables, made for a part of its days each, as one per table."""
    return tuple(
        replace(
            parts[-1],
            days=tuple(day for part in parts for day in part.days),
            outcomes=tuple(map(merge_outcomes, zip(*(part.outcomes for part in parts), strict=True))),
        )
        for parts in zip(*commits, strict=True)
    )
