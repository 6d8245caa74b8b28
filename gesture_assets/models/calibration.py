"""From a model's margin to a probability that can be taken at its word, and how far it can.

Belongs here: fitting a calibrator on the validation part, applying it, measuring calibration, and the confidence of a
score. Does not belong here: the model (`training.py`), other measures of quality (`evaluation.py`).

No class is ever weighted up to train a model: with weights the mean prediction is no longer the share of buyers, and
the calibrator would spend itself on mending that.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from gesture_assets.errors import ConfigError

Method = Literal["none", "sigmoid", "isotonic"]
Choice = Literal["auto", "none", "sigmoid", "isotonic"]
Floats = NDArray[np.float64]

FEWEST_POSITIVES = 50  # below this an isotonic curve is a drawing of the noise
FOLDS = 5
CLOSEST = 1e-6  # no probability is nearer to 0 or 1, whatever the margin
NORMAL_95 = 1.96  # standard errors to either side that hold 95 %
EVENTS_OF_DOUBT = 10  # as many events as knowing nothing is worth; see `confidence`


@dataclass(frozen=True)
class Calibrator:
    """A rising function from margin to probability; `none` is the logistic function that the model was trained with.

    `sigmoid`: logistic(slope × margin + intercept). `isotonic`: straight lines between the knots (`knots`, `values`),
    flat outside. Never below `low` nor above `high`. `variances`: how well it is known, as variances of log odds: of
    the sigmoid those of slope, of both and of intercept, of the isotonic curve that of each knot. `brier` holds each
    method's cross-fitted Brier score on the rows that it was fitted on, as far as it was tried.
    """

    method: Method = "none"
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    low: float = CLOSEST
    high: float = 1 - CLOSEST
    variances: tuple[float, ...] = ()
    brier: Mapping[str, float] = field(default_factory=dict[str, float])

    def probabilities(self, margins: ArrayLike) -> Floats:
        """The probability of each margin; each depends on its own margin only, to the last bit."""
        margin = np.ascontiguousarray(margins, dtype=np.float64)
        if self.method == "isotonic":
            probability = _between(margin, np.asarray(self.knots), np.asarray(self.values))
        else:
            probability = _logistic(self.slope * margin + self.intercept)
        return np.clip(probability, self.low, self.high)

    def errors(self, margins: ArrayLike) -> Floats:
        """The standard error of the log odds of each margin: small where many rows like it were fitted on.

        Infinite where nothing was fitted. Each depends on its own margin only.
        """
        margin = np.ascontiguousarray(margins, dtype=np.float64)
        if not self.variances:
            return np.full(margin.shape, np.inf)
        if self.method == "isotonic":
            middles = (np.asarray(self.knots[1:]) + np.asarray(self.knots[:-1])) / 2
            return np.sqrt(np.asarray(self.variances)[np.searchsorted(middles, margin, side="right")])
        of_slope, of_both, of_intercept = self.variances
        return np.sqrt(np.maximum(of_slope * margin * margin + 2 * of_both * margin + of_intercept, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """The calibrator as JSON can hold it."""
        return (
            asdict(self)
            | {"knots": list(self.knots), "values": list(self.values), "brier": dict(self.brier)}
            | {"variances": list(self.variances)}
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Calibrator":
        """The calibrator that `to_dict` wrote."""
        arguments: dict[str, Any] = {**fields, "knots": tuple(fields["knots"]), "values": tuple(fields["values"])} | {
            "variances": tuple(fields["variances"])
        }
        return cls(**arguments)


def fit_calibrator(margins: ArrayLike, outcomes: ArrayLike, *, choice: Choice = "auto", seed: int = 42) -> Calibrator:
    """The calibrator for `margins` of the validation part, whose `outcomes` are 0 or 1.

    "auto" takes the method with the lower Brier score on rows it was not fitted on (five folds by `seed`); with fewer
    than 50 of either outcome only the sigmoid is asked. Rows may come in any order. Raises `ConfigError` where the
    validation part holds one outcome only.
    """
    if choice == "none":
        return Calibrator()
    margin, outcome = _sorted_pair(margins, outcomes)
    rarer = int(min(outcome.sum(), len(outcome) - outcome.sum()))
    if not rarer:
        raise ConfigError.bad_value(
            "The validation part",
            expected="both outcomes, to calibrate probabilities on",
            found=f"{len(outcome)} rows, all with outcome {int(outcome[0])}" if len(outcome) else "no row",
            where="the outcomes of the validation part",
            next_step="give it more rows or days:  gesture train --help",
        )
    if choice != "auto":
        return _fit(choice, margin, outcome)
    methods: tuple[Method, ...] = ("sigmoid", "isotonic") if rarer >= FEWEST_POSITIVES else ("sigmoid",)
    brier = {method: _cross_fitted_brier(method, margin, outcome, seed) for method in methods}
    best = min(methods, key=lambda method: brier[method])  # of equals the sigmoid, which comes first
    return replace(_fit(best, margin, outcome), brier=brier)


def reliability_bins(outcomes: ArrayLike, probabilities: ArrayLike, *, bins: int = 10) -> pl.DataFrame:
    """What was predicted beside what came: one row per bin of equally many rows, lowest first.

    Columns: bin (from 1), rows, positives, mean_probability, share_positive. Equal probabilities share a bin, so the
    bins can be fewer, and do not depend on the order of rows.
    """
    probability, outcome = _sorted_pair(probabilities, outcomes)
    starts = bin_starts(probability, bins=bins)
    rows = np.diff(np.append(starts, len(probability)))
    positives = np.add.reduceat(outcome, starts)
    return pl.DataFrame(
        {
            "bin": np.arange(1, len(starts) + 1, dtype=np.int32),
            "rows": rows.astype(np.int64),
            "positives": positives.astype(np.int64),
            "mean_probability": np.add.reduceat(probability, starts) / rows,
            "share_positive": positives / rows,
        }
    )


def bin_starts(rising: Floats, *, bins: int = 10) -> NDArray[np.intp]:
    """Where the bins of equally many rows begin in `rising`, which is sorted and not empty; ties stay together."""
    places = (len(rising) * np.arange(bins)) // bins
    return np.unique(np.searchsorted(rising, rising[places], side="left"))


def confidence(event_counts: ArrayLike, errors: ArrayLike) -> Floats:
    """How well a score is known, 0 to 1: what is known of such scores times what is known of the person.

    Of the score: one less the half-width of the 95 % interval of its log odds (`Calibrator.errors`) as a share of that
    of ignorance, where the odds may as well be ten times as high or low. Of the person, by the number of their events:
    a probability learnt from n events on top of a prior worth k has a standard deviation in proportion to
    1 ÷ √(k + 1 + n) (a Beta distribution's). With k = 10: 0 events 0, 10 events 0.28, 30 events 0.48, 100 events 0.69.
    Of two users alike in all else the one with more events is never scored with less confidence. Missing counts as 0.
    """
    counts = np.nan_to_num(np.asarray(event_counts, dtype=np.float64), nan=0.0)
    prior = EVENTS_OF_DOUBT + 1
    of_person = 1 - np.sqrt(prior / (prior + np.maximum(counts, 0)))
    of_score = 1 - np.minimum(NORMAL_95 * np.asarray(errors, dtype=np.float64) / np.log(10), 1.0)
    return of_person * of_score


def _fit(method: Method, margin: Floats, outcome: Floats) -> Calibrator:
    # Half a row of the other outcome is what n rows of one outcome leave possible.
    low = max(CLOSEST, 0.5 / (len(outcome) + 1))
    if method == "sigmoid":
        slope, intercept, variances = _fit_sigmoid(margin, outcome)
        return Calibrator("sigmoid", slope, intercept, low=low, high=1 - low, variances=variances)
    knots, values, variances = (tuple(column.tolist()) for column in _fit_isotonic(margin, outcome))
    return Calibrator("isotonic", knots=knots, values=values, low=low, high=1 - low, variances=variances)


def _fit_sigmoid(margin: Floats, outcome: Floats) -> tuple[float, float, tuple[float, float, float]]:
    """Platt's fit: the likeliest slope and intercept, the outcomes drawn in by one row of each, so that both exist; and
    the variances of slope, both and intercept.
    """
    positives = float(outcome.sum())
    negatives = len(outcome) - positives
    target: Floats = np.where(outcome == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    scale = float(margin.std()) or 1.0
    centre = float(margin.mean())
    design = np.column_stack([(margin - centre) / scale, np.ones_like(margin)])
    weights = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    loss = _sigmoid_loss(design @ weights, target)
    for _ in range(100):
        p = _logistic(design @ weights)
        gradient = design.T @ (p - target)
        if np.abs(gradient).max() < 1e-9 * len(target):
            break
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while (new := _sigmoid_loss(design @ (weights - step), target)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        weights, loss = weights - step, new
    # A margin that points the wrong way says nothing: everybody gets the share of buyers.
    if weights[0] <= 0:
        share = positives / len(outcome)
        return 0.0, float(np.log(share / (1 - share))), (0.0, 0.0, 1 / (len(outcome) * share * (1 - share)))
    slope = float(weights[0] / scale)
    p = _logistic(design @ weights)
    known = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2))
    unscaled = np.array([[1 / scale, 0.0], [-centre / scale, 1.0]])
    (of_slope, of_both), (_, of_intercept) = (unscaled @ known @ unscaled.T).tolist()
    return slope, float(weights[1] - slope * centre), (of_slope, of_both, of_intercept)


def _sigmoid_loss(z: Floats, target: Floats) -> float:
    return float((np.logaddexp(0, z) - target * z).sum())


def _fit_isotonic(margin: Floats, outcome: Floats) -> tuple[Floats, Floats, Floats]:
    """One knot per level of the isotonic fit, at its mean margin: between levels the curve rises, so few users tie.

    Knots, values and the variance of each value's log odds.
    """
    from sklearn.isotonic import IsotonicRegression  # pyright: ignore[reportMissingTypeStubs]

    regression: Any = IsotonicRegression()
    levels: Floats = regression.fit_transform(margin, outcome)
    starts = np.flatnonzero(np.diff(levels, prepend=-1.0) > 0)
    rows = np.diff(np.append(starts, len(levels)))
    knots = np.add.reduceat(margin, starts) / rows
    positives = np.add.reduceat(outcome, starts)
    share = (positives + 0.5) / (rows + 1)  # of a level without a buyer the odds are not known to be nought
    return knots, positives / rows, 1 / (rows * share * (1 - share))


def _cross_fitted_brier(method: Method, margin: Floats, outcome: Floats, seed: int) -> float:
    """Brier score of every row by a calibrator fitted without its fold; each fold has its share of both outcomes."""
    shuffled = np.random.default_rng(seed).permutation(len(outcome))
    by_outcome = shuffled[np.argsort(outcome[shuffled], kind="stable")]
    fold = np.empty(len(outcome), dtype=np.int64)
    fold[by_outcome] = np.arange(len(outcome)) % FOLDS
    total, rows = 0.0, 0
    for number in range(FOLDS):
        inside = fold == number
        if outcome[~inside].min() == outcome[~inside].max():
            continue
        predicted = _fit(method, margin[~inside], outcome[~inside]).probabilities(margin[inside])
        total, rows = total + float(((predicted - outcome[inside]) ** 2).sum()), rows + int(inside.sum())
    return total / rows


def _sorted_pair(keys: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64, by key and then outcome: results then do not depend on the order of rows."""
    key = np.asarray(keys, dtype=np.float64)
    outcome = np.asarray(outcomes, dtype=np.float64)
    order = np.lexsort((outcome, key))
    return key[order], outcome[order]


def _logistic(z: Floats) -> Floats:
    power = np.exp(-np.abs(z))  # never overflows
    return np.where(z >= 0, 1.0, power) / (1 + power)


def _between(margin: Floats, knots: Floats, values: Floats) -> Floats:
    if len(knots) == 1:
        return np.full(margin.shape, values[0])
    right = np.clip(np.searchsorted(knots, margin, side="right"), 1, len(knots) - 1)
    left = right - 1
    share = np.clip((margin - knots[left]) / (knots[right] - knots[left]), 0.0, 1.0)
    # The upper bound keeps the curve rising where rounding would lift it above the next knot.
    return np.minimum(values[left] + share * (values[right] - values[left]), values[right])
