"""A run that fails tells people: once, with its count, until one has passed; and telling breaks nothing."""

import errno
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from gesture_assets.errors import ContractBreach, DiskFull, TrainingRefused, WarehouseBusy
from gesture_assets.monitoring.alerts import NIGHT_FAILED, TRAINING_FAILED, Incident
from gesture_assets.nights.alerts import end_failures, end_training_failures, rewrite_file, tell, tell_of_failure
from gesture_assets.records import alert_log
from gesture_assets.settings import Settings, load_settings
from gesture_assets.warehouse.lock import writer_lock
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets_tests.conftest import OpenSession
from gesture_assets_tests.small_world import DAYS
from gesture_assets_tests.webhooks import Posts, listening
from gesture_assets_tests.worlds import SMALL_MOMENT

DAY = date(2026, 3, 9)
BREACH = ContractBreach(
    "validated_subscribers did not pass the audit for 2026-03-09; the last good version stays live.",
    expected="ratings from 1 to 5",
    found="9 of ada@example.com",
    where="rejected.validated_subscribers",
    next_step="fix the CRM, then  gesture run --date 2026-03-09",
)
BUSY = WarehouseBusy("a_step could not start.", expected="the lock", found="held", where="here", next_step="wait")
FULL = DiskFull("a_step could not be finished.", expected="room", found="none", where="here", next_step="make room")
REFUSED = TrainingRefused("Too few rows.", expected="100", found="9", where="here", next_step="wait")


@pytest.fixture
def posts() -> Posts:
    return []


