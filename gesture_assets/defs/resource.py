"""The warehouse as a Dagster resource: who writes and when, running a step, our errors as failures.

Belongs here: the translation between a Dagster run and a night. Does not belong here: what a step does (`nights/`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb

from gesture_assets.compat.dagster_interrupts import was_interrupted
from gesture_assets.compat.dagster_storage import forget_plans
from gesture_assets.defs.events import Event, events_of, log_good_days
from gesture_assets.errors import GateClosed, GestureError
from gesture_assets.nights.night import open_night
from gesture_assets.nights.steps import Step, run_step
from gesture_assets.settings import Settings, default_of
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.warehouse import kept_open

NOW_TAG = "gesture/now"
GOES_ON_TAG = "gesture/goes_on"  # of a forced run: whoever started it goes on past what does not pass
MACHINE_FAILURES = (OSError, MemoryError, duckdb.IOException)
INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
INTERRUPTED = "The run was interrupted. Next: the same command once more"
MOST_BUILDERS = 100  # times a step waits for runs that build what it needs


def run_moment(instance: dg.DagsterInstance, run: dg.DagsterRun) -> datetime:
    """The moment of `run` (UTC, naive): its tag, or when it was created. So no step looks at a clock."""
    tagged = run.tags.get(NOW_TAG)
    if tagged:
        now = datetime.fromisoformat(tagged)
    else:
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        now = record.create_timestamp
    return now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now


def run_days(tags: Mapping[str, str]) -> tuple[date, ...]:
    """The days that a run is for, in order."""
    first = tags.get("dagster/asset_partition_range_start", tags.get("dagster/partition"))
    last = tags.get("dagster/asset_partition_range_end", first)
    if not first or not last:
        return ()
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return tuple(start + timedelta(days=n) for n in range((end - start).days + 1))


@dataclass(frozen=True)
class Exceptions:
    """The reasons for exceptions that a run may be given, as its configuration names them."""

    force_reason: str = ""
    restate_reason: str = ""
    restate_crm: bool = False
    rebuild: bool = False  # build also what has not changed


@dataclass(frozen=True)
class RunningNight:
    """The settings and exceptions of a Dagster run, for its steps."""

    settings: Settings
    exceptions: Exceptions
    interrupts: list[BaseException] = field(default_factory=list[BaseException])  # the run is asked to end

    def run_step(
        self, step: Step, context: dg.AssetExecutionContext, options: Mapping[str, Any] | None = None
    ) -> Iterator[Event]:
        """Run `step` and report it. Our errors become failures with their four parts, and are not tried again.

        Nor is what was interrupted, as Dagster's retries would have it, and no step is begun after that.
        """
        if self.interrupts or was_interrupted():
            raise dg.Failure(INTERRUPTED, allow_retries=False) from next(iter(self.interrupts), None)
        settings, exceptions = self.settings, self.exceptions
        run = RunInfo(
            run_id=context.run.run_id,
            now=run_moment(context.instance, context.run),
            days=tuple(sorted(date.fromisoformat(key) for key in context.partition_keys)),
            step=step.name,
            force_reason=exceptions.force_reason.strip() or None,
            restate_reason=exceptions.restate_reason.strip() or None,
            restate_crm=exceptions.restate_crm,
            rebuild=exceptions.rebuild,
        )
        chosen = step.options(**(options or {})) if step.options else None
        try:
            with open_night(settings, run, options=chosen) as night:
                result = run_step(step, night, when_cut_off=lambda commits: log_good_days(context, commits, run))
            yield from events_of(context, result, run, step.column_sources(settings))
            if result.failure:
                log_good_days(context, result.commits, run, result.notes)
                raise result.failure
        except GestureError as error:
            error.name_folder(default_of(settings, "data_dir"))
            if isinstance(error, GateClosed) and _was_being_built(settings, run, error):
                raise dg.RetryRequested(max_retries=MOST_BUILDERS) from error
            raise dg.Failure(error.report, allow_retries=False) from error
        except MACHINE_FAILURES:
            raise
        except (Exception, *INTERRUPTS) as error:
            if is_interrupted(error):
                self.interrupts.append(error)
                raise dg.Failure(INTERRUPTED, allow_retries=False) from error
            raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error


def is_interrupted(error: BaseException | None) -> bool:
    """Ctrl-C inside a query comes out as the engine's own error, with the interrupt as its cause."""
    while error is not None:
        if isinstance(error, INTERRUPTS):
            return True
        error = error.__cause__
    return False


def warehouse_resource(settings: Settings) -> dg.ResourceDefinition:
    """The warehouse that `settings` describe, for a whole run, which other processes know to be under way."""
    schema = {
        field.name: dg.Field(type(field.default), default_value=field.default, is_required=False)
        for field in fields(Exceptions)
    }

    @dg.resource(config_schema=schema, description="The warehouse, and the reasons for exceptions of a run.")
    def warehouse(context: dg.InitResourceContext) -> Iterator[RunningNight]:
        night, run = RunningNight(settings, Exceptions(**context.resource_config)), context.run
        if run is None or context.instance is None:
            yield night
            return
        days = run_days(run.tags)
        info = RunInfo(run.run_id, run_moment(context.instance, run), days, "nightly")
        what = f"{'backfill' if info.is_only_backfill else 'nightly'} of {info.window}" if days else "a run"
        queue = RunQueue.beside(settings.warehouse)
        registered = queue.register(run.run_id, what, days, goes_first=not info.is_only_backfill)
        try:
            with registered, kept_open(settings.warehouse):
                yield night
        finally:  # by now no step is left
            forget_plans(context.instance, run.run_id)

    return warehouse


def _was_being_built(settings: Settings, run: RunInfo, refusal: GateClosed) -> bool:
    """Whether other runs were building the days that `run` lacks; they have ended when this returns."""
    try:
        return RunQueue.beside(settings.warehouse).wait_for_builders(
            run.run_id,
            run.days,
            refusal,
            waiter=f"{run.step} for {run.window}",
            timeout_seconds=settings.lock_timeout_seconds,
        )
    except GateClosed:  # the patience is over
        return False
