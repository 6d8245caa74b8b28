"""The gate ledger: what was audited, with which verdict, from which inputs.

Belongs here: the ledger's table, its questions (what is the latest verdict, is a gate open) and the rows that are
written into it. Does not belong here: deciding a verdict (`audit.py`), promoting rows (`promotion.py`). The latest
attempt of a partition decides; a FAIL closes the gate even while an older good version is still live.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Self

import duckdb

from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import GateClosed, listing
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.commits import DayVerdict
from gesture_assets.warehouse.relations import create_table
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.schemas import LIVE

LEDGER = f"{LIVE}.gate_ledger"

# Column, type, meaning: the ledger is data, and analysts read it.
LEDGER_COLUMNS = (
    ("table_name", "VARCHAR not null", "Table that was audited."),
    ("partition", "DATE not null", "As-of day of the rows."),
    ("attempt", "INTEGER not null", "Counts the audits of this table and day; the highest decides."),
    ("verdict", "VARCHAR not null", "PASS, FAIL, OVERRIDE (opened by hand, with a reason) or ABSENT (no such source)."),
    ("row_count", "BIGINT not null", "Rows that were staged."),
    ("content_hash", "VARCHAR not null", "Hash of the rows, whatever their order; equal hashes mean equal rows."),
    ("input_hashes", "VARCHAR not null", "JSON: for each input table the hash of the partitions that were read."),
    ("checks", "VARCHAR not null", "JSON: every check with its outcome."),
    ("version", "VARCHAR", "Version of the rules or the model that made the rows, where there is one."),
    ("run_id", "VARCHAR not null", "Dagster run."),
    ("is_backfill", "BOOLEAN not null", "Whether a newer day was already complete at that time."),
    ("recorded_at", "TIMESTAMP not null", "When the verdict was written (UTC)."),
    ("override_reason", "VARCHAR", "Why somebody opened a gate by hand."),
)


# Whether a verdict is on the whole day: one of a day in progress is provisional (`nights/refresh.py`).
IS_WHOLE = "recorded_at >= partition + interval 1 day"


class Verdict(StrEnum):
    """How an audit ended. Every verdict but FAIL lets readers pass."""

    PASS = "PASS"  # a verdict, no password
    FAIL = "FAIL"
    OVERRIDE = "OVERRIDE"
    ABSENT = "ABSENT"


@dataclass(frozen=True)
class LedgerRow:
    """One line of the ledger; see `LEDGER_COLUMNS` for the meanings."""

    table_name: str
    partition: date
    attempt: int
    verdict: Verdict
    row_count: int
    content_hash: str
    input_hashes: dict[str, str]
    checks: Sequence[CheckOutcome]
    version: str | None
    run_id: str
    is_backfill: bool
    recorded_at: datetime
    override_reason: str | None = None

    @classmethod
    def of_run(
        cls,
        run: RunInfo,
        *,
        table_name: str,
        partition: date,
        attempt: int,
        verdict: Verdict,
        row_count: int,
        content_hash: str,
        input_hashes: Mapping[str, str] = MappingProxyType({}),
        checks: Sequence[CheckOutcome] = (),
        version: str | None = None,
    ) -> Self:
        """The line that `run` writes; who, when and why come from it."""
        return cls(
            table_name,
            partition,
            attempt,
            verdict,
            row_count,
            content_hash,
            dict(input_hashes),
            checks,
            version,
            run.run_id,
            run.is_backfill(partition),
            run.now,
            run.force_reason,
        )

    def values(self) -> tuple[object, ...]:
        """The row as DuckDB takes it."""
        checks = [
            {"name": c.name, "passed": c.passed, "severity": c.severity.value, "observed": c.observed}
            for c in self.checks
        ]
        return (
            self.table_name,
            self.partition,
            self.attempt,
            self.verdict.value,
            self.row_count,
            self.content_hash,
            json.dumps(self.input_hashes, sort_keys=True),
            json.dumps(checks),
            self.version,
            self.run_id,
            self.is_backfill,
            self.recorded_at,
            self.override_reason,
        )


def create_ledger(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the ledger where there is none."""
    create_table(connection, LEDGER, LEDGER_COLUMNS)


def append(connection: duckdb.DuckDBPyConnection, rows: Iterable[LedgerRow]) -> None:
    """Add `rows`; the caller owns the transaction."""
    values = [row.values() for row in rows]
    if values:
        marks = ", ".join("?" for _ in LEDGER_COLUMNS)
        connection.executemany(f"insert into {LEDGER} values ({marks})", values)


