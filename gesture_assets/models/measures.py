"""The measures of probabilities under weights of rows, and the interval that bootstrap replicates give them.

Belongs here: arithmetic on outcomes and probabilities. Does not belong here: what is evaluated or compared
(`evaluation.py`), calibration by bin (`calibration.py`).

A bootstrap replicate is a weight per row, so rows are sorted once and a replicate costs a few passes over them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gesture_assets.models.calibration import Floats, bin_starts

Codes = NDArray[np.int64]  # of each row the number of its group, from 0

METRICS = (
    "roc_auc",
    "pr_auc",
    "precision",
    "recall",
    "f1",
    "accuracy",
    "log_loss",
    "brier",
    "ece",
    "precision_top_20",
    "lift_top_20",
    "sum_ratio",
)
SMALLER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})
TOP = 0.2  # the share of users that a sales team gets round to, by document 002
DECILES = 10


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Sample:
    """Rows by falling probability, ready to be measured under any weights."""

    def __init__(self, outcome: Floats, probability: Floats, threshold: float) -> None:
        self.order = np.lexsort((outcome, -probability))
        self.y, self.p = outcome[self.order], probability[self.order]
        rows = len(self.y)
        self.tie_ends = np.flatnonzero(np.append(np.diff(self.p) != 0, True))
        self.called = int((self.p >= threshold).sum())
        clipped = np.clip(self.p, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        self.log_losses = -(self.y * np.log(clipped) + (1 - self.y) * np.log1p(-clipped))
        self.squares = (self.p - self.y) ** 2
        rising = bin_starts(self.p[::-1])
        self.bin_starts = np.sort(rows - np.append(rising[1:], rows))

    def measure(self, weight: Floats | None = None) -> Floats:
        """The metrics in the order of `METRICS`, then the lift of each decile. `weight`: by the rows as given."""
        weights = np.ones(len(self.y)) if weight is None else weight[self.order]
        weighted_y, weighted_p = weights * self.y, weights * self.p
        cumulated, hits = np.cumsum(weights), np.cumsum(weighted_y)
        total, positives = cumulated[-1], hits[-1]
        negatives = total - positives
        hits_at = np.append(0.0, hits[self.tie_ends])
        rows_at = np.append(0.0, cumulated[self.tie_ends])
        new_hits, new_rows = np.diff(hits_at), np.diff(rows_at)
        with np.errstate(divide="ignore", invalid="ignore"):
            area = ((new_rows - new_hits) * (hits_at[1:] + hits_at[:-1])).sum() / 2
            precisions = np.divide(hits_at[1:], rows_at[1:], out=np.zeros(len(new_hits)), where=rows_at[1:] > 0)
            called_weight, true_weight = (
                (cumulated[self.called - 1], hits[self.called - 1]) if self.called else (0.0, 0.0)
            )
            false_weight = called_weight - true_weight
            calibration_gap = np.abs(
                np.add.reduceat(weighted_p, self.bin_starts) - np.add.reduceat(weighted_y, self.bin_starts)
            ).sum()
            top = np.ceil(TOP * total - 1e-9)
            in_top = _hits_among(top, rows_at, hits_at)
            by_decile = np.diff(_hits_among(total * np.arange(DECILES + 1) / DECILES, rows_at, hits_at))
            metrics: list[Any] = [
                area / np.float64(positives * negatives),
                (new_hits * precisions).sum() / positives,
                np.float64(true_weight) / called_weight,
                true_weight / positives,
                2 * true_weight / (called_weight + positives),
                (true_weight + negatives - false_weight) / total,
                (weights @ self.log_losses) / total,
                (weights @ self.squares) / total,
                calibration_gap / total,
                in_top / top,
                (in_top / top) / ((positives - in_top) / (total - top)),
                weighted_p.sum() / positives,
            ]
            return np.array([*metrics, *(by_decile * DECILES / positives)])


def _hits_among(first: ArrayLike, rows_at: Floats, hits_at: Floats) -> Floats:
    """The hits among the `first` rows by falling probability; of equal ones so many as their share."""
    return np.asarray(np.interp(np.asarray(first, dtype=np.float64), rows_at, hits_at))


def replicate_weights(rows: int, codes: Codes | None, bootstrap: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, replicate by replicate; rows of one group together."""
    random = np.random.default_rng(seed)
    units = rows if codes is None else int(codes.max()) + 1
    for _ in range(bootstrap):
        draws = np.bincount(random.integers(0, units, units), minlength=units).astype(np.float64)
        yield draws if codes is None else draws[codes]


def estimates(point: Floats, replicates: Floats) -> list[Estimate]:
    """The value of each measure with the interval of its `replicates`, a row each; NaN where none is defined."""
    intervals: list[Estimate] = []
    for place, value in enumerate(point):
        defined = np.sort(replicates[:, place][~np.isnan(replicates[:, place])])
        # Observed replicates, not between them: a lift may be infinite.
        low, high = (
            defined[[int(0.025 * (len(defined) - 1)), -1 - int(0.025 * (len(defined) - 1))]]
            if len(defined)
            else (np.nan, np.nan)
        )
        intervals.append(Estimate(float(value), float(low), float(high)))
    return intervals
