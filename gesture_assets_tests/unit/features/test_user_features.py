"""User features: counted again by hand, blind to what became known later, the same alone and among many moments."""

from collections import Counter
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest

from gesture_assets.events.roll_up import daily_activity
from gesture_assets.events.sessionise import filed_sessions, sessionise
from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features import user_features as room
from gesture_assets.features.feature_registry import PROFILE, WINDOWS
from gesture_assets.features.tables import user_features
from gesture_assets.subscribers.tables import validated_subscribers
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets_tests.events_by_hand import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    collected,
    event,
    events_table,
    lazy,
    random_events,
    schema_of,
    table,
)

TAGS = ("jumpstart", "webinar_01")
SUBSCRIBERS = validated_subscribers(TAGS)
FEATURES = user_features(TAGS)
DAY = 1440  # minutes

Rows = list[dict[str, Any]]


def midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time())


def moments(*days: date) -> pl.DataFrame:
    return pl.DataFrame(
        {"as_of_date": list(days), "as_of": [midnight_after(day) for day in days]},
        schema={"as_of_date": pl.Date, "as_of": pl.Datetime("us")},
    )


def subscriber(mailchimp_id: int = 1, day: date = MONDAY, **values: Any) -> dict[str, Any]:
    return {
        "as_of_date": day,
        "mailchimp_id": str(mailchimp_id),
        "email_key": f"k{mailchimp_id}",
        "member_rating": 3,
        "optin_date": date(2026, 1, 31),
        "made_purchase": 0,
        "tag_count": 0,
        "tag_jumpstart": 0,
        "tag_webinar_01": 0,
        "tag_other": 0,
        **values,
    }


def link(anonymous_user_id: str, user_id: str, day: date = MONDAY) -> dict[str, Any]:
    return {"as_of_date": day, "anonymous_user_id": anonymous_user_id, "user_id": user_id}


def features_of(
    events: Rows,
    *days: date,
    links: Rows = (),
    subscribers: Rows = (),
    include_bots: bool = False,  # type: ignore[assignment]
) -> pl.DataFrame:
    frame = lazy(events_table(*events))
    # Collected here: Polars takes seconds to plan both rooms at once.
    activity = collected(daily_activity(frame, filed_sessions(frame, frame)), DAILY_ACTIVITY)
    features = room.user_features(
        lazy(activity),
        lazy(table(links, schema_of(IDENTITY_LINKS))),
        lazy(table(subscribers, schema_of(SUBSCRIBERS))),
        lazy(moments(*days or (MONDAY,))),
        tags=TAGS,
        include_bots=include_bots,
    )
    return collected(features, FEATURES).sort("as_of_date", "user_id")


def only_row(events: Rows, *days: date, **others: Any) -> dict[str, Any]:
    (row,) = features_of(events, *days, **others).to_dicts()
    return row


def test_a_window_of_n_days_holds_the_as_of_day_and_the_n_minus_1_before_it() -> None:
    first_moment, moment_before = -12 * 60, -12 * 60 - 1  # minutes from noon
    events = []
    for days in WINDOWS:
        start = -(days - 1) * DAY
        events.append(event(start + first_moment, user_id=f"inside {days}", event_type="purchase"))
        events.append(event(start + moment_before, user_id=f"outside {days}", event_type="purchase"))
    rows = {row["user_id"]: row for row in features_of(events).to_dicts()}
    stems = ("purchase", "event", "session", "active_day")
    for days in WINDOWS:
        inside, outside = rows[f"inside {days}"], rows[f"outside {days}"]
        assert [inside[f"{stem}_count_{days}d"] for stem in stems] == [1] * 4
        assert [outside[f"{stem}_count_{days}d"] for stem in stems] == [0] * 4
        assert [outside[f"{stem}_count"] for stem in stems] == [1] * 4
        assert (inside["days_since_last_purchase"], outside["days_since_last_purchase"]) == (days - 1, days)


