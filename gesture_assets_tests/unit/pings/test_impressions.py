"""What is known of a pair as of a day: by hand, the heuristic's own numbers, and nothing of the days after."""

from datetime import date, timedelta

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import TrainingRefused
from gesture_assets.frames import to_polars
from gesture_assets.pings.engagement import event_scores, ping_engagement, user_ping_engagement
from gesture_assets.pings.evaluation import split_at
from gesture_assets.pings.impressions import (
    FEATURES,
    HALF_LIFE_DAYS,
    OWN_PRIOR,
    PRIOR,
    impressions,
    known_as_of,
    refuse_what_is_known_too_late,
    shown_after,
)
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, World, by_chance, interactions, on_both, pings, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")
FIRST = START.date()
SMALL = World(
    interactions(
        ("a", "p1", "impression", None, 0),
        ("a", "p1", "view", 24, 0),
        ("a", "p1", "like", None, 1),
        ("a", "p2", "view", 3, 2),
        ("b", "p1", "view", 300, 24),
        ("b", "p1", "view", 3, 25),
        ("b", "lost", "impression", None, 25),
        ("a", "p1", "share", None, 48),
    ),
    pings(("p1", "x", "cats", 30, 0), ("p2", "x", "dogs", 300, 2), ("p3", None, None, None, None)),
    users(("a", 0), ("b", 0)),
)


def history(world: World) -> pl.DataFrame:
    return impressions(event_scores(*world.frames()[:2], SCRIPT.events))


def pairs(world: World, as_of: date) -> pl.DataFrame:
    """Everybody with every ping, as of a day."""
    everything = world.users.select("user_id").join(world.pings.select("ping_id"), how="cross")
    return everything.with_columns(as_of=pl.lit(as_of))


def test_an_impression_is_what_came_of_a_ping_on_a_day() -> None:
    found = on_both(SMALL, lambda events, catalogue, _: impressions(event_scores(events, catalogue, SCRIPT.events)))
    assert found.select("user_id", "ping_id", "day", "gain", "is_good", "watched", "event_count").rows() == [
        ("a", "p1", FIRST, 2.0, True, 0.8, 3),
        ("a", "p1", FIRST + timedelta(days=2), 4.0, True, 0.0, 1),
        ("a", "p2", FIRST, 0.0, False, 0.01, 1),
        ("b", "lost", FIRST + timedelta(days=1), 0.0, False, 0.0, 1),
        ("b", "p1", FIRST + timedelta(days=1), 1.0, True, 5.0, 2),
    ]
    assert found["points"].to_list() == pytest.approx([2.9, 4.0, 0.01, 0.1, 10.1])


def test_rates_are_counted_to_the_end_of_the_day_before_faded_and_drawn_to_the_wider_rate() -> None:
    rows = pairs(SMALL, FIRST + timedelta(days=1)).filter(user_id="a", ping_id="p1")
    found = known_as_of(rows, history(SMALL), SMALL.pings, SCRIPT.score).row(0, named=True)
    day = 0.5 ** (1 / HALF_LIFE_DAYS)
    everybody = (day + 1) / (2 * day + 2)  # one of two of the first day, one of two of the second
    assert found["ping_exposures"] == pytest.approx(day + 1)
    assert found["ping_hit_rate"] == pytest.approx((day + 1 + PRIOR * everybody) / (day + 1 + PRIOR))
    user = (day + OWN_PRIOR * everybody) / (2 * day + OWN_PRIOR)
    assert found["user_hit_rate"] == pytest.approx(user)
    assert found["user_category_hit_rate"] == pytest.approx((day + OWN_PRIOR * user) / (day + OWN_PRIOR))
    assert found["ping_hits_lately"] == pytest.approx(0.5 + 1)
    assert found["duration_sec"] == 30
    of_nothing = known_as_of(pairs(SMALL, FIRST - timedelta(days=1)), history(SMALL), SMALL.pings, SCRIPT.score)
    assert of_nothing.select("ping_exposures", "user_hit_rate", "popularity").sum().row(0) == (0, 0, 0)


def test_the_heuristic_is_that_of_the_lists() -> None:
    world = by_chance(4, n_users=9, n_pings=25, n_events=400)
    as_of = FIRST + timedelta(days=11)
    until = START + timedelta(days=12)
    events, catalogue, people = world.frames()
    before = split_at(events, until)[0]
    engagement = ping_engagement(user_ping_engagement(event_scores(before, catalogue, SCRIPT.events)), catalogue)
    endless = SCRIPT.model_copy(update={"lists": SCRIPT.lists.model_copy(update={"length": 25, "seen": "none"})})
    popularity = nw.from_native(to_polars(engagement).lazy())
    lists = recommendations(before, catalogue, people, popularity, endless, until=until, now=until)
    found = known_as_of(pairs(world, as_of), history(world), world.pings, SCRIPT.score)
    both = found.join(lists, on=["user_id", "ping_id"])
    assert both.height == 9 * 25
    assert np.allclose(both["heuristic"], both["score"], rtol=0, atol=1e-12)


def test_nothing_depends_on_the_order_of_rows_nor_on_the_other_rows() -> None:
    world = by_chance(5, n_users=12, n_pings=20, n_events=600)
    past = history(world)
    rows = pl.concat([pairs(world, FIRST + timedelta(days=day)) for day in (3, 9, 20)])
    found = known_as_of(rows, past, world.pings, SCRIPT.score)
    order = pl.Series(np.random.default_rng(1).permutation(rows.height))
    shuffled = past.sample(fraction=1, shuffle=True, seed=1)
    again = known_as_of(rows[order], shuffled, world.pings.reverse(), SCRIPT.score)
    assert again.equals(found[order])
    some = found.filter(pl.col("as_of") == FIRST + timedelta(days=9), pl.col("user_id") == "u3")
    assert known_as_of(some.select(rows.columns), past, world.pings, SCRIPT.score).equals(some)


def test_what_happens_later_changes_nothing_and_a_feature_that_knows_it_is_refused() -> None:
    world = by_chance(6, n_users=12, n_pings=20, n_events=600)
    past = history(world)
    rows = shown_after(past)
    assert rows.height == past.filter(pl.col("day") > FIRST).height
    assert rows.filter(pl.col("as_of") != pl.col("day").dt.offset_by("-1d")).is_empty()

    def honest(part: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
        return known_as_of(part, known, world.pings, SCRIPT.score)

    refuse_what_is_known_too_late(rows, past, honest)

    def late(part: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
        own_day = part.with_columns(pl.col("as_of").dt.offset_by("1d"))
        return part.hstack(honest(own_day, known).select("ping_hit_rate", "duration_sec"))

    with pytest.raises(TrainingRefused, match="same without what happened later") as refused:
        refuse_what_is_known_too_late(rows, past, late)
    assert "ping_hit_rate" in refused.value.found
    assert "duration_sec" not in refused.value.found


def test_of_an_empty_past_or_no_rows_there_is_nothing_to_know() -> None:
    past, rows = history(SMALL), pairs(SMALL, FIRST)
    assert known_as_of(rows.clear(), past, SMALL.pings, SCRIPT.score).columns == [*rows.columns, *FEATURES]
    assert known_as_of(rows, past.clear(), SMALL.pings, SCRIPT.score)["ping_exposures"].sum() == 0
