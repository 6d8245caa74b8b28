"""Plain orders of the catalogue by hand, the same on both engines, and lists by chance that are by chance."""

from datetime import timedelta

import polars as pl
import pytest

from gesture_assets.frames import Frame
from gesture_assets.pings.baselines import (
    hit_rates,
    lists_by_score,
    random_lists,
    recent_hits,
    recent_popularity,
    shortest_first,
)
from gesture_assets.pings.engagement import event_scores
from gesture_assets.pings.evaluation import graded_gains
from gesture_assets.pings.recommend import seen_pings
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, World, by_chance, interactions, on_both, pings, rows_of, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")
SMALL = World(
    interactions(
        ("a", "p1", "share", None, 0),
        ("a", "p2", "like", None, 47),
        ("b", "p2", "impression", None, 47),
        ("b", "p1", "impression", None, 1),
        ("c", "p1", "view", 30, 2),
    ),
    pings(("p1", "x", "cats", 30, 0), ("p2", "x", "cats", 10, 0), ("p3", "x", "cats", None, 0)),
    users(("a", 0), ("b", 0), ("c", 0), ("d", 0)),
)


def test_what_is_recent_weighs_more() -> None:
    def scored(events: Frame, catalogue: Frame) -> Frame:
        return event_scores(events, catalogue, SCRIPT.events)

    def engagement(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return recent_popularity(scored(events, catalogue), until=START + timedelta(days=2))

    def hits(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return recent_hits(scored(events, catalogue), until=START + timedelta(days=2), half_life_days=0.5)

    # p1: 4 points 48 hours before, 0.1 of 47 and 1 of 46; p2: 2 and 0.1 of the last hour but one.
    p1 = 4 / 4 + 0.1 / 2 ** (47 / 24) + 1 / 2 ** (46 / 24)
    assert dict(on_both(SMALL, engagement).rows()) == pytest.approx({"p1": p1, "p2": 2.1 / 2 ** (1 / 24)})
    assert dict(on_both(SMALL, hits).rows()) == pytest.approx({"p1": 1 / 16 + 2 ** (-46 / 12), "p2": 2 ** (-1 / 12)})
    for function in (engagement, hits):
        on_both(by_chance(1, n_users=5, n_pings=9, n_events=400), function)


def test_hit_rates_are_drawn_to_the_mean() -> None:
    def found(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return hit_rates(events, graded_gains(event_scores(events, catalogue, SCRIPT.events)), catalogue, prior=2)

    # 3 of 5 reached users gained; of p1 two of three, of p2 one of two, p3 reached nobody.
    rates = {"p1": (2 + 1.2) / 5, "p2": (1 + 1.2) / 4, "p3": 0.6}
    assert dict(on_both(SMALL, found).rows()) == pytest.approx(rates)
    nothing = World(interactions(), SMALL.pings, SMALL.users)
    assert on_both(nothing, found)["global_engagement"].to_list() == [0, 0, 0]


def test_the_shortest_are_first() -> None:
    found = on_both(SMALL, lambda _, catalogue, __: shortest_first(catalogue))
    assert dict(found.rows()) == {"p1": -30, "p2": -10, "p3": -20}
    listed = lists_by_score(*SMALL.frames(), found, SCRIPT).select("user_id", "ping_id").rows()
    assert listed == [("a", "p3"), ("b", "p3"), ("c", "p2"), ("c", "p3"), ("d", "p2"), ("d", "p3"), ("d", "p1")]


def test_a_score_ranks_for_everybody_alike_but_for_what_was_seen() -> None:
    world = by_chance(2, n_users=6, n_pings=40, n_events=100)
    score = pl.DataFrame({"ping_id": world.pings["ping_id"], "global_engagement": [float(n) for n in range(40)]})

    def found(*frames: Frame) -> pl.DataFrame:
        return lists_by_score(*frames, score, SCRIPT)

    order = [f"p{number}" for number in reversed(range(40))]
    for (user,), rows in on_both(world, found).partition_by("user_id", as_dict=True).items():
        seen = set(world.interactions.filter(user_id=user)["ping_id"])
        assert rows["ping_id"].to_list() == [ping for ping in order if ping not in seen][:10]


def test_chance_gives_every_ping_the_same_and_nobody_what_was_seen() -> None:
    world = by_chance(3, n_users=3_000, n_pings=30, n_events=6_000, skew=0)
    seen = rows_of(seen_pings(world.frames()[0], SCRIPT))
    found = random_lists(world.users["user_id"], world.pings, seen, k=5, seed=1)
    assert found.group_by("user_id").len()["len"].unique().to_list() == [5]
    assert found.group_by("user_id").agg(pl.col("rank").sort()).select(pl.col("rank").n_unique()).item() == 1
    assert found.unique(["user_id", "ping_id"]).height == found.height
    assert found.join(seen, on=["user_id", "ping_id"], how="semi").height == 0
    counts = found.group_by("ping_id").len()["len"]
    assert len(counts) == 30
    assert counts.is_between(400, 600).all()  # 500 each
    shuffled = world.shuffled(1)
    again = random_lists(shuffled.users["user_id"], shuffled.pings, seen.sample(fraction=1, shuffle=True), k=5, seed=1)
    assert again.equals(found)
    assert not random_lists(world.users["user_id"], world.pings, seen, k=5, seed=2).equals(found)


def test_by_chance_too_everybody_gets_what_is_left() -> None:
    seen = pl.DataFrame({"user_id": ["a", "a", "b"], "ping_id": ["p1", "p2", "p3"]})
    found = random_lists(SMALL.users["user_id"], SMALL.pings, seen, k=5, seed=1)
    assert dict(found.group_by("user_id").len().rows()) == {"a": 1, "b": 2, "c": 3, "d": 3}
    assert random_lists(SMALL.users["user_id"], pings(), seen, k=5, seed=1).height == 0
