"""Dagster's queue: the nightly starts before backfills that waited longer, and a killed run holds no place in it."""

import os
import signal
import uuid
from collections.abc import Iterator
from datetime import datetime

import dagster as dg
import pytest

# What Dagster plans and how it ends has no public face either.
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import DagsterEvent, DagsterEventType

# Which queued runs come next has no public face: this is what the daemon asks itself every few seconds.
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from gesture_assets.cli.dagster_home import prepare
from gesture_assets.settings import Settings
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets_tests.running import definitions
from gesture_assets_tests.unit.warehouse.test_run_queue import D8, D9, under_way

pytestmark = pytest.mark.slow

CHECK = dg.AssetCheckKey(dg.AssetKey("raw_events"), "each_key_occurs_once")


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Dagster's own storage, as `gesture` sets it up."""
    prepare(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance


def enter(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    """A run of the nightly job that Dagster knows with this status; its id."""
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("gesture_assets"), "__repository__")
    origin = RemoteJobOrigin(place, "nightly")
    run = dg.DagsterRun("nightly", str(uuid.uuid4()), status=status, tags=tags, remote_job_origin=origin)
    return instance.add_run(run).run_id


def plan_a_check(instance: dg.DagsterInstance, run_id: str) -> None:
    """What Dagster notes of each check before a run starts."""
    planned = AssetCheckEvaluationPlanned(asset_key=CHECK.asset_key, check_name=CHECK.name)
    event = DagsterEvent(DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value, "nightly", event_specific_data=planned)
    instance.report_dagster_event(event, run_id=run_id)


def planned_runs(instance: dg.DagsterInstance) -> list[str]:
    """The runs in which the check is still to be evaluated."""
    history = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=9)
    return [record.run_id for record in history if record.status is AssetCheckExecutionRecordStatus.PLANNED]


def next_in_line(instance: dg.DagsterInstance) -> list[str]:
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=5)
    return [run.run_id for run in daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)]


def nightly_tags() -> dict[str, str]:
    """The tags of the run that the schedule asks for."""
    at = datetime.fromisoformat("2026-03-10T02:00:00+00:00")
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=definitions().get_repository_def())
    (request,) = definitions().resolve_schedule_def("nightly_schedule").evaluate_tick(context).run_requests or ()
    assert request.partition_key == str(D9)
    return dict(request.tags)


def test_the_nightly_starts_before_backfills_that_have_waited_longer(instance: dg.DagsterInstance) -> None:
    first = enter(instance, dg.DagsterRunStatus.QUEUED, {"dagster/backfill": "a"})
    enter(instance, dg.DagsterRunStatus.QUEUED, {"dagster/backfill": "b"})
    nightly = enter(instance, dg.DagsterRunStatus.QUEUED, nightly_tags())
    assert next_in_line(instance) == [nightly, first]


def test_the_nightly_starts_beside_a_backfill_and_a_second_backfill_does_not(instance: dg.DagsterInstance) -> None:
    enter(instance, dg.DagsterRunStatus.STARTED, {"dagster/backfill": "a"})
    enter(instance, dg.DagsterRunStatus.QUEUED, {"dagster/backfill": "b"})
    nightly = enter(instance, dg.DagsterRunStatus.QUEUED, nightly_tags())
    assert next_in_line(instance) == [nightly]


def test_a_killed_run_is_ended_and_gives_its_place_to_the_next(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    queue = RunQueue.beside(settings.warehouse)
    killed, alive = (enter(instance, dg.DagsterRunStatus.STARTED, {}) for _ in range(2))
    waiting = enter(instance, dg.DagsterRunStatus.QUEUED, {})
    with under_way(queue, killed, "nightly", D9) as pid, under_way(queue, alive, "backfill", D8):
        assert next_in_line(instance) == []
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        plan_a_check(instance, killed)
        plan_a_check(instance, alive)
        assert queue.end_killed_runs(instance) == [killed]
        assert planned_runs(instance) == [alive]
        statuses = [instance.get_run_by_id(run_id) for run_id in (killed, alive)]
        assert [run.status.value for run in statuses if run] == ["FAILURE", "STARTED"]
        assert next_in_line(instance) == [waiting]
        assert queue.end_killed_runs(instance) == []


def test_the_sensor_says_whom_it_ended(instance: dg.DagsterInstance, settings: Settings) -> None:
    killed_runs = definitions().resolve_sensor_def("killed_runs")

    def tick() -> str | None:
        with dg.build_sensor_context(instance=instance) as context:
            return killed_runs.evaluate_tick(context).skip_message

    assert tick() == "every run under way has its process"
    run_id = enter(instance, dg.DagsterRunStatus.STARTED, {})
    with under_way(RunQueue.beside(settings.warehouse), run_id, "nightly", D9) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert tick() == f"ended: {run_id}"


def test_a_run_that_has_ended_by_itself_stays_as_it_ended(instance: dg.DagsterInstance, settings: Settings) -> None:
    queue = RunQueue.beside(settings.warehouse)
    run_id = enter(instance, dg.DagsterRunStatus.SUCCESS, {})
    with under_way(queue, run_id, "nightly", D9) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        plan_a_check(instance, run_id)
        assert queue.end_killed_runs(instance) == []
    run = instance.get_run_by_id(run_id)
    assert run
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert queue.killed_runs() == []
    assert planned_runs(instance) == []
