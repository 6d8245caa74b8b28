"""Hooks of the jobs: a night or a training that failed is told, one that passed ends what was open.

Belongs here: when Dagster calls, and what it knows of the run. Does not belong here: telling people
(`nights/alerts.py`).
"""

import logging

import dagster as dg

from gesture_assets.defs.resource import GOES_ON_TAG, is_interrupted, run_days, run_moment
from gesture_assets.errors import ContractBreach
from gesture_assets.monitoring.alerts import NIGHT_FAILED, TRAINING_FAILED
from gesture_assets.nights.alerts import end_training_failures, tell_of_failure
from gesture_assets.nights.all_steps import training_steps
from gesture_assets.settings import Settings
from gesture_assets.warehouse.run_info import RunInfo

log = logging.getLogger(__name__)


def night_failed(settings: Settings) -> dg.HookDefinition:
    """Tells people of a night that failed."""
    return _failure_hook("night_failed", NIGHT_FAILED, settings)


def training_failed(settings: Settings) -> dg.HookDefinition:
    """Tells people of a training that failed."""
    return _failure_hook("training_failed", TRAINING_FAILED, settings)


def training_passed(settings: Settings) -> dg.HookDefinition:
    """Resolves what is open about failed trainings, once one has come to its end."""

    @dg.success_hook(name="training_passed")
    def resolve(context: dg.HookContext) -> None:
        run = _run_of(context)
        if run is None or context.step_key != training_steps()[-1].name:
            return
        try:
            end_training_failures(run, settings)
        except Exception as error:
            log.warning("Alerts about failed trainings were not resolved: %r", error)

    return resolve


def _failure_hook(name: str, kind: str, settings: Settings) -> dg.HookDefinition:
    @dg.failure_hook(name=name)
    def tell(context: dg.HookContext) -> None:
        run, error = _run_of(context), context.op_exception
        if run is None or is_interrupted(error):  # whoever interrupts a run knows of it
            return
        if _is_passed_over(context):  # what follows is built all the same
            return
        try:
            tell_of_failure(run, settings, kind, context.step_key, error)
        except Exception as reason:  # the step's own failure is what people are to see
            log.warning("The failure of %s raised no alert: %r", context.step_key, reason)

    return tell


def _is_passed_over(context: dg.HookContext) -> bool:
    """Whether the step failed by an audit that whoever started the run goes past."""
    record, error = context.instance.get_run_by_id(context.run_id), context.op_exception
    while error is not None and not isinstance(error, ContractBreach):
        error = error.__cause__
    return record is not None and GOES_ON_TAG in record.tags and error is not None


def _run_of(context: dg.HookContext) -> RunInfo | None:
    run = context.instance.get_run_by_id(context.run_id)
    days = run_days(run.tags) if run else ()
    if run is None or not days:
        return None
    return RunInfo(run.run_id, run_moment(context.instance, run), days, f"alert about {context.step_key}")
