"""Every room gives exactly the same rows on DuckDB, which runs the nights, and on Polars, which runs the tests."""

import random
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesture_assets.contracts.contract import Contract
from gesture_assets.events import accept
from gesture_assets.events.roll_up import activity_to_date, daily_activity
from gesture_assets.events.sessionise import filed_sessions, sessionise
from gesture_assets.events.tables import ACTIVITY_TO_DATE, DAILY_ACTIVITY, IDENTITY_LINKS, RAW_EVENTS, SESSIONS
from gesture_assets.features import user_features as features_room
from gesture_assets.features.tables import user_features
from gesture_assets.subscribers.tables import QUARANTINED_SUBSCRIBERS, validated_subscribers
from gesture_assets.subscribers.validate import subscribers_as_of
from gesture_assets.warehouse.warehouse import connect
from gesture_assets_tests.events_by_hand import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    Frame,
    collected,
    deduplicate,
    event,
    events_table,
    lazy,
    random_events,
    schema_of,
    table,
)

TAGS = ("jumpstart", "webinar_01")
DAYS = (MONDAY, TUESDAY, WEDNESDAY, WEDNESDAY + timedelta(days=3))

# The engine takes longer to plan some rooms than to do their work.
half, quarter = (settings(max_examples=settings.default.max_examples // parts) for parts in (2, 4))
worlds = st.builds(random_events, st.integers(0, 10_000), st.integers(0, 60))

Room = Callable[..., Frame]


def on_both(room: Room, *tables: pl.DataFrame, contract: Contract | None = None) -> pl.DataFrame:
    """The rows of `room`, having been found equal on both engines: values to the last bit, and types."""
    in_polars = collected(room(*(lazy(rows) for rows in tables)), contract)
    with connect(threads=1) as con:
        for place, rows in enumerate(tables):
            con.register(f"table_{place}", rows.to_arrow())
        frame = room(*(nw.from_native(con.sql(f"from table_{place}")) for place in range(len(tables))))
        # As it is staged: through SQL text, in which a number may be read as another type than in the plan.
        in_duckdb = collected(nw.from_native(con.sql(frame.to_native().sql_query())), contract)
    names = sorted(in_polars.columns)
    assert sorted(in_duckdb.columns) == names
    found = in_duckdb.select(names).cast(in_polars.select(names).schema)
    assert found.rows() == in_polars.select(names).rows()
    return in_polars


@given(worlds)
def test_visits(events: list[dict[str, Any]]) -> None:
    assert on_both(sessionise, events_table(*events))["event_count"].sum() == len(events)


@pytest.mark.slow
@half
@given(worlds, st.sampled_from(DAYS))
def test_filed_visits(events: list[dict[str, Any]], day: date) -> None:
    known = events_table(*events).filter(pl.col("as_of_date") <= day)
    on_both(filed_sessions, known.filter(pl.col("as_of_date") >= TUESDAY), known, contract=SESSIONS)


@pytest.mark.slow
@half
@given(worlds)
def test_daily_activity(events: list[dict[str, Any]]) -> None:
    history = events_table(*events)
    sessions = collected(filed_sessions(lazy(history), lazy(history)), SESSIONS)
    on_both(daily_activity, history, sessions, contract=DAILY_ACTIVITY)


def copies(seed: int, size: int) -> pl.DataFrame:
    """Events of few ids and moments of arrival, so that copies and ties abound, and few users, so that bots do."""
    dice = random.Random(seed)
    rows = [
        event(
            dice.choice((0, 0.1, 0.2, 0.5)) + dice.randrange(3),
            user_id=dice.choice("uv"),
            event_id=f"e{dice.randrange(2 * size)}",
            landing_file=dice.choice(("a.csv", "b.csv")),
            landing_line=n,
            received_at=event(dice.randrange(4))["received_at"],
            dwell_seconds=dice.choice((None, 0.0, 0.0, 1 / 3)),
            is_bot_agent=dice.random() < 0.02,
            anonymous_id=dice.choice((None, "x", "y")),
            known_user_id=dice.choice((None, "u", "v")),
            email_key=dice.choice((None, "k", "l")),
            reason=dice.choice((None, None, None, "too_old")),
        )
        for n in range(size)
    ]
    return events_table(*rows).drop("is_bot")


landed = st.builds(copies, st.integers(0, 10_000), st.integers(1, 120))


@pytest.mark.slow
@given(landed)
def test_copies_bots_and_links(rows: pl.DataFrame) -> None:
    before = rows.head(3).select("event_id")
    kept = on_both(deduplicate, rows, before)
    assert kept["event_id"].is_unique().all()
    judged = on_both(lambda events: accept.raw_events(accept.flag_bots(events)), kept, contract=RAW_EVENTS)
    assert judged.height == kept.height
    on_both(accept.identity_links, kept, rows.filter(~pl.col("reason").is_null()), contract=IDENTITY_LINKS)
    on_both(accept.quarantined_events, rows)


SUBSCRIBER = {
    "mailchimp_id": pl.String,
    "email_key": pl.String,
    "email_domain": pl.String,
    "is_email_well_formed": pl.Boolean,
    "member_rating": pl.Int16,
    "optin_date": pl.Date,
    "country": pl.String,
    "masked_row": pl.String,
    "occurrence": pl.UInt32,
}


PURCHASE = {
    "mailchimp_id": pl.String,
    "email_key": pl.String,
    "purchased_date": pl.Date,
    "amount": pl.Decimal(18, 2),
}


def people(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Subscribers, tags and purchases with duplicates, strangers and nulls."""
    dice = random.Random(seed)
    keys, days = (None, "k1", "k2", "k3", "k4", "k5"), (None, *DAYS, date(2024, 2, 29), date(2023, 12, 31))
    subscribers = [
        {
            "mailchimp_id": dice.choice((str(n), str(n), str(n % 5), None)),
            "email_key": dice.choice(keys),
            "is_email_well_formed": dice.random() < 0.9,
            "member_rating": dice.choice((None, 1, 5)),
            "optin_date": dice.choice(days),
            "masked_row": "{}",
            "occurrence": n,
        }
        for n in range(dice.randrange(12))
    ]
    names = (None, "jumpstart", "webinar_01", "new")
    tags = [
        {"mailchimp_id": str(dice.randrange(12)), "tag": dice.choice(names), "tagged_date": dice.choice(days)}
        for _ in range(dice.randrange(30))
    ]
    purchases = [
        {
            "mailchimp_id": dice.choice((None, str(dice.randrange(12)))),
            "email_key": dice.choice(keys),
            "purchased_date": dice.choice(days),
            "amount": dice.choice((None, Decimal("9.99"), Decimal("0.01"))),
        }
        for _ in range(dice.randrange(9))
    ]
    return (
        table(subscribers, SUBSCRIBER),
        table(tags, {"mailchimp_id": pl.String, "tag": pl.String, "tagged_date": pl.Date}),
        table(purchases, PURCHASE),
    )


crms = st.builds(people, st.integers(0, 10_000))


def days_table(rebuilt: bool = False) -> pl.DataFrame:
    return pl.DataFrame(
        {"as_of_date": DAYS, "snapshot_date": [WEDNESDAY] * 4, "is_rebuilt": [rebuilt, False, rebuilt, False]}
    )


@pytest.mark.slow
@given(crms, st.booleans(), st.booleans())
def test_subscribers(crm: tuple[pl.DataFrame, ...], has_dated_tags: bool, rebuilt: bool) -> None:
    def room(which: int) -> Room:
        def chosen(*frames: Frame) -> Frame:
            return subscribers_as_of(*frames, has_dated_tags=has_dated_tags, tag_names=TAGS)[which]

        return chosen

    valid = on_both(room(0), *crm, days_table(rebuilt), contract=validated_subscribers(TAGS))
    aside = on_both(room(1), *crm, days_table(rebuilt), contract=QUARANTINED_SUBSCRIBERS)
    optin = crm[0]["optin_date"]
    assert valid.height + aside.height == sum((optin.is_null() | (optin <= day)).sum() for day in DAYS)


@pytest.mark.slow
@quarter
@given(worlds, crms)
def test_user_features(events: list[dict[str, Any]], crm: tuple[pl.DataFrame, ...]) -> None:
    history = lazy(events_table(*events))
    activity = collected(daily_activity(history, filed_sessions(history, history)), DAILY_ACTIVITY)
    links = table(
        [
            {"as_of_date": TUESDAY, "anonymous_user_id": "w", "user_id": "u"},
            {"as_of_date": WEDNESDAY, "anonymous_user_id": "x", "user_id": "new"},
        ],
        schema_of(IDENTITY_LINKS),
    )
    valid, _ = subscribers_as_of(*map(lazy, (*crm, days_table())), has_dated_tags=False, tag_names=TAGS)
    subscribers = collected(valid, validated_subscribers(TAGS))
    # Ids and addresses occur once in what has passed its audit.
    subscribers = subscribers.drop_nulls(["mailchimp_id", "email_key"])
    subscribers = subscribers.unique(["as_of_date", "email_key"], keep="first", maintain_order=True)
    moments = pl.DataFrame(
        {"as_of_date": DAYS, "as_of": [datetime.combine(day, time(23, 59, 59, 9)) for day in DAYS]},
        schema={"as_of_date": pl.Date, "as_of": pl.Datetime("us")},
    )

    def room(*frames: Frame) -> Frame:
        return features_room.user_features(*frames, tags=TAGS)

    on_both(room, activity, links, subscribers, moments, contract=user_features(TAGS))


@pytest.mark.slow
@quarter
@given(worlds, st.integers(0, 3), st.integers(0, 3))
def test_counting_on_from_totals_gives_what_counting_everything_gives(
    events: list[dict[str, Any]], one: int, other: int
) -> None:
    first, second = sorted((DAYS[one], DAYS[other]))
    history = lazy(events_table(*events))
    activity = collected(daily_activity(history, filed_sessions(history, history)), DAILY_ACTIVITY)
    known = pl.col("as_of_date")
    early, between = activity.filter(known <= first), activity.filter((known > first) & (known <= second))
    start = on_both(lambda rows: activity_to_date(rows, None, first), early, contract=ACTIVITY_TO_DATE)
    on = on_both(
        lambda rows, earlier: activity_to_date(rows, earlier, second), between, start, contract=ACTIVITY_TO_DATE
    )
    at_once = collected(activity_to_date(lazy(activity.filter(known <= second)), None, second), ACTIVITY_TO_DATE)
    assert on.equals(at_once)
    links = table([{"as_of_date": TUESDAY, "anonymous_user_id": "w", "user_id": "u"}], schema_of(IDENTITY_LINKS))
    nobody = table([], schema_of(validated_subscribers(TAGS)))
    days = [day for day in DAYS if day >= second]
    moments = pl.DataFrame(
        {"as_of_date": days, "as_of": [datetime.combine(day, time(23, 59)) for day in days]},
        schema={"as_of_date": pl.Date, "as_of": pl.Datetime("us")},
    )
    contract = user_features(TAGS)

    def features(**totals: Any) -> pl.DataFrame:
        frames = map(lazy, (activity, links, nobody, moments))
        return collected(features_room.user_features(*frames, tags=TAGS, **totals), contract)

    since = activity.filter(known > second)
    assert features(totals=lazy(on), newer=lazy(since)).equals(features())
