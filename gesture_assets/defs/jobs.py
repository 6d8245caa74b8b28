"""The jobs, and the schedule of the nightly.

Belongs here: what runs together, and when. Does not belong here: the assets (`assets.py`).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from gesture_assets.defs.hooks import night_failed, training_failed, training_passed
from gesture_assets.nights.all_steps import training_steps
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
