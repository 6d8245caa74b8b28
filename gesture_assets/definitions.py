"""What Dagster loads: the definitions that follow from the settings. Importing this changes nothing."""

import gc
import warnings
from collections.abc import Sequence

import dagster as dg

from gesture_assets.compat.dagster_resources import keep_resources
from gesture_assets.compat.dagster_storage import write_without_waiting
from gesture_assets.defs.assets import asset_of
from gesture_assets.defs.jobs import jobs, nightly_schedule, refresh_job, refresh_schedule
from gesture_assets.defs.resource import warehouse_resource
from gesture_assets.defs.sensors import killed_runs, retrain_when_called_for
from gesture_assets.nights.all_steps import all_steps
from gesture_assets.nights.steps import Step
from gesture_assets.settings import Settings, settings_as_far_as_usable


def build_definitions(settings: Settings, steps: Sequence[Step] | None = None) -> dg.Definitions:
    """Everything that Dagster is to know, for one deployment; of `steps`, or of every one."""
    steps = all_steps() if steps is None else steps
    nightly, train, *others = jobs(settings, steps)
    refresh = refresh_job(settings)
    with warnings.catch_warnings():
        # Single-run backfills and partitioned checks are what we build on; the warnings say that their API may move.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = [asset_of(step, settings) for step in steps]
    return dg.Definitions(
        assets=assets,
        jobs=[nightly, train, *others, refresh],
        schedules=[nightly_schedule(nightly), refresh_schedule(refresh)],
        sensors=[killed_runs(settings), retrain_when_called_for(settings, train)],
        resources={"warehouse": warehouse_resource(settings)},
        # One process writes the DuckDB file at a time, and a process a step would cost seconds for each.
        executor=dg.in_process_executor,
    )


def load_definitions(settings: Settings, steps: Sequence[Step] | None = None) -> dg.Definitions:
    """`build_definitions` in a process that is to run them: with what makes Dagster's own work cheaper."""
    write_without_waiting()
    keep_resources()
    # Libraries and a run's events stay until the end; looking through them again and again takes a tenth of a night.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    return build_definitions(settings, steps)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of this process. A setting that cannot be used fails the steps that use it, with its name."""
    return load_definitions(settings_as_far_as_usable())
