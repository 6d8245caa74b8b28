"""How good probabilities are, how sure we can be of that, and whether another model is better beyond noise.

Belongs here: measures with bootstrap intervals, comparison of two models, the learning curve, importance of features.
Does not belong here: choosing the rows that are judged (`splits.py`), acting on the verdict (`registry.py`).

A bootstrap replicate is a weight per row, so rows are sorted once and a replicate costs a few passes over them. Results
do not depend on the order of rows. Where a measure is not defined (no positive, nobody above the threshold) it is NaN.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from gesture_assets.errors import ConfigError
from gesture_assets.models.calibration import Floats, bin_starts, reliability_bins
from gesture_assets.models.matrix import encode
from gesture_assets.models.training import Model, Parameters, outcomes, train

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
WORTH_WAITING_FOR = 0.005  # a smaller gain in ROC AUC from twice the rows is no reason to collect more of them
FEWEST_OF_A_SEGMENT = 30  # fewer rows say nothing about a segment
PERMUTED_ROWS = 10_000  # more rows change a permutation importance in the third digit only

Verdict = Literal["better", "worse", "within noise"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


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
    segments: "dict[tuple[str, str], Evaluation]" = field(default_factory=dict)
    too_small: tuple[tuple[str, str], ...] = ()

    def frame(self) -> pl.DataFrame:
        """One row per segment and metric: segment_column and segment (null: everybody), rows, positives, metric,
        value, low, high. The lift by decile is there as lift_decile_1 to lift_decile_10.
        """
        everyone: dict[tuple[str, str] | tuple[None, None], Evaluation] = {(None, None): self, **self.segments}
        rows = [
            (*segment, found.rows, found.positives, name, estimate.value, estimate.low, estimate.high)
            for segment, found in everyone.items()
            for name, estimate in {
                **found.metrics,
                **{f"lift_decile_{place}": lift for place, lift in enumerate(found.deciles, 1)},
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

    def gap(self, column: str, metric: str = "roc_auc") -> float:
        """Highest less lowest value of `metric` over the segments of `column` that have one; NaN below two of them."""
        found = [one.metrics[metric].value for (name, _), one in self.segments.items() if name == column]
        found = [value for value in found if not np.isnan(value)]
        return max(found) - min(found) if len(found) > 1 else float("nan")


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
    found = _evaluate(outcome, probability, codes, threshold, bootstrap, seed)
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
    return Evaluation(**{**found.__dict__, "segments": parts, "too_small": tuple(small)})


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
    samples = [_Sample(outcome, one, threshold) for one in (first, second)]
    points = [one.measure()[: len(METRICS)] for one in samples]
    replicates = np.empty((bootstrap, len(METRICS)))
    with np.errstate(invalid="ignore"):  # two infinite lifts have no difference, in a replicate nor among all rows
        for number, weight in enumerate(_weights(len(outcome), codes, bootstrap, seed)):
            measured = [one.measure(weight)[: len(METRICS)] for one in samples]
            replicates[number] = measured[1] - measured[0]
        differences = _estimates(points[1] - points[0], replicates)
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
    features: Sequence[str],
    test: pl.DataFrame,
    *,
    parameters: Parameters | None = None,
    shares: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    bootstrap: int = 200,
    seed: int = 42,
    min_rows: int = 50,
    threads: int | None = None,
) -> LearningCurve:
    """Whether more rows would help: models from growing parts of `frame` (each holds the smaller), judged on `test`.

    "more would help" when the last step (normally from half to all) raised the ROC AUC by 0.005 or more and beyond
    noise; "too little to tell" when the AUC's own interval is wider than 0.1 or fewer than two parts could be trained
    with; else "enough".
    """
    outcome = outcomes(frame, target)
    judged = outcomes(test, target)
    shuffled = np.random.default_rng(seed).permutation(len(outcome))
    by_outcome = np.concatenate([shuffled[outcome[shuffled] == value] for value in (0, 1)])
    place = np.concatenate([np.arange(n) / max(n, 1) for n in np.bincount(outcome.astype(int), minlength=2)])
    points: list[CurvePoint] = []
    predicted: list[Floats] = []
    for share in sorted(shares):
        rows = np.sort(by_outcome[place < share])
        part = frame[rows]
        positives = int(outcome[rows].sum())
        if len(rows) < min_rows or positives in (0, len(rows)):
            continue
        model = train(part, target, features, parameters=parameters, min_rows=min_rows, threads=threads)
        predicted.append(model.probabilities(test))
        found = evaluate(judged, predicted[-1], bootstrap=bootstrap, seed=seed).metrics["roc_auc"]
        points.append(CurvePoint(share, len(rows), positives, found))
    nothing = Estimate(float("nan"), float("nan"), float("nan"))
    if len(points) < 2:
        why = f"{len(points)} of {len(shares)} parts have {min_rows} rows and both outcomes"
        return LearningCurve(tuple(points), nothing, "too little to tell", why)
    step = compare(judged, predicted[-2], predicted[-1], bootstrap=bootstrap, seed=seed)
    gain, last = step.metrics["roc_auc"].difference, points[-1].roc_auc
    said = (
        f"{points[-2].rows} to {points[-1].rows} rows: ROC AUC {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    )
    if not last.high - last.low <= 0.1:  # NaN too
        why = f"the ROC AUC is only known to lie between {last.low:.3f} and {last.high:.3f}; {said}"
        return LearningCurve(tuple(points), gain, "too little to tell", why)
    helps = step.verdict == "better" and gain.value >= WORTH_WAITING_FOR
    return LearningCurve(tuple(points), gain, "more would help" if helps else "enough", said)


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

    gain: its share of what all splits gained in training, members' too. permutation: its share of what the log loss
    rises by when its values are shuffled among rows. shap: its share of the mean absolute contribution. The latter two
    on `rows` rows of `frame` drawn by `seed`. Each sums to 1, or is 0 throughout where there was nothing to share.
    """
    outcome = np.asarray(y, dtype=np.float64)
    _same_length(len(outcome), len(frame))
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(len(frame))[:rows])
    matrix, outcome = encode(frame[drawn], model.encoding), outcome[drawn]
    scopes = model.scopes(frame[drawn])  # fixed: that a user is asked about elsewhere is no value shuffled
    scores = [one.booster.get_score(importance_type="total_gain") for one in (model, *model.members.values())]
    gain = np.array([sum(float(one.get(f"f{place}", 0.0)) for one in scores) for place in range(matrix.shape[1])])  # pyright: ignore
    base = _log_loss(model, matrix, scopes, outcome)
    rise = np.empty(matrix.shape[1])
    for place in range(matrix.shape[1]):
        kept = matrix[:, place].copy()
        matrix[:, place] = kept[random.permutation(len(kept))]
        rise[place] = _log_loss(model, matrix, scopes, outcome) - base
        matrix[:, place] = kept
    shap = np.abs(model.contributions_of(matrix, scopes)[:, :-1]).mean(axis=0, dtype=np.float64)
    found = pl.DataFrame(
        {
            "feature": model.encoding.names,
            "name": [(names or {}).get(feature, feature) for feature in model.encoding.names],
            "gain": _shares(gain),
            # Shuffling may lower the loss by chance; nothing is less than useless.
            "permutation": _shares(np.maximum(rise, 0)),
            "shap": _shares(shap),
        }
    )
    return found.sort(["shap", "feature"], descending=[True, False])


