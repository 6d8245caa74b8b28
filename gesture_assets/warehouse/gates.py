"""The gates of one open warehouse: what a run may read, and what it opened by hand.

Belongs here: the ledger's latest verdicts, asked once while the warehouse is open, and opening a closed gate for a
reason. Does not belong here: the ledger's table and its questions (`ledger.py`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import listing
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.commits import DayVerdict
from gesture_assets.warehouse.ledger import Built, LatestVerdict, LedgerRow, Verdict, Verdicts
from gesture_assets.warehouse.relations import EMPTY_HASH, count_rows
from gesture_assets.warehouse.run_info import RunInfo, window_of
from gesture_assets.warehouse.schemas import LIVE

log = logging.getLogger(__name__)


@dataclass
class Known:
    """What need not be asked twice while the warehouse is open here, for nobody else writes: of one run's steps.

    `at_end`: by name, what is done before it is closed, be it after a failure.
    """

    verdicts: dict[str, Verdicts] = field(default_factory=dict[str, Verdicts])  # by table
    digests: dict[tuple[str, Sequence[date]], dict[date, str]] = field(
        default_factory=dict[tuple[str, Sequence[date]], dict[date, str]]
    )  # by table and days that are built: day -> a hash over what passed up to it
    built: dict[str, dict[date, Built]] = field(default_factory=dict[str, dict[date, Built]])  # by table, of `built_on`
    built_on: date | None = None
    verified: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])  # table, and what was asked
    hashed: set[tuple[str, date, str]] = field(default_factory=set[tuple[str, date, str]])  # table, day, its live hash
    ensured: set[Contract] = field(default_factory=set[Contract])  # tables that are there, as their contracts have them
    landed_days: frozenset[date] | None = None
    published: dict[Path, dict[str, dict[date, str]]] = field(
        default_factory=dict[Path, dict[str, dict[date, str]]]
    )  # file -> table -> day -> content hash
    at_end: dict[str, Callable[[], object]] = field(default_factory=dict[str, Callable[[], object]])

    def forget(self, *tables: str) -> None:
        """The ledger has rows of `tables` that were not there when it was asked."""
        for table in tables:
            self.verdicts.pop(table, None)
            self.built.pop(table, None)
        self.verified.difference_update([asked for asked in self.verified if asked[0] in tables])
        self.digests = {asked: found for asked, found in self.digests.items() if asked[0] not in tables}

    def committed(self, table: str, verdicts: Sequence[DayVerdict]) -> None:
        """The ledger has `verdicts` on `table`, the newest of their days; what failed is asked for once it is read."""
        known = self.verdicts.get(table)
        self.forget(table)
        for verdict in verdicts:
            if verdict.passed:
                self.hashed.add((table, verdict.day, verdict.content_hash))
        if known is not None and all(verdict.passed for verdict in verdicts):
            self.verdicts[table] = known | {verdict.day: LatestVerdict.of_pass(verdict) for verdict in verdicts}

    def forget_landed_days(self) -> None:
        """The index of what landed has changed."""
        self.landed_days = None
        self.digests.clear()


@dataclass(frozen=True)
class Gates:
    """The gates as `run` finds them."""

    connection: duckdb.DuckDBPyConnection
    run: RunInfo
    known: Known = field(default_factory=Known)

    def latest(self, table: str) -> Verdicts:
        """The latest verdicts of `table`."""
        known = self.known.verdicts
        if not known:
            known.update(ledger.latest(self.connection))
        if table not in known:
            known.update(ledger.latest(self.connection, table))
        return known[table]

    def built_with(self, table: str, days: Sequence[date]) -> dict[date, Built]:
        """Day -> what made it, for those of `days` whose latest audit of `table` passed."""
        if len(days) > 1:  # of a long range all tables together would not be small
            return ledger.built_with(self.connection, days, table)[table]
        (day,), known = days, self.known
        if known.built_on != day:
            known.built, known.built_on = ledger.built_with(self.connection, days), day
        if table not in known.built:
            known.built |= ledger.built_with(self.connection, days, table)
        return known.built[table]

    def require(self, table: str, days: Sequence[date], *, built: Sequence[date]) -> str:
        """One hash over `table`@`days`, which something for the days `built` is made of. Raises `GateClosed`."""
        return ledger.require(
            self.connection,
            table=table,
            days=days,
            reader=self.run.step,
            window=window_of(built),
            verdicts=self.latest(table),
        )

    def open_by_hand(self, table: str, days: Sequence[date]) -> None:
        """Open the closed gates of `table`@`days`, leaving a row each that says who did it and why."""
        verdicts = self.latest(table)
        closed = [day for day in days if day not in verdicts or not verdicts[day].is_open]
        if not closed:
            return
        attempts = ledger.next_attempts(verdicts, closed)
        counts = count_rows(self.connection, f"{LIVE}.{table}", closed)
        hashes = ledger.live_hashes(verdicts)
        self.record(
            [
                LedgerRow.of_run(
                    self.run,
                    table_name=table,
                    partition=day,
                    attempt=attempts[day],
                    verdict=Verdict.OVERRIDE,
                    row_count=counts.get(day, 0),
                    content_hash=hashes.get(day, EMPTY_HASH),
                )
                for day in closed
            ]
        )
        log.warning("%s: opened %s@%s by hand: %s", self.run.step, table, listing(closed), self.run.force_reason)

    def record(self, rows: Sequence[LedgerRow]) -> None:
        """Write `rows` into the ledger."""
        ledger.append(self.connection, rows)
        self.known.forget(*(row.table_name for row in rows))
