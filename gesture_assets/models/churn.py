"""How far a change of model or rules moves people: between bands, and in their order.

Belongs here: the measurement and its budget. Does not belong here: the decision that follows (`judgement.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from gesture_assets.models.scoring import LOWEST
from gesture_assets.rules.scorer import BAND_TOLERANCE
from gesture_assets.rules.tables import LEAST_CORRELATION

TOLERANCE = 1e-9  # the last bits of a share are no difference
# Probabilities of a few per cent all fall into the lowest band: a change of their scale moves nobody out of it.
MOST_TIMES = 1.5  # that the mean score above the lowest may become greater, or smaller


@dataclass(frozen=True)
class Churn:
    """How far a change moves the users who have a score before and after it.

    `share_moved`: of them, in another band after; `rank_correlation`: Spearman's, NaN where one side is all alike;
    `mean_ratio`: the mean score after, by that before, both above the lowest one; NaN where that was everybody's.
    """

    users: int
    share_moved: float
    rank_correlation: float
    mean_ratio: float
    is_within_budget: bool
    sentence: str


def churn(
    before: pl.DataFrame,
    after: pl.DataFrame,
    bands: Mapping[str, float],
    *,
    bands_after: Mapping[str, float] | None = None,
    budget: float = 0.2,
    least_correlation: float = LEAST_CORRELATION,
) -> Churn:
    """What becomes of the bands and the order of users whose scores were `before` and would be `after`.

    Both hold `user_id` and `score`, of one and the same day: the change alone must speak. `bands`: name -> lower end,
    as in a rule set; what is below all is low. Within budget where at most `budget` of the users change bands, ranks
    correlate by `least_correlation` or more and the mean score keeps its scale. Where nothing can be compared it is
    not: then a person decides.
    """
    scores = (
        before.select("user_id", before="score")
        .join(after.select("user_id", after="score"), on="user_id", how="inner")
        .drop_nulls()
    )
    if scores.is_empty():
        return Churn(
            0,
            float("nan"),
            float("nan"),
            float("nan"),
            False,
            "No user has a score before and after: nothing to compare.",
        )
    later_bands = bands if bands_after is None else bands_after
    is_alike = (pl.col("before") == pl.col("after")).all()
    moved, correlation, ratio = scores.select(
        moved=_band("before", bands).ne_missing(_band("after", later_bands)).mean(),
        correlation=pl.when(is_alike).then(1.0).otherwise(pl.corr("before", "after", method="spearman")),
        ratio=pl.when(is_alike)
        .then(1.0)
        .otherwise((pl.col("after").mean() - LOWEST) / (pl.col("before").mean() - LOWEST)),
    ).row(0)
    is_within = (
        moved <= budget + TOLERANCE
        and correlation >= least_correlation - TOLERANCE
        and 1 / MOST_TIMES - TOLERANCE <= ratio <= MOST_TIMES + TOLERANCE
    )
    sentence = (
        f"{moved:.1%} of {scores.height} users change bands ({budget:.0%} are allowed), ranks correlate by "
        f"{correlation:.3f} ({least_correlation:g} is needed), and the mean score becomes {ratio:.2f} of what it was "
        f"({1 / MOST_TIMES:.2f} to {MOST_TIMES:g} is allowed): {'within' if is_within else 'beyond'} the budget."
    )
    return Churn(scores.height, moved, correlation, ratio, is_within, sentence)


def _band(name: str, bands: Mapping[str, float]) -> pl.Expr:
    """The band of the score `name`; null below all."""
    falling = sorted(bands.items(), key=lambda band: -band[1])
    return pl.coalesce(pl.when(pl.col(name) >= lower - BAND_TOLERANCE).then(pl.lit(band)) for band, lower in falling)