@dataclass(frozen=True)
class LatestVerdict:
    """What the latest audit of a table and day found. `checks` are JSON, of a FAIL only.

    `live_hash` is the content hash of the rows that are live, those of the newest PASS; None where there was none.
    """

    verdict: Verdict
    attempt: int
    row_count: int
    content_hash: str
    live_hash: str | None
    checks: str | None

    @classmethod
    def of_pass(cls, verdict: DayVerdict) -> Self:
        """What the ledger says of a day that has just passed as `verdict`."""
        digest = verdict.content_hash
        return cls(Verdict.PASS, verdict.attempt, verdict.row_count, digest, digest, None)

    @property
    def is_open(self) -> bool:
        """Whether readers pass."""
        return self.verdict is not Verdict.FAIL

    @property
    def breaches(self) -> list[dict[str, str]]:
        """The failed checks that block."""
        checks = json.loads(self.checks or "[]")
        return [check for check in checks if not check["passed"] and check["severity"] == "ERROR"]


Verdicts = dict[date, LatestVerdict]


def next_attempts(verdicts: Verdicts, days: Sequence[date]) -> dict[date, int]:
    """The number of the next audit of a table for each of `days`, from 1."""
    return {day: verdicts[day].attempt + 1 if day in verdicts else 1 for day in days}


def latest(connection: duckdb.DuckDBPyConnection, *tables: str) -> dict[str, Verdicts]:
    """Table -> day -> its latest verdict, of `tables`, or of all that were ever audited."""
    only = f"where table_name in ({', '.join('?' for _ in tables)})" if tables else ""
    rows = connection.execute(
        f"""with latest as (
            select table_name, partition, arg_max(verdict, attempt) as verdict, max(attempt) as attempt,
                arg_max(row_count, attempt) as row_count, arg_max(content_hash, attempt) as content_hash,
                arg_max(content_hash, attempt) filter (where verdict = 'PASS') as live_hash
            from {LEDGER} {only} group by all)
        select latest.*, failed.checks from latest
        left join (select table_name, partition, attempt, checks from {LEDGER} where verdict = 'FAIL') as failed
            using (table_name, partition, attempt)""",
        tables,
    ).fetchall()
    verdicts: dict[str, Verdicts] = {table: {} for table in tables}
    for table, day, verdict, *rest in rows:
        verdicts.setdefault(table, {})[day] = LatestVerdict(Verdict(verdict), *rest)
    return verdicts


def built_from(connection: duckdb.DuckDBPyConnection, table: str) -> dict[date, dict[str, str]]:
    """Day -> what was read for the rows that are live, for days that hold rows and whose latest audit passed."""
    rows = connection.execute(
        f"""select partition, input_hashes from (select * from {LEDGER} where table_name = ?
            qualify row_number() over (partition by partition order by attempt desc) = 1)
        where verdict = 'PASS' and row_count > 0""",
        [table],
    ).fetchall()
    return {day: json.loads(inputs) for day, inputs in rows}


@dataclass(frozen=True)
class Built:
    """What made a day that is live: the latest audit, which passed."""

    attempt: int
    row_count: int
    content_hash: str
    input_hashes: dict[str, str]
    checks: str


def built_with(
    connection: duckdb.DuckDBPyConnection, days: Sequence[date], *tables: str
) -> dict[str, dict[date, Built]]:
    """Table -> day -> what made it, for those of `days` whose latest audit passed; of `tables`, or of all."""
    only = f"and table_name in ({', '.join('?' for _ in tables)})" if tables else ""
    rows = connection.execute(
        f"""select table_name, partition, attempt, row_count, content_hash, input_hashes, checks from (
            select * from {LEDGER} where partition between ? and ? {only}
            qualify row_number() over (partition by table_name, partition order by attempt desc) = 1)
        where verdict = 'PASS'""",
        [min(days), max(days), *tables],
    ).fetchall()
    built: dict[str, dict[date, Built]] = {table: {} for table in tables}
    for table, day, attempt, count, digest, inputs, checks in rows:
        if day in days:
            built.setdefault(table, {})[day] = Built(attempt, count, digest, json.loads(inputs), checks)
    return built