class _Sample:
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
        w = np.ones(len(self.y)) if weight is None else weight[self.order]
        wy, wp = w * self.y, w * self.p
        cumulated, hits = np.cumsum(w), np.cumsum(wy)
        total, positives = cumulated[-1], hits[-1]
        negatives = total - positives
        found_at = np.append(0.0, hits[self.tie_ends])
        seen_at = np.append(0.0, cumulated[self.tie_ends])
        new_hits, new_rows = np.diff(found_at), np.diff(seen_at)
        with np.errstate(divide="ignore", invalid="ignore"):
            area = ((new_rows - new_hits) * (found_at[1:] + found_at[:-1])).sum() / 2
            precisions = np.divide(found_at[1:], seen_at[1:], out=np.zeros(len(new_hits)), where=seen_at[1:] > 0)
            called, true = (cumulated[self.called - 1], hits[self.called - 1]) if self.called else (0.0, 0.0)
            false = called - true
            off = np.abs(np.add.reduceat(wp, self.bin_starts) - np.add.reduceat(wy, self.bin_starts)).sum()
            top = np.ceil(TOP * total - 1e-9)
            in_top = np.interp(top, seen_at, found_at)
            by_decile = np.diff(np.interp(total * np.arange(DECILES + 1) / DECILES, seen_at, found_at))
            metrics = [
                area / np.float64(positives * negatives),
                (new_hits * precisions).sum() / positives,
                np.float64(true) / called,
                true / positives,
                2 * true / (called + positives),
                (true + negatives - false) / total,
                (w @ self.log_losses) / total,
                (w @ self.squares) / total,
                off / total,
                in_top / top,
                (in_top / top) / ((positives - in_top) / (total - top)),
                wp.sum() / positives,
            ]
            return np.array([*metrics, *(by_decile * DECILES / positives)])