def test_counts_in_every_window_are_those_of_a_recount() -> None:
    events = [row for row in random_events(11, 400, days=100) if not row["is_bot"]]
    days = (MONDAY + timedelta(days=60), MONDAY + timedelta(days=99))
    features = {(row["as_of_date"], row["user_id"]): row for row in features_of(events, *days).to_dicts()}
    for day in days:
        known = [row for row in events if row["as_of_date"] <= day]
        visits = collected(sessionise(lazy(events_table(*known)))).to_dicts()
        for user in {row["user_id"] for row in known}:
            row = features.pop((day, user))
            own = [(r["event_type"], (day - r["event_at"].date()).days) for r in known if r["user_id"] == user]
            begun = [(day - r["started_at"].date()).days for r in visits if r["user_id"] == user]
            for window in WINDOWS:
                counts = Counter(name for name, age in own if age < window)
                assert {name: row[f"{name}_count_{window}d"] for name in counts} == counts
                assert row[f"event_count_{window}d"] == counts.total()
                assert row[f"active_day_count_{window}d"] == len({age for _, age in own if age < window})
                assert row[f"session_count_{window}d"] == sum(age < window for age in begun)
            for name in EVENT_TYPE_NAMES:
                ages = [age for kind, age in own if kind == name]
                assert row[f"{name}_count"] == len(ages)
                assert row[f"days_since_last_{name}"] == (min(ages) if ages else None)
            assert row["session_count"] == len(begun)
    assert not features


def test_recency_counts_to_the_end_of_the_day() -> None:
    row = only_row([event(-DAY), event(0)])
    assert (row["days_since_first_event"], row["days_since_last_event"]) == (1.5, 0.5)
    assert (row["first_event_at"], row["last_event_at"]) == (event(-DAY)["event_at"], event(0)["event_at"])


def test_rates_and_time_on_pages() -> None:
    events = [event(0, dwell_seconds=2.0, is_spam=True), event(1, dwell_seconds=3.0), event(60, is_repeat_session=True)]
    row = only_row(events)
    assert [row[name] for name in ("bounce_rate", "spam_rate", "repeat_session_rate")] == [0.5] * 3
    assert (row["session_count"], row["dwell_seconds_30d"], row["dwell_seconds_per_session"]) == (2, 5.0, 2.5)


def test_a_trend_compares_this_week_with_the_three_before() -> None:
    ages = {"rising": range(7), "falling": range(7, 28), "past": range(28, 30)}
    features = features_of([event(-DAY * age, user_id=user) for user in ages for age in ages[user]])
    assert features.select("user_id", "engagement_trend").rows() == [("falling", -1.0), ("past", 0.0), ("rising", 1.0)]


def test_acceleration_compares_the_rise_of_this_week_with_that_of_the_week_before() -> None:
    ages = {"steady": range(30), "sudden": range(7), "slowing": range(7, 14), "past": range(14, 30)}
    features = features_of([event(-DAY * age, user_id=user) for user in ages for age in ages[user]])
    of = dict(features.select("user_id", "engagement_acceleration").rows())
    assert {user: round(found, 12) for user, found in of.items()} == {
        "steady": 0.0,
        "sudden": 1.0,
        "slowing": -2.0,
        "past": 1.0,
    }


def test_converted_is_who_signed_up_and_booked() -> None:
    done = {"u": ("signup", "calendar_booking"), "v": ("signup", "signup"), "w": ("calendar_booking",)}
    features = features_of([event(0, user_id=user, event_type=name) for user in done for name in done[user]])
    assert features.select("user_id", "is_converted").rows() == [("u", True), ("v", False), ("w", False)]


# ---- time ----


def test_what_became_known_later_changes_nothing() -> None:
    events = [row for row in random_events(3, 150) if not row["is_bot"]]
    known = [row for row in events if row["as_of_date"] <= TUESDAY]
    later = [row for row in events if row["as_of_date"] > TUESDAY]
    assert any(row["event_at"].date() <= TUESDAY for row in later), "late events are among them"
    links = [link("anon:x", "u"), link("w", "v", WEDNESDAY)]
    people = [subscriber(1, TUESDAY), subscriber(1, WEDNESDAY, member_rating=5)]
    before = features_of(known, TUESDAY, links=links[:1], subscribers=people[:1])
    after = features_of(known + later, TUESDAY, links=links, subscribers=people)
    assert before.equals(after)
    assert before.write_csv() == after.write_csv()
    assert not features_of(events, WEDNESDAY).drop("as_of_date").equals(before.drop("as_of_date"))


@pytest.mark.slow
def test_several_moments_at_once_are_what_each_gives_alone() -> None:
    events, days = random_events(4, 120), (MONDAY, TUESDAY, WEDNESDAY)
    others: dict[str, Any] = {
        "links": [link("x", "u", TUESDAY), link("w", "v", WEDNESDAY)],
        "subscribers": [subscriber(n, day) for day in days for n in (1, 2, 3)],
    }
    at_once = features_of(events, *days, **others)
    alone = pl.concat([features_of(events, day, **others) for day in days])
    assert at_once.height > 10
    assert at_once.equals(alone)


