"""The second stage: what it refuses to learn from, that order is no matter, and what is shown with which chance."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import TrainingRefused
from gesture_assets.pings.evaluation import auc_per_user, list_measures
from gesture_assets.pings.exploration import shown_lists
from gesture_assets.pings.impressions import FEATURES
from gesture_assets.pings.off_policy import off_policy_estimate
from gesture_assets.pings.ranker import (
    OBJECTIVES,
    Objective,
    Settings,
    candidates,
    choose_objective,
    ordered_candidates,
    refuse_days_that_are_counted,
    refuse_groups_that_flatter,
    reranking,
    sampled_candidates,
    train,
)
from gesture_assets.pings.weights import Lists

DAY = date(2026, 3, 1)
QUICK = Settings(rounds=20)


def rows(seed: int, n_users: int = 80, n_days: int = 4, per_day: int = 8, first: int = 0) -> pl.DataFrame:
    """Impressions whose hit rates say what is good; users differ in luck, and their luck grows by the day."""
    rng = np.random.default_rng(seed)
    n = n_users * n_days * per_day
    user, day = np.repeat(np.arange(n_users), n_days * per_day), np.tile(np.repeat(np.arange(n_days), per_day), n_users)
    features = {name: rng.random(n) for name in FEATURES}
    features["user_hit_rate"] = (user % 7) / 20 + day / 5
    for name in ("user_exposures", "user_watched"):
        features[name] = day.astype(float)
    chance = np.clip(0.1 + 0.6 * features["ping_hit_rate"] * (0.3 + features["user_hit_rate"]), 0, 1)
    gain = np.where(rng.random(n) < chance, rng.choice([0.5, 1.0, 2.0], n), 0.0)
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "ping_id": [f"p{number}" for number in np.tile(np.arange(n_days * per_day), n_users)],
            "day": [DAY + timedelta(days=int(number) + first) for number in day],
            "as_of": [DAY + timedelta(days=int(number) + first - 1) for number in day],
            "gain": gain,
            "is_good": gain > 0,
            **features,
        }
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equal_rows_in_any_order_give_the_same_bytes_and_what_was_learned_ranks(objective: Objective) -> None:
    ranker = train(rows(1), objective, settings=QUICK)
    again = train(rows(1).sample(fraction=1, shuffle=True, seed=3), objective, settings=QUICK)
    assert again.fingerprint == ranker.fingerprint
    assert train(rows(2), objective, settings=QUICK).fingerprint != ranker.fingerprint
    later = rows(3)
    scores = ranker.scores(later)
    assert ranker.scores(later[::-1]).equals(scores[::-1])
    judged = auc_per_user(later.with_columns(scores), "score").table["auc"].to_numpy().mean()
    assert judged > 0.55


def test_groups_of_several_days_let_a_constant_rank_and_are_refused() -> None:
    refuse_groups_that_flatter(rows(1))
    with pytest.raises(TrainingRefused, match="constant per user") as refused:
        train(rows(1), "rank:ndcg", settings=QUICK, group=("user_id",))
    assert "within groups of user_id" in refused.value.found
    with pytest.raises(TrainingRefused, match="constant per user"):
        refuse_groups_that_flatter(rows(1), group=("day",))


def test_what_is_counted_on_the_days_that_are_judged_is_refused() -> None:
    learned, judged = rows(1), rows(2, first=4).with_columns(as_of=pl.lit(DAY + timedelta(days=3)))
    refuse_days_that_are_counted(learned, judged)
    refuse_days_that_are_counted(learned, judged.clear())
    own_day = learned.with_columns(as_of="day")
    with pytest.raises(TrainingRefused, match="nothing counted on the days"):
        train(own_day, "binary:logistic", settings=QUICK)
    with pytest.raises(TrainingRefused, match="nothing counted on the days") as refused:
        choose_objective(learned, rows(2, first=3), settings=QUICK, seed=1)
    assert "2026-03-04" in refused.value.found
    # Judged on four days, and known as of the day before each: three of them were counted.
    with pytest.raises(TrainingRefused, match="nothing counted on the days"):
        refuse_days_that_are_counted(learned, rows(2, first=4))


def test_too_little_to_learn_from_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="at least 100 rows"):
        train(rows(1)[:99], "binary:logistic", settings=QUICK)
    with pytest.raises(TrainingRefused, match="both outcomes"):
        train(rows(1).with_columns(is_good=pl.lit(True)), "binary:logistic", settings=QUICK)


def test_the_objective_that_ranks_the_later_days_better_is_chosen() -> None:
    learned, judged = rows(1), rows(2, first=4).with_columns(as_of=pl.lit(DAY + timedelta(days=3)))
    choice = choose_objective(learned, judged, settings=QUICK, seed=1)
    assert set(choice.ndcg) == set(OBJECTIVES)
    assert choice.ndcg[choice.objective] == max(choice.ndcg.values())
    score = train(learned, choice.objective, settings=QUICK).scores(judged)
    found = reranking(judged.with_columns(score), "score", seed=1).ndcg.table["ndcg"].to_numpy().mean()
    assert choice.ndcg[choice.objective] == pytest.approx(found)


def test_re_ranking_is_judged_by_who_liked_some_and_not_others() -> None:
    shown = pl.DataFrame(
        [
            ("a", "x", 0, 0.0),
            ("a", "y", 0, 2.0),
            ("a", "x", 1, 1.0),
            ("a", "z", 0, 0.0),
            ("b", "x", 0, 1.0),
            ("c", "x", 0, 0.0),
        ],
        schema=["user_id", "ping_id", "day", "gain"],
        orient="row",
    ).with_columns(score=pl.Series([3.0, 2.0, 0.0, 1.0, 1.0, 1.0]))
    found = reranking(shown, "score", seed=1)
    assert found.excluded_count == 2
    assert found.auc.table.rows() == [("a", 1.0)]  # x by its first day's score, and liked on its second
    assert found.ndcg.table["ndcg"].item() == pytest.approx((1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3)))


def test_candidates_are_what_was_not_seen() -> None:
    seen = pl.DataFrame({"user_id": ["b", "b"], "ping_id": ["z", "y"]})
    people, pings = pl.DataFrame({"user_id": ["b", "a", "a"]}), pl.DataFrame({"ping_id": ["z", "x", "y"]})
    found = candidates(people, pings, seen)
    assert found.rows() == [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x")]
    gained = pl.DataFrame({"user_id": ["a", "a"], "ping_id": ["y", "elsewhere"], "gain": [2.0, 1.0]})
    learned = sampled_candidates(found, gained, per_user=1, seed=1)
    assert learned.filter("is_good").select("user_id", "ping_id", "gain").rows() == [("a", "y", 2.0)]
    assert learned.height == 2  # nobody else gained
    again = sampled_candidates(found.reverse(), gained, per_user=1, seed=1)
    assert again.equals(learned)


def scored_candidates(n_users: int, n: int, creators: int = 5) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same candidates for everybody, the first the best; and their catalogue."""
    names = [f"p{number:02}" for number in range(n)]
    catalogue = pl.DataFrame(
        {"ping_id": names, "creator_id": [f"c{number % creators}" for number in range(n)], "catalogue_row": range(n)}
    )
    pairs = pl.DataFrame({"user_id": [f"u{number:05}" for number in range(n_users)]}).join(
        pl.DataFrame({"ping_id": names, "score": -np.arange(n, dtype=np.float32)}), how="cross"
    )
    return pairs, catalogue