def _evaluate(
    outcome: Floats, probability: Floats, codes: np.ndarray | None, threshold: float, bootstrap: int, seed: int
) -> Evaluation:
    if codes is None:  # rows alike in both are exchangeable, so that the order of rows does not matter
        order = np.lexsort((outcome, probability))
        outcome, probability = outcome[order], probability[order]
    sample = _Sample(outcome, probability, threshold)
    point = sample.measure()
    replicates = np.empty((bootstrap, len(point)))
    for number, weight in enumerate(_weights(len(outcome), codes, bootstrap, seed)):
        replicates[number] = sample.measure(weight)
    found = _estimates(point, replicates)
    return Evaluation(
        rows=len(outcome),
        positives=int(outcome.sum()),
        probability_sum=float(probability.sum()),
        threshold=threshold,
        metrics=dict(zip(METRICS, found[: len(METRICS)], strict=True)),
        deciles=tuple(found[len(METRICS) :]),
        reliability=reliability_bins(outcome, probability),
    )


def _weights(rows: int, codes: np.ndarray | None, bootstrap: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, replicate by replicate; rows of one group together."""
    random = np.random.default_rng(seed)
    units = rows if codes is None else int(codes.max()) + 1
    for _ in range(bootstrap):
        drawn = np.bincount(random.integers(0, units, units), minlength=units).astype(np.float64)
        yield drawn if codes is None else drawn[codes]


def _estimates(point: Floats, replicates: Floats) -> list[Estimate]:
    found = []
    for place, value in enumerate(point):
        known = np.sort(replicates[:, place][~np.isnan(replicates[:, place])])
        # Observed replicates, not between them: a lift may be infinite.
        low, high = (
            known[[int(0.025 * (len(known) - 1)), -1 - int(0.025 * (len(known) - 1))]]
            if len(known)
            else (np.nan, np.nan)
        )
        found.append(Estimate(float(value), float(low), float(high)))
    return found


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


def _same_length(found: int, expected: int) -> None:
    if found != expected:
        raise ConfigError.bad_value(
            "What is to be judged",
            expected=f"a value for each of the {expected} rows",
            found=f"{found} values",
            where="the rows given to the evaluation",
            next_step="take outcomes, probabilities and segments from the same frame",
        )


def _codes(groups: pl.Series | None, rows: int) -> np.ndarray | None:
    if groups is None:
        return None
    _same_length(len(groups), rows)
    return groups.rank("dense").to_numpy().astype(np.int64) - 1


def _log_loss(model: Model, matrix: np.ndarray, scopes: pl.Series, outcome: Floats) -> float:
    margin = model.margins_of(matrix, scopes).astype(np.float64)
    return float((np.logaddexp(0, margin) - outcome * margin).mean())


def _shares(values: Floats) -> Floats:
    total = values.sum()
    return values / total if total > 0 else np.zeros_like(values)
