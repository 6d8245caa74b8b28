"""How far two distributions are apart, how sure that is, and the rule that makes a verdict of both.

Belongs here: functions from counts to numbers, and the verdict rule. Does not belong here: counting (`reference.py`,
`event_mix.py`), which distributions are compared (`drift.py`), sending alerts.

A verdict needs three things at once: rows enough, a difference that chance does not make, and a difference that
matters. With a million rows everything is significant, with fifty anything looks large. `effect` is a difference in
multiples of its own threshold, so that 1 says "worth an alarm" of every statistic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gesture_assets.compat.scipy_tails import hypergeometric_tails, kolmogorov_smirnov_tail

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Verdict = Literal["drift", "moderate", "stable", "too_few_rows"]

VERDICTS = ("drift", "moderate", "stable", "too_few_rows")  # the gravest first
ALARMS = ("drift", "moderate")

ALPHA = 0.01  # a night in a hundred may cry wolf over nothing: three or four a year
EFFECT = 0.1  # PSI, and Wasserstein in sd: below it credit scoring speaks of no change
MAJOR = 2.5  # times the threshold: a PSI above 0.25 is credit scoring's major change
FEWEST_ROWS = 200  # below it a PSI over ten bins reaches 0.1 by chance: it expects 9 × (1/n + 1/m)
FLOOR = 1e-4  # the share that an empty bin is taken to have


@dataclass(frozen=True)
class Distances:
    """Of two samples: the Kolmogorov–Smirnov statistic, Wasserstein's distance, and that between clipped values.

    Both distances are in the values' own unit.
    """

    ks: float
    wasserstein: float
    clipped: float


@dataclass(frozen=True)
class Moments:
    """Of a sample: its mean, its standard deviation and how many values it has."""

    mean: float
    deviation: float
    size: int


def population_stability_index(reference: ArrayLike, current: ArrayLike, *, floor: float = FLOOR) -> float:
    """Population stability index between two histograms over the same bins.

    Counts or shares per bin, same length, each with a positive sum. Shares below `floor` are raised to it, so that an
    empty bin costs a finite amount. Symmetric, ≥ 0, 0 when the shares agree. Unit: nats. Raises `ValueError` naming
    both lengths when they differ. Source: Jeffreys' divergence (Kullback and Leibler, 1951), PSI in credit scoring.
    """
    shares_then, shares = (np.maximum(share, floor) for share in _shares(reference, current))
    return float(np.sum((shares - shares_then) * np.log(shares / shares_then)))


def jensen_shannon(reference: ArrayLike, current: ArrayLike) -> float:
    """Jensen–Shannon distance between two histograms over the same bins, 0 to √ln 2: SciPy's `jensenshannon`.

    Arguments and errors as of `population_stability_index`.
    """
    shares_then, shares = _shares(reference, current)
    middle = (shares_then + shares) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(share > 0, share * np.log(share / middle), 0.0) for share in (shares_then, shares)]
    return float(np.sqrt(max(np.sum(parts) / 2, 0.0)))


def chi_square(reference: ArrayLike, current: ArrayLike, *, design_effect: float = 1.0) -> tuple[float, float]:
    """Pearson's χ² of two rows of counts and its p-value; (0, 1) where fewer than two columns hold anything.

    `design_effect` divides χ²: how much more the counts vary than independent ones would (Rao and Scott, 1981).
    """
    table = np.array([reference, current], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 0.0, 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected)) / design_effect
    return statistic, float(_special().chdtrc(table.shape[1] - 1, statistic))


def distances(
    reference: Floats,
    reference_counts: Counts,
    current: Floats,
    current_counts: Counts,
    *,
    low: float = -np.inf,
    high: float = np.inf,
) -> Distances:
    """The distances of two samples, given as different values in ascending order with how often each occurs.

    Exact: the same as SciPy's `ks_2samp` and `wasserstein_distance` of the single values. `clipped` is Wasserstein's
    distance with every value outside [`low`, `high`] moved to the nearer end. Neither sample is empty.
    """
    pooled = np.sort(np.concatenate([reference, current]), kind="stable")
    cumulated_then, cumulated = (
        np.concatenate([[0], np.cumsum(counts)])[np.searchsorted(values, pooled, side="right")] / counts.sum()
        for values, counts in ((reference, reference_counts), (current, current_counts))
    )
    gaps = np.abs(cumulated_then - cumulated)
    wasserstein, clipped = (
        float(np.sum(gaps[:-1] * np.diff(points))) for points in (pooled, np.clip(pooled, low, high))
    )
    return Distances(float(gaps.max()), wasserstein, clipped)


def ks_p_value(statistic: float, reference_rows: int, current_rows: int) -> float:
    """The two-sided p-value of a two-sample Kolmogorov–Smirnov statistic: SciPy's `ks_2samp(method="asymp")`.

    Ties, as counts have them, make it larger than it is: the test errs on the side of silence.
    """
    rows = max(1, round(reference_rows * current_rows / (reference_rows + current_rows)))
    return kolmogorov_smirnov_tail(statistic, rows)


def normal_p_value(z: float) -> float:
    """The two-sided p-value of a standard normal statistic."""
    return float(2 * _special().ndtr(-abs(z)))


def welch_p_value(reference: Moments, current: Moments) -> float:
    """The two-sided p-value of Welch's test that two means are equal; one of the samples varies."""
    variances = [np.square(sample.deviation) / sample.size for sample in (current, reference)]
    total = variances[0] + variances[1]
    with np.errstate(divide="ignore", invalid="ignore"):  # a sample of one row has no degree of freedom
        parts = [part**2 / (sample.size - 1) for part, sample in zip(variances, (current, reference), strict=True)]
        freedom = total**2 / (parts[0] + parts[1])
    freedom = 1.0 if np.isnan(freedom) else freedom
    return float(2 * _special().stdtr(freedom, -abs((current.mean - reference.mean) / np.sqrt(total))))