def test_the_best_stand_first_and_equal_ones_as_in_the_catalogue() -> None:
    pairs, catalogue = scored_candidates(2, 5)
    by_number = ["p00", "p01", "p02", "p03", "p04"]
    found = ordered_candidates(pairs.reverse(), catalogue, per_creator=None)
    assert found.group_by("user_id", maintain_order=True).agg("ping_id").rows() == [
        ("u00000", by_number),
        ("u00001", by_number),
    ]
    worst_first = ordered_candidates(pairs.with_columns(-pl.col("score")), catalogue, per_creator=None)
    assert worst_first.filter(user_id="u00001")["ping_id"].to_list() == by_number[::-1]
    tied = ordered_candidates(pairs.with_columns(score=pl.lit(1.0)).reverse(), catalogue, per_creator=None)
    assert tied.equals(found)


@pytest.mark.parametrize("per_creator", [None, 3])
def test_a_share_of_places_is_given_by_chance_and_each_row_has_the_chance_that_it_had(per_creator: int | None) -> None:
    n_users, k, share = 20_000, 4, 0.05
    pairs, catalogue = scored_candidates(n_users, 24, creators=24 if per_creator is None else 12)
    order = ordered_candidates(pairs, catalogue, per_creator=per_creator)
    lists = Lists(length=k, seen="any", per_creator=per_creator, exploration=share)
    found = shown_lists(order, lists, seed=1)
    assert found.height == n_users * k
    assert found["is_explored"].mean() == pytest.approx(share, abs=0.01)
    assert found.unique(["user_id", "ping_id"]).height == found.height
    # How often each ping stood at each place is the chance that is logged for it.
    often = found.group_by("rank", "ping_id").agg(pl.len() / n_users, pl.col("propensity").unique())
    assert often["propensity"].list.len().max() == 1
    expected = often["propensity"].list.first().to_numpy()
    assert np.abs(often["len"].to_numpy() - expected).max() < 5 * np.sqrt(share / n_users)
    total = often.filter(rank=1).select(pl.col("propensity").list.first().sum()).item()
    assert total == pytest.approx(1)
    # The log says what the plain order would have got: every ping is worth as many points as its number.
    reward = found["ping_id"].str.slice(1).cast(pl.Float64)
    plain = (~found["is_explored"]).cast(pl.Float64)
    estimate = off_policy_estimate(reward, found["propensity"], plain, seed=1)
    assert estimate.snips is not None
    assert estimate.snips.value == pytest.approx((0 + 1 + 2 + 3) / 4, abs=0.01)
    assert shown_lists(order.sample(fraction=1, shuffle=True, seed=2), lists, seed=1).equals(found)
    assert not shown_lists(order, lists, seed=2).equals(found)


