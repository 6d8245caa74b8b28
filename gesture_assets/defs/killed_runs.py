"""Runs whose process was killed: Dagster is told, so that they hold no place in its queue.

Belongs here: the sensor and what it does. Does not belong here: which processes live
(`warehouse/run_queue.py`). Dagster's own run monitoring asks the launcher, and the one for a single machine cannot say.
"""

import dagster as dg

from gesture_assets.settings import load_settings
from gesture_assets.warehouse.run_queue import RunQueue


def end_killed_runs(instance: dg.DagsterInstance, queue: RunQueue) -> list[str]:
    """Mark the runs as failed whose process is gone, and forget them; returns their ids."""
    ended = []
    for run_id in queue.killed_runs():
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.report_run_failed(run, "The process of this run is gone: it was killed, or the machine went down.")
            ended.append(run_id)
        queue.forget(run_id)
    return ended


@dg.sensor(
    name="killed_runs",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 30 s: a run whose process was killed is marked as failed, so that the next one starts.",
)
def killed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End killed runs; never asks for one of its own."""
    ended = end_killed_runs(context.instance, RunQueue.beside(load_settings().warehouse))
    return dg.SkipReason(f"ended: {', '.join(ended)}" if ended else "every run under way has its process")
