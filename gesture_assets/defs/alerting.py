"""Telling people, from inside Dagster: what a night found wrong, and that a night or a training failed.

Belongs here: the path from an alarm to the log of alerts and to people, and the hooks of the jobs. Does not belong
here: what is wrong with the data (`monitoring.py`), what an alarm does to an alert (`monitoring/alerts.py`).

A step that fails is told by a hook of its job, as the step `alerts` of that night never comes. The step has given the
warehouse back by then. An interrupted run calls no hook.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import date, timedelta

import dagster as dg

from gesture_assets.defs.common import run_days, run_moment
from gesture_assets.errors import DiskFull, GestureError, TrainingRefused, WarehouseBusy
from gesture_assets.monitoring import alerts as alarms
from gesture_assets.records import alert_log
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import Settings, load_settings
from gesture_assets.vocabulary.personal_data import masked_sql
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.space import why_full
from gesture_assets.warehouse.warehouse import connect

LOG = logging.getLogger(__name__)
OWNER = "data-engineering@gesture.example"
BUSY_SECONDS = 1  # a step has waited in vain for the warehouse already
MOST_LETTERS = 300  # of a message: a chat shows no more at a glance
LAST_OF_TRAINING = "candidate_model"


def tell(
    session: Session, settings: Settings, night: date, news: Collection[alarms.Change]
) -> tuple[list[alarms.Incident], alarms.Delivery]:
    """Bring the log of alerts up to date with `news` and tell people; every incident, and what became of telling."""
    connection, run = session.connection, session.run
    alert_log.append(connection, news, now=run.now, run_id=run.run_id)
    incidents = alert_log.incidents(connection)
    delivery = alarms.deliver(incidents, LOG, settings.alerts_file, settings.alert_webhook, night=night)
    alert_log.append(connection, delivery.told, now=run.now, run_id=run.run_id)
    return incidents, delivery


def end_failures(session: Session, kind: str, night: date) -> bool:
    """Resolve the failures of `kind` up to `night`, which has passed; whether there were any.

    What failed in this very run stays open: a step beside the publication may have.
    """
    connection, run = session.connection, session.run
    failed_now = alert_log.keys_of_run(connection, run.run_id, alarms.SEEN)
    known = [one for one in alert_log.incidents(connection) if one.alert.key not in failed_now]
    over = alarms.passed(known, kind, night)
    alert_log.append(connection, over, now=run.now, run_id=run.run_id)
    return bool(over)


def rewrite_file(session: Session, settings: Settings, night: date) -> None:
    """Leave in the file what is open now. People are told of no resolution."""
    alarms.write_file(alert_log.incidents(session.connection), settings.alerts_file, night=night)


# ---- hooks ---------------------------------------------------------------------------------------------------------


def _failure_hook(name: str, kind: str) -> dg.HookDefinition:
    @dg.failure_hook(name=name)
    def told(context: dg.HookContext) -> None:
        try:
            _tell_of_failure(context, kind)
        except Exception as error:  # the step's own failure is what people are to see
            LOG.warning("The failure of %s raised no alert: %r", context.step_key, error)

    return told


night_failed = _failure_hook("night_failed", alarms.NIGHT_FAILED)
training_failed = _failure_hook("training_failed", alarms.TRAINING_FAILED)


@dg.success_hook(name="training_passed")
def training_passed(context: dg.HookContext) -> None:
    """Resolve what is open about failed trainings, once one has come to its end."""
    if context.step_key != LAST_OF_TRAINING:
        return
    try:
        run, settings = _run_of(context), load_settings()
        if run is None:
            return
        night = _last_complete(run)
        with warehouse_of(settings).open(run) as session:
            if end_failures(session, alarms.TRAINING_FAILED, night):
                rewrite_file(session, settings, night)
    except Exception as error:
        LOG.warning("Alerts about failed trainings were not resolved: %r", error)


def _tell_of_failure(context: dg.HookContext, kind: str) -> None:
    error, run, settings = context.op_exception, _run_of(context), load_settings()
    causes = list(_causes(error))
    # A refusal is an answer, which training_attempts holds; whoever interrupts a run knows of it.
    if run is None or any(isinstance(one, TrainingRefused) or _is_interrupt(one) for one in causes):
        return
    night = run.days[-1] if kind == alarms.NIGHT_FAILED else _last_complete(run)
    if run.is_backfill(night):
        return
    alarm = _alarm(kind, context.step_key, run, causes)
    # A log that is written on a full disk may be what breaks next.
    if not any(isinstance(one, DiskFull) or why_full(one) for one in causes):
        is_busy = any(isinstance(one, WarehouseBusy) for one in causes)
        patience = min(settings.lock_timeout_seconds, BUSY_SECONDS) if is_busy else settings.lock_timeout_seconds
        try:
            with replace(warehouse_of(settings), lock_timeout_seconds=patience).open(run) as session:
                _raise(session, settings, alarm, night)
            return
        except Exception as reason:
            LOG.warning("The log of alerts could not be written: %s", str(reason).partition("\n")[0])
    alarms.tell_unlogged(alarm, LOG, settings.alert_webhook, night=night)


def _raise(session: Session, settings: Settings, alarm: alarms.Alert, night: date) -> None:
    """Open or count the alert. One a run: what fails after the first failure of a run is often its consequence."""
    connection, run_id = session.connection, session.run.run_id
    if any(map(alarms.is_failure, alert_log.keys_of_run(connection, run_id, alarms.SEEN))):
        return
    # The publication resolves failures in its copy before it can know that it succeeds.
    too_early = alert_log.keys_of_run(connection, run_id, [alarms.RESOLVED])
    known = [
        replace(one, resolved_on=None) if one.alert.key in too_early else one for one in alert_log.incidents(connection)
    ]
    others = {one.alert.key for one in known}
    tell(session, settings, night, alarms.changes(known, [alarm], night, is_backfill=False, unjudged=others))


def _run_of(context: dg.HookContext) -> RunInfo | None:
    run = context.instance.get_run_by_id(context.run_id)
    days = run_days(run.tags) if run else ()
    if run is None or not days:
        return None
    return RunInfo(run.run_id, run_moment(context.instance, run), days, f"alert about {context.step_key}")


def _last_complete(run: RunInfo) -> date:
    """The night that a training counts for, whatever day it learns from."""
    return run.now.date() - timedelta(days=1)


def _alarm(kind: str, step: str, run: RunInfo, causes: Collection[BaseException]) -> alarms.Alert:
    ours = next((one for one in causes if isinstance(one, GestureError)), None)
    said = ours.report if ours else next(map(_said, causes), "no message")
    first_line = _masked(said.strip().partition("\n")[0])
    what, again = ("night", "run") if kind == alarms.NIGHT_FAILED else ("training", "train")
    return alarms.Alert(
        f"{kind}{step}",
        Severity.ERROR,
        OWNER,
        f"The {what} of {run.window} failed: {first_line}",
        f"step {step} of run {run.run_id[:8]}",
        ours.next_step if ours else f"gesture dev shows the run; mend it, then  gesture {again} --date {run.days[-1]}",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _said(error: BaseException) -> str:
    if isinstance(error, dg.Failure) and error.description:
        return error.description
    return f"{type(error).__name__}: {error}"


def _is_interrupt(error: BaseException) -> bool:
    """Ctrl-C inside a query comes out as the engine's own error, with this one as its cause."""
    return isinstance(error, KeyboardInterrupt | dg.DagsterExecutionInterruptedError)


def _masked(text: str) -> str:
    """`text` without addresses of people, and short: it leaves the machine."""
    with connect() as connection:
        found = connection.execute(f"select {masked_sql('?::varchar')}", [text]).fetchone()
    masked = str(found[0]) if found else ""
    return masked if len(masked) <= MOST_LETTERS else f"{masked[:MOST_LETTERS]}…"