def test_a_late_event_counts_from_the_day_it_is_known() -> None:
    events = [event(0), event(60, as_of_date=TUESDAY)]
    rows = features_of(events, MONDAY, TUESDAY).select("as_of_date", "event_count_1d", "event_count_7d").rows()
    assert rows == [(MONDAY, 1, 1), (TUESDAY, 0, 2)]


# ---- people ----


def test_a_visitor_is_a_user_only_from_the_moment_it_is_known() -> None:
    events = [event(0, user_id="anon:x"), event(1, user_id="anon:x"), event(DAY, user_id="u")]
    links = [link("anon:x", "u", TUESDAY)]
    features = features_of(events, MONDAY, TUESDAY, links=links).select("as_of_date", "user_id", "event_count").rows()
    assert features == [(MONDAY, "anon:x", 2), (TUESDAY, "u", 3)]


def test_an_address_that_only_a_call_gave_makes_a_user_the_subscriber_from_then_on() -> None:
    address = {**link("email:anon:x", "anon:x", TUESDAY), "email_key": "k1", "linked_at": midnight_after(MONDAY)}
    events, links = [event(0, user_id="anon:x")], [address, link("anon:x", "u", WEDNESDAY)]
    people = [subscriber(1, day, email_key="k1") for day in (MONDAY, TUESDAY, WEDNESDAY)]
    features = features_of(events, MONDAY, TUESDAY, WEDNESDAY, links=links, subscribers=people)
    assert features.select("as_of_date", "user_id", "mailchimp_id").rows() == [
        (MONDAY, "anon:x", None),
        (MONDAY, "subscriber:1", "1"),
        (TUESDAY, "anon:x", "1"),
        (WEDNESDAY, "u", "1"),
    ]


def test_the_row_of_an_address_renames_nobody_who_is_called_like_it() -> None:
    address = {**link("email:v", "v"), "email_key": "k1", "linked_at": midnight_after(MONDAY)}
    features = features_of([event(0, user_id="email:v"), event(1, user_id="v")], links=[address])
    assert features.select("user_id", "event_count").rows() == [("email:v", 1), ("v", 1)]


def test_a_day_may_hold_as_many_events_of_a_user_as_machines_send() -> None:
    events = [event(n / 60_000, user_id="u") for n in range(40_000)]
    assert only_row(events)["page_view_count_1d"] == 40_000


def test_two_visitors_may_be_one_user() -> None:
    events = [event(0, user_id="anon:x"), event(60, user_id="anon:y"), event(120, user_id="anon:z")]
    features = features_of(events, links=[link("anon:x", "u"), link("anon:y", "u")])
    assert features.select("user_id", "event_count", "session_count", "active_day_count").rows() == [
        ("anon:z", 1, 1, 1),
        ("u", 2, 2, 1),
    ]


def test_the_first_link_ever_known_is_followed_and_no_event_counts_twice() -> None:
    events = [event(0, user_id="anon:x")]
    links = [link("anon:x", "v", WEDNESDAY), link("anon:x", "u", TUESDAY)]
    features = (
        features_of(events, TUESDAY, WEDNESDAY, links=links).select("as_of_date", "user_id", "event_count").rows()
    )
    assert sorted(features) == [(TUESDAY, "u", 1), (WEDNESDAY, "u", 1)]


def test_bots_are_left_out_unless_they_are_wanted() -> None:
    events = [event(0), event(1, user_id="v", is_bot=True), event(2, is_bot=True)]
    assert features_of(events).select("user_id", "event_count").rows() == [("u", 1)]
    assert features_of(events, include_bots=True).select("user_id", "event_count").rows() == [("u", 2), ("v", 1)]


def test_ties_of_devices_go_to_the_first_in_the_alphabet() -> None:
    used = {
        "a": ["mobile", "desktop"],
        "b": ["tablet", "mobile", "mobile"],
        "c": ["tablet", "other"],
        "d": [None],
        "e": [None, None, "tablet"],
    }
    features = features_of(
        [event(60 * n, user_id=user, device=device) for user in used for n, device in enumerate(used[user])]
    )
    assert features["primary_device"].to_list() == ["desktop", "mobile", "other", None, "tablet"]