@pytest.fixture(autouse=True)
def webhook(posts: Posts, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with listening(posts) as url:
        monkeypatch.setenv("GESTURE_ALERT_WEBHOOK", url)
        yield url


def fail(
    error: BaseException,
    day: date = DAY,
    *,
    first: date | None = None,
    step: str = "user_features",
    now: datetime | None = None,
    run_id: str = "",
    kind: str = NIGHT_FAILED,
) -> None:
    """Tell of a run for `day`, or from `first` on, whose `step` failed with `error`."""
    moment = now or datetime.combine(day + timedelta(days=1), datetime.min.time()).replace(hour=2)
    days = tuple(date.fromordinal(number) for number in range((first or day).toordinal(), day.toordinal() + 1))
    run = RunInfo(run_id or str(uuid.uuid4()), moment, days, f"alert about {step}")
    tell_of_failure(run, load_settings(), kind, step, error)


@pytest.fixture
def known(open_session: OpenSession) -> Callable[[], list[Incident]]:
    def read() -> list[Incident]:
        with open_session(DAY) as session:
            return alert_log.incidents(session.connection)

    return read


def in_file(settings: Settings) -> list[tuple[str, int]]:
    return [(one["key"], one["night_count"]) for one in json.loads(settings.alerts_file.read_text())["alerts"]]


# ---- what is said, how often, until when -----------------------------------------------------------------------------


def test_a_night_that_fails_three_times_is_one_alert_with_count_3(
    settings: Settings, known: Callable, posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    for attempt in (1, 2, 3):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            fail(BREACH)
        assert any("ERROR night/failed/user_features: The night of 2026-03-09 failed" in m for m in caplog.messages)
        (one,) = known()
        assert (one.night_count, one.is_open, one.is_told, one.first_seen) == (attempt, True, True, DAY)
        assert in_file(settings) == [("night/failed/user_features", attempt)]
    alert = one.alert
    assert (alert.key, alert.severity.value, alert.owner) == (
        "night/failed/user_features",
        "ERROR",
        "data-engineering@gesture.example",
    )
    assert alert.what == (
        "The night of 2026-03-09 failed: ContractBreach: validated_subscribers did not pass the audit for 2026-03-09; "
        "the last good version stays live."
    )
    assert alert.runbook == "fix the CRM, then  gesture run --date 2026-03-09"
    assert alert.place.startswith("step user_features of run ")
    (post,) = posts
    assert "The night of 2026-03-09 failed" in post["text"]
    assert "ada@example.com" not in post["text"]


def test_the_night_that_mends_it_does_not_log_it_again(
    settings: Settings, open_session: OpenSession, caplog: pytest.LogCaptureFixture
) -> None:
    fail(BREACH)
    caplog.clear()
    with caplog.at_level(logging.WARNING), open_session(DAY, run_id="mends") as session:
        incidents, _ = tell(session, settings, DAY, [])
    assert [incident.is_open for incident in incidents] == [True]
    assert caplog.messages == []
    assert in_file(settings) == [("night/failed/user_features", 1)]


def test_the_night_after_that_fails_as_well_is_the_same_alert_and_another_step_is_another(
    known: Callable, posts: Posts
) -> None:
    fail(BREACH)
    fail(BREACH, DAY + timedelta(days=1))
    (one,) = known()
    assert (one.night_count, one.first_seen, one.last_seen) == (2, DAY, DAY + timedelta(days=1))
    fail(RuntimeError("odd"), DAY + timedelta(days=1), step="top_users")
    assert [one.alert.key for one in known()] == ["night/failed/top_users", "night/failed/user_features"]
    assert [len(post["alerts"]) for post in posts] == [1, 1]


def test_a_night_that_has_passed_resolves_it_and_an_older_one_does_not(
    settings: Settings, known: Callable, open_session: OpenSession
) -> None:
    fail(BREACH)
    with open_session(DAY - timedelta(days=1), run_id="older") as session:
        assert not end_failures(session, NIGHT_FAILED, DAY - timedelta(days=1))
    with open_session(DAY, run_id="passed", now=datetime(2026, 3, 15, 2)) as session:  # mended days later
        assert end_failures(session, NIGHT_FAILED, DAY)
        rewrite_file(session, settings, DAY)
    (one,) = known()
    assert (one.is_open, one.resolved_on) == (False, DAY)
    assert in_file(settings) == []


def test_a_publication_that_fails_after_all_takes_its_resolution_back_in_silence(
    known: Callable, open_session: OpenSession, posts: Posts
) -> None:
    for attempt in (1, 2, 3):
        run_id = f"run-{attempt}"
        with open_session(DAY, run_id=run_id) as session:
            assert end_failures(session, NIGHT_FAILED, DAY) is (attempt > 1)
        fail(BREACH, step="published_warehouse", run_id=run_id)
        (one,) = known()
        assert (one.is_open, one.night_count) == (True, attempt)
    assert len(posts) == 1


def test_what_fails_second_in_a_run_is_no_second_alert_and_its_publication_ends_neither(
    known: Callable, open_session: OpenSession
) -> None:
    fail(ValueError("one thing"), step="a_step", run_id="one run")
    fail(ValueError("its consequence"), step="b_step", run_id="one run")
    with open_session(DAY, run_id="one run") as session:
        assert not end_failures(session, NIGHT_FAILED, DAY)
    (one,) = known()
    assert (one.is_open, one.alert.key) == (True, "night/failed/a_step")


def test_a_range_that_fails_names_all_of_it_and_counts_for_its_last_day(known: Callable) -> None:
    fail(BREACH, first=DAY - timedelta(days=3))
    (one,) = known()
    assert one.alert.what.startswith("The night of 2026-03-06 to 2026-03-09 failed: ContractBreach")
    assert one.last_seen == DAY


def test_a_crash_says_its_kind_and_first_line_without_addresses(known: Callable, posts: Posts) -> None:
    fail(ValueError(f"no ada@example.com{' x' * 400}\nselect * from secrets"))
    (one,) = known()
    assert one.alert.what.startswith("The night of 2026-03-09 failed: ValueError: no *** x")
    assert len(one.alert.what) < 400
    assert "secrets" not in json.dumps(posts)
    assert one.alert.runbook.endswith("gesture run --date 2026-03-09")


@pytest.mark.slow
def test_an_old_day_raises_one_of_its_own_that_another_night_does_not_end(
    known: Callable, copied_world: Callable[[str], Path], open_session: OpenSession
) -> None:
    copied_world("small")
    fail(BREACH, DAYS[1], now=SMALL_MOMENT)
    (one,) = known()
    assert (one.alert.key, one.last_seen) == (f"night/failed/user_features/{DAYS[1]}", DAYS[-1])
    assert one.is_open
    with open_session(DAYS[-1], now=SMALL_MOMENT, run_id="later") as session:
        session.connection.execute(
            "insert into warehouse.main.gate_ledger select * replace (attempt + 1 as attempt, 'FAIL' as verdict) "
            f"from warehouse.main.gate_ledger where table_name = 'user_features' and partition = '{DAYS[1]}'"
        )
    with open_session(DAYS[-1], now=SMALL_MOMENT, run_id="next") as session:
        assert not end_failures(session, NIGHT_FAILED, DAYS[-1])
        session.connection.execute("delete from warehouse.main.gate_ledger where verdict = 'FAIL'")
    with open_session(DAYS[1], now=SMALL_MOMENT, run_id="mended") as session:
        assert end_failures(session, NIGHT_FAILED, DAYS[1])
    assert not known()[0].is_open


# ---- trouble while telling -------------------------------------------------------------------------------------------


def test_a_dead_webhook_fails_nothing_and_hears_of_it_the_next_time(
    known: Callable, posts: Posts, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESTURE_ALERT_WEBHOOK", "http://127.0.0.1:9")
    fail(BREACH)
    (one,) = known()
    assert (one.is_open, one.is_told) == (True, False)
    monkeypatch.setenv("GESTURE_ALERT_WEBHOOK", webhook)
    fail(BREACH)
    (one,) = known()
    assert (one.is_told, one.night_count, len(posts)) == (True, 2, 1)


def test_a_warehouse_that_somebody_else_holds_is_not_waited_for_again(
    settings: Settings, known: Callable, posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        writer_lock(settings.warehouse.with_suffix(".lock"), holder="another", timeout_seconds=1),
    ):
        fail(BUSY)  # a second of patience: the default is a quarter of an hour
    assert [post["alerts"][0]["key"] for post in posts] == ["night/failed/user_features"]
    assert any("The log of alerts could not be written: alert about user_features" in m for m in caplog.messages)
    assert known() == []


@pytest.mark.parametrize("error", [FULL, OSError(errno.ENOSPC, "No space left on device")])
def test_a_full_disk_is_told_without_writing_anything(
    data_dir: Path, settings: Settings, posts: Posts, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        fail(error)
    assert len(posts) == 1
    assert any("ERROR night/failed/user_features" in message for message in caplog.messages)
    assert not settings.warehouse.exists()
    assert not settings.alerts_file.exists()


# ---- trainings -------------------------------------------------------------------------------------------------------


def test_a_training_that_fails_is_an_alert_until_one_passes(known: Callable, settings: Settings) -> None:
    # It counts for the last complete night, whatever day it learns from.
    tonight = datetime(2026, 3, 10, 3)
    for _ in range(2):
        fail(MemoryError("too much"), date(2026, 3, 1), step="candidate_model", now=tonight, kind=TRAINING_FAILED)
    (one,) = known()
    assert (one.alert.key, one.night_count, one.last_seen) == ("training/failed/candidate_model", 2, DAY)
    assert one.alert.what.startswith("The training of 2026-03-01 failed: MemoryError: too much")
    end_training_failures(RunInfo("passed", tonight, (DAY,), "candidate_model"), settings)
    assert not known()[0].is_open
    assert in_file(settings) == []


def test_a_training_that_is_refused_is_an_answer_and_no_alert(known: Callable, posts: Posts) -> None:
    fail(REFUSED, step="training_set", kind=TRAINING_FAILED)
    assert known() == posts == []
