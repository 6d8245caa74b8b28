"""The step of alerts, and telling people: what a night found wrong, and that a night or a training failed.

Belongs here: what is alarming about a night, the path from an alarm to the log of alerts and to people. Does not belong
here: what an alarm does to an alert (`monitoring/alerts.py`), writing and sending (`records/alert_delivery.py`), when
Dagster calls (`defs/hooks.py`).

A step that fails is told by a hook of its job, as the step `alerts` of that night never comes. The step has given the
warehouse back by then. An interrupted run calls no hook.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

import narwhals as nw
import polars as pl

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import PARTITION
from gesture_assets.contracts.shared import DATA_ENGINEERING
from gesture_assets.errors import DiskFull, GestureError, NotWritable, TrainingRefused, WarehouseBusy
from gesture_assets.frames import to_polars
from gesture_assets.models.tables import MODEL_EXCLUSIONS, UNAVAILABLE
from gesture_assets.monitoring import alerts as alarms
from gesture_assets.monitoring.performance import DEGRADED
from gesture_assets.monitoring.statistics import ALARMS
from gesture_assets.monitoring.tables import ALERTS, DRIFT_REPORTS, EVENT_MIX_DRIFT, PERFORMANCE_REPORT
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.steps import Built, Step
from gesture_assets.records import alert_delivery, alert_log
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.personal_data import masked_sql
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import why_unwritable
from gesture_assets.warehouse.warehouse import connect

log = logging.getLogger(__name__)

OWNER = "scoring"
BUSY_SECONDS = 1  # a step has waited in vain for the warehouse already
MOST_LETTERS = 300  # of a message: a chat shows no more at a glance


# ---- what a night found --------------------------------------------------------------------------------------------


def alerts(night: Night, days: Days) -> Built:
    """Collect what is wrong on each day; of the newest night, tell people what they do not know yet."""
    sounded = {day: list(_alarms(night, day)) for day in days}
    rows = [
        pl.DataFrame(
            [
                {
                    PARTITION: day,
                    "alert_key": alert.key,
                    "severity": alert.severity.value,
                    "owner": alert.owner,
                    "what": alert.what,
                    "place": alert.place,
                    "runbook": alert.runbook,
                }
                for alert in sorted(found, key=lambda alert: alert.key)
            ]
        )
        for day, found in sounded.items()
        if found
    ]
    day, told = days[-1], "nothing to tell: an old day"
    if not night.session.run.is_backfill(day):
        told = _tell_of_night(night, day, sounded[day])
    return Built({ALERTS: night.table(ALERTS, *rows)}, notes={"told": told})


def _alarms(night: Night, day: date) -> Iterator[alarms.Alert]:
    """Everything that is wrong on `day`, one alarm for each trouble."""
    moved = to_polars(night.read(DRIFT_REPORTS, on=day).filter(nw.col("matters")))
    for row in moved.sort("rank").iter_rows(named=True):
        yield alarms.Alert(
            f"drift/{row['kind']}/{row['feature']}",
            Severity.WARN,
            OWNER,
            f"{row['sentence']}.",
            f"drift_reports of {day}",
            "gesture report night; a release, a source that changed, or people who did",
            {"effect": row["effect"] or 0},
        )
    mixed = to_polars(night.read(EVENT_MIX_DRIFT, on=day).filter(nw.col("verdict").is_in(ALARMS)))
    for row in mixed.sort("segment", "kind", "name").iter_rows(named=True):
        yield alarms.Alert(
            f"events/{row['segment']}/{row['kind']}/{row['name']}",
            Severity.WARN,
            OWNER,
            f"{row['sentence']}.",
            f"event_mix_drift of {day}",
            "see what was released; ask who owns the step",
            {"effect": row["effect"] or 0},
        )
    report = to_polars(night.read(PERFORMANCE_REPORT, on=day).filter(nw.col("verdict").is_in([DEGRADED, "wide"])))
    for row in report.sort("segment", "metric").iter_rows(named=True):
        is_whole = row["verdict"] == DEGRADED
        yield alarms.Alert(
            f"performance/{row['segment']}/{row['metric']}",
            Severity.ERROR if is_whole else Severity.WARN,
            OWNER,
            f"{row['metric']} of {row['segment']} is {row['value']:.3f}, worse by {row['fall']:.3f}.",
            f"performance_report of {day}",
            "gesture train, or  gesture models rollback",
            {"fall": row["fall"]},
        )
    unscored = night.read(MODEL_EXCLUSIONS, on=day).filter(nw.col("reason") == UNAVAILABLE)
    count = to_polars(unscored.select(count=nw.len()))["count"][0]
    if count:
        yield alarms.Alert(
            "model/unavailable",
            Severity.ERROR,
            OWNER,
            f"The champion cannot score; the rules serve {count} users.",
            f"{night.settings.models}, and model_exclusions of {day}",
            "gesture models list; gesture models rollback",
            {"users": count},
        )


def _tell_of_night(night: Night, day: date, sounded: Sequence[alarms.Alert]) -> str:
    """Bring the log of alerts up to date and tell people; what was told, in words."""
    known = alert_log.incidents(night.session.connection)
    news = alarms.changes(known, sounded, day, is_backfill=False, unjudged=_unjudged(night, day))
    incidents, delivery = tell(night.session, night.settings, day, news)
    standing = sum(incident.is_open for incident in incidents)
    counts = Counter(change.change for change in news)
    tonight = ", ".join(f"{count} {change}" for change, count in sorted(counts.items()))
    return f"{standing} open; tonight {tonight or 'nothing new'}{f'; {delivery.failure}' if delivery.failure else ''}"


def _unjudged(night: Night, day: date) -> set[str]:
    """Keys of what had too few rows to be judged: what was wrong with it may still be."""
    few = nw.col("verdict") == "too_few_rows"
    keys: set[str] = set()
    for kind, table, columns in (
        ("drift", DRIFT_REPORTS, ("kind", "feature")),
        ("events", EVENT_MIX_DRIFT, ("segment", "kind", "name")),
        ("performance", PERFORMANCE_REPORT, ("segment", "metric")),
    ):
        rows = to_polars(night.read(table, on=day).filter(few).select(*columns)).rows()
        keys.update("/".join((kind, *row)) for row in rows)
    return keys


# ---- the log of alerts ---------------------------------------------------------------------------------------------


def tell(
    session: Session, settings: Settings, night: date, news: Collection[alarms.Change]
) -> tuple[list[alarms.Incident], alert_delivery.Delivery]:
    """Bring the log of alerts up to date with `news` and tell people; every incident, and what became of telling."""
    connection, run = session.connection, session.run
    alert_log.append(connection, news, now=run.now, run_id=run.run_id)
    incidents = alert_log.incidents(connection)
    # The log of a night that failed has told so; this one may be about to mend it.
    sounding = {change.alert.key for change in news}
    quiet = {
        incident.alert.key for incident in incidents if incident.alert.key.startswith(alarms.NIGHT_FAILED)
    } - sounding
    delivery = alert_delivery.deliver(
        incidents, log, settings.alerts_file, settings.alert_webhook, night=night, quiet=quiet
    )
    alert_log.append(connection, delivery.told, now=run.now, run_id=run.run_id)
    return incidents, delivery


def end_failures(session: Session, kind: str, night: date) -> bool:
    """Resolve the failures of `kind` up to `night`, which has passed; whether there were any.

    What failed in this very run stays open: a step beside the publication may have. The failure of old days is over
    when all that landed of them is live.
    """
    connection, run = session.connection, session.run
    failed_now = alert_log.keys_of_run(connection, run.run_id, alarms.SEEN)
    known = [incident for incident in alert_log.incidents(connection) if incident.alert.key not in failed_now]
    over = alarms.passed(known, kind, night, waiting=_landed_and_not_live(session))
    alert_log.append(connection, over, now=run.now, run_id=run.run_id)
    return bool(over)


def _landed_and_not_live(session: Session) -> set[date]:
    """Days on which something landed and some table of a night has not passed."""
    open_days = [
        {day for day, entry in session.latest(table.name).items() if entry.is_open} for table in catalogue().nightly
    ]
    return set(session.landed_days()).difference(set[date].intersection(*open_days))


def rewrite_file(session: Session, settings: Settings, night: date) -> None:
    """Leave in the file what is open now. People are told of no resolution."""
    alert_delivery.write_file(alert_log.incidents(session.connection), settings.alerts_file, night=night)


# ---- a run that failed ---------------------------------------------------------------------------------------------


def end_training_failures(run: RunInfo, settings: Settings) -> None:
    """Resolve what is open about failed trainings, once one has come to its end."""
    night = last_complete(run)
    with warehouse_of(settings).open(run) as session:
        if end_failures(session, alarms.TRAINING_FAILED, night):
            rewrite_file(session, settings, night)


def tell_of_failure(run: RunInfo, settings: Settings, kind: str, step: str, error: BaseException | None) -> None:
    """Open or count the alert about a step that failed with `error`, unless nobody needs to be told."""
    causes = list(_causes(error))
    # A refusal is an answer, which training_attempts holds.
    if any(isinstance(cause, TrainingRefused) for cause in causes):
        return
    is_old = run.is_backfill(run.days[-1])
    night = run.days[-1] if kind == alarms.NIGHT_FAILED and not is_old else last_complete(run)
    alert = _failure_alert(kind, step, run, causes)
    # A log that is written where nothing can be may be what breaks next.
    if not any(isinstance(cause, DiskFull | NotWritable) or why_unwritable(cause) for cause in causes):
        is_busy = any(isinstance(cause, WarehouseBusy) for cause in causes)
        patience = min(settings.lock_timeout_seconds, BUSY_SECONDS) if is_busy else settings.lock_timeout_seconds
        try:
            with replace(warehouse_of(settings), lock_timeout_seconds=patience).open(run) as session:
                _open_alert(session, settings, alert, night)
            return
        except Exception as reason:
            log.warning("The log of alerts could not be written: %s", str(reason).partition("\n")[0])
    alert_delivery.tell_unlogged(alert, log, settings.alert_webhook, night=night)


def _open_alert(session: Session, settings: Settings, alert: alarms.Alert, night: date) -> None:
    """Open or count the alert. One a run: what fails after the first failure of a run is often its consequence."""
    connection, run_id = session.connection, session.run.run_id
    if any(map(alarms.is_failure, alert_log.keys_of_run(connection, run_id, alarms.SEEN))):
        return
    # The publication resolves failures in its copy before it can know that it succeeds.
    too_early = alert_log.keys_of_run(connection, run_id, [alarms.RESOLVED])
    known = [
        replace(incident, resolved_on=None) if incident.alert.key in too_early else incident
        for incident in alert_log.incidents(connection)
    ]
    others = {incident.alert.key for incident in known}
    tell(session, settings, night, alarms.changes(known, [alert], night, is_backfill=False, unjudged=others))


def last_complete(run: RunInfo) -> date:
    """The night that a training counts for, whatever day it learns from."""
    return run.now.date() - timedelta(days=1)


def _failure_alert(kind: str, step: str, run: RunInfo, causes: Collection[BaseException]) -> alarms.Alert:
    ours = next((cause for cause in causes if isinstance(cause, GestureError)), None)
    text = ours.report if ours else next(map(_text, causes), "no message")
    first_line = _masked(text.strip().partition("\n")[0])
    what, again = ("night", "run") if kind == alarms.NIGHT_FAILED else ("training", "train")
    key = f"{kind}{step}"
    if kind == alarms.NIGHT_FAILED and run.is_backfill(run.days[-1]):
        key = alarms.key_of_old_days(key, run.days[0], run.days[-1])
    return alarms.Alert(
        key,
        Severity.ERROR,
        DATA_ENGINEERING,
        f"The {what} of {run.window} failed: {first_line}",
        f"step {step} of run {run.run_id[:8]}",
        ours.next_step if ours else f"gesture dev shows the run; mend it, then  gesture {again} --date {run.days[-1]}",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _text(error: BaseException) -> str:
    # Dagster's own failures carry what we said of them.
    return getattr(error, "description", None) or f"{type(error).__name__}: {error}"


def _masked(text: str) -> str:
    """`text` without addresses of people, and short: it leaves the machine."""
    with connect() as connection:
        row = connection.execute(f"select {masked_sql('text')} from (select ?::varchar as text)", [text]).fetchone()
    masked = str(row[0]) if row else ""
    return masked if len(masked) <= MOST_LETTERS else f"{masked[:MOST_LETTERS]}…"


STEPS = (Step("alerts", alerts, (ALERTS,), sources=None),)
