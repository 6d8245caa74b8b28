"""Looking at what is live and what is published.

Belongs here: questions of commands and sensors to the private ledger and the published file. Does not belong here:
publishing (`publish.py`).
"""

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import GateClosed, GestureError, listing
from gesture_assets.models.tables import CANDIDATE_MODEL, MODEL_SCORES, TRAINED
from gesture_assets.models.training_set import TOO_FEW_DAYS, training_advice
from gesture_assets.monitoring.alerts import NIGHT_FAILED, Alert, urgency
from gesture_assets.monitoring.pipeline_health import TRAINING_REFUSED
from gesture_assets.publication.checks import newest_day
from gesture_assets.publication.order import current_snapshot, rolled_back
from gesture_assets.records import activations, alert_log, audit_log
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.format import unreadable
from gesture_assets.warehouse.landed_days import HAS_WANTED_ROWS, INTERACTION_DAYS, LANDED_DAYS, landed_days
from gesture_assets.warehouse.ledger import IS_WHOLE, LEDGER, Verdicts, latest
from gesture_assets.warehouse.lock import attach_when_free
from gesture_assets.warehouse.relations import has_table
from gesture_assets.warehouse.restatement import published_hashes
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.schemas import LIVE
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import why_unwritable
from gesture_assets.warehouse.warehouse import Warehouse, connect

log = logging.getLogger(__name__)

NOT_PASSED = "Not passed"  # how a remark begins that is about gates
OVERRIDE = ledger.Verdict.OVERRIDE
TOLD_AGAIN = timedelta(days=30)  # so long most features look back at a day that somebody opened by hand


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


def was_tried(warehouse: Path, day: date) -> bool:
    """Whether a training of `day` or a later one has had its answer: a model, a gate that it did not pass, a refusal.

    A training by hand is published with the next night, and the private file `warehouse` knows of it at once. Raises
    `WarehouseBusy` while a run has it open.
    """
    if not warehouse.exists():
        return False
    with closing(connect()) as con:
        attach_when_free(
            con, warehouse, name="warehouse", holder="a look at trainings", timeout_seconds=0, read_only=True
        )
        ((newest,),) = con.execute(
            f"""select max(day) from (
                select partition as day from {LEDGER} where table_name = '{CANDIDATE_MODEL.name}'
                    or verdict = '{ledger.Verdict.FAIL}' and list_contains(?, table_name)
                union all select last_date from {audit_log.TABLE} where action = '{TRAINING_REFUSED}')""",
            [[contract.name for contract in TRAINED]],
        ).fetchall()
    return newest is not None and newest >= day


def newest_published_day(settings: Settings, until: date) -> date | None:
    """The newest day up to `until` that readers have: one that landed, and to be told of it nobody waits for a run."""
    if not settings.published.exists():
        return None
    with closing(read_published(settings.published)) as con:
        ((day,),) = con.execute(f"select max({PARTITION}) from rule_scores where {PARTITION} <= ?", [until]).fetchall()
        return day


def how_to_train(settings: Settings) -> str:
    """The command that trains a model, or from which day one works where it would be refused at this moment."""
    if not settings.published.exists():
        return "gesture run"
    with closing(read_published(settings.published)) as con:
        days = con.execute(
            f"select distinct {PARTITION} from user_features where {PARTITION} >= ?", [settings.partitions_start]
        ).fetchall()
    if not days:
        return "gesture run"
    return training_advice(
        [day for (day,) in days], horizon=settings.label_horizon_days, refused_on=_found_too_little(settings.warehouse)
    )


def _found_too_little(warehouse: Path) -> date | None:
    """The newest day whose training found too little in its days to learn from, where none has succeeded since.

    None where the private file cannot be read now, such as while a run has it open: advice waits for nobody.
    """
    if not warehouse.exists():
        return None
    with closing(connect()) as con, suppress(GestureError):
        attach_when_free(
            con, warehouse, name="warehouse", holder="a look at trainings", timeout_seconds=0, read_only=True
        )
        ((day,),) = con.execute(
            f"""select max(last_date) from {audit_log.TABLE}
            where action = '{TRAINING_REFUSED}' and not contains(reason, ?) and last_date > coalesce((
                select max(partition) from {LEDGER}
                where table_name = '{CANDIDATE_MODEL.name}' and verdict = '{ledger.Verdict.PASS}'
            ), date '0001-01-01')""",
            [TOO_FEW_DAYS],
        ).fetchall()
        return day
    return None


