"""How good probabilities are, how sure we can be of that, and whether another model is better beyond noise.

Belongs here: evaluation with intervals, comparison of two models, the learning curve, importance of features.
Does not belong here: the measures themselves (`measures.py`), choosing the rows that are judged (`splits.py`), acting
on the verdict (`judgement.py`).

Results do not depend on the order of rows. Where a measure is not defined (no positive, nobody above the threshold) it
is NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from gesture_assets.errors import ConfigError, TrainingRefused
from gesture_assets.models.calibration import Floats, reliability_bins
from gesture_assets.models.matrix import Matrix, encode
from gesture_assets.models.measures import (
    METRICS,
    SMALLER_IS_BETTER,
    Codes,
    Estimate,
    Sample,
    estimates,
    replicate_weights,
)
from gesture_assets.models.training import Model, outcomes

WORTH_WAITING_FOR = 0.005  # a smaller gain in ROC AUC from twice the rows is no reason to collect more of them
FEWEST_OF_A_SEGMENT = 30  # fewer rows say nothing about a segment
PERMUTED_ROWS = 10_000  # more rows change a permutation importance in the third digit only

Verdict = Literal["better", "worse", "within noise"]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. `deciles`: lift of each tenth over everybody, the highest scored tenth first.

    `segments`: (column, value) -> its own evaluation; `too_small` are the segments that were left out.
    """

    rows: int
    positives: int
    probability_sum: float
    threshold: float
    metrics: dict[str, Estimate]
    deciles: tuple[Estimate, ...]
    reliability: pl.DataFrame
    segments: "dict[tuple[str, str], Evaluation]" = field(default_factory=dict[tuple[str, str], "Evaluation"])
    too_small: tuple[tuple[str, str], ...] = ()

    def frame(self) -> pl.DataFrame:
        """One row per segment and metric: segment_column and segment (null: everybody), rows, positives, metric,
        value, low, high. The lift by decile is there as lift_decile_1 to lift_decile_10.
        """
        everyone: dict[tuple[str, str] | tuple[None, None], Evaluation] = {(None, None): self, **self.segments}
        rows = [
            (*segment, evaluation.rows, evaluation.positives, name, estimate.value, estimate.low, estimate.high)
            for segment, evaluation in everyone.items()
            for name, estimate in {
                **evaluation.metrics,
                **{f"lift_decile_{place}": lift for place, lift in enumerate(evaluation.deciles, 1)},
            }.items()
        ]
        schema = {
            "segment_column": pl.String,
            "segment": pl.String,
            "rows": pl.Int64,
            "positives": pl.Int64,
            "metric": pl.String,
            "value": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def gap(self, column: str, *, metric: str = "roc_auc") -> float:
        """Highest less lowest value of `metric` over the segments of `column` that have one; NaN below two of them."""
        values = [segment.metrics[metric].value for (name, _), segment in self.segments.items() if name == column]
        values = [value for value in values if not np.isnan(value)]
        return max(values) - min(values) if len(values) > 1 else float("nan")


@dataclass(frozen=True)
class Difference:
    """Both models' values of a metric and their `difference`, challenger less champion, from paired replicates."""

    champion: float
    challenger: float
    difference: Estimate


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; `verdict` says how the challenger does by `decided_by`."""

    rows: int
    decided_by: str
    verdict: Verdict
    metrics: dict[str, Difference]


@dataclass(frozen=True)
class CurvePoint:
    """A model trained with a part of the rows, judged on the test part."""

    share: float
    rows: int
    positives: int
    roc_auc: Estimate


@dataclass(frozen=True)
class LearningCurve:
    """What more data has brought so far, and the verdict: "enough", "more would help" or "too little to tell"."""

    points: tuple[CurvePoint, ...]
    last_gain: Estimate
    verdict: Literal["enough", "more would help", "too little to tell"]
    because: str


def evaluate(
    y: ArrayLike,
    p: ArrayLike,
    *,
    segments: Mapping[str, pl.Series] | None = None,
    threshold: float = 0.5,
    groups: pl.Series | None = None,
    bootstrap: int = 200,
    seed: int = 42,
    fewest_rows: int = FEWEST_OF_A_SEGMENT,
) -> Evaluation:
    """Every measure of the probabilities `p` against the outcomes `y` (0 and 1), with intervals, also by segment.

    `threshold` decides precision, recall, F1 and accuracy (positive: at or above it). "top_20" is the fifth with the
    highest probabilities: its share of positives, and that over the rest's. `sum_ratio` is the sum of probabilities ÷
    positives. `segments`: column name -> each row's value. `groups` (such as the user) are resampled whole where rows
    of one belong together. Raises `ConfigError` for lengths that differ, no rows or values that are no outcome.
    """
    outcome, probability = _checked(y, p)
    codes = _codes(groups, len(outcome))
    whole = _evaluate(outcome, probability, codes, threshold, bootstrap, seed)
    parts: dict[tuple[str, str], Evaluation] = {}
    small: list[tuple[str, str]] = []
    for column, values in (segments or {}).items():
        texts = values.cast(pl.String).fill_null("missing")
        _same_length(len(texts), len(outcome))
        for value in texts.unique().sort():
            inside = (texts == value).to_numpy()
            if inside.sum() < fewest_rows:
                small.append((column, value))
                continue
            own = None if codes is None else np.unique(codes[inside], return_inverse=True)[1]
            parts[column, value] = _evaluate(outcome[inside], probability[inside], own, threshold, bootstrap, seed)
    return replace(whole, segments=parts, too_small=tuple(small))


def compare(
    y: ArrayLike,
    champion_p: ArrayLike,
    challenger_p: ArrayLike,
    *,
    decided_by: str = "roc_auc",
    threshold: float = 0.5,
    groups: pl.Series | None = None,
    bootstrap: int = 1000,
    seed: int = 42,
) -> Comparison:
    """Two models on the same rows: every replicate draws the same rows for both, so what is common cancels out.

    The challenger is better when the whole interval of the difference in `decided_by` lies on the better side of 0.
    A difference that is not defined is NaN, and decides nothing.
    """
    if decided_by not in METRICS:
        raise ConfigError.unknown_name(
            "The metric", decided_by, METRICS, where="the comparison's arguments", next_step="choose one of these"
        )
    outcome, first = _checked(y, champion_p)
    _, second = _checked(y, challenger_p)
    codes = _codes(groups, len(outcome))
    order = np.lexsort((outcome, second, first)) if codes is None else np.arange(len(outcome))
    outcome, first, second = outcome[order], first[order], second[order]
    samples = [Sample(outcome, probability, threshold) for probability in (first, second)]
    points = [sample.measure()[0, : len(METRICS)] for sample in samples]
    with np.errstate(invalid="ignore"):  # two infinite lifts have no difference, in a replicate nor among all rows
        weights = replicate_weights(len(outcome), codes, bootstrap, seed)
        replicates = [samples[1].measure(drawn) - samples[0].measure(drawn) for drawn in weights]
        differences = estimates(points[1] - points[0], np.concatenate(replicates))
    metrics = {
        name: Difference(float(points[0][place]), float(points[1][place]), differences[place])
        for place, name in enumerate(METRICS)
    }
    decided = metrics[decided_by].difference
    low, high = (-decided.high, -decided.low) if decided_by in SMALLER_IS_BETTER else (decided.low, decided.high)
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "within noise"
    if np.isnan(decided.value):  # the replicates that have a difference are not those like the rows themselves
        verdict = "within noise"
    return Comparison(len(outcome), decided_by, verdict, metrics)


def best_threshold(y: ArrayLike, p: ArrayLike) -> float:
    """The probability from which on calling users positive gives the highest F1; the highest of several.

    To be chosen on the validation part: chosen on the rows it is judged on, it flatters.
    """
    outcome, probability = _checked(y, p)
    order = np.argsort(-probability, kind="stable")
    falling, hits = probability[order], np.cumsum(outcome[order])
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))
    f1 = 2 * hits[ends] / (ends + 1 + hits[-1])
    return float(falling[ends[np.argmax(f1)]])


def learning_curve(
    frame: pl.DataFrame,
    target: str,
    test: pl.DataFrame,
    predicted_from: Callable[[pl.DataFrame], Floats],
    *,
    shares: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    bootstrap: int = 200,
    seed: int = 42,
    min_rows: int = 50,
) -> LearningCurve:
    """Whether more rows would help: models from growing parts of `frame` (each holds the smaller), judged on `test`.

    `predicted_from`: the probability of each row of `test` by a model of a part of `frame`. A part that it refuses
    (`TrainingRefused`) is left out.

    "more would help" when the last step (normally from half to all) raised the ROC AUC by 0.005 or more and beyond
    noise; "too little to tell" when the AUC's own interval is wider than 0.1 or fewer than two parts could be trained
    with; else "enough".
    """
    outcome = outcomes(frame, target)
    judged = outcomes(test, target)
    shuffled = np.random.default_rng(seed).permutation(len(outcome))
    by_outcome = np.concatenate([shuffled[outcome[shuffled] == value] for value in (0, 1)])
    sizes: list[int] = np.bincount(outcome.astype(int), minlength=2).tolist()
    place = np.concatenate([np.arange(size) / max(size, 1) for size in sizes])
    points: list[CurvePoint] = []
    predicted: list[Floats] = []
    for share in sorted(shares):
        rows = np.sort(by_outcome[place < share])
        part = frame[rows]
        positives = int(outcome[rows].sum())
        if len(rows) < min_rows or positives in (0, len(rows)):
            continue
        try:
            predicted.append(predicted_from(part))
        except TrainingRefused:
            continue
        roc_auc = evaluate(judged, predicted[-1], bootstrap=bootstrap, seed=seed).metrics["roc_auc"]
        points.append(CurvePoint(share, len(rows), positives, roc_auc))
    unknown = Estimate(float("nan"), float("nan"), float("nan"))
    if len(points) < 2:
        because = f"{len(points)} of {len(shares)} parts have {min_rows} rows and both outcomes"
        return LearningCurve(tuple(points), unknown, "too little to tell", because)
    step = compare(judged, predicted[-2], predicted[-1], bootstrap=bootstrap, seed=seed)
    gain, last = step.metrics["roc_auc"].difference, points[-1].roc_auc
    growth = (
        f"{points[-2].rows} to {points[-1].rows} rows: ROC AUC {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    )
    if not last.high - last.low <= 0.1:  # NaN too
        because = f"the ROC AUC is only known to lie between {last.low:.3f} and {last.high:.3f}; {growth}"
        return LearningCurve(tuple(points), gain, "too little to tell", because)
    helps = step.verdict == "better" and gain.value >= WORTH_WAITING_FOR
    return LearningCurve(tuple(points), gain, "more would help" if helps else "enough", growth)


def importance(
    model: Model,
    frame: pl.DataFrame,
    y: ArrayLike,
    *,
    names: Mapping[str, str] | None = None,
    rows: int = PERMUTED_ROWS,
    seed: int = 42,
) -> pl.DataFrame:
    """One row per input, the weightiest by SHAP first: feature, name (from `names`), gain, permutation, shap.

    gain: its share of what all splits gained in training, members' too; the weight of the rules' curve is the points',
    and all where nothing was split. permutation: its share of what the log loss
    rises by when its values are shuffled among rows. shap: its share of the mean absolute contribution. The latter two
    on `rows` rows of `frame` drawn by `seed`. Each sums to 1, or is 0 throughout where there was nothing to share.
    """
    outcome = np.asarray(y, dtype=np.float64)
    _same_length(len(outcome), len(frame))
    random = np.random.default_rng(seed)
    rows_drawn = np.sort(random.permutation(len(frame))[:rows])
    matrix, outcome = encode(frame[rows_drawn], model.encoding), outcome[rows_drawn]
    scopes = model.scopes(frame[rows_drawn])  # fixed: that a user is asked about elsewhere is no value shuffled
    gains = [part.total_gain() for part in (model, *model.members.values())]
    gain = np.array([sum(by_input.get(f"f{place}", 0.0) for by_input in gains) for place in range(matrix.shape[1])])
    base = _log_loss(model, matrix, scopes, outcome)
    rise = np.zeros(matrix.shape[1])
    points = model.place_of_points if model.blend else None
    for place in range(matrix.shape[1]):
        shuffled = random.permutation(len(outcome))  # for inputs that no split reads too: others keep their draws
        if place != points and not any(f"f{place}" in by_input for by_input in gains):
            continue
        values = matrix[:, place].copy()
        matrix[:, place] = values[shuffled]
        rise[place] = _log_loss(model, matrix, scopes, outcome) - base
        matrix[:, place] = values
    gain = _shares(gain)
    if model.blend and points is not None:
        gain *= 1 - model.blend.weight
        gain[points] += 1 - gain.sum()
    shap = np.abs(model.contributions_of(matrix, scopes)[:, :-1]).mean(axis=0, dtype=np.float64)
    table = pl.DataFrame(
        {
            "feature": model.encoding.names,
            "name": [(names or {}).get(feature, feature) for feature in model.encoding.names],
            "gain": gain,
            # Shuffling may lower the loss by chance; nothing is less than useless.
            "permutation": _shares(np.maximum(rise, 0)),
            "shap": _shares(shap),
        }
    )
    return table.sort(["shap", "feature"], descending=[True, False])


def _evaluate(
    outcome: Floats, probability: Floats, codes: Codes | None, threshold: float, bootstrap: int, seed: int
) -> Evaluation:
    if codes is None:  # rows alike in both are exchangeable, so that the order of rows does not matter
        order = np.lexsort((outcome, probability))
        outcome, probability = outcome[order], probability[order]
    sample = Sample(outcome, probability, threshold)
    point = sample.measure()
    weights = replicate_weights(len(outcome), codes, bootstrap, seed)
    intervals = estimates(point[0], np.concatenate([point[:0], *map(sample.measure, weights)]))
    return Evaluation(
        rows=len(outcome),
        positives=int(outcome.sum()),
        probability_sum=float(probability.sum()),
        threshold=threshold,
        metrics=dict(zip(METRICS, intervals[: len(METRICS)], strict=True)),
        deciles=tuple(intervals[len(METRICS) :]),
        reliability=reliability_bins(outcome, probability),
    )


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    outcome, probability = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    _same_length(len(probability), len(outcome))
    is_outcome = np.isin(outcome, (0.0, 1.0)).all()
    if not len(outcome) or not is_outcome or not ((probability >= 0) & (probability <= 1)).all():
        raise ConfigError.bad_value(
            "What is to be judged",
            expected="rows with an outcome of 0 or 1 and a probability from 0 to 1",
            found="no rows" if not len(outcome) else "other outcomes" if not is_outcome else "other probabilities",
            where="the rows given to the evaluation",
            next_step="leave out rows whose outcome is not known yet",
        )
    return outcome, probability


def _same_length(length: int, expected: int) -> None:
    if length != expected:
        raise ConfigError.bad_value(
            "What is to be judged",
            expected=f"a value for each of the {expected} rows",
            found=f"{length} values",
            where="the rows given to the evaluation",
            next_step="take outcomes, probabilities and segments from the same frame",
        )


def _codes(groups: pl.Series | None, rows: int) -> Codes | None:
    if groups is None:
        return None
    _same_length(len(groups), rows)
    return groups.rank("dense").to_numpy().astype(np.int64) - 1


def _log_loss(model: Model, matrix: Matrix, scopes: pl.Series, outcome: Floats) -> float:
    margin = model.margins_of(matrix, scopes).astype(np.float64)
    return float((np.logaddexp(0, margin) - outcome * margin).mean())


def _shares(values: Floats) -> Floats:
    total = values.sum()
    return values / total if total > 0 else np.zeros_like(values)
