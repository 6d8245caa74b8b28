"""Alerts: one for each trouble, counted, resolved, reopened, and escalated."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from gesture_assets.monitoring.alerts import (
    NIGHT_FAILED,
    TRAINING_FAILED,
    Alert,
    Change,
    Incident,
    changes,
    key_of_old_days,
    passed,
)
from gesture_assets.vocabulary.severity import Severity
from gesture_assets_tests.alerts_by_hand import DRIFT, LATE, NIGHT, opened


def nights_later(nights: int) -> date:
    return NIGHT + timedelta(days=nights)


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


@pytest.mark.parametrize("first", [-9, -7])
def test_the_failure_of_old_days_is_over_when_none_of_them_waits(first: int) -> None:
    key = key_of_old_days(FAILED.key, nights_later(first), nights_later(-7))
    old = replace(opened(), alert=replace(FAILED, key=key))
    for night in (nights_later(-7), NIGHT, nights_later(1)):
        assert passed([old], NIGHT_FAILED, night, waiting=[nights_later(-7)]) == []
        assert passed([old], NIGHT_FAILED, night, waiting=[nights_later(-10), nights_later(-6)]) == [
            Change(old.alert, 1, max(night, NIGHT), "resolved")
        ]
