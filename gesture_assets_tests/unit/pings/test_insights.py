"""Sentences from numbers: each number is that of a table, and there is no sentence of too few."""

import re

import polars as pl
import pytest

from gesture_assets.frames import Frame
from gesture_assets.pings.engagement import event_scores, new_vs_existing_users, watch_time_stats
from gesture_assets.pings.insights import Insight, insights
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import World, by_chance, interactions, pings, rows_of, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")
NAMES = ["skimming", "rare_signals", "new_users", "impressions", "follows", "leaders"]


def found(events: Frame, catalogue: Frame, people: Frame) -> list[Insight]:
    scored = event_scores(events, catalogue, SCRIPT.events)
    groups = rows_of(new_vs_existing_users(scored, people, new_days=7))
    return insights(scored, catalogue, watch_time_stats(scored), groups)


@pytest.fixture(scope="module")
def world() -> World:
    return by_chance(21, n_users=300, n_pings=60, n_events=9_000, n_creators=3, skew=0.3)


def test_every_number_in_a_sentence_is_that_of_a_table(world: World) -> None:
    said = {insight.name: insight for insight in found(*world.frames())}
    assert list(said) == NAMES
    scored = rows_of(event_scores(*world.frames()[:2], SCRIPT.events))
    views, kinds = scored.filter(event_type="view"), scored["event_type"]
    points = scored["event_score"].sum()
    strong = kinds.is_in(["share", "comment"])
    newest = world.users["signup_date"].max()
    is_new = (newest - pl.col("signup_date")).dt.total_days() <= 7
    groups = {
        name: views.join(world.users.filter(flag), on="user_id", how="semi")["watch_time_ratio"].mean()
        for name, flag in (("new", is_new), ("other", ~is_new))
    }
    expected = {
        ("skimming", "views"): views.height,
        ("skimming", "median"): views["watch_time_ratio"].median(),
        ("skimming", "skimmed"): (views["watch_time_ratio"] < 0.5).mean(),
        ("rare_signals", "events"): scored.height,
        ("rare_signals", "share_of_events"): strong.mean(),
        ("rare_signals", "share_of_engagement"): scored.filter(strong)["event_score"].sum() / points,
        ("new_users", "new_watch_time_ratio"): groups["new"],
        ("new_users", "other_watch_time_ratio"): groups["other"],
    }
    for (name, number), value in expected.items():
        assert said[name].numbers[number] == pytest.approx(value, abs=1e-9), (name, number)
    by_ping = scored.group_by("ping_id").agg(
        pl.col("event_score").sum(),
        impressions=(pl.col("event_type") == "impression").sum(),
        views=(pl.col("event_type") == "view").sum(),
    )
    offered = by_ping.filter(pl.col("impressions") >= 30)
    assert said["impressions"].numbers["pings"] == offered.height
    assert (
        said["impressions"].numbers["passed_over"]
        == offered.filter(pl.col("impressions") >= 5 * pl.col("views")).height
    )
    leading = by_ping["event_score"].sort(descending=True).head(10).sum()
    assert said["leaders"].numbers["share"] == pytest.approx(leading / points)
    joined = scored.join(world.pings.select("ping_id", "creator_id"), on="ping_id")
    follows = {
        pair: at
        for *pair_, at in joined.filter(event_type="follow_creator")
        .drop_nulls("creator_id")
        .group_by("user_id", "creator_id")
        .agg(pl.col("event_at").min())
        .rows()
        for pair in [tuple(pair_)]
    }
    after = [
        (user, creator) in follows and at >= follows[user, creator]
        for user, creator, at in joined.filter(event_type="view").select("user_id", "creator_id", "event_at").rows()
    ]
    ratios = joined.filter(event_type="view")["watch_time_ratio"]
    assert said["follows"].numbers["views"] == sum(after)
    assert said["follows"].numbers["followed"] == pytest.approx(ratios.filter(pl.Series(after)).mean(), abs=1e-5)


def test_a_sentence_has_no_number_that_it_does_not_name(world: World) -> None:
    for insight in found(*world.frames()):
        shown = [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\.?\d*", insight.sentence)]
        known = [value for number in insight.numbers.values() for value in (number, number * 100)]
        for number in shown:
            assert min(abs(number - value) for value in known) <= 0.5, insight.sentence


def test_both_engines_say_the_same(world: World) -> None:
    with world.shuffled(1).in_duckdb() as frames:
        assert found(*frames) == found(*world.frames())


def test_of_fewer_than_thirty_nothing_is_said() -> None:
    catalogue = pings(*[(f"p{number}", "x", "cats", 30, 0) for number in range(29)])
    views = [("a", "p0", "view", 15, hour) for hour in range(29)]
    few = World(interactions(*views), catalogue, users(("a", 0)))
    assert found(*few.frames()) == []
    one_more = World(interactions(*views, ("a", "p1", "view", 15, 30)), catalogue, users(("a", 0)))
    assert [insight.name for insight in found(*one_more.frames())] == ["skimming"]
    assert found(*World(interactions(), catalogue, users()).frames()) == []
