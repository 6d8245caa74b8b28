"""The sums of a range are exactly those of the query, whatever was known when, and whoever turned out to be whom."""

import random
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.errors import ContractBreach
from gesture_assets.events.roll_up import activity_to_date
from gesture_assets.events.tables import ATTRIBUTES, DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.range_counts import RangeCounts
from gesture_assets.features.tables import user_features
from gesture_assets.features.user_features import added_activity, features_of_counts, without_bots
from gesture_assets.features.user_features import user_features as features_of
from gesture_assets.subscribers.tables import validated_subscribers
from gesture_assets_tests.events_by_hand import MONDAY, collected, lazy, schema_of, table
from gesture_assets_tests.properties.test_engines_agree import quarter

USERS = ("u", "anon:x", "anon:y")
CONTRACT = user_features(())
COUNTED = tuple(column.name for column in DAILY_ACTIVITY.columns if column.name.endswith("_count"))


def world(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, list[date]]:
    """Activity of 120 days, with late and future rows, bots and rare attributes; links, chains among them; days."""
    dice = random.Random(seed)
    days = [MONDAY + timedelta(days=place) for place in range(110)]
    asked = [day for day in days[100 : 100 + dice.choice((2, 5, 9))] if dice.random() < 0.9] or days[100:101]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for _ in range(dice.randint(0, 60)):
        known, user, is_bot = (
            dice.choice((dice.choice(days), dice.choice(asked))),
            dice.choice(USERS),
            dice.random() < 0.1,
        )
        did = known - timedelta(days=dice.choice((0, 0, 0, 1, 5, 40, 95, -2)))
        at = datetime(did.year, did.month, did.day, dice.choice((8, 9)))
        rows[known, user, did, is_bot] = {
            **dict.fromkeys(COUNTED, 0),
            "as_of_date": known,
            "user_id": user,
            "activity_date": did,
            "is_bot": is_bot,
            **{name: dice.randint(1, 3) for name in dice.sample(COUNTED, 4)},
            "event_count": dice.randint(0, 4),
            "dwell_seconds": dice.choice((0.0, 0.001, 12.345)),
            "session_dwell_seconds": dice.choice((0.0, 0.007, 5.5)),
            "first_event_at": at,
            "last_event_at": dice.choice((at, at + timedelta(minutes=1))),
            **{name: _value(kind, dice) for name, (kind, _, _) in ATTRIBUTES.items() if dice.random() < 0.4},
        }
    links = [
        {
            "as_of_date": day,
            "anonymous_user_id": dice.choice(USERS[1:]),
            "user_id": dice.choice(USERS),
            "linked_at": datetime(day.year, day.month, day.day, dice.randint(0, 23)),
            "email_key": dice.choice((None, None, "é")),
        }
        for day in dice.choices((days[90], *asked), k=dice.randint(0, 5))
    ]
    return table(list(rows.values()), schema_of(DAILY_ACTIVITY)), table(links, schema_of(IDENTITY_LINKS)), asked


def _value(kind: str, dice: random.Random) -> Any:
    return dice.choice(("b", "é", "Z")) if kind == "VARCHAR" else dice.choice((-1, 0, 7))


@quarter
@given(st.builds(world, st.integers(0, 1_000_000)), st.booleans(), st.integers(0, 3))
def test_range_counts(made: tuple[pl.DataFrame, pl.DataFrame, list[date]], include_bots: bool, totals_ago: int) -> None:
    activity, links, days = made
    ends = [datetime(day.year, day.month, day.day) + timedelta(days=1) for day in days]
    moments = lazy(pl.DataFrame({"as_of_date": days, "as_of": ends}))
    nobody, bots = lazy(table([], schema_of(validated_subscribers(())))), {"include_bots": include_bots}
    expected = collected(features_of(lazy(activity), lazy(links), nobody, moments, tags=(), **bots), CONTRACT)

    totals_day = days[0] - timedelta(days=totals_ago)
    known = pl.col("as_of_date")
    early, newer = activity.filter(known <= totals_day), activity.filter(known > totals_day)
    totals = activity_to_date(lazy(early), None, totals_day)
    for spared in ((None, None), (totals, lazy(newer))):
        added = added_activity(lazy(activity), *spared, **bots)
        counting = RangeCounts(without_bots(lazy(activity), include_bots), lazy(links), added, days)
        parts = [days[:2], days[2:]] if len(days) > 2 else [days]
        counting.of(parts[-1])  # asked for earlier days, it begins anew
        counts = pl.concat([counting.of(part) for part in parts])
        found = features_of_counts(lazy(counts), lazy(links), nobody, moments, tags=())
        assert collected(found, CONTRACT).equals(expected)


def test_sums_that_are_too_large_are_refused_by_name() -> None:
    activity, links, days = world(2)
    far = activity.with_columns(dwell_seconds=pl.lit(4e15))
    frames = (lazy(far), lazy(links), added_activity(lazy(far), None, None, include_bots=True))
    with pytest.raises(ContractBreach, match="milliseconds of a user to be less than 9,223,372"):
        RangeCounts(*frames, days)
