"""Estimates from logged chances: right where chances are known, silent where they say too little."""

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.pings.off_policy import in_list_estimate, off_policy_estimate


def logged(n: int, explore: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, logged chances and those of always showing arm 1; arm 0 pays 0.2, arm 1 0.6, and is shown `explore`."""
    rng = np.random.default_rng(1)
    is_one = rng.random(n) < explore
    reward = (rng.random(n) < np.where(is_one, 0.6, 0.2)).astype(float)
    return reward, np.where(is_one, explore, 1 - explore), is_one.astype(float)


def test_the_other_policy_s_mean_is_found_and_the_log_s_is_not() -> None:
    reward, before, after = logged(20_000, 0.1)
    found = off_policy_estimate(reward, before, after, seed=1)
    assert found.ips is not None
    assert found.snips is not None
    for estimate in (found.ips, found.snips):
        assert estimate.low < 0.6 < estimate.high
    assert reward.mean() < 0.3
    assert found.effective_sample_size == pytest.approx(after.sum())  # all weights equal


def test_the_logging_policy_itself_is_the_mean_of_the_log() -> None:
    reward, before, _ = logged(500, 0.3)
    found = off_policy_estimate(reward, before, before, seed=1)
    assert found.ips is not None
    assert found.ips.value == pytest.approx(reward.mean())
    assert found.effective_sample_size == pytest.approx(500)


def test_too_small_an_effective_sample_gives_no_estimate() -> None:
    reward, before, after = logged(500, 0.05)
    found = off_policy_estimate(reward, before, after, seed=1)
    assert (found.ips, found.snips, found.row_count) == (None, None, 500)
    assert 0 < found.effective_sample_size < 100
    assert off_policy_estimate(reward, before, after, seed=1, least_sample=5).snips is not None
    assert off_policy_estimate(reward, before, after * 0, seed=1).effective_sample_size == 0


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.5), (1.5, 0.5), (0.5, -0.1), (np.nan, 0.5), (0.5, 1.1)])
def test_a_chance_that_is_none_is_refused(before: float, after: float) -> None:
    with pytest.raises(ConfigError, match="1 of 2 rows without"):
        off_policy_estimate([1, 0], [0.5, before], [0.5, after], seed=0)


def test_rows_of_one_user_are_resampled_together() -> None:
    reward, before, after = logged(4_000, 0.3)
    alone = off_policy_estimate(reward, before, after, seed=1)
    copies = off_policy_estimate(
        *(np.tile(values, 4) for values in (reward, before, after)), users=np.tile(np.arange(4_000), 4), seed=1
    )
    assert alone.snips is not None
    assert copies.snips is not None
    assert (copies.snips.value, copies.snips.user_count) == (pytest.approx(alone.snips.value), 4_000)
    width = alone.snips.high - alone.snips.low
    assert copies.snips.high - copies.snips.low == pytest.approx(width, rel=0.15)  # four times the rows say no more


def explored_lists(users: int, *, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists of two of "a", "b" and a pool of "c", "d", each place by chance with `share`; and what gained.

    "a" gains in 0.2 of cases, "b" in 0.4, "c" in 0.6, "d" never.
    """
    rng = np.random.default_rng(seed)
    rates = {"a": 0.2, "b": 0.4, "c": 0.6, "d": 0.0}
    rows: list[tuple[str, str, bool, float]] = []
    gained: list[tuple[str, str]] = []
    for number in range(users):
        pool = rng.permutation(["c", "d"])
        for best, other in zip("ab", pool, strict=True):
            is_explored = bool(rng.random() < share)
            ping = str(other) if is_explored else best
            rows.append((f"u{number}", ping, is_explored, share / 2 if is_explored else 1 - share))
            if rng.random() < rates[ping]:
                gained.append((f"u{number}", ping))
    columns = ["user_id", "ping_id", "is_explored", "propensity"]
    return (
        pl.DataFrame(rows, schema=columns, orient="row"),
        pl.DataFrame(gained, schema=columns[:2], orient="row"),
    )


@pytest.mark.parametrize(("target", "truth"), [(("a", "b"), 0.3), (("a", "c"), 0.4), (("c", "d"), 0.3), (("b",), 0.4)])
def test_other_lists_are_judged_by_what_was_tried_out(target: tuple[str, ...], truth: float) -> None:
    shown, gained = explored_lists(6_000, share=0.3, seed=3)
    users = shown.select(pl.col("user_id").unique())
    lists = users.join(pl.DataFrame({"ping_id": list(target)}), how="cross")
    found = in_list_estimate(shown, lists, gained, length=2, seed=1)
    assert found.snips is not None
    assert found.snips.low < truth < found.snips.high
    assert found.snips.high - found.snips.low < 0.1
    assert found.snips.user_count == 6_000


def test_lists_that_were_hardly_ever_shown_are_not_judged() -> None:
    shown, gained = explored_lists(40, share=0.1, seed=3)
    lists = shown.select("user_id", ping_id=pl.lit("c")).unique()
    assert in_list_estimate(shown, lists, gained, length=2, seed=1).snips is None
