"""The daily roll-up, counted again in plain Python."""

from collections import defaultdict
from typing import Any

from gesture_assets.events.roll_up import ATTRIBUTES, daily_activity
from gesture_assets.events.sessionise import filed_sessions
from gesture_assets.events.tables import DAILY_ACTIVITY
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets_tests.events_by_hand import (
    MONDAY,
    TUESDAY,
    collected,
    event,
    events_table,
    lazy,
    random_events,
)


def activity(*events: dict[str, Any]) -> list[dict[str, Any]]:
    frame = lazy(events_table(*events))
    rows = collected(daily_activity(frame, filed_sessions(frame, frame)), DAILY_ACTIVITY)
    return rows.sort("as_of_date", "user_id", "activity_date", "is_bot").to_dicts()


def test_counts_are_those_of_a_recount() -> None:
    events = random_events(5, 300)
    recount: dict[tuple, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in events:
        key = (row["as_of_date"], row["user_id"], row["event_at"].date(), row["is_bot"])
        recount[key][f"{row['event_type']}_count"] += 1
        recount[key]["event_count"] += 1
        recount[key]["milliseconds"] += round((row["dwell_seconds"] or 0) * 1000)
    rows = activity(*events)
    assert set(recount) <= {_key(row) for row in rows}
    for row in rows:
        expected = recount.get(_key(row), {})
        for name in (*(f"{name}_count" for name in EVENT_TYPE_NAMES), "event_count"):
            assert row[name] == expected.get(name, 0), (name, row)
        assert round(row["dwell_seconds"] * 1000, 3) == expected.get("milliseconds", 0)
    assert sum(row["event_count"] for row in rows) == len(events)


def _key(row: dict[str, Any]) -> tuple:
    return (row["as_of_date"], row["user_id"], row["activity_date"], row["is_bot"])


def test_last_values_are_those_of_a_recount() -> None:
    events = random_events(6, 120)
    last: dict[tuple, tuple] = {}
    for row in events:
        key = (row["as_of_date"], row["user_id"], row["event_at"].date(), row["is_bot"])
        if row["country"]:
            last[key] = max(last.get(key, (row["event_at"], "")), (row["event_at"], row["country"]))
    assert {_key(row): row["country"] for row in activity(*events) if row["country"]} == {
        key: country for key, (_, country) in last.items()
    }


def test_a_late_event_counts_for_its_own_day_from_the_day_it_is_known() -> None:
    rows = activity(event(0), event(120, as_of_date=TUESDAY), event(1440))
    assert [(row["as_of_date"], row["activity_date"], row["event_count"], row["session_count"]) for row in rows] == [
        (MONDAY, MONDAY, 1, 1),
        (TUESDAY, MONDAY, 1, 1),
        (TUESDAY, TUESDAY, 1, 1),
    ]


def test_visits_that_turn_out_to_be_one_are_subtracted() -> None:
    rows = activity(event(0), event(50), event(25, as_of_date=TUESDAY))
    columns = ("as_of_date", "event_count", "session_count", "bounced_session_count")
    assert [tuple(row[name] for name in columns) for row in rows] == [(MONDAY, 2, 2, 2), (TUESDAY, 1, -1, -2)]


def test_a_visit_that_goes_on_after_midnight_began_the_day_before() -> None:
    rows = activity(event(710, dwell_seconds=1.0, device="mobile"), event(730, dwell_seconds=2.0, device="mobile"))
    columns = (
        "as_of_date",
        "activity_date",
        "event_count",
        "session_count",
        "mobile_session_count",
        "session_dwell_seconds",
        "dwell_seconds",
    )
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (MONDAY, MONDAY, 1, 1, 1, 1.0, 1.0),
        (TUESDAY, MONDAY, 0, 0, 0, 2.0, 0.0),
        (TUESDAY, TUESDAY, 1, 0, 0, 0.0, 2.0),
    ]
    assert rows[1]["last_event_at"] is None


def test_what_bots_do_stays_apart() -> None:
    rows = activity(event(0), event(1, user_id="v", is_bot=True))
    assert [(row["user_id"], row["is_bot"], row["event_count"]) for row in rows] == [("u", False, 1), ("v", True, 1)]


def test_of_two_values_of_one_moment_the_greater_is_kept() -> None:
    (row,) = activity(event(0, city="Bath"), event(0, city="York"), event(-5, city="Zürich"), event(5))
    assert row["city"] == "York"


def test_a_value_that_nobody_said_is_null() -> None:
    (row,) = activity(event(0))
    assert [row[name] for name in ATTRIBUTES] == [None] * len(ATTRIBUTES)