def live_days(session: Session, contracts: Sequence[Contract]) -> dict[date, str]:
    """Day -> hash of what landed that it was built from, for days on which every table has an open gate.

    Of a day that somebody opened by hand, of what was rejected then: it stays decided until something else lands.
    """
    days = open_days([session.latest(contract.name) for contract in contracts])
    return {day: landed for day, landed in landed_for(session, "raw_events").items() if day in days}


def landed_for(session: Session, table: str) -> dict[date, str]:
    """Day -> hash of what landed that `table` was built from; empty where nothing had."""
    inputs = session.connection.execute(
        f"select partition, arg_max(input_hashes, attempt) from {LEDGER} "
        "where table_name = ? and verdict <> ? group by all",
        [table, OVERRIDE],
    ).fetchall()
    return {day: json.loads(text).get("landing", "") for day, text in inputs}


def open_days(verdicts: Sequence[Verdicts]) -> set[date]:
    """The days on which every table is open."""
    days = [{day for day, entry in table.items() if entry.is_open} for table in verdicts]
    return set[date].intersection(*days) if days else set()


def half_built_days(
    connection: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], live: Collection[date]
) -> dict[date, list[str]]:
    """Of the `live` days those whose tables were not all made from each other, with the tables that are behind.

    A run that was killed leaves such a day: rows of one table were replaced, those made of them were not; or a model
    serves from it on, and has not scored it.
    """
    if not live:  # before the first night there are no tables
        return {}
    behind = ledger.outdated(connection, contracts)
    for day in _scored_by_another(connection, live):
        behind.setdefault(day, []).append(MODEL_SCORES.name)
    return {day: sorted(set(behind[day])) for day in sorted(behind) if day in live}


def _scored_by_another(connection: duckdb.DuckDBPyConnection, live: Collection[date]) -> set[date]:
    """The `live` days that another model scored than the one which serves them, or none did."""
    scored = dict(
        connection.execute(
            f"select {PARTITION}, list(distinct model_version) from {LIVE}.{MODEL_SCORES.name} group by all"
        ).fetchall()
    )
    built = ledger.built_with(connection, sorted(live), MODEL_SCORES.name)[MODEL_SCORES.name]
    history = activations.activations(connection)
    serves = {day: activations.champion_of(history, day) for day in live}
    # Where nobody could be scored the ledger alone knows which models were asked.
    asked = {day: made.input_hashes.get("champion", "").split(",") for day, made in built.items() if day not in scored}
    return {
        day
        for day, version in serves.items()
        if (scored[day] != [version] if day in scored else version is not None and version not in asked.get(day, ()))
    }


def unpublished_days(
    connection: duckdb.DuckDBPyConnection, live: Collection[date], verdicts: Mapping[str, Verdicts], link: Path
) -> set[date]:
    """Of the `live` days those of which the file at `link` does not hold what passed; `verdicts`: by table."""
    if not live:
        return set()
    try:
        published = published_hashes(connection, link)
    except duckdb.Error:  # it cannot be read: nobody has anything
        return set(live)
    return {
        day
        for day in live
        if any(of[day].live_hash != published.get(name, {}).get(day) for name, of in verdicts.items())
    }


