"""Looking at what is live and what is published.

Belongs here: questions of commands and sensors to the private ledger and the published file. Does not belong here:
publishing (`publish.py`).
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import GateClosed, listing
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.format import unreadable
from gesture_assets.warehouse.ledger import LEDGER
from gesture_assets.warehouse.lock import attach_when_free
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import Warehouse, connect

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingCall:
    """Whether the night of `day` calls for a training, and why."""

    day: date
    should_retrain: bool
    because: str


def called_for_training(published: Path) -> TrainingCall | None:
    """What the newest published night says of a training; None where a model has been trained on it or since."""
    with duckdb.connect(str(published.resolve()), read_only=True) as connection:
        row = connection.execute(
            f"""select {PARTITION}, should_retrain, because from retrain_decision
            where {PARTITION} > coalesce((select max({PARTITION}) from candidate_model), date '0001-01-01')
            order by {PARTITION} desc limit 1"""
        ).fetchone()
    return TrainingCall(*row) if row else None


def live_days(session: Session, contracts: Sequence[Contract]) -> dict[date, str]:
    """Day -> hash of what landed that it was built from, for days on which every table has an open gate."""
    verdicts = [session.latest(contract.name) for contract in contracts]
    days = (
        set.intersection(*({day for day, entry in table.items() if entry.is_open} for table in verdicts))
        if verdicts
        else set()
    )
    inputs = session.connection.execute(
        f"select partition, arg_max(input_hashes, attempt) from {LEDGER} where table_name = 'raw_events' group by all"
    ).fetchall()
    return {day: json.loads(text).get("landing", "") for day, text in inputs if day in days}


def read_published(link: Path) -> duckdb.DuckDBPyConnection:
    """The published file, read-only. Raises `GateClosed` when nothing was published yet."""
    if not link.exists():
        raise GateClosed(
            "There is nothing published yet.",
            expected="the published file",
            found="no such file",
            where=str(link),
            next_step="gesture run",
        )
    con = connect()
    try:
        con.execute(f"attach {literal(link.resolve())} as gesture (read_only)")
    except duckdb.Error as error:
        raise unreadable(link.resolve(), error, next_step="gesture publish") or error from error
    con.execute("use gesture")
    return con


@contextmanager
def private_ledger(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The private file, read-only: its ledger knows more than the published one, which never saw a failed night."""
    if not settings.warehouse.exists():
        raise GateClosed(
            "There is no ledger yet.",
            expected="a warehouse",
            found="no such file",
            where=str(settings.warehouse),
            next_step="gesture run",
        )
    with Warehouse.of(settings).locked("gesture gates"):
        con = connect()
        try:
            attach_when_free(
                con,
                settings.warehouse,
                name="warehouse",
                holder="gesture gates",
                timeout_seconds=settings.lock_timeout_seconds,
                read_only=True,
            )
            yield con
        finally:
            con.close()


def gate_report(settings: Settings, day: date | None) -> list[tuple[str, date, int, str, int, str]]:
    """Table, day, attempt, verdict, rows and what did not pass, of `day` or of the newest day of the ledger."""
    with private_ledger(settings) as con:
        rows = con.execute(
            f"""select table_name, partition, attempt, verdict, row_count, checks from {LEDGER}
            where partition = coalesce(?, (select max(partition) from {LEDGER}))
            qualify row_number() over (partition by table_name order by attempt desc) = 1
            order by recorded_at, table_name""",
            [day],
        ).fetchall()
    report = []
    for table, partition, attempt, verdict, count, checks in rows:
        failed = [f"{c['severity']} {c['name']}: {c['observed']}" for c in json.loads(checks) if not c["passed"]]
        report.append((table, partition, attempt, verdict, count, listing(failed) if failed else ""))
    return report


def rejected_days(settings: Settings) -> list[date]:
    """Days of which some table's latest audit failed, in order."""
    with private_ledger(settings) as con:
        rows = con.execute(
            f"""select distinct partition from (select * from {LEDGER}
            qualify row_number() over (partition by table_name, partition order by attempt desc) = 1)
            where verdict = 'FAIL' order by all"""
        ).fetchall()
    return [day for (day,) in rows]