def exact_p_values(tables: Sequence[tuple[int, int, int, int]]) -> list[float]:
    """The two-sided p-value of two shares by Fisher's exact test, of each (yes, rows, reference yes, reference rows).

    Twice the smaller tail, 1 at most. It holds for few rows too, where a normal approximation sees a sensation in two
    new events.
    """
    yes, rows, reference_yes, reference_rows = np.array(tables, dtype=np.int64).reshape(-1, 4).T
    tails = np.minimum(*hypergeometric_tails(yes, rows + reference_rows, yes + reference_yes, rows))
    return np.fmin(1.0, 2 * tails).tolist()  # of no rows the tails are NaN


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """The q-value of each p-value among all of them, in order; what was not tested (None) stays None.

    Source: Benjamini and Hochberg (1995).
    """
    tested = np.clip(np.array([p for p in p_values if p is not None], dtype=np.float64), 0, 1)
    order = np.argsort(tested)
    rising = tested[order] * (len(tested) / np.arange(1, len(tested) + 1))
    tested[order] = np.clip(np.minimum.accumulate(rising[::-1])[::-1], 0, 1)
    q_values = iter(tested.tolist())
    return [None if p is None else next(q_values) for p in p_values]


def verdict(effect: float, q_value: float | None, *, is_enough: bool) -> Verdict:
    """`drift` or `moderate` where chance does not explain a difference that matters; `too_few_rows` is one too."""
    if not is_enough:
        return "too_few_rows"
    if q_value is None or q_value > ALPHA or effect < 1:
        return "stable"
    return "drift" if effect > MAJOR else "moderate"


def _special() -> Any:
    """SciPy's special functions, which have no types; imported when they are first needed."""
    return import_module("scipy.special")


def _shares(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    counts_then, counts = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if counts_then.shape != counts.shape:
        raise ValueError(f"histograms over the same bins are needed: {counts_then.size} bins and {counts.size}")
    if not (counts_then.sum() > 0 and counts.sum() > 0):
        raise ValueError(f"each histogram needs a count: {counts_then.sum():g} and {counts.sum():g} in all")
    return counts_then / counts_then.sum(), counts / counts.sum()
