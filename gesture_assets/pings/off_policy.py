"""What another way of choosing would have got, from what was logged with the chance it had.

Belongs here: IPS and SNIPS, and when they may be believed. Does not belong here: choosing by chance (what is shown),
measures of lists (`evaluation.py`).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from gesture_assets.errors import ConfigError
from gesture_assets.pings.evaluation import Interval, mean_interval

# An interval of a mean over fewer is wider than any difference between rankers.
LEAST_SAMPLE = 100.0


@dataclass(frozen=True)
class OffPolicy:
    """Estimates of the mean reward; both None where the effective sample is below what was asked.

    `effective_sample_size`: (Σ weight)² ÷ Σ weight², as many equally weighted rows would say as much.
    """

    ips: Interval | None
    snips: Interval | None
    effective_sample_size: float
    row_count: int


def off_policy_estimate(
    rewards: ArrayLike,
    logged: ArrayLike,
    target: ArrayLike,
    *,
    users: ArrayLike | None = None,
    seed: int,
    least_sample: float = LEAST_SAMPLE,
) -> OffPolicy:
    """Mean reward of a policy that shows each logged choice with chance `target`, where it was shown with `logged`.

    One value each a row, each row a choice of its own. IPS: mean of reward × target ÷ logged; SNIPS: the same, ÷ the
    mean of target ÷ logged, which is bounded by the rewards. Rows of one of `users` are resampled together. Raises
    `ConfigError` where a logged chance is not above 0 and at most 1, or a target not within 0 and 1: whatever was never
    shown by chance cannot be judged.
    """
    reward, before, after = (np.asarray(values, np.float64) for values in (rewards, logged, target))
    wrong = ~((before > 0) & (before <= 1) & (after >= 0) & (after <= 1))
    if wrong.any():
        raise ConfigError.bad_value(
            "The logged propensities",
            expected="a logged chance above 0 and at most 1, and a target within 0 and 1",
            found=f"{int(wrong.sum())} of {len(wrong)} rows without, the first logged {before[wrong][0]:g}",
            where="the log of what was shown",
            next_step="leave out what was not chosen by chance",
        )
    weight = after / before
    squares = float(weight @ weight)
    size = float(weight.sum()) ** 2 / squares if squares else 0.0
    if size < least_sample:
        return OffPolicy(None, None, size, len(reward))
    _, who = np.unique(np.arange(len(reward)) if users is None else np.asarray(users), return_inverse=True)
    got, shown, rows = (np.bincount(who, values) for values in (weight * reward, weight, np.ones(len(reward))))
    ips, snips = (mean_interval(got, weights=below, seed=seed) for below in (rows, shown))
    return OffPolicy(ips, snips, size, len(reward))


def in_list_estimate(
    shown: pl.DataFrame, target: pl.DataFrame, gains: pl.DataFrame, *, length: int, seed: int
) -> OffPolicy:
    """The chance that a ping gains where it is seen, for the lists of `target`, from lists that were `shown`.

    `shown`: `user_id`, `ping_id`, `is_explored`, `propensity` (that ping at that place) of the places that their user
    saw; `target`: `user_id`, `ping_id` of the lists to judge; `gains`: `user_id`, `ping_id` of what gained. A ping that
    is tried out may stand at any of `length` places, each as likely, so that it is in a list with so many times its
    propensity; where it stands there is taken to be no matter. What could not have been shown says nothing.
    """
    pair = ["user_id", "ping_id"]
    rows = shown.sort(pair).with_columns(
        in_list=pl.col("propensity") * pl.when("is_explored").then(length).otherwise(1),
        is_target=pl.struct(pair).is_in(target.select(pl.struct(pair)).to_series().implode()),
        is_gained=pl.struct(pair).is_in(gains.select(pl.struct(pair)).to_series().implode()),
    )
    reward, logged, wanted = (rows[name].cast(pl.Float64) for name in ("is_gained", "in_list", "is_target"))
    return off_policy_estimate(reward, logged, wanted, users=rows["user_id"].rank("dense"), seed=seed)
