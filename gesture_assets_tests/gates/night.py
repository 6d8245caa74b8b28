"""A staged good night that any fault can be planted in, and its audit.

Belongs here: staging, what is live beside it, restoring it after a fault. Does not belong here: rows and faults.
"""

from collections.abc import Mapping
from datetime import timedelta

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.warehouse.audit import NOT_EVALUATED, Audit
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.window_audit import StagedWindow
from gesture_assets_tests.gates.faults import Rows
from gesture_assets_tests.gates.world import DAY, NOON
from gesture_assets_tests.good_night import create_good_table, mentions

LIVE_DAYS = 7  # before the day, of tables whose checks look at their own past


class GoodNight:
    """A staged night that satisfies every check, with the live tables and the ledger that its checks look at."""

    def __init__(self, session: Session, contracts: Mapping[str, Contract], good: Mapping[str, Rows]) -> None:
        self.session, self.con, self.contracts = session, session.connection, contracts
        self.con.execute("create schema memory.good")
        self.con.execute("create schema memory.live")
        for name, contract in contracts.items():
            create_good_table(self.con, contract, good[name], f"memory.good.{name}")
            session.ensure(contract)
        provenance = "now()::timestamp as recorded_at, 'r' as run_id, false as is_backfill"
        for name, days_before in live_days(contracts):
            self.con.execute(
                f"insert into warehouse.main.{name} by name select * replace "
                f"({PARTITION} - {days_before} as {PARTITION}), {provenance} from memory.good.{name}"
            )
        for name in contracts:
            for before in (1, 2, 3):
                self.con.execute(
                    "insert into warehouse.main.gate_ledger "
                    "values (?, ?, 1, 'PASS', ?, 'h', '{}', '[]', null, 'r', false, ?, null)",
                    [name, DAY - timedelta(days=before), len(good[name]), NOON],
                )
        self.live = ("gate_ledger", *contracts)
        for name in self.live:
            self.con.execute(f"create table memory.live.{name} as from warehouse.main.{name}")
        self.con.execute("use scratch.stage")
        self._stage(*contracts)

    def _stage(self, *names: str) -> None:
        for name in names:
            self.con.execute(f"create or replace table scratch.stage.{name} as from memory.good.{name}")
            self.con.execute(f"create or replace view scratch.audit.{name} as select * from scratch.stage.{name}")

    def audit(self, name: str, fault: str = "") -> Audit:
        """The audit of one table after `fault`."""
        try:
            if fault:
                self.con.execute(fault)
            return StagedWindow(self.con, [self.contracts[name]], [DAY]).audit([DAY])[name]
        finally:
            self._stage(*(table for table in self.contracts if table == name or table in fault))
            for table in self.live:
                if f"warehouse.main.{table}" in fault:
                    self.con.execute(f"delete from warehouse.main.{table}")
                    self.con.execute(f"insert into warehouse.main.{table} from memory.live.{table}")


def live_days(contracts: Mapping[str, Contract]) -> list[tuple[str, int]]:
    """(table, days before the night's) of what is live: the own past of a table whose checks look at it, and today of
    a table that others' checks look at."""
    looked_at = [(name, other) for name, contract in contracts.items() for other in mentions(contract, "live")]
    return sorted(
        {
            (other, before)
            for name, other in looked_at
            if other in contracts
            for before in (range(1, LIVE_DAYS + 1) if name == other else (0,))
        }
    )


def failed(audit: Audit) -> set[str]:
    """The checks that were evaluated and failed."""
    return {outcome.name for outcome in audit.outcomes if not outcome.passed and outcome.observed != NOT_EVALUATED}
