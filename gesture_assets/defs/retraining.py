"""The sensor that starts a training when a night has called for one.

Belongs here: the sensor. Does not belong here: when a training is called for (`monitoring/retraining.py`), the training
itself (`defs/models.py`).
"""

import dagster as dg
import duckdb

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.defs.nightly import train
from gesture_assets.settings import load_settings


@dg.sensor(
    name="retrain_when_called_for",
    job=train,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 5 min: starts the train job once for a night that called for a training (retrain_decision).",
)
def retrain_when_called_for(_context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask for a training of the newest published day where it was called for and nobody has trained since."""
    published = load_settings().published
    if not published.exists():
        return dg.SkipReason("nothing is published yet")
    with duckdb.connect(str(published.resolve()), read_only=True) as connection:
        newest = connection.execute(
            f"""select {PARTITION}, should_retrain, because from retrain_decision
            where {PARTITION} > coalesce((select max({PARTITION}) from candidate_model), date '0001-01-01')
            order by {PARTITION} desc limit 1"""
        ).fetchone()
    if newest is None:
        return dg.SkipReason("the newest night has its training")
    day, is_called_for, because = newest
    if not is_called_for:
        return dg.SkipReason(because)
    return dg.RunRequest(run_key=f"train-{day}", partition_key=str(day), tags={"gesture/because": because[:250]})
