"""Telling people: once, in one POST, of news only; a deaf webhook spoils no night and its address is not told."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gesture_assets.monitoring.alerts import Incident
from gesture_assets.records.alert_delivery import deliver
from gesture_assets_tests.alerts_by_hand import DRIFT, LATE, NIGHT, opened
from gesture_assets_tests.webhooks import Posts, listening

LOG = logging.getLogger("test_alert_delivery")


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
