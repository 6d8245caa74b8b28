"""What Dagster loads."""

import gc

import dagster as dg

from gesture_assets.compat.dagster_storage import write_without_waiting
from gesture_assets.defs import (
    events,
    exploration,
    features,
    killed_runs,
    models,
    monitoring,
    nightly,
    publish,
    retraining,
    scores,
    subscribers,
)
from gesture_assets.defs.common import WarehouseResource

write_without_waiting()
# Libraries and a run's events stay until the end; looking through them again and again takes a tenth of a small night.
gc.freeze()
gc.set_threshold(100_000, 20, 100)

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [events, subscribers, features, exploration, scores, models, monitoring, publish]
    ),
    jobs=[nightly.nightly, nightly.train, nightly.explain_changes],
    schedules=[nightly.nightly_schedule],
    sensors=[killed_runs.killed_runs, retraining.retrain_when_called_for],
    resources={"warehouse": WarehouseResource()},
    # One process writes the DuckDB file at a time, and a process a step would cost seconds for each.
    executor=dg.in_process_executor,
)
