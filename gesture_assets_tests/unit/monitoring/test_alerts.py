"""Alerts: one for each trouble, counted, resolved, reopened; told once, and a deaf webhook spoils no night."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gesture_assets.monitoring.alerts import (
    NIGHT_FAILED,
    TRAINING_FAILED,
    Alert,
    Change,
    Incident,
    changes,
    deliver,
    passed,
)
from gesture_assets.vocabulary.severity import Severity
from gesture_assets_tests.webhooks import Posts, listening

NIGHT = date(2026, 3, 9)
LOG = logging.getLogger("test_alerts")
DRIFT = Alert(
    "drift/features/country",
    Severity.WARN,
    "scoring@gesture.example",
    "country drifted: PSI 0.31.",
    "user_features",
    "gesture drift show country",
    {"psi": 0.31},
)
LATE = replace(DRIFT, key="freshness/user_features", severity=Severity.ERROR, what="Not live by six.", numbers={})


def nights_later(nights: int) -> date:
    return NIGHT + timedelta(days=nights)


def opened(alert: Alert = DRIFT, **values: Any) -> Incident:
    return replace(Incident(alert, 1, NIGHT, NIGHT, 1), **values)


def what_follows(incidents: list[Incident], tonight: list[Alert], nights: int, **options: Any) -> list[tuple[Any, ...]]:
    changed = changes(incidents, tonight, nights_later(nights), **{"is_backfill": False, **options})
    return [(change.alert.key, change.incident, change.change) for change in changed]


def test_an_alarm_opens_an_alert_and_sounding_again_repeats_it() -> None:
    assert what_follows([], [DRIFT], 0) == [(DRIFT.key, 1, "opened")]
    assert what_follows([opened()], [DRIFT], 1) == [(DRIFT.key, 1, "repeated")]


def test_the_same_night_again_changes_nothing() -> None:
    assert what_follows([opened()], [DRIFT], 0) == []


def test_a_night_without_the_alarm_resolves_it_once() -> None:
    assert what_follows([opened()], [], 1) == [(DRIFT.key, 1, "resolved")]
    assert what_follows([opened()], [], 0) == [(DRIFT.key, 1, "resolved")]  # mended, and the night run again
    assert what_follows([opened(resolved_on=nights_later(1))], [], 2) == []


def test_what_could_not_be_judged_stays_as_it_is() -> None:
    assert what_follows([opened()], [], 1, unjudged=[DRIFT.key]) == []


@pytest.mark.parametrize(("nights", "expected"), [(2, (1, "reopened")), (8, (1, "reopened")), (9, (2, "opened"))])
def test_back_within_a_week_it_is_the_same_alert_and_later_a_new_one(nights: int, expected: tuple[int, str]) -> None:
    resolved = opened(resolved_on=nights_later(1))
    assert what_follows([resolved], [DRIFT], nights) == [(DRIFT.key, *expected)]


def test_the_newest_incident_of_a_key_counts() -> None:
    incidents = [opened(incident=2, last_seen=nights_later(20)), opened(resolved_on=nights_later(1))]
    assert what_follows(incidents, [DRIFT], 21) == [(DRIFT.key, 2, "repeated")]


def test_a_warning_that_becomes_an_error_escalates_even_within_the_night() -> None:
    worse = replace(DRIFT, severity=Severity.ERROR)
    assert what_follows([opened()], [worse], 0) == [(DRIFT.key, 1, "escalated")]
    assert what_follows([opened(worse)], [DRIFT], 1) == [(DRIFT.key, 1, "repeated")]


def test_two_alarms_of_one_key_are_the_more_severe() -> None:
    worse = replace(DRIFT, severity=Severity.ERROR)
    for both in ([DRIFT, worse], [worse, DRIFT]):
        (changed,) = changes([], both, NIGHT, is_backfill=False)
        assert changed == Change(worse, 1, NIGHT, "opened")


def test_a_backfill_and_an_older_night_raise_and_resolve_nothing() -> None:
    assert what_follows([], [DRIFT], 0, is_backfill=True) == []
    assert what_follows([opened()], [], 5, is_backfill=True) == []
    assert what_follows([opened()], [LATE], -1) == []
    assert what_follows([opened(resolved_on=nights_later(4))], [LATE], 3) == []


# ---- failures ------------------------------------------------------------------------------------------------------

FAILED = replace(LATE, key=f"{NIGHT_FAILED}user_features", what="The night of 2026-03-09 failed.")


def test_a_failure_counts_attempts_of_one_night_too() -> None:
    assert what_follows([], [FAILED], 0) == [(FAILED.key, 1, "opened")]
    assert what_follows([opened(FAILED)], [FAILED], 0) == [(FAILED.key, 1, "repeated")]


def test_alarms_of_a_night_say_nothing_about_failures() -> None:
    assert what_follows([opened(FAILED)], [], 0) == []
    assert what_follows([opened(FAILED)], [DRIFT], 1) == [(DRIFT.key, 1, "opened")]


def test_a_night_that_has_passed_ends_failures_up_to_it_and_nothing_else() -> None:
    training = opened(replace(FAILED, key=f"{TRAINING_FAILED}candidate_model"))
    incidents = [opened(FAILED), opened(DRIFT), opened(FAILED, resolved_on=NIGHT), training]
    assert passed(incidents, NIGHT_FAILED, nights_later(-1)) == []
    for night in (NIGHT, nights_later(1)):
        assert passed(incidents, NIGHT_FAILED, night) == [Change(FAILED, 1, night, "resolved")]
    assert passed(incidents, TRAINING_FAILED, NIGHT) == [Change(training.alert, 1, NIGHT, "resolved")]


# ---- telling -------------------------------------------------------------------------------------------------------


@pytest.fixture
def posts() -> Posts:
    return []


@pytest.fixture
def webhook(posts: Posts, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with listening(posts) as url:
        yield url


def test_news_goes_out_in_exactly_one_post(tmp_path: Path, posts: Posts, webhook: str) -> None:
    incidents = [opened(), opened(LATE), opened(replace(DRIFT, key="told"), is_told=True)]
    delivery = deliver(incidents, LOG, tmp_path / "alerts.json", webhook, night=NIGHT)
    assert delivery.failure is None
    assert [(change.alert.key, change.change, change.night) for change in delivery.told] == [
        (DRIFT.key, "told", NIGHT),
        (LATE.key, "told", NIGHT),
    ]
    (post,) = posts
    assert (post["type"], post["night"]) == ("application/json", "2026-03-09")
    assert [alert["key"] for alert in post["alerts"]] == [DRIFT.key, LATE.key]
    assert post["text"].splitlines()[0] == (
        "WARN drift/features/country: country drifted: PSI 0.31. Where: user_features. Next: gesture drift show country"
    )
    assert post["alerts"][0]["numbers"] == {"psi": 0.31}


@pytest.mark.parametrize(
    "incidents",
    [
        [],
        [opened(is_told=True, night_count=3)],
        [opened(is_acknowledged=True)],
        [opened(resolved_on=NIGHT)],
    ],
)
def test_nothing_is_posted_where_there_is_no_news(
    tmp_path: Path, posts: Posts, webhook: str, incidents: list[Incident]
) -> None:
    assert deliver(incidents, LOG, tmp_path / "alerts.json", webhook, night=NIGHT).told == ()
    assert posts == []


def test_the_file_holds_what_is_open_and_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    incidents = [opened(is_acknowledged=True, note="known"), opened(LATE, resolved_on=NIGHT)]
    assert deliver(incidents, LOG, path, None, night=NIGHT).told == ()
    (row,) = json.loads(path.read_text())["alerts"]
    assert (row["key"], row["severity"], row["first_seen"], row["is_acknowledged"], row["note"]) == (
        DRIFT.key,
        "WARN",
        "2026-03-09",
        True,
        "known",
    )
    deliver([], LOG, path, None, night=NIGHT)
    assert json.loads(path.read_text()) == {"night": "2026-03-09", "alerts": []}
    assert list(tmp_path.iterdir()) == [path]


def test_the_log_has_a_line_for_each_open_alert_that_nobody_has_acknowledged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    incidents = [
        opened(is_told=True, night_count=3),
        opened(LATE),
        opened(replace(LATE, key="known"), is_acknowledged=True),
    ]
    with caplog.at_level(logging.INFO):
        deliver(incidents, LOG, tmp_path / "alerts.json", None, night=NIGHT)
    assert [(record.levelname, record.getMessage().split(" Where")[0]) for record in caplog.records] == [
        ("WARNING", "WARN drift/features/country: country drifted: PSI 0.31. (night 3 since 2026-03-09)"),
        ("ERROR", "ERROR freshness/user_features: Not live by six."),
    ]


@pytest.mark.parametrize(("path", "why"), [("/500", "500"), ("/moved", "302")])
def test_a_webhook_that_refuses_is_a_note(
    tmp_path: Path, posts: Posts, webhook: str, path: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = deliver([opened()], LOG, tmp_path / "alerts.json", webhook + path, night=NIGHT)
    assert delivery.told == ()
    assert why in str(delivery.failure)
    assert len(posts) == 1
    assert delivery.failure in caplog.messages


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/secret", "nonsense/secret", "http://a b/secret", "http://[/secret"]
)
def test_a_webhook_that_is_not_there_is_a_note_without_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    delivery = deliver([opened()], LOG, tmp_path / "alerts.json", url, night=NIGHT)
    assert delivery.told == ()
    assert str(delivery.failure).startswith("The webhook (GESTURE_ALERT_WEBHOOK) did not take the alerts: ")
    assert "secret" not in str(delivery.failure)


def test_a_webhook_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from socket import socket

    monkeypatch.setenv("no_proxy", "*")
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        delivery = deliver([opened()], LOG, tmp_path / "alerts.json", url, night=NIGHT, timeout_seconds=0.2)
    assert "timed out" in str(delivery.failure)
