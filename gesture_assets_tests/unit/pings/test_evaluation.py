"""Measures by hand, and that none of them flatters: not a constant, not who did nothing, not an order of rows."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from gesture_assets.errors import ConfigError, TrainingRefused
from gesture_assets.pings.engagement import event_scores
from gesture_assets.pings.evaluation import (
    PerUser,
    auc_per_user,
    graded_gains,
    list_measures,
    mean_interval,
    ranked,
    refuse_a_ranking_by_user,
    refuse_overlap_in_time,
    split_at,
)
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, World, interactions, on_both, pings, rows_of, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")


def lists(**by_user: str) -> pl.DataFrame:
    """A list for each user, a letter a ping."""
    rows = [(user, rank, ping) for user, listed in by_user.items() for rank, ping in enumerate(listed, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "rank": pl.Int64, "ping_id": pl.String}, orient="row")


def gains(**by_user: dict[str, float]) -> pl.DataFrame:
    rows = [(user, ping, gain) for user, own in by_user.items() for ping, gain in own.items()]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "ping_id": pl.String, "gain": pl.Float64}, orient="row")


def test_ndcg_is_the_golden_one() -> None:
    found = list_measures(lists(u="abcde"), gains(u={"a": 3, "c": 2, "d": 4, "e": 1}), k=5).table.row(0, named=True)
    assert found["ndcg"] == pytest.approx(0.834244, abs=5e-7)
    assert found["ndcg_exponential"] == pytest.approx(0.718924, abs=5e-7)
    assert (found["hit_rate"], found["reciprocal_rank"]) == (1, 1)


def test_the_ideal_order_is_that_of_all_gains_and_not_of_what_was_listed() -> None:
    listed = list_measures(lists(u="ab"), gains(u={"b": 2, "missed": 4}), k=2).table
    assert listed["ndcg"].item() == pytest.approx((2 / math.log2(3)) / (4 + 2 / math.log2(3)))
    assert listed["reciprocal_rank"].item() == 0.5
    # What does not fit into k places cannot be asked for.
    assert list_measures(lists(u="a"), gains(u={"a": 4, "b": 4, "c": 4}), k=1).table["ndcg"].item() == 1


def test_who_gained_nothing_is_left_out_and_counted_and_who_has_no_list_has_missed() -> None:
    found = list_measures(lists(a="xy", idle="xy", lazy="xy"), gains(a={"x": 1}, unlisted={"x": 1}), k=2)
    assert found.excluded_count == 2
    assert found.table["user_id"].to_list() == ["a", "unlisted"]
    assert found.table["hit_rate"].to_list() == [1, 0]
    assert found.interval("hit_rate", seed=0).value == 0.5
    assert found.interval("hit_rate", seed=0).user_count == 2


def test_what_stands_behind_k_is_no_hit() -> None:
    assert list_measures(lists(u="abc"), gains(u={"c": 4}), k=2).table["hit_rate"].item() == 0


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_ndcg_is_scikit_learn_s(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    gain = rng.integers(0, 5, 9).astype(float)
    gain[0] = 1.0
    order = rng.permutation(9)
    names = "abcdefghi"
    own = {names[number]: gain[number] for number in range(9) if gain[number]}
    listed = list_measures(lists(u="".join(names[number] for number in order)), gains(u=own), k=k)
    position = np.empty(9)
    position[order] = np.arange(9)
    assert listed.table["ndcg"].item() == pytest.approx(ndcg_score([gain], [-position], k=k))
    assert listed.table["ndcg_exponential"].item() == pytest.approx(ndcg_score([2**gain - 1], [-position], k=k))


def test_a_pair_gains_what_its_best_event_does() -> None:
    world = World(
        interactions(
            ("a", "p1", "like", None, 0),
            ("a", "p1", "share", None, 1),
            ("a", "p2", "view", 24, 2),
            ("a", "p3", "view", 15, 3),
            ("a", "p4", "view", 14.9, 4),
            ("a", "p4", "impression", None, 5),
            ("a", "p4", "follow_creator", None, 6),
            ("b", "p4", "comment", None, 7),
        ),
        pings(*[(f"p{number}", "x", "cats", 30, 0) for number in range(1, 5)]),
        users(),
    )
    found = on_both(
        world,
        lambda events, catalogue, _: rows_of(
            graded_gains(event_scores(events, catalogue, SCRIPT.events)), "user_id", "ping_id"
        ),
    )
    assert found.rows() == [("a", "p1", 4), ("a", "p2", 1), ("a", "p3", 0.5), ("b", "p4", 3)]


def test_a_split_in_time_is_refused_where_train_reaches_into_test() -> None:
    world = World(interactions(*[("a", "p1", "like", None, hour) for hour in range(6)]), pings(), users())
    events = world.frames()[0]
    train, test = split_at(events, START + timedelta(hours=3))
    refuse_overlap_in_time(train, test)
    assert (rows_of(train).height, rows_of(test).height) == (3, 3)
    with pytest.raises(ConfigError, match="train goes to 2026-03-01 03:00:00") as refused:
        refuse_overlap_in_time(split_at(events, START + timedelta(hours=4))[0], test)
    assert "2026-03-01 03:00:00" in refused.value.found.split("test begins")[1]
    with world.in_duckdb() as frames, pytest.raises(ConfigError, match="before the first of test"):
        refuse_overlap_in_time(frames[0], frames[0])
    refuse_overlap_in_time(split_at(events, START)[0], test)  # nothing to learn from is no leak


def impressions(seed: int, n_users: int = 60, n: int = 40) -> pl.DataFrame:
    """Impressions of users who like very different shares of what they see, over several days."""
    rng = np.random.default_rng(seed)
    user, day = np.repeat(np.arange(n_users), n), np.tile(np.arange(n) // 10, n_users)
    rate = rng.beta(0.6, 0.6, n_users)[user]
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "day": day,
            "ping_id": [f"p{number}" for number in np.tile(np.arange(n), n_users)],
            "is_good": rng.random(len(user)) < rate,
            "noise": rng.normal(size=len(user)),
        }
    )


def test_a_feature_that_is_constant_per_user_ranks_nothing() -> None:
    shown = impressions(1)
    assert refuse_a_ranking_by_user(shown) == 0.5
    assert refuse_a_ranking_by_user(shown, by=("user_id", "day")) == 0.5
    shared = shown.with_columns(constant=pl.col("is_good").mean().over("user_id"))
    assert roc_auc_score(shared["is_good"], shared["constant"]) > 0.75  # what groups of many users would show
    with pytest.raises(TrainingRefused, match="constant per user") as refused:
        refuse_a_ranking_by_user(shown, by=("day",))
    assert "within groups of day" in refused.value.found
    assert refuse_a_ranking_by_user(shown.clear()) == 0.5


def test_the_auc_of_each_user_is_scikit_learn_s_and_one_sided_users_are_counted() -> None:
    shown = impressions(2).with_columns(pl.col("noise").round(0))  # with ties
    only_good = shown.filter(user_id="u0").with_columns(user_id=pl.lit("happy"), is_good=pl.lit(True))
    found = auc_per_user(pl.concat([shown, only_good]), "noise")
    assert "happy" not in found.table["user_id"]
    judged = {
        user: roc_auc_score(rows["is_good"], rows["noise"])
        for (user,), rows in shown.partition_by("user_id", as_dict=True).items()
        if rows["is_good"].n_unique() == 2
    }
    assert found.excluded_count == 1 + 60 - len(judged)
    assert dict(found.table.rows()) == pytest.approx(judged)


def test_a_score_that_is_missing_is_refused() -> None:
    shown = impressions(3).with_columns(noise=pl.when(pl.col("day") == 1).then("noise"))
    with pytest.raises(ConfigError, match="1800 of 2400 without"):
        auc_per_user(shown, "noise")


def test_a_constant_score_ranks_as_chance_does_whatever_the_order_of_the_log() -> None:
    shown = impressions(4, n_users=400).sort("is_good", descending=True).with_columns(constant=pl.lit(1.0))
    gained = shown.filter("is_good").select("user_id", "ping_id", gain=pl.lit(1.0))
    constant = list_measures(ranked(shown, "constant", seed=1), gained, k=10)
    chance = list_measures(ranked(shown, "noise", seed=1), gained, k=10)
    difference = constant.less(chance, "ndcg", seed=1)
    assert difference.low < 0 < difference.high
    again = ranked(shown.sample(fraction=1, shuffle=True, seed=2), "constant", seed=1)
    assert again.equals(ranked(shown, "constant", seed=1))
    best = ranked(shown.with_columns(truth=pl.col("is_good").cast(pl.Float64)), "truth", seed=1)
    assert list_measures(best, gained, k=10).table["ndcg"].min() == pytest.approx(1)


def test_an_interval_is_that_of_drawing_users_one_by_one() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 3, 300) / 2
    found = mean_interval(values, seed=1, samples=4000)
    drawn = [rng.choice(values, 300).mean() for _ in range(4000)]
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.006)
    assert found == mean_interval(values[::-1], seed=1, samples=4000)
    assert found != mean_interval(values, seed=2, samples=4000)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    covered = [
        (found := mean_interval(rng.random(200) < 0.3, seed=number, samples=400)).low <= 0.3 <= found.high
        for number in range(300)
    ]
    assert 0.91 <= np.mean(covered) <= 0.98


def test_an_interval_of_a_ratio_weighs_users() -> None:
    found = mean_interval([1.0, 0.0], weights=[1.0, 3.0], seed=0)
    assert found.value == 0.25
    assert (found.low, found.high) == (0, 1)
    for nothing in (mean_interval([], seed=0), mean_interval([0.0], weights=[0.0], seed=0)):
        assert math.isnan(nothing.value)
        assert math.isnan(nothing.low)


def test_many_samples_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).random(50)
    monkeypatch.setattr("gesture_assets.pings.evaluation.CELLS", 300)
    found = mean_interval(values, seed=1, samples=200)
    assert found.low < found.value < found.high


def test_a_difference_is_of_the_same_users_only() -> None:
    ours, theirs = (PerUser(pl.DataFrame({"user_id": list(users), "ndcg": [0.5] * 2}), 0) for users in ("ab", "ac"))
    with pytest.raises(ConfigError, match="2 of one side only"):
        ours.less(theirs, "ndcg", seed=0)
    assert ours.less(ours, "ndcg", seed=0).value == 0