def outdated(connection: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> dict[date, list[str]]:
    """Day -> tables of `contracts` whose live rows of it were made from rows of another that were replaced since.

    A run that ended before its last step leaves such days, and somebody who builds one table alone. By the order of the
    ledger's lines, which no clock that is set back changes; one run writes the tables of a step in any order.
    """
    names = [contract.name for contract in contracts]
    pairs = [(contract.name, read) for contract in contracts for read in contract.upstream if read in names]
    if not pairs:
        return {}
    rows = connection.execute(
        f"""with audits as (
            select table_name, partition, content_hash, run_id, rowid as place from {LEDGER}
            where verdict <> 'FAIL' and list_contains(?, table_name)),
        live as (from audits qualify row_number() over (partition by table_name, partition order by place desc) = 1),
        replaced as (
            select reader.partition, reader.table_name, reader.place, source.table_name as read, source.content_hash
            from live as reader
            join (select unnest(?) as reader, unnest(?) as read) as reads on reads.reader = reader.table_name
            join live as source on source.table_name = reads.read and source.partition = reader.partition
            where source.place > reader.place and source.run_id <> reader.run_id)
        select partition, list(distinct table_name order by table_name) from replaced
        where content_hash is distinct from (
            select arg_max(content_hash, place) from audits where audits.table_name = replaced.read
            and audits.partition = replaced.partition and audits.place < replaced.place)
        group by partition order by partition""",
        [names, [reader for reader, _ in pairs], [read for _, read in pairs]],
    ).fetchall()
    return dict(rows)


def latest_version(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    """The version of the rules or the model that made the rows of the newest PASS of `table`; None before the first."""
    row = connection.execute(
        f"select version from {LEDGER} where table_name = ? and verdict = 'PASS' "
        "order by recorded_at desc, attempt desc limit 1",
        [table],
    ).fetchone()
    return row[0] if row else None


def earlier_days(hashes: Mapping[date, str], days: Sequence[date]) -> dict[date, str]:
    """Day -> one hash over the content hashes of all days before it."""
    running, waiting, digests = hashlib.sha256(), sorted(hashes, reverse=True), {}
    for day in sorted(days):
        while waiting and waiting[-1] < day:
            running.update(f"{waiting[-1]}:{hashes[waiting.pop()]};".encode())
        digests[day] = running.copy().hexdigest()[:16]
    return digests


def live_hashes(verdicts: Verdicts) -> dict[date, str]:
    """Day -> content hash of the rows that are live: those of the newest PASS."""
    return {day: entry.live_hash for day, entry in verdicts.items() if entry.live_hash is not None}


def _culprit(
    connection: duckdb.DuckDBPyConnection, table: str, closed: Mapping[date, LatestVerdict | None]
) -> tuple[str, list[date]] | None:
    """The table that `table` was rejected with, and its closed days, where all that is wrong is wrong there."""
    if any(entry is None or entry.breaches for entry in closed.values()):
        return None
    sisters = connection.execute(
        f"""select distinct sister.table_name from {LEDGER} as own join {LEDGER} as sister using (partition, run_id)
        where own.table_name = ? and sister.table_name <> own.table_name
            and own.verdict = 'FAIL' and sister.verdict = 'FAIL' and partition between ? and ? order by all""",
        [table, min(closed), max(closed)],
    ).fetchall()
    for (name,) in sisters:
        verdicts = latest(connection, name)[name]
        days = [day for day in closed if day in verdicts and not verdicts[day].is_open and verdicts[day].breaches]
        if days:
            return name, days
    return None


def require(
    connection: duckdb.DuckDBPyConnection,
    *,
    table: str,
    days: Sequence[date],
    reader: str,
    window: str,
    verdicts: Verdicts | None = None,
) -> str:
    """One hash over the inputs `table`@`days`, all of whose gates are open; `verdicts` are its latest, where known.

    Raises `GateClosed` listing what is missing or failed, and the command that repairs it.
    """
    verdicts = latest(connection, table)[table] if verdicts is None else verdicts
    closed = {day: verdicts.get(day) for day in days if day not in verdicts or not verdicts[day].is_open}
    if closed:
        if culprit := _culprit(connection, table, closed):
            name, its_days = culprit
            return require(connection, table=name, days=its_days, reader=reader, window=window)
        findings = []
        for day, entry in sorted(closed.items()):
            if entry is None:
                findings.append(f"{table}@{day} never audited")
            else:
                breaches = [f"{check['name']}: {check['observed']}" for check in entry.breaches[:2]]
                why = ", ".join(breaches) or "rejected with its sister table"
                findings.append(f"{table}@{day} FAIL (attempt {entry.attempt}, {why})")
        first, last = min(closed), max(closed)
        rerun = f"gesture run --date {first}" if first == last else f"gesture run --from {first} --to {last}"
        mend = "" if all(entry is None for entry in closed.values()) else f"mend what rejected.{table} shows, then  "
        refusal = GateClosed(
            f"{reader} cannot be built for {window}.",
            expected=f"a PASS for {listing(f'{table}@{day}' for day in closed)}",
            found=listing(findings),
            where="data/warehouse.duckdb, table gate_ledger",
            next_step=mend + rerun,
        )
        refusal.days = tuple(sorted(closed))
        raise refusal
    digest = hashlib.sha256("".join(f"{day}:{verdicts[day].content_hash};" for day in sorted(days)).encode())
    return digest.hexdigest()[:16]
