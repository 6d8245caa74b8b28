"""Publishing: the audited warehouse becomes one file for everybody else, whole or not at all.

Belongs here: copying, dressing the copy (views, manifest, freshness), verifying and flipping it in. Does not belong
here: deciding whether a night may be published (its gates did). A reader who has the old file open keeps it.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import ContractBreach, GateClosed, listing
from gesture_assets.features.feature_registry import Feature
from gesture_assets.publication import health
from gesture_assets.publication.checks import PublicationCheck, holds_what_passed, newest_day
from gesture_assets.publication.compaction import compact
from gesture_assets.publication.published_schema import kept_schema
from gesture_assets.records.activations import ACTIVATION_COLUMNS
from gesture_assets.records.alert_log import ALERT_LOG_COLUMNS, INCIDENTS
from gesture_assets.records.audit_log import AUDIT_LOG_COLUMNS
from gesture_assets.records.quarantine import REPLAY_COLUMNS
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.format import unreadable
from gesture_assets.warehouse.ledger import LEDGER, LEDGER_COLUMNS
from gesture_assets.warehouse.lock import attach_when_free
from gesture_assets.warehouse.relations import comments, comments_on
from gesture_assets.warehouse.restatement import RESTATEMENT_COLUMNS
from gesture_assets.warehouse.run_info import window_of
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import require_room
from gesture_assets.warehouse.transaction import transaction
from gesture_assets.warehouse.warehouse import Warehouse, connect

log = logging.getLogger(__name__)

VIEWS = Path(__file__).parent / "views.sql"

OPEN_ALERTS = f"""create or replace view analytics.open_alerts as
select * exclude (resolved_on) from ({INCIDENTS.format(table="main.alert_log")}) where resolved_on is null
order by severity, first_seen, alert_key;
comment on view analytics.open_alerts is 'One row per alert that is open: since when, how often, who knows of it.'"""

# Table -> its meaning and that of its columns: what `_dress` adds, explained inside the file.
DICTIONARY = {
    "dim_column": (
        "One row per column of every table.",
        {
            "table_name": "Table.",
            "position": "Place of the column, from 1.",
            "column_name": "Column.",
            "type": "Its type.",
            "description": "What it says.",
            "unit": "Unit, where it has one.",
            "is_nullable": "Whether it may be unknown.",
            "personal_data": "pseudonym or none.",
        },
    ),
    "dim_feature": (
        "One row per feature of user_features.",
        {
            "name": "Column of user_features.",
            "type": "Its type.",
            "description": "What it says.",
            "feature_group": "fit (who somebody is) or engagement (what they do).",
            "unit": "Unit, where it has one.",
            "window_days": "Days that it looks back; null: all.",
            "source": "Table that it is built from.",
            "reference": "Document that asks for it.",
            "personal_data": "pseudonym or none.",
            "owner": "Whom to ask.",
        },
    ),
    "manifest": (
        "One row per table: what this file holds and with which verdict.",
        {
            "snapshot_id": "This file.",
            "published_at": "When it was published (UTC).",
            "run_id": "Dagster run that published.",
            "table_name": "Table.",
            "first_date": "Its oldest day.",
            "as_of_date": "Its newest day.",
            "day_count": "Days.",
            "row_count": "Rows.",
            "content_hash": "Hash of the newest audited rows.",
            "verdict": "Newest verdict of the ledger.",
            "version": "Version of the rules or the model, where there is one.",
            "checks": "JSON: the checks behind the verdict.",
            "schema_version": "Version of the tables and columns in this file: docs/schema_changelog.md.",
        },
    ),
}


@dataclass(frozen=True)
class Published:
    """A published file: its snapshot id, where it is, its size, and the newest day in it."""

    snapshot_id: str
    path: Path
    byte_count: int
    newest_day: date


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


class NotWhatPassed(ContractBreach):
    """A file does not hold what passed its audit and was not flipped in; `check` says where it differs."""

    check: PublicationCheck

    @classmethod
    def of(cls, check: PublicationCheck, path: Path) -> Self:
        """The refusal of the file at `path` because of its failed `check`."""
        refusal = cls(
            "The published file was not changed.",
            expected="a copy that holds what passed its audit",
            found=f"other row counts in {check.metadata.get('differences', 'none: it holds no day')}",
            where=str(path),
            next_step="gesture publish",
        )
        refusal.check = check
        return refusal


def require_night(
    session: Session,
    contracts: Sequence[Contract],
    *,
    days: Sequence[date] | None = None,
    reader: str = "published_warehouse",
) -> dict[str, str]:
    """Table -> hash over `days` (default: those of the run), every one of which has passed.

    Raises `GateClosed` naming what has not.
    """
    days = session.run.days if days is None else days
    return {
        contract.name: ledger.require(
            session.connection,
            table=contract.name,
            days=days,
            reader=reader,
            window=window_of(days),
        )
        for contract in contracts
    }


def publish(
    session: Session,
    *,
    contracts: Sequence[Contract],
    features: Sequence[Feature],
    folder: Path,
    link: Path,
    warehouse: Path,
    keep: int,
    deadline: int = 6,
    days: Sequence[date] | None = None,
) -> Published:
    """Copy the warehouse, dress and verify the copy, and let `link` point to it. Closes the session's warehouse.

    `deadline`: hour (UTC) of the next day by which a day is to be live, for the file's tables and views about it.
    `days`: the night that must be whole (default: the days of the run). Raises `GateClosed` when a table of these has
    not passed, `ContractBreach` when their rows were edited by hand since, its kind `NotWhatPassed` when the copy is
    not what was audited; in each case, as after a crash at any point, `link` stays where it was.
    """
    for contract in contracts:
        session.ensure(contract)  # before the first training there is no table of models
    nightly = [contract for contract in contracts if contract.is_nightly]
    days = session.run.days if days is None else days
    require_night(session, nightly, days=days)
    for contract in nightly:
        session.verify_unchanged(contract, days, since=days[0])
    now = session.run.now
    snapshot_id = f"{now:%Y%m%dT%H%M%S}-{session.run.run_id[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, link)
    require_room(f"The publication of {window_of(days)}", folder, warehouse.stat().st_size)
    path = folder / f"gesture-{snapshot_id}.duckdb"
    part = path.with_name(path.name + ".tmp")
    con = session.connection
    con.execute("checkpoint warehouse")
    con.execute("use memory")
    con.execute("detach warehouse")  # a copy of a file that is open could miss its last pages
    try:
        compact(warehouse)
        shutil.copyfile(warehouse, part)
        _dress(
            part, contracts, features, snapshot_id=snapshot_id, run_id=session.run.run_id, now=now, deadline=deadline
        )
        compact(part)  # what did not pass is not in it, and leaves room
        newest = verify(part, contracts)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
    except BaseException:
        _sweep(folder, link)  # a copy that is of no use must not keep the disk full
        raise
    part.replace(path)
    flip(link, path)
    _prune(folder, link, keep)
    con.execute(f"attach {literal(warehouse)} as warehouse")
    log.info("published %s", path.name)
    return Published(snapshot_id, path, path.stat().st_size, newest)


def _sweep(folder: Path, link: Path) -> None:
    """Remove what a publication leaves behind that was killed or found no room."""
    for leftover in folder.glob("*.tmp*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    for leftover in link.parent.glob(f".{link.name}.*"):
        if leftover.is_symlink():
            leftover.unlink()


def flip(link: Path, target: Path) -> None:
    """Let `link` point to `target` in one step: a reader finds the old file or the new one, never none."""
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(target, link.parent))
    beside.replace(link)


def _prune(folder: Path, link: Path, keep: int) -> None:
    """Remove all but the newest `keep` files, never the one that is published. Open readers keep what they read."""
    current = link.resolve()
    files = sorted(folder.glob("gesture-*.duckdb"), key=lambda path: path.name, reverse=True)
    for path in [path for path in files if path.resolve() != current][max(keep - 1, 0) :]:
        path.unlink()


def _dress(
    path: Path,
    contracts: Sequence[Contract],
    features: Sequence[Feature],
    *,
    snapshot_id: str,
    run_id: str,
    now: datetime,
    deadline: int,
) -> None:
    """Add what makes the file explain itself: views, comments, dictionaries, manifest, how the nights have gone."""
    with duckdb.connect(str(path)) as con:
        con.execute("set TimeZone = 'UTC'")
        with transaction(con):  # hundreds of comments, one write
            con.execute("create schema if not exists analytics")
            health.write(con, contracts, now=now, deadline=deadline)
            for bookkeeping in ("landing_days", "landing_files", "warehouse_format"):  # of the private file
                con.execute(f"drop table if exists {bookkeeping}")
            con.execute("drop schema if exists rejected cascade")  # what did not pass is nobody else's to read
            _write_dictionaries(con, contracts, features)
            _write_manifest(con, contracts, snapshot_id=snapshot_id, run_id=run_id, now=now)
            present = _comments_present(con)
            for statement in _comments_wanted(con, contracts):
                if statement not in present:  # the tables brought most of theirs along
                    con.execute(statement)
            con.execute(VIEWS.read_text(encoding="utf-8").replace("{deadline}", f"{deadline:02}"))
            con.execute(OPEN_ALERTS)
        con.execute("checkpoint")


def _write_dictionaries(
    con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], features: Sequence[Feature]
) -> None:
    """The tables that explain features and columns."""
    con.execute(
        """create or replace table dim_feature (name varchar not null, type varchar not null,
        description varchar not null, feature_group varchar not null, unit varchar, window_days integer,
        source varchar not null, reference varchar not null, personal_data varchar not null,
        owner varchar not null)"""
    )
    _insert(
        con,
        "dim_feature",
        [
            (
                f.name,
                f.type,
                f.description,
                f.group,
                f.unit,
                f.window,
                f.source,
                f.reference,
                "pseudonym" if f.name == "mailchimp_id" else "none",
                "scoring@gesture.example",
            )
            for f in features
        ],
    )
    con.execute(
        """create or replace table dim_column (table_name varchar not null, position integer not null,
        column_name varchar not null, type varchar not null, description varchar not null, unit varchar,
        is_nullable boolean not null, personal_data varchar not null)"""
    )
    _insert(
        con,
        "dim_column",
        [
            (contract.name, position, c.name, c.type, c.description, c.unit, c.nullable, c.personal)
            for contract in contracts
            for position, c in enumerate(contract.columns, start=1)
        ],
    )


def _write_manifest(
    con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], *, snapshot_id: str, run_id: str, now: datetime
) -> None:
    """What the file holds, and with which verdicts."""
    schema_version, _ = kept_schema()
    con.execute(
        """create or replace table manifest (snapshot_id varchar not null, published_at timestamp not null,
        run_id varchar not null, table_name varchar not null, first_date date, as_of_date date,
        day_count bigint not null, row_count bigint not null, content_hash varchar, verdict varchar,
        version varchar, checks varchar, schema_version varchar not null)"""
    )
    for contract in contracts:
        con.execute(
            f"""insert into manifest
            select ?, ?, ?, ?, first_date, coalesce(as_of_date, newest.partition), day_count, counted.row_count,
                newest.content_hash, newest.verdict, newest.version, newest.checks, ?
            from (select min({PARTITION}) as first_date, max({PARTITION}) as as_of_date,
                count(distinct {PARTITION}) as day_count, count(*) as row_count from {contract.name}) as counted
            left join (select * from gate_ledger where table_name = ?
                qualify row_number() over (order by partition desc, attempt desc) = 1) as newest on true""",
            [snapshot_id, now, run_id, contract.name, schema_version, contract.name],
        )


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Add `rows`, in the order of its columns, to `table` at once: a statement a row takes a hundred times as long."""
    columns = con.table(table).columns
    health.insert(con, table, pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None))


