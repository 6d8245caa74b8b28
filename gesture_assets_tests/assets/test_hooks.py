"""A run that fails tells people, and one that passes ends it: what Dagster's hooks hand on of a run and its error."""

import logging
from collections.abc import Callable
from datetime import date, datetime

import dagster as dg
import pytest

from gesture_assets.defs.hooks import night_failed, training_failed, training_passed
from gesture_assets.defs.resource import GOES_ON_TAG, NOW_TAG
from gesture_assets.errors import ContractBreach, GateClosed, GestureError
from gesture_assets.monitoring.alerts import Incident
from gesture_assets.records import alert_log
from gesture_assets.settings import Settings, load_settings, settings_as_far_as_usable
from gesture_assets_tests.conftest import OpenSession

DAY = date(2026, 3, 9)
BREACH = ContractBreach("Ratings are wrong.", expected="1 to 5", found="9", where="the CRM", next_step="fix the CRM")
CLOSED = GateClosed("Features cannot be built.", expected="a PASS", found="FAIL", where="x", next_step="mend")


def run(
    step: str, error: BaseException | None, settings: Settings | None = None, *, days: dict[str, str] | None = None
) -> None:
    """A run of one step with the hooks of both jobs; our errors are raised as the steps of the warehouse do."""
    own = settings or load_settings()
    hooks = {training_failed(own), training_passed(own)} if step in LEARNING else {night_failed(own)}

    @dg.op(name=step)
    def body() -> None:
        if isinstance(error, GestureError):
            raise dg.Failure(error.report, allow_retries=False) from error
        if error is not None:
            raise error

    @dg.job(hooks=hooks)
    def a_job() -> None:
        body()

    result = a_job.execute_in_process(
        tags={NOW_TAG: datetime(2026, 3, 10, 2).isoformat(), **(days or {"dagster/partition": str(DAY)})},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert result.success is (error is None)
    assert "HOOK_ERRORED" not in [event.event_type_value for event in result.all_events]


LEARNING = ("training_set", "candidate_model")


@pytest.fixture
def known(open_session: OpenSession) -> Callable[[], list[Incident]]:
    def read() -> list[Incident]:
        with open_session(DAY) as session:
            return alert_log.incidents(session.connection)

    return read


def test_a_failed_step_is_an_alert_with_what_its_error_says_and_a_passed_one_is_none(known: Callable) -> None:
    run("top_users", None)
    for _ in range(2):
        run("user_features", BREACH)
    (incident,) = known()
    assert (incident.alert.key, incident.night_count) == ("night/failed/user_features", 2)
    assert incident.alert.what == "The night of 2026-03-09 failed: ContractBreach: Ratings are wrong."
    assert incident.alert.runbook == "fix the CRM"
    assert incident.alert.place.startswith("step user_features of run ")


def test_a_range_is_told_with_its_days(known: Callable) -> None:
    first, last = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    run("user_features", BREACH, days={first: "2026-03-06", last: str(DAY)})
    assert known()[0].alert.what.startswith("The night of 2026-03-06 to 2026-03-09 failed: ContractBreach")


def test_old_days_that_fail_are_an_alert_of_their_own_for_the_last_complete_night(known: Callable) -> None:
    first, last = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    run("user_features", BREACH, days={"dagster/partition": "2026-03-04"})
    run("user_features", BREACH, days={first: "2026-03-02", last: "2026-03-04"})
    old = [(incident.alert.key, incident.last_seen, incident.is_news) for incident in known()]
    assert old == [
        ("night/failed/user_features/2026-03-02..2026-03-04", DAY, True),
        ("night/failed/user_features/2026-03-04", DAY, True),
    ]
    assert "The night of 2026-03-04 failed" in known()[1].alert.what
    assert [str(incident.first_seen) for incident in known()] == ["2026-03-02", "2026-03-04"]


def test_a_gate_that_stayed_closed_through_all_tries_is_told_as_such(known: Callable) -> None:
    request = dg.RetryRequested(max_retries=0)
    request.__cause__ = CLOSED
    run("user_features", request)
    (incident,) = known()
    assert incident.alert.what == "The night of 2026-03-09 failed: GateClosed: Features cannot be built."
    assert incident.alert.runbook == "mend"


def test_what_a_forced_run_goes_past_is_no_failure_and_what_stops_it_is_one(known: Callable) -> None:
    forced = {"dagster/partition": str(DAY), GOES_ON_TAG: "true"}
    run("landed_events", BREACH, days=forced)
    assert known() == []
    run("user_features", RuntimeError("odd"), days=forced)
    assert [incident.alert.key for incident in known()] == ["night/failed/user_features"]


def test_an_interrupted_run_tells_nobody(known: Callable) -> None:
    interrupted = RuntimeError("Query interrupted")
    interrupted.__cause__ = KeyboardInterrupt()
    run("user_features", interrupted)
    run("user_features", KeyboardInterrupt())
    assert known() == []


def test_a_setting_that_cannot_be_used_raises_nothing_but_a_line_in_the_log(
    data_dir: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GESTURE_LOCK_TIMEOUT_SECONDS", "soon")
    with caplog.at_level(logging.WARNING):
        run("user_features", BREACH, settings_as_far_as_usable())
    assert any("The failure of user_features raised no alert" in message for message in caplog.messages)


def test_a_failed_training_is_an_alert_until_the_last_step_of_one_passes(known: Callable) -> None:
    run("candidate_model", MemoryError("too much"))
    assert known()[0].alert.key == "training/failed/candidate_model"
    run("training_set", None)
    assert known()[0].is_open
    run("candidate_model", None)
    assert not known()[0].is_open
