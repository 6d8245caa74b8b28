"""The leakage sentinel: features that seem to know the outcome they are to predict.

Belongs here: judging each feature alone against the outcome. Does not belong here: stopping a training (the contract of
`feature_screening` does), choosing features.

Honest behaviour tells buyers from others loosely: the best single feature of the demo world ranks them with an AUC of
about 0.8, of document 003's subscribers with 0.75. What ranks almost perfectly alone is the outcome in other words, or
was written down because of it.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gesture_assets.contracts.models import FINE, LEAK, SUSPECT
from gesture_assets.models.training import outcomes

LEAK_AUC = 0.98
SUSPECT_AUC = 0.88
# A column some of whose values settle the outcome and others rule it out was filled in by somebody who knew more than
# the day did. Smaller groups agree by chance, and one side alone may be an honest segment.
SETTLED_RATE, SETTLED_SHARE = 0.94, 0.1  # rate of outcomes of such a value; share of all positives that they hold
RULED_OUT_RATE, RULED_OUT_SHARE = 0.1, 0.05  # rate, as a part of the mean's; share of all rows
FEWEST = 30
FOLDS = 5
PRIOR_ROWS = 10.0  # how strongly a rare value's rate is drawn to the mean


def screen(frame: pl.DataFrame, target: str, features: Sequence[str], *, seed: int = 42) -> pl.DataFrame:
    """One row per feature: `feature`, `auc` (null where constant), `verdict` (leak, suspect or fine), `because`.

    Each feature is judged alone, with its missing values as a value of their own: numbers by rank, the higher of both
    directions; categories by the outcome's rate of their value in the other folds (by `seed`), so that a column of
    unique values tells nothing.
    """
    outcome = outcomes(frame, target, features).astype(np.float64)
    fold = np.random.default_rng(seed).permutation(len(frame)) % FOLDS
    rows = []
    for name in features:  # a few hundred columns, each worked on as a whole
        column = frame[name]
        is_number = column.dtype.is_numeric() or column.dtype == pl.Boolean
        score = _numbers(column, outcome) if is_number else _rates(column, outcome, fold)
        auc = _auc(score, outcome)
        settled, ruled_out = (0.0, 0.0) if is_number else _decided(column, outcome)
        rows.append((name, auc, *_verdict(auc, settled, ruled_out)))
    schema = {"feature": pl.String, "auc": pl.Float64, "verdict": pl.String, "because": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _verdict(auc: float | None, settled: float, ruled_out: float) -> tuple[str, str]:
    if auc is None:
        return FINE, ""
    alone = f"it ranks the outcome alone with an AUC of {auc:.3f}"
    if auc > LEAK_AUC:
        return LEAK, f"{alone} (more than {LEAK_AUC})"
    if auc > SUSPECT_AUC:
        return SUSPECT, f"{alone} (more than {SUSPECT_AUC})"
    if settled >= SETTLED_SHARE and ruled_out >= RULED_OUT_SHARE:
        return SUSPECT, (
            f"some of its values settle the outcome ({settled:.0%} of the positives) and others rule it out "
            f"({ruled_out:.0%} of the rows); {alone}"
        )
    return FINE, ""


def _numbers(column: pl.Series, outcome: np.ndarray) -> np.ndarray:
    """The column as numbers that rank; missing values stand where their own rate of outcomes puts them."""
    values = column.cast(pl.Float64)
    known = values.is_not_null().to_numpy() & ~values.is_nan().fill_null(True).to_numpy()
    found = values.fill_null(0).fill_nan(0).to_numpy().copy()
    up = _auc(found[known], outcome[known], both=False) if known.any() else None
    if up is not None and up < 0.5:
        found = -found
    if known.all() or not known.any():
        return found
    higher = outcome[~known].mean() > outcome[known].mean()
    found[~known] = found[known].max() + 1 if higher else found[known].min() - 1
    return found


def _rates(column: pl.Series, outcome: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Each row's rate of outcomes among rows of other folds with its value, drawn to the mean where these are few."""
    code = column.cast(pl.String).fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
    width = int(code.max()) + 1 if len(code) else 0
    cell = fold * width + code
    count = np.bincount(cell, minlength=FOLDS * width).reshape(FOLDS, width)
    positive = np.bincount(cell, weights=outcome, minlength=FOLDS * width).reshape(FOLDS, width)
    others, bought = count.sum(axis=0) - count, positive.sum(axis=0) - positive
    rate = (bought + PRIOR_ROWS * outcome.mean()) / (others + PRIOR_ROWS)
    return rate[fold, code]


def _decided(column: pl.Series, outcome: np.ndarray) -> tuple[float, float]:
    """Share of the positives with a value that settles the outcome, and of the rows with one that rules it out."""
    by_value = (
        pl.DataFrame({"value": column.cast(pl.String), "outcome": outcome})
        .group_by("value")
        .agg(pl.col("outcome").mean().alias("rate"), pl.col("outcome").sum().alias("positives"), pl.len())
        .filter(pl.col("len") >= FEWEST)
    )
    settled = by_value.filter(pl.col("rate") >= SETTLED_RATE)["positives"].sum()
    ruled_out = by_value.filter(pl.col("rate") <= RULED_OUT_RATE * outcome.mean())["len"].sum()
    return float(settled) / max(float(outcome.sum()), 1.0), float(ruled_out) / max(len(column), 1)


def _auc(score: np.ndarray, outcome: np.ndarray, *, both: bool = True) -> float | None:
    """Area under the ROC curve by ranks, ties half; the better direction with `both`; None where nothing is ranked."""
    positives = int(outcome.sum())
    if positives in (0, len(outcome)) or (len(score) and (score == score[0]).all()):
        return None
    rank = pl.Series(score).rank("average").to_numpy()
    auc = (rank[outcome > 0].sum() - positives * (positives + 1) / 2) / (positives * (len(outcome) - positives))
    return float(max(auc, 1 - auc) if both else auc)