def remarks(settings: Settings, contracts: Sequence[Contract], now: datetime) -> list[str]:
    """What readers of the published file should know and the file cannot say, a line each: it is late, a night failed.

    The private file says nothing while a run has it open; that is not waited for.
    """
    found: list[str] = []
    held = rollback_in_words(settings)
    with closing(read_published(settings.published, name="published")) as con:
        (newest,) = con.execute(f"select max({PARTITION}) from rule_scores").fetchone() or (None,)
        newest = newest or newest_day(con)  # of a company of which nobody has a score
        try:
            con.execute(f"attach {literal(settings.warehouse)} as warehouse (read_only)")
            verdicts = latest(con)
        except duckdb.Error:
            verdicts = {}
        nightly = {table.name: verdicts.get(table.name, {}) for table in contracts}
        of_training = {name: days for name, days in verdicts.items() if name not in nightly}
        for what, tables in ((NOT_PASSED, nightly), (f"{NOT_PASSED} in training", of_training)):
            if failed := sorted({day for days in tables.values() for day, entry in days.items() if not entry.is_open}):
                found.append(f"{what}: {listing(failed)}. Why:  gesture gates --date {failed[-1]}")
        opened = {day for days in nightly.values() for day, entry in days.items() if entry.verdict == OVERRIDE}
        if cut_off := _never_judged(con, settings, nightly, now.date()):
            found.append(
                f"Not judged: {listing(cut_off)}; it landed, and its night was cut off or has not begun. "
                "Next:  gesture run"
            )
        if newest and (opened := sorted(day for day in opened if newest - day < TOLD_AGAIN)):
            found.append(
                f"Opened by hand: {listing(opened)}; what was rejected there is in no answer. "
                f"Look:  gesture gates --date {opened[-1]}"
            )
        if newest and (alone := _without_events(con, nightly, newest)):
            found.append(
                f"Short videos of {listing(alone)} are in no list: no events landed then. Next:  "
                f"gesture run --date {alone[0]}"
            )
        if held:
            found.append(held)
        live = open_days(list(nightly.values()))
        half_built = half_built_days(con, contracts, live)
        waiting = unpublished_days(con, live, nightly, settings.published)
        if half := sorted(day for day in half_built if day in waiting or day == max(live)):
            found.append(f"Built in part: {listing(half)}; a run ended before its last step. Next:  gesture run")
        elif waiting and not held:
            found.append(f"Live and not published: {listing(sorted(waiting))}. Next:  gesture run")
    due = (now - timedelta(days=1, hours=settings.freshness_deadline)).date()
    if newest is None or newest < due:
        found.append(
            f"LATE: {due} was due by {settings.freshness_deadline:02}:00 UTC, the newest published day is {newest}. "
            f"Next:  {'gesture publish' if held else 'gesture catchup --dry-run'}"
        )
    return found


def _never_judged(
    con: duckdb.DuckDBPyConnection, settings: Settings, nightly: Mapping[str, Verdicts], today: date
) -> list[date]:
    """Days before `today` that landed and no table has a verdict of, not even one that does not pass.

    A night that is killed leaves them so until its first tables are judged. Days that are being built are none.
    """
    try:
        landed = landed_days(con)
    except duckdb.Error:  # before the first night, or a run has the file open
        return []
    under_way = {day for run in RunQueue.beside(settings.warehouse).other_runs() for day in run.days}
    judged = {day for days in nightly.values() for day in days}
    return sorted(day for day in landed - judged - under_way if settings.partitions_start <= day < today)


def _without_events(con: duckdb.DuckDBPyConnection, nightly: Mapping[str, Verdicts], until: date) -> list[date]:
    """Days up to `until` of which interactions with short videos landed, and no events, that have had no night."""
    try:
        rows = con.execute(
            f"select distinct {PARTITION} from {INTERACTION_DAYS} where {HAS_WANTED_ROWS} and {PARTITION} not in "
            f"(select {PARTITION} from {LANDED_DAYS}) and exists (from {LANDED_DAYS}) order by 1"
        ).fetchall()
    except duckdb.Error:  # nothing of them ever landed, or a run has the file open
        return []
    # A refresh makes no judgement: where there is one, the day had its night.
    built = {day for day, entry in nightly.get("recommendation_evaluation", {}).items() if entry.live_hash is not None}
    return [day for (day,) in rows if day <= until and day not in built]


def open_alerts(settings: Settings) -> list[Alert]:
    """What is wrong now, errors first, then the oldest; while a run has the private file open, as it was published.

    A run that failed has published nothing, so that the private file alone knows of it.
    """
    with closing(read_published(settings.published)) as con:
        try:
            con.execute(f"attach {literal(settings.warehouse)} as warehouse (read_only)")
            incidents = alert_log.incidents(con)
        except duckdb.Error:
            incidents = alert_log.incidents(con, "gesture.main.alert_log")
    return [incident.alert for incident in sorted(incidents, key=urgency) if incident.is_open]


def rollback_in_words(settings: Settings) -> str:
    """That readers were taken back to an older file, and how to go forward again; empty where they were not."""
    if not (taken_back := rolled_back(settings.published_files, settings.published)):
        return ""
    return (
        f"Readers have {current_snapshot(settings.published)} again: {listing(taken_back)} was rolled back. "
        "Nothing is published until  gesture publish"
    )


