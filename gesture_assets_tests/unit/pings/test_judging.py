"""A night's judgement where places of lists were given by chance; what else it says is tested night by night."""

from datetime import timedelta

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.pings.engagement import event_scores as scored_events
from gesture_assets.pings.engagement import ping_engagement, user_ping_engagement
from gesture_assets.pings.evaluation import split_at
from gesture_assets.pings.exploration import shown_lists
from gesture_assets.pings.judging import CHANCES, judged_lists
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, by_chance

RECENT = parse_ping_weights((SHIPPED / "recent.toml").read_text(encoding="utf-8"), name="recent", where="")
WEIGHTS = RECENT.model_copy(update={"lists": RECENT.lists.model_copy(update={"length": 5, "seen": "none"})})
UNTIL = START + timedelta(days=14)


def judged(exploration: float, *, with_chances: bool = True) -> pl.DataFrame:
    """The judgement of lists of five by the second half of a world of 200 users."""
    interactions, pings, users = by_chance(1, n_users=200, n_pings=60, n_events=12_000, skew=0.3).frames()
    before, done = split_at(interactions, UNTIL)
    engagement = ping_engagement(user_ping_engagement(scored_events(before, pings, WEIGHTS.events)), pings)
    wide = WEIGHTS.model_copy(update={"lists": WEIGHTS.lists.model_copy(update={"length": 30})})
    order = recommendations(before, pings, users, engagement, wide, until=UNTIL)
    explored = WEIGHTS.lists.model_copy(update={"exploration": exploration or None})
    lists = shown_lists(order, explored, seed=2)
    served = nw.from_native((lists if with_chances else lists.drop(CHANCES)).lazy())
    none = served.filter(nw.col("rank") < 0)
    return judged_lists(served, none, before, done, pings, WEIGHTS, until=UNTIL, seed=1)


def test_what_was_tried_out_says_what_other_lists_would_have_got() -> None:
    rows = judged(0.4)
    estimates = rows.filter(pl.col("measure").is_in(("ips", "snips")))
    found = {
        (policy, measure): value for policy, measure, value in estimates.select("policy", "measure", "value").rows()
    }
    assert {("without_exploration", "ips"), ("without_exploration", "snips")} <= found.keys()
    assert all(0 <= value <= 1 for (_, measure), value in found.items() if measure == "snips")
    assert (estimates["low"] <= estimates["value"]).all()
    assert (estimates["high"] >= estimates["value"]).all()
    assert estimates["user_count"].is_between(1, 200).all()
    # Nothing else depends on it.
    assert rows.filter(~pl.col("measure").is_in(("ips", "snips"))).equals(judged(0.4, with_chances=False))


@pytest.mark.parametrize(("exploration", "with_chances"), [(0.0, True), (0.4, False)])
def test_without_anything_by_chance_nothing_is_estimated(exploration: float, with_chances: bool) -> None:
    rows = judged(exploration, with_chances=with_chances)
    assert rows.filter(pl.col("measure").is_in(("ips", "snips"))).is_empty()
    assert set(rows["policy"]) >= {"served", "popularity"}
