"""The jobs, and when they run by themselves.

Belongs here: what runs together, and when. Does not belong here: the assets (`assets.py`).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from gesture_assets.defs.hooks import night_failed, training_failed, training_passed
from gesture_assets.defs.resource import run_moment
from gesture_assets.errors import GestureError
from gesture_assets.nights.all_steps import training_steps
from gesture_assets.nights.refresh import refresh
from gesture_assets.nights.steps import Step
from gesture_assets.pings.tables import PING_RANKERS
from gesture_assets.settings import Settings

Job = Any  # Dagster does not export the class of a job whose assets are not resolved yet


def jobs(settings: Settings, steps: Sequence[Step]) -> Sequence[Job]:
    """The nightly, the training, and the reasons of score changes, of `steps`."""
    asked_for = [table.name for step in steps if not step.is_nightly for table in step.tables]
    learnt = [table.name for step in training_steps() for table in step.tables]
    return (
        dg.define_asset_job(
            "nightly",
            selection=dg.AssetSelection.all() - dg.AssetSelection.assets(*asked_for),
            description="Every asset of a day, publication last. Stops where a gate does not pass. Trainings and "
            "reasons of score changes are made when asked for.",
            tags={"gesture/kind": "nightly"},
            hooks={night_failed(settings)},
        ),
        dg.define_asset_job(
            "train",
            selection=dg.AssetSelection.assets(*learnt),
            description="Training set, candidate and judgement of a day; the better model serves from the next night "
            "on.",
            tags={"gesture/kind": "train"},
            hooks={training_failed(settings), training_passed(settings)},
        ),
        dg.define_asset_job(
            "explain_changes",
            selection=dg.AssetSelection.assets("score_changes"),
            description="Why the scores of a day moved that moved most since the day before.",
            tags={"gesture/kind": "explain_changes"},
        ),
        *(_of_rankers(step) for step in steps if PING_RANKERS in step.tables),
    )


def _of_rankers(step: Step) -> Job:
    return dg.define_asset_job(
        "train_ranker",
        selection=dg.AssetSelection.assets(*(table.name for table in step.tables)),
        description="A ranker of short videos and its judgement; a better one orders lists from the next day on.",
        tags={"gesture/kind": "train_ranker"},
    )


def nightly_schedule(nightly: Job) -> Any:
    """02:00 UTC: two hours after midnight, late arrivals of the evening are in and nobody is at work yet."""
    return dg.build_schedule_from_partitioned_job(
        nightly,
        name="nightly_schedule",
        hour_of_day=2,
        description="02:00 UTC: the day that has just ended.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        tags={"dagster/priority": "10"},  # before any backfill that waits in the queue: those have 0
    )


def refresh_job(settings: Settings) -> dg.JobDefinition:
    """The refresh of the lists of short videos; of no partition, as the day in progress is none of the nightly's."""

    @dg.op(description="Lists of short videos of the day in progress, of what has landed of it so far.")
    def refreshed_lists(context: dg.OpExecutionContext) -> None:
        try:
            result = refresh(settings, now=run_moment(context.instance, context.run), run_id=context.run_id)
            result.raise_failure()
        except GestureError as error:
            raise dg.Failure(error.report, allow_retries=False) from error
        context.add_output_metadata({name: str(dict(done.notes)) for name, done in result.results.items()})

    @dg.job(
        name="refresh",
        description="Popularity, freshness and lists of short videos of today, and their publication. Touches no "
        "events, features, scores or models; the night of the day makes all of it again.",
        tags={"gesture/kind": "refresh"},
    )
    def lists() -> None:
        refreshed_lists()

    return lists


def refresh_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every hour from 03:20 UTC on: before, the night of yesterday is still to come. Off until somebody starts it."""
    return dg.ScheduleDefinition(
        name="refresh_schedule",
        job=job,
        cron_schedule="20 3-23 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Hourly, from 03:20 UTC on: lists of short videos of today. Stopped by default.",
    )
