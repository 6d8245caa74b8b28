"""The points of the rules as log odds: what a model stands on, and what is said of whom it does not score.

Belongs here: fitting the curve, its log odds and probabilities, how much of a model it is. Does not belong here: the
points (`rules/scorer.py`), the trees (`training.py`).

The curve is a sigmoid on log(1 + points): the odds rise with the points by a power, as they do in every world measured.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gesture_assets.models.calibration import Floats, fit_calibrator

RULE_SCORE = "rule_score"  # the input that holds the points
# A blend is half the rules' where it has learnt from as many buyers: below, the trees know less than the rules.
BUYERS_OF_HALF = 200


@dataclass(frozen=True)
class RuleCurve:
    """log odds = `slope` × log(1 + points) + `intercept`; `weight` is the curve's share of a model's margin, 0 to 1."""

    slope: float
    intercept: float
    weight: float

    def margins(self, points: ArrayLike) -> Floats:
        """The log odds of each of `points`; missing ones are none."""
        return self.slope * log_points(points) + self.intercept

    def blended(self, trees: NDArray[np.float32], points: ArrayLike) -> NDArray[np.float32]:
        """The margin of a model that stands on the rules: `trees` and the curve by weight."""
        return ((1 - self.weight) * trees.astype(np.float64) + self.weight * self.margins(points)).astype(np.float32)


def log_points(points: ArrayLike) -> Floats:
    """log(1 + points); 0 where they are missing or below 0."""
    return np.log1p(np.maximum(np.nan_to_num(np.asarray(points, dtype=np.float64), nan=0.0), 0.0))


def fit_rule_curve(points: ArrayLike, outcomes: ArrayLike, *, is_blended: bool) -> RuleCurve:
    """The curve of rows with both outcomes. Its weight is 0 unless `is_blended`, and shrinks as buyers become known."""
    fitted = fit_calibrator(log_points(points), outcomes, choice="sigmoid")
    buyers = float(np.asarray(outcomes).sum())
    return RuleCurve(fitted.slope, fitted.intercept, BUYERS_OF_HALF / (BUYERS_OF_HALF + buyers) if is_blended else 0.0)
