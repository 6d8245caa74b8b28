"""Estimates from logged chances: right where chances are known, silent where they say too little."""

import numpy as np
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.pings.off_policy import off_policy_estimate


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
