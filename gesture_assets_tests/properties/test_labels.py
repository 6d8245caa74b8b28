"""Labels, exclusions and splits give exactly the same rows on DuckDB and on Polars, whatever they are given."""

import random
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.tables import user_features
from gesture_assets.features.user_features import user_features as features_of
from gesture_assets.models.labels import REASONS, exclusions, labels, only_bots
from gesture_assets.models.splits import draw, draws
from gesture_assets.subscribers.tables import validated_subscribers
from gesture_assets_tests.events_by_hand import MONDAY, Frame, collected, lazy, schema_of, table
from gesture_assets_tests.properties.test_engines_agree import half, on_both, quarter

DAYS = tuple(MONDAY + timedelta(days=14 * place) for place in range(4))
USERS = ("u", "v", "w", "anon:x", "anon:y")
SCHEMAS = (DAILY_ACTIVITY, IDENTITY_LINKS, validated_subscribers(()))


def world(seed: int) -> tuple[pl.DataFrame, ...]:
    """Activity, links and subscribers with late arrivals, bots, shared addresses and ids that turn out to be one."""
    dice = random.Random(seed)
    activity = {}
    for _ in range(dice.randrange(60)):
        on = DAYS[0] + timedelta(days=dice.randrange(-3, 80))
        row = {
            "as_of_date": on + timedelta(days=dice.choice((0, 0, 0, 3))),
            "activity_date": on,
            "user_id": dice.choice(USERS),
            "is_bot": dice.random() < 0.2,
            "purchase_count": dice.choice((0, 0, 0, 1)),
            "event_count": dice.choice((1, 2)),
            "email_key": dice.choice((None, None, "k1", "k2")),
        }
        row["first_event_at"] = row["last_event_at"] = datetime.combine(on, time(dice.randrange(24)))
        activity[tuple(row[name] for name in ("as_of_date", "user_id", "activity_date", "is_bot"))] = row
    counts = {name: 0 for name, kind in schema_of(DAILY_ACTIVITY).items() if kind.is_numeric()} | {"dwell_seconds": 0.0}
    links = [
        {
            "as_of_date": DAYS[dice.randrange(4)],
            "anonymous_user_id": who,
            "user_id": dice.choice("uvw"),
            "linked_at": datetime.combine(DAYS[0], time()),
        }
        for who in ("anon:x", "anon:y")
        if dice.random() < 0.7
    ]
    bought = {number: dice.choice((None, DAYS[0], DAYS[1] + timedelta(days=5))) for number in (1, 2, 3)}
    undated = {number for number in bought if dice.random() < 0.2}
    span = {*DAYS, *(day + timedelta(days=30) for day in DAYS)}
    subscribers = [
        {
            "as_of_date": day,
            "mailchimp_id": str(number),
            "email_key": f"k{number}",
            "tag_count": 0,
            "tag_other": 0,
            "made_purchase": int(bought[number] is not None and bought[number] <= day)
            or (None if number in undated else 0),
            "optin_date": date(2025, 3, 1),
        }
        for day in sorted(span)
        for number in bought
        if dice.random() < 0.95
    ]
    rows = [{**counts, "is_bot": False, **row} for row in activity.values()]
    return tuple(
        table(part, schema_of(contract)) for part, contract in zip((rows, links, subscribers), SCHEMAS, strict=True)
    )


def features(activity: pl.DataFrame, links: pl.DataFrame, subscribers: pl.DataFrame) -> pl.DataFrame:
    moments = pl.DataFrame({"as_of_date": DAYS}, schema={"as_of_date": pl.Date}).with_columns(
        as_of=pl.col("as_of_date").cast(pl.Datetime("us")) + timedelta(days=1)
    )
    frame = features_of(*(lazy(rows) for rows in (activity, links, subscribers, moments)), tags=())
    return collected(frame, user_features(()))


def end_of(day: date) -> pl.DataFrame:
    """The moment of a labelling."""
    return pl.DataFrame({"as_of_date": [day]})


worlds = st.builds(world, st.integers(0, 10_000))


@pytest.mark.slow
@quarter
@given(worlds, st.integers(20, 90), st.sampled_from((7, 30)), st.booleans())
def test_labels(tables: tuple[pl.DataFrame, ...], until: int, horizon: int, needs_activity: bool) -> None:
    known_until = DAYS[0] + timedelta(days=until)
    rows = features(*tables)

    def room(*frames: Frame) -> Frame:
        return labels(*frames, horizon=horizon, needs_activity=needs_activity)

    results = on_both(room, rows, *tables, end_of(known_until))
    key = ["as_of_date", "user_id"]
    assert results.select(key).sort(key).rows() == rows.select(key).sort(key).rows()
    is_mature = results["matures_on"] <= known_until
    assert results["is_mature"].equals(is_mature)
    is_unknown = (results["exclusion_reason"] == "undated_purchase").fill_null(value=False)
    assert not (results["label"].is_not_null() & (is_unknown | ~is_mature)).any()
    assert results.filter("is_eligible")["label"].is_not_null().all()
    assert results["is_eligible"].equals(results["exclusion_reason"].is_null())
    assert set(results["exclusion_reason"].drop_nulls()) <= set(REASONS)
    assert results.filter("is_eligible")["is_mature"].all()
    assert "already_converted" not in results.filter(pl.col("label") == 1)["exclusion_reason"].to_list()
    excluded = on_both(lambda frame: exclusions(frame), rows)
    assert excluded.height == rows.height
    on_both(only_bots, tables[0])


@half
@given(worlds)
def test_what_is_received_after_the_labelling_changes_no_label(tables: tuple[pl.DataFrame, ...]) -> None:
    known_until = DAYS[2] + timedelta(days=2)
    rows = features(*tables)

    def labelled(activity: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
        return collected(labels(*map(lazy, (rows, activity, links, tables[2], end_of(known_until)))))

    is_known = pl.col("as_of_date") <= known_until
    assert labelled(*tables[:2]).equals(labelled(tables[0].filter(is_known), tables[1].filter(is_known)))


ids = st.one_of(
    st.text(max_size=40),
    st.builds("u{:06}".format, st.integers(0, 999_999)),
    st.uuids().map(str),
    st.builds("subscriber:{}".format, st.integers(0, 10**9)),
)


@pytest.mark.slow
@given(st.lists(ids, min_size=1, max_size=30, unique=True), st.integers(0, 1_000))
def test_a_person_is_drawn_alike_by_both_engines_and_python(people: list[str], seed: int) -> None:
    people = [who.replace("\x00", "") for who in people]  # DuckDB ends a text there
    results = on_both(lambda rows: draws(rows, seed=seed), pl.DataFrame({"person_id": people}))
    expected: dict[str, Any] = {who: draw(who, seed=seed) for who in people}
    assert all(expected[who] == number for who, number in results.select("person_id", "draw").iter_rows())