def require_no_rollback(settings: Settings) -> None:
    """Refuse to publish what somebody took back from readers: only who asks for it goes forward again."""
    if taken_back := rolled_back(settings.published_files, settings.published):
        raise GateClosed(
            "The published file was not changed: it was rolled back.",
            expected=f"{taken_back[-1]}, the newest that was published",
            found=f"{current_snapshot(settings.published)}, since  gesture publish rollback",
            where=str(settings.published),
            next_step="mend what was wrong, then  gesture publish  (what is live goes to readers again)",
        )


def read_published(link: Path, *, name: str = "gesture") -> duckdb.DuckDBPyConnection:
    """The published file, read-only, as the database `name`. Raises `GateClosed` when nothing was published yet."""
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
        con.execute(f"attach {literal(link.resolve())} as {name} (read_only)")
    except duckdb.Error as error:
        raise unreadable(link.resolve(), error, next_step="gesture publish") or error from error
    con.execute(f"use {name}")
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
    with ExitStack() as stack:
        try:
            stack.enter_context(Warehouse.of(settings).locked("gesture gates"))
        except OSError as error:
            if not why_unwritable(error):
                raise
            # Where nobody may write there is nobody to wait for.
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


def days_that_failed(settings: Settings, check: str) -> list[date]:
    """The days on which the blocking `check` keeps the newest rows of its table from going live."""
    if not settings.warehouse.exists():
        return []
    with private_ledger(settings) as con:
        failed = [(day, entry.breaches) for table in latest(con).values() for day, entry in table.items()]
    return sorted({day for day, breaches in failed if check in {breach["name"] for breach in breaches}})


def why_no_night(settings: Settings) -> str:
    """The command that says why a night failed; empty where none did, and while a run has the private file open."""
    at_once = settings.model_copy(update={"lock_timeout_seconds": 0})
    with suppress(GestureError, duckdb.Error), private_ledger(at_once) as con:
        if any(not entry.is_open for table in latest(con).values() for entry in table.values()):
            return "gesture gates"
        if has_table(con, alert_log.TABLE) and any(
            incident.is_open and incident.alert.key.startswith(NIGHT_FAILED) for incident in alert_log.incidents(con)
        ):
            return "gesture alerts list"
    return ""


def gate_report(settings: Settings, day: date | None) -> list[tuple[str, date, int, str, int, str]]:
    """Table, day, attempt, verdict, rows and what did not pass, of `day` or of the newest day that is over."""
    with private_ledger(settings) as con:
        rows = con.execute(
            f"""select table_name, partition, attempt, verdict, row_count, checks from {LEDGER}
            where partition = coalesce(?, (select max(partition) from {LEDGER} where {IS_WHOLE}), (
                select max(partition) from {LEDGER}))
            qualify row_number() over (partition by table_name order by attempt desc) = 1
            order by recorded_at, table_name""",
            [day],
        ).fetchall()
    report = []
    for table, partition, attempt, verdict, count, checks in rows:
        failed = [f"{c['severity']} {c['name']}: {c['observed']}" for c in json.loads(checks) if not c["passed"]]
        report.append((table, partition, attempt, verdict, count, listing(failed) if failed else ""))
    return report


def rejected_tables(settings: Settings, first: date, last: date) -> set[str]:
    """Tables whose latest audit of a day from `first` to `last` failed."""
    with private_ledger(settings) as con:
        rows = con.execute(
            f"""select distinct table_name from (select * from {LEDGER} where partition between ? and ?
            qualify row_number() over (partition by table_name, partition order by attempt desc) = 1)
            where verdict = 'FAIL'""",
            [first, last],
        ).fetchall()
    return {table for (table,) in rows}


def rejected_days(settings: Settings) -> list[date]:
    """Days of which some table's latest audit failed, in order."""
    with private_ledger(settings) as con:
        rows = con.execute(
            f"""select distinct partition from (select * from {LEDGER}
            qualify row_number() over (partition by table_name, partition order by attempt desc) = 1)
            where verdict = 'FAIL' order by all"""
        ).fetchall()
    return [day for (day,) in rows]
