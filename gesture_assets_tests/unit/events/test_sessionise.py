"""Visits: what belongs together, and which forms of a visit a day files or withdraws."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.events.sessionise import filed_sessions, sessionise
from gesture_assets.events.tables import SESSIONS
from gesture_assets_tests.events_by_hand import MONDAY, NOON, TUESDAY, WEDNESDAY, event, events_table, lazy


def minute(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def visits(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return sessionise(lazy(events_table(*events))).collect().to_native().sort("user_id", "started_at").to_dicts()


def filed(*events: dict[str, Any], days: list[date] | None = None) -> pl.DataFrame:
    """What each day files, every day seen on its own as a night sees it."""
    history = lazy(events_table(*events))
    frames = []
    for day in days or sorted({row["as_of_date"] for row in events}):
        new, known = nw.col("as_of_date") == day, nw.col("as_of_date") <= day
        frames.append(filed_sessions(history.filter(new), history.filter(known)).collect().to_native())
    return pl.concat(frames).sort("as_of_date", "session_id", "filed", "event_count")


def standing(table: pl.DataFrame) -> list[tuple]:
    """The forms that hold after all days: their `filed` adds up to 1."""
    content = [name for name in SESSIONS.column_names if name not in ("as_of_date", "filed")]
    sums = table.group_by(content).agg(pl.col("filed").sum())
    assert set(sums["filed"]) <= {0, 1}
    columns = ("session_id", "event_count", "dwell_seconds")
    return sums.filter(pl.col("filed") == 1).select(columns).sort("session_id").rows()


@pytest.mark.parametrize(("pause", "count"), [(29, 1), (30, 1), (30 + 1 / 60, 2), (31, 2)])
def test_a_pause_of_more_than_thirty_minutes_starts_a_visit(pause: float, count: int) -> None:
    sessions = visits(event(0), event(pause))
    assert len(sessions) == count
    assert sum(visit["event_count"] for visit in sessions) == 2


def test_a_visit_may_be_long_as_long_as_no_pause_is() -> None:
    (visit,) = visits(*(event(25 * n) for n in range(20)))
    assert (visit["started_at"], visit["ended_at"], visit["event_count"]) == (minute(0), minute(475), 20)


def test_a_visit_across_midnight_is_one() -> None:
    (visit,) = visits(event(11 * 60 + 50), event(12 * 60 + 10))
    assert (visit["started_at"], visit["ended_at"]) == (datetime(2026, 3, 9, 23, 50), datetime(2026, 3, 10, 0, 10))


def test_users_do_not_share_visits() -> None:
    sessions = visits(event(0), event(1, user_id="v"), event(2))
    assert [(visit["user_id"], visit["event_count"]) for visit in sessions] == [("u", 2), ("v", 1)]


def test_events_of_one_moment_are_one_visit() -> None:
    (visit,) = visits(event(0), event(0), event(0))
    assert (visit["event_count"], visit["ended_at"]) == (3, NOON)


def test_a_source_s_own_sessions_stay_as_they_are() -> None:
    own = {"source_session_id": "s1"}
    other = event(1, source_session_id="s2")
    sessions = visits(event(0, **own), event(600, **own), other, event(2), event(3, source="b", **own))
    assert [(visit["session_id"], visit["event_count"]) for visit in sessions] == [
        ("u@native@s1", 2),
        ("u@native@s2", 1),
        ("u@20260309T120200", 1),
        ("u@b@s1", 1),
    ]


def test_a_source_s_session_called_like_a_moment_is_still_another_visit() -> None:
    own = {"source_session_id": "20260309T120000"}
    sessions = visits(event(0), event(0, **own))
    assert len({visit["session_id"] for visit in sessions}) == 2


def test_time_on_pages_is_added_and_a_null_counts_nothing() -> None:
    (visit,) = visits(event(0, dwell_seconds=0.1), event(1, dwell_seconds=0.2), event(2))
    assert visit["dwell_seconds"] == 0.3


@pytest.mark.parametrize(
    ("flags", "is_bounce"),
    [
        ([None], True),
        ([None, None], False),
        ([False], False),
        ([True, True], True),
        ([False, True], True),
        ([None, False], False),
    ],
)
def test_a_bounce_is_what_the_source_says_or_a_visit_of_one_event(flags: list[bool | None], is_bounce: bool) -> None:
    (visit,) = visits(*(event(n, is_bounce=flag) for n, flag in enumerate(flags)))
    assert visit["is_bounce"] is is_bounce


def test_flags_hold_for_a_visit_where_they_hold_for_an_event() -> None:
    (visit,) = visits(event(0), event(1, is_spam=True, is_repeat_session=True, is_bot=True), event(2, is_spam=False))
    assert (visit["is_spam"], visit["is_repeat"], visit["is_bot"]) == (True, True, True)
    (visit,) = visits(event(0), event(1, is_spam=False))
    assert (visit["is_spam"], visit["is_repeat"], visit["is_bot"]) == (False, False, False)


@pytest.mark.parametrize(
    ("devices", "commonest"),
    [
        (["mobile", "desktop", "mobile"], "mobile"),
        (["tablet", "mobile"], "mobile"),
        ([None, "tablet"], "tablet"),
        ([None, None, "tablet"], "tablet"),
        ([None], None),
    ],
)
def test_a_visit_s_device_is_the_commonest_and_ties_go_to_the_alphabet(
    devices: list[str | None], commonest: str | None
) -> None:
    (visit,) = visits(*(event(n, device=device) for n, device in enumerate(devices)))
    assert visit["device"] == commonest


# ---- filing ----

EVENING = 11 * 60 + 50  # minutes after noon: ten to midnight


def test_a_day_files_its_visits_in_the_contract_s_columns() -> None:
    sessions = filed(event(0), event(60))
    assert tuple(sessions.columns) == SESSIONS.column_names
    assert sessions.select("as_of_date", "session_id", "filed", "event_count").rows() == [
        (MONDAY, "u@20260309T120000", 1, 1),
        (MONDAY, "u@20260309T130000", 1, 1),
    ]


def test_a_visit_that_goes_on_next_day_is_withdrawn_and_filed_anew() -> None:
    sessions = filed(event(EVENING, dwell_seconds=1.5), event(EVENING + 20, dwell_seconds=2.0))
    name = "u@20260309T235000"
    assert sessions.select("as_of_date", "session_id", "filed", "event_count", "dwell_seconds", "is_bounce").rows() == [
        (MONDAY, name, 1, 1, 1.5, True),
        (TUESDAY, name, -1, 1, 1.5, True),
        (TUESDAY, name, 1, 2, 3.5, False),
    ]
    assert (sessions["filed"] * sessions["dwell_seconds"]).sum() == 3.5
    assert (sessions["filed"].cast(pl.Int32) * sessions["event_count"]).sum() == 2


def test_a_visit_that_did_not_change_is_not_filed_again() -> None:
    sessions = filed(event(0), event(EVENING + 600), event(EVENING + 1440))
    assert Counter(sessions["session_id"]).most_common(1)[0][1] == 1


def test_a_late_event_joins_two_visits() -> None:
    sessions = filed(event(0), event(50), event(25, as_of_date=TUESDAY))
    assert sessions.select("as_of_date", "session_id", "filed", "event_count").rows() == [
        (MONDAY, "u@20260309T120000", 1, 1),
        (MONDAY, "u@20260309T125000", 1, 1),
        (TUESDAY, "u@20260309T120000", -1, 1),
        (TUESDAY, "u@20260309T120000", 1, 3),
        (TUESDAY, "u@20260309T125000", -1, 1),
    ]


def test_a_late_event_before_a_visit_gives_it_another_beginning() -> None:
    sessions = filed(event(0), event(-10, as_of_date=TUESDAY))
    assert standing(sessions) == [("u@20260309T115000", 2, 0.0)]


def test_a_late_event_that_changes_nothing_else_is_a_visit_of_its_own() -> None:
    sessions = filed(event(0), event(-60, as_of_date=TUESDAY))
    on_tuesday = sessions.filter(pl.col("as_of_date") == TUESDAY)
    assert on_tuesday.select("session_id", "filed").rows() == [("u@20260309T110000", 1)]


def test_a_source_session_that_pauses_for_weeks_is_filed_whole() -> None:
    own, later = {"source_session_id": "s"}, date(2026, 3, 29)
    sessions = filed(event(0, **own), event(20 * 1440, **own))
    assert sessions.select("as_of_date", "filed", "event_count").rows() == [
        (MONDAY, 1, 1),
        (later, -1, 1),
        (later, 1, 2),
    ]


def test_another_user_s_new_events_do_not_touch_a_visit() -> None:
    sessions = filed(event(EVENING), event(EVENING + 20, user_id="v"))
    assert sessions.select("as_of_date", "user_id", "filed").rows() == [(MONDAY, "u", 1), (TUESDAY, "v", 1)]


def test_many_days_at_once_are_what_each_day_files_alone() -> None:
    events = [
        event(EVENING),
        event(EVENING + 20),
        event(EVENING + 25, as_of_date=WEDNESDAY),
        event(EVENING + 1440),
        event(EVENING + 1455, user_id="v"),
        event(EVENING + 1470),
        event(0, as_of_date=WEDNESDAY),
        event(5, source_session_id="s"),
        event(2000, source_session_id="s"),
    ]
    history = lazy(events_table(*events))
    at_once = filed_sessions(history, history).collect().to_native()
    assert at_once.sort("as_of_date", "session_id", "filed", "event_count").equals(filed(*events))


def test_what_stands_after_all_days_is_what_all_events_say() -> None:
    events = [event(EVENING - 20 * n, as_of_date=MONDAY + timedelta(days=n % 3)) for n in range(12)]
    events += [event(EVENING + 25 * n, dwell_seconds=0.1) for n in range(6)]
    expected = [(v["session_id"], v["event_count"], v["dwell_seconds"]) for v in visits(*events)]
    assert standing(filed(*events)) == sorted(expected)
