"""What lists show to whom, by hand and against the same by every pair of users."""

import math
from itertools import combinations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.pings.exposure import churn, coverage, creator_gini, mean_overlap, novelty, popularity_bias
from gesture_assets_tests.ping_worlds import pings

CATALOGUE = pings(*[(ping, creator, "cats", 30, 0) for ping, creator in zip("abcde", "xxyyz", strict=True)])


def lists(**by_user: str) -> pl.DataFrame:
    rows = [(user, rank, ping) for user, listed in by_user.items() for rank, ping in enumerate(listed, 1)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "rank": pl.Int64, "ping_id": pl.String}, orient="row")


def test_coverage_is_the_share_of_the_catalogue() -> None:
    assert coverage(lists(u="ab", v="b?"), CATALOGUE) == 0.4
    assert math.isnan(coverage(lists(u="ab"), CATALOGUE.clear()))


def test_novelty_and_churn_are_shares_of_rows() -> None:
    shown = lists(u="ab", v="cd", w="e")
    assert novelty(shown, lists(u="a", v="a"), seed=0).value == 0.8
    assert novelty(shown, lists(), seed=0).value == 1
    assert churn(shown, lists(u="ab", v="cx"), seed=0).value == 0.25  # w had no list
    assert churn(shown, shown, seed=0).value == 0
    assert math.isnan(churn(shown, lists(), seed=0).value)


def test_the_gini_counts_creators_who_are_never_shown() -> None:
    assert creator_gini(lists(u="a", v="c", w="e"), CATALOGUE) == 0
    assert creator_gini(lists(u="ab", v="ab"), CATALOGUE) == pytest.approx(2 / 3)  # of three the most there can be
    # 1, 1 and 2 places: Σ |difference| over ordered pairs 4, ÷ (2 × 3² × mean 4/3)
    assert creator_gini(lists(u="ac", v="ea"), CATALOGUE) == pytest.approx(4 / 24)
    assert math.isnan(creator_gini(lists(), CATALOGUE))


def test_popularity_bias_is_the_mean_place() -> None:
    engagement = pl.DataFrame({"ping_id": list("abcd"), "global_engagement": [4.0, 3.0, 2.0, 1.0]})
    assert popularity_bias(lists(u="a"), CATALOGUE, engagement, seed=0).value == 1
    assert popularity_bias(lists(u="e"), CATALOGUE, engagement, seed=0).value == 0
    assert popularity_bias(lists(u="abcde"), CATALOGUE, engagement, seed=0).value == 0.5
    nobody = engagement.clear()
    assert popularity_bias(lists(u="ab"), CATALOGUE, nobody, seed=0).value == 0.5
    assert math.isnan(popularity_bias(lists(u="a"), CATALOGUE[:1], engagement, seed=0).value)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=5).map(lambda text: "".join(dict.fromkeys(text))), max_size=8))
def test_the_mean_overlap_is_that_of_every_pair(listed: list[str]) -> None:
    found = mean_overlap(lists(**{f"u{number}": pings for number, pings in enumerate(listed)}))
    pairs = [len({*a} & {*b}) / math.sqrt(len(a) * len(b)) for a, b in combinations(listed, 2)]
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12) if pairs else math.isnan(found)


def test_lists_that_all_look_the_same_overlap_entirely() -> None:
    assert mean_overlap(lists(u="abc", v="cab", w="bca")) == pytest.approx(1)
    assert mean_overlap(lists(u="ab", v="cd")) == 0