def test_the_last_value_that_is_known_counts() -> None:
    row = only_row([event(0, city="Bath", country="GB"), event(DAY, city="Köln"), event(2 * DAY)], WEDNESDAY)
    assert (row["city"], row["country"], row["gender"]) == ("Köln", "GB", None)


# ---- subscribers ----


def test_a_user_and_a_subscriber_are_one_where_their_addresses_agree() -> None:
    row = only_row(
        [event(0, email_key="k1")], subscribers=[subscriber(1, member_rating=5, country="GB", made_purchase=1)]
    )
    assert (row["user_id"], row["is_subscriber"], row["mailchimp_id"], row["member_rating"]) == ("u", True, "1", 5)
    assert (row["subscriber_country"], row["made_purchase"], row["event_count"]) == ("GB", 1, 1)


def test_a_subscriber_without_events_has_a_row_of_its_own() -> None:
    features = features_of([event(0)], subscribers=[subscriber(1)])
    columns = ("user_id", "is_subscriber", "mailchimp_id", "event_count", "bounce_rate", "days_since_last_event")
    assert features.select(columns).rows() == [
        ("subscriber:1", True, "1", 0, 0.0, None),
        ("u", False, None, 1, 1.0, 0.5),
    ]


def test_a_user_without_subscription_has_unknown_features_not_zero_ones() -> None:
    row = only_row([event(0)])
    unknown = ("tag_count", "tag_other", "tag_jumpstart", "optin_days", "made_purchase")
    assert [row[name] for name in unknown] == [None] * 5


def test_nobody_is_lost_where_there_are_no_events_at_all() -> None:
    features = features_of([], subscribers=[subscriber(1), subscriber(2)])
    assert features["user_id"].to_list() == ["subscriber:1", "subscriber:2"]


OPT_INS = [
    (date(2026, 1, 31), (37, 1, 6, 31, 1, True)),
    (date(2026, 3, 9), (0, 3, 1, 68, 1, False)),
    (date(2024, 12, 31), (433, 12, 2, 366, 4, False)),
    (date(2025, 4, 1), (342, 4, 2, 91, 2, False)),
    (date(2025, 6, 29), (253, 6, 7, 180, 2, True)),
    (date(2025, 9, 30), (160, 9, 2, 273, 3, False)),
    (date(2025, 10, 1), (159, 10, 3, 274, 4, False)),
    (None, (None,) * 6),
]


def test_opt_in_counts_from_the_day_and_not_from_the_batch() -> None:
    columns = [f"optin_{name}" for name in ("days", "month", "day_of_week", "day_of_year", "quarter", "is_weekend")]
    people = [subscriber(n, optin_date=optin) for n, (optin, _) in enumerate(OPT_INS)]
    together = features_of([], subscribers=people).select(columns).rows()
    assert together == [expected for _, expected in OPT_INS]
    for others in ([], people[1:2], people[4:]):
        batch = features_of([], subscribers=[people[0], *others])
        assert batch.filter(pl.col("mailchimp_id") == "0").select(columns).rows() == together[:1]


def test_a_profile_is_as_complete_as_the_share_of_it_that_is_known() -> None:
    stranger = only_row([event(0, country="GB", device="mobile")])
    known = {name for name in PROFILE if stranger[name] is not None}
    assert "country" in known
    assert stranger["profile_completeness"] == pytest.approx(len(known) / 9)
    assert only_row([], subscribers=[subscriber(1, country="GB")])["profile_completeness"] == pytest.approx(4 / 9)
    nobody = only_row(
        [], subscribers=[subscriber(1, member_rating=None, country=None, optin_date=None, tag_count=None)]
    )
    assert nobody["profile_completeness"] == 0


def test_a_rating_keeps_its_order() -> None:
    features = features_of([], subscribers=[subscriber(n, member_rating=n) for n in range(1, 6)])
    assert features["member_rating"].to_list() == [1, 2, 3, 4, 5]


def test_tags_have_columns_and_a_new_one_lands_in_other() -> None:
    row = only_row([], subscribers=[subscriber(1, tag_count=3, tag_jumpstart=1, tag_other=2)])
    assert (row["tag_count"], row["tag_jumpstart"], row["tag_webinar_01"], row["tag_other"]) == (3, 1, 0, 2)


def test_two_users_with_one_address_are_both_the_subscriber() -> None:
    features = features_of(
        [event(0, email_key="k1"), event(1, user_id="v", email_key="k1")], subscribers=[subscriber(1)]
    )
    assert features.select("user_id", "mailchimp_id").rows() == [("u", "1"), ("v", "1")]
