"""The measures of probabilities under weights of rows, and the interval that bootstrap replicates give them.

Belongs here: arithmetic on outcomes and probabilities. Does not belong here: what is evaluated or compared
(`evaluation.py`), calibration by bin (`calibration.py`).

A bootstrap replicate is a weight per row, so rows are sorted once and replicates cost a few passes over them, many at a
time: of some hundred rows a pass costs less than asking for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
CALIBRATION = ("log_loss", "brier", "ece", "sum_ratio")  # how far probabilities can be taken at their word
SMALLER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})
TOP = 0.2  # the share of users that a sales team gets round to, by document 002
DECILES = 10
AT_ONCE = 20_000  # weights of rows that are measured together: few enough to stay near the processor


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

    def measure(self, weights: Floats | None = None) -> Floats:
        """A row for each row of `weights`: the metrics in the order of `METRICS`, then the lift of each decile.

        `weights`: by the rows as given, in columns; by default one row, of ones.
        """
        weights = np.ones((1, len(self.y))) if weights is None else np.take(weights, self.order, axis=1)
        weighted_y, weighted_p = weights * self.y, weights * self.p
        cumulated, hits = np.cumsum(weights, axis=1), np.cumsum(weighted_y, axis=1)
        total, positives = cumulated[:, -1], hits[:, -1]
        negatives = total - positives
        hits_at = np.pad(np.take(hits, self.tie_ends, axis=1), ((0, 0), (1, 0)))
        rows_at = np.pad(np.take(cumulated, self.tie_ends, axis=1), ((0, 0), (1, 0)))
        new_hits, new_rows = np.diff(hits_at), np.diff(rows_at)
        with np.errstate(divide="ignore", invalid="ignore"):
            area = ((new_rows - new_hits) * (hits_at[:, 1:] + hits_at[:, :-1])).sum(axis=1) / 2
            hits_upto, rows_upto = hits_at[:, 1:], rows_at[:, 1:]
            precisions = np.divide(hits_upto, rows_upto, out=np.zeros(new_hits.shape), where=rows_upto > 0)
            called_weight, true_weight = (
                (cumulated[:, self.called - 1], hits[:, self.called - 1]) if self.called else np.zeros((2, len(total)))
            )
            false_weight = called_weight - true_weight
            calibration_gap = np.abs(
                np.add.reduceat(weighted_p, self.bin_starts, axis=1)
                - np.add.reduceat(weighted_y, self.bin_starts, axis=1)
            ).sum(axis=1)
            top = np.ceil(TOP * total - 1e-9)
            firsts = np.column_stack([top, total[:, None] * np.arange(DECILES + 1) / DECILES])
            # The hits among the first rows by falling probability; of equal ones so many as their share.
            among: Floats = np.array(
                [np.interp(*row) for row in zip(firsts, rows_at, hits_at, strict=True)], dtype=np.float64
            )
            in_top, by_decile = among[:, 0], np.diff(among[:, 1:])
            # Row by row: the last bit of a matrix product depends on how many rows it has.
            losses = np.array([[row @ self.log_losses, row @ self.squares] for row in weights])
            metrics = [
                area / (positives * negatives),
                (new_hits * precisions).sum(axis=1) / positives,
                true_weight / called_weight,
                true_weight / positives,
                2 * true_weight / (called_weight + positives),
                (true_weight + negatives - false_weight) / total,
                losses[:, 0] / total,
                losses[:, 1] / total,
                calibration_gap / total,
                in_top / top,
                (in_top / top) / ((positives - in_top) / (total - top)),
                weighted_p.sum(axis=1) / positives,
            ]
            return np.column_stack([*metrics, by_decile * DECILES / positives[:, None]])


def replicate_weights(rows: int, codes: Codes | None, bootstrap: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, a row for each replicate, some replicates at a time; rows of one group together."""
    random = np.random.default_rng(seed)
    units = rows if codes is None else int(codes.max()) + 1
    at_once = max(1, AT_ONCE // rows)
    for start in range(0, bootstrap, at_once):
        draws = np.array(
            [
                np.bincount(random.integers(0, units, units), minlength=units)
                for _ in range(min(at_once, bootstrap - start))
            ],
            dtype=np.float64,
        )
        yield draws if codes is None else np.take(draws, codes, axis=1)


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
