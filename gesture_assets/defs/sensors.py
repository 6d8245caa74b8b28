"""Sensors: killed runs are ended, and a training starts when a night has called for one.

Belongs here: when Dagster looks, and what it then asks for. Does not belong here: which processes live
(`warehouse/run_queue.py`), when a training is called for (`monitoring/retraining.py`).
"""

import dagster as dg

from gesture_assets.defs.jobs import Job
from gesture_assets.errors import WarehouseBusy
from gesture_assets.publication.reading import called_for_training, was_tried
from gesture_assets.settings import Settings
from gesture_assets.warehouse.run_queue import RunQueue


def killed_runs(settings: Settings) -> dg.SensorDefinition:
    """Marks runs as failed whose process is gone, so that they hold no place in Dagster's queue.

    Dagster's own run monitoring asks the launcher, and the one for a single machine cannot say.
    """

    @dg.sensor(
        name="killed_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Every 30 s: a run whose process was killed is marked as failed, so that the next one starts.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = RunQueue.beside(settings.warehouse).end_killed_runs(context.instance)
        return dg.SkipReason(f"ended: {', '.join(ended)}" if ended else "every run under way has its process")

    return look


def retrain_when_called_for(settings: Settings, train: Job) -> dg.SensorDefinition:
    """Asks for a training of the newest published day where it was called for and nobody has trained since."""

    @dg.sensor(
        name="retrain_when_called_for",
        job=train,
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Every 5 min: starts the train job once for a night that called for a training (retrain_decision).",
    )
    def look(_context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if not settings.published.exists():
            return dg.SkipReason("nothing is published yet")
        decision = called_for_training(settings.published)
        if decision is None:
            return dg.SkipReason("the newest night has its training")
        if not decision.should_retrain:
            return dg.SkipReason(decision.because)
        try:
            if was_tried(settings.warehouse, decision.day):
                return dg.SkipReason("the newest night has its training; what it taught is published with the next")
        except WarehouseBusy as busy:  # by a training, it may be
            return dg.SkipReason(busy.doing)
        day = str(decision.day)
        return dg.RunRequest(
            run_key=f"train-{day}", partition_key=day, tags={"gesture/because": decision.because[:250]}
        )

    return look