def test_no_list_has_more_of_a_creator_than_is_allowed_whatever_is_explored() -> None:
    pairs, catalogue = scored_candidates(300, 60, creators=8)
    order = ordered_candidates(pairs, catalogue, per_creator=2)
    lists = Lists(length=4, seen="any", per_creator=2, exploration=0.5)
    found = shown_lists(order, lists, seed=1)
    assert found["is_explored"].any()
    assert found.group_by("user_id", "creator_id").len()["len"].max() <= 2
    unknown = ordered_candidates(pairs, catalogue.with_columns(creator_id=pl.lit(None, pl.String)), per_creator=2)
    assert unknown.height == pairs.height


def test_where_there_is_nothing_to_explore_the_best_are_shown_for_certain() -> None:
    pairs, catalogue = scored_candidates(3, 6)
    order = ordered_candidates(pairs, catalogue, per_creator=None)
    found = shown_lists(order, Lists(length=4, seen="any", exploration=0.5), seed=1)
    assert found["propensity"].unique().to_list() == [1.0]
    assert found["ping_id"].to_list() == ["p00", "p01", "p02", "p03"] * 3
    gains = pl.DataFrame({"user_id": ["u00000"], "ping_id": ["p00"], "gain": [1.0]})
    assert list_measures(found, gains, k=4).table["ndcg"].item() == 1
    nothing = shown_lists(order, Lists(length=2, seen="any", exploration=0.0), seed=1)
    assert nothing["is_explored"].sum() == 0
    assert nothing["propensity"].unique().to_list() == [1.0]
