"""The nightly job and its schedule.

Belongs here: what runs together, and when. Does not belong here: the assets.
"""

import dagster as dg

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.defs.alerting import night_failed, training_failed, training_passed
from gesture_assets.defs.common import SETTINGS

ON_DEMAND = tuple(contract.name for contract in catalogue(SETTINGS.tags).tables if not contract.is_nightly)

nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(*ON_DEMAND),
    description="Every asset of a day, publication last. Stops where a gate does not pass. Trainings and reasons of "
    "score changes are made when asked for.",
    tags={"gesture/kind": "nightly"},
    hooks={night_failed},
)

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.groups("models"),
    description="Training set, candidate and judgement of a day; the better model serves from the next night on.",
    tags={"gesture/kind": "train"},
    hooks={training_failed, training_passed},
)

explain_changes = dg.define_asset_job(
    "explain_changes",
    selection=dg.AssetSelection.assets("score_changes"),
    description="Why the scores of a day moved that moved most since the day before.",
    tags={"gesture/kind": "explain_changes"},
)

# Two hours after midnight: late arrivals of the evening are in, and nobody is at work yet.
nightly_schedule = dg.build_schedule_from_partitioned_job(
    nightly,
    name="nightly_schedule",
    hour_of_day=2,
    description="02:00 UTC: the day that has just ended.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    tags={"dagster/priority": "10"},  # before any backfill that waits in the queue: those have 0
)
