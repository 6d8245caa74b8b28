"""A plain runner: the steps of a night, one after the other, in this process, without Dagster.

Belongs here: running steps for tests and tools. Does not belong here: what a step does (the modules beside this one),
the nightly of a deployment, which Dagster runs, retries and records (`defs/`).
"""

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from gesture_assets.errors import GestureError
from gesture_assets.nights.all_steps import nightly_steps, training_steps
from gesture_assets.nights.night import open_night
from gesture_assets.nights.steps import Step, StepResult, run_step
from gesture_assets.settings import Settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import kept_open

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NightResult:
    """How the steps ended, by name: what they did, why they failed, and which stand behind one that failed."""

    run_id: str
    results: Mapping[str, StepResult] = field(default_factory=dict[str, StepResult])
    failures: Mapping[str, Exception] = field(default_factory=dict[str, Exception])
    closed: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Whether every step was run and none failed."""
        return not self.failures and not self.closed

    def raise_failure(self) -> "NightResult":
        """The result, unless a step failed: then its error is raised."""
        for error in self.failures.values():
            raise error
        return self


def run_night(
    settings: Settings,
    days: Sequence[date],
    *,
    now: datetime,
    tables: Collection[str] | None = None,
    run_id: str = "",
    **exceptions: Any,
) -> NightResult:
    """Run the nightly steps for `days`, at the moment `now` (UTC, naive); `tables`: only the steps that fill these.

    `exceptions` are those of `RunInfo`: force_reason, restate_reason, restate_crm, rebuild.
    """
    steps = [
        step
        for step in nightly_steps()
        if tables is None or {step.name, *(table.name for table in step.tables)}.intersection(tables)
    ]
    return run_steps(steps, settings, days, now=now, run_id=run_id, **exceptions)


def run_training(
    settings: Settings, day: date, *, now: datetime, run_id: str = "", options: Mapping[str, Any] | None = None
) -> NightResult:
    """Run the steps of a training at the end of `day`; `options` are those of `training.Training`."""
    return run_steps(training_steps(), settings, [day], now=now, run_id=run_id, options=options)


def run_steps(
    steps: Sequence[Step],
    settings: Settings,
    days: Sequence[date],
    *,
    now: datetime,
    run_id: str = "",
    options: Mapping[str, Any] | None = None,
    **exceptions: Any,
) -> NightResult:
    """Run `steps` in order; what stands behind a step that failed is not run.

    The result holds the `GestureError` of each step that failed by one; any other error is a defect, and is raised.
    """
    run_id = run_id or str(uuid.uuid4())
    results: dict[str, StepResult] = {}
    failures: dict[str, Exception] = {}
    closed: list[str] = []
    lost: set[str] = set()  # tables that the run did not fill
    with kept_open(settings.warehouse):
        for step in steps:
            if lost.intersection(step.upstream):
                closed.append(step.name)
            else:
                run = RunInfo(run_id, now, tuple(days), step.name, **exceptions)
                try:
                    with open_night(settings, run, options=_options(step, options)) as night:
                        results[step.name] = run_step(step, night)
                except GestureError as error:
                    failures[step.name] = error
                else:
                    if failure := results[step.name].failure:
                        failures[step.name] = failure
            if (failure := failures.get(step.name)) and isinstance(failure, GestureError):
                failure.name_folder(settings.data_dir)
            if step.name in failures or step.name in closed:
                lost.update(table.name for table in step.tables)
    return NightResult(run_id, results, failures, tuple(closed))


def _options(step: Step, given: Mapping[str, Any] | None) -> Any:
    """The options of `step`, of those given; None for a step that has none."""
    if step.options is None:
        return None
    return step.options(**{name: value for name, value in (given or {}).items() if name in step.options.model_fields})