def _comments_wanted(con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> Iterator[str]:
    """`COMMENT ON` for every table of the file and its columns."""
    with_history = con.execute("select table_name from duckdb_tables() where schema_name = 'superseded'").fetchall()
    for contract in contracts:
        yield from comments(contract, "main")
        if (contract.name,) in with_history:
            yield from comments(contract, "superseded")
            replaced = "When another version took its place (UTC)."
            yield from [*comments_on(f"superseded.{contract.name}", "", {"superseded_at": replaced})][1:]
    for table, (meaning, columns) in DICTIONARY.items():
        yield from comments_on(f"main.{table}", meaning, columns)
    for table, meaning, columns in (
        ("gate_ledger", "One row per audit of a table and day.", LEDGER_COLUMNS),
        ("restatements", "One row per table and old day that changed after it was published.", RESTATEMENT_COLUMNS),
        ("quarantine_replays", "One row per day, file and reason of rows that were let in later.", REPLAY_COLUMNS),
        ("audit_log", "One row per command that changed something, and per new rule set.", AUDIT_LOG_COLUMNS),
        ("model_activations", "One row per decision about which model scores.", ACTIVATION_COLUMNS),
        (
            "alert_log",
            "One row per change of an alert: opened, repeated, told, acknowledged, resolved.",
            ALERT_LOG_COLUMNS,
        ),
        *((table, meaning, columns) for table, (meaning, columns) in health.HEALTH.items()),
    ):
        yield from comments_on(f"main.{table}", meaning, {name: text for name, _, text in columns})


def _comments_present(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The comments of the file, as the statements that make them."""
    rows = con.execute(
        """select schema_name || '.' || table_name, '', comment from duckdb_tables()
        union all select schema_name || '.' || table_name, column_name, comment from duckdb_columns()"""
    ).fetchall()
    return {
        statement
        for table, column, comment in rows
        if comment
        for statement in (
            [*comments_on(table, "", {column: comment})][1:] if column else comments_on(table, comment, {})
        )
    }


def verify(path: Path, contracts: Sequence[Contract]) -> date:
    """The newest day of the file at `path`, which holds what passed. Raises `NotWhatPassed` where it does not."""
    check, newest = holds_what_passed(path, contracts), newest_day(path)
    if not check.passed or newest is None:
        raise NotWhatPassed.of(check, path)
    return newest


def rollback(folder: Path, link: Path, contracts: Sequence[Contract]) -> Path:
    """Let `link` point to the file published before the current one. Raises `GateClosed` when there is none."""
    files = sorted(folder.glob("gesture-*.duckdb"), key=lambda path: path.name)
    older = [path for path in files if link.exists() and path.name < link.resolve().name]
    if not older:
        raise GateClosed(
            "The published file was not changed.",
            expected="an older published file",
            found=listing(p.name for p in files),
            where=str(folder),
            next_step="gesture publish",
        )
    verify(older[-1], contracts)
    flip(link, older[-1])
    return older[-1]


def live_days(session: Session, contracts: Sequence[Contract]) -> dict[date, str]:
    """Day -> hash of what landed that it was built from, for days on which every table has an open gate."""
    verdicts = [ledger.latest(session.connection, contract.name) for contract in contracts]
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
