"""The gates of one open warehouse: what a run may read, and what it opened by hand.

Belongs here: the ledger's latest verdicts, asked once a session, and opening a closed gate for a reason. Does not
belong here: the ledger's table and its questions (`ledger.py`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import duckdb

from gesture_assets.errors import listing
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.ledger import LedgerRow, Verdict, Verdicts
from gesture_assets.warehouse.relations import EMPTY_HASH, count_rows
from gesture_assets.warehouse.run_info import RunInfo, window_of
from gesture_assets.warehouse.schemas import LIVE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gates:
    """The gates as `run` finds them. Nobody else writes while the warehouse is open here."""

    connection: duckdb.DuckDBPyConnection
    run: RunInfo
    _latest: dict[str, Verdicts] = field(default_factory=dict)  # by table, as far as they were asked for

    def latest(self, table: str) -> Verdicts:
        """The latest verdicts of `table`."""
        if table not in self._latest:
            self._latest[table] = ledger.latest(self.connection, table)
        return self._latest[table]

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
        attempts = ledger.next_attempts(self.connection, table, closed)
        counts = count_rows(self.connection, f"{LIVE}.{table}", closed)
        hashes = ledger.live_hashes(self.connection, table)
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
        self.forget()

    def forget(self) -> None:
        """The ledger has rows that were not there when it was asked."""
        self._latest.clear()
