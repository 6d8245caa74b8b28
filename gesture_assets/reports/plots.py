"""Pictures of a model and of nights: how far a model can be taken at its word, what it goes by, what moves.

Belongs here: which figures are drawn, and saying in words what is seen. Does not belong here: how a line or an axis is
drawn (`charts.py`), working out figures (`models/evaluation.py`), where pictures are shown (`page.py`,
`nights/training.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import cycle

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from gesture_assets.models.evaluation import Estimate, Evaluation, LearningCurve
from gesture_assets.reports.charts import FAINT, INK, LOOKS, SECOND, WIDER, Axis, Chart, Value
from gesture_assets.reports.page import Picture

MOST_POINTS = 200  # of a curve: more cannot be seen at this size
MOST_BARS = 15


def model_pictures(
    outcome: ArrayLike, probability: ArrayLike, judged: Evaluation, weights: pl.DataFrame, curve: LearningCurve | None
) -> list[Picture]:
    """Every picture of a model on its test part: `outcome` and `probability` of its rows, and what was found there."""
    pictures = [
        reliability(judged),
        lift(judged.deciles),
        roc(outcome, probability, judged.metrics["roc_auc"]),
        precision_recall(outcome, probability, judged.metrics["pr_auc"]),
        importances(weights),
        distribution(probability),
    ]
    return [*pictures, learning(curve)] if curve and curve.points else pictures


def reliability(judged: Evaluation) -> Picture:
    """What was predicted beside what came, in bins of equally many users."""
    bins, ece = judged.reliability, judged.metrics["ece"]
    predicted, observed = bins["mean_probability"].to_list(), bins["share_positive"].to_list()
    both = [0, *predicted, *observed]
    chart = Chart(Axis.over("mean predicted probability", both), Axis.over("share that bought", both))
    chart.line([(0, 0), (chart.x.high, chart.x.high)], FAINT, "as good as its word")
    chart.line(zip(predicted, observed, strict=True), INK, "this model", is_marked=True)
    return chart.picture(
        "reliability",
        "Reliability: what was predicted beside what came",
        f"Reliability in {len(predicted)} bins: calibration error {ece.value:.3f} ({ece.low:.3f} to {ece.high:.3f}); "
        f"the highest bin predicted {predicted[-1]:.3f}, and {observed[-1]:.3f} of it bought.",
    )


def lift(deciles: Sequence[Estimate]) -> Picture:
    """How many times as many buyers each tenth holds as everybody does, with 95 % intervals."""
    values = [tenth.value for tenth in deciles]
    ends = [end for tenth in deciles for end in (tenth.low, tenth.high)]
    chart = Chart(
        Axis.names("tenth of the users, highest scores first", [str(n + 1) for n in range(len(values))], 3),
        Axis.over("lift", [0, 1, *values, *ends]),
    )
    chart.bars(((at - 0.4, at + 0.4, 0, value) for at, value in enumerate(values)), INK, "this tenth")
    chart.whiskers((at, tenth.low, tenth.high) for at, tenth in enumerate(deciles))
    chart.level(1, SECOND, "everybody")
    return chart.picture(
        "lift",
        "Lift by decile",
        f"Lift by decile: the first tenth holds {values[0]:.2f} times as many buyers as everybody, the second "
        f"{values[1]:.2f}, the last {values[-1]:.2f}.",
    )


def roc(outcome: ArrayLike, probability: ArrayLike, area: Estimate) -> Picture:
    """Buyers found beside others called, at every threshold."""
    called, hits = _cumulated(outcome, probability)
    others = called - hits
    chart = Chart(Axis.over("share of the others called", [0, 1]), Axis.over("share of the buyers found", [0, 1]))
    chart.line([(0, 0), (1, 1)], FAINT, "chance")
    chart.line(zip(others / max(others[-1], 1), hits / max(hits[-1], 1), strict=True), INK, "this model")
    return chart.picture(
        "roc",
        "ROC curve",
        f"ROC curve: area {area.value:.3f}, 95 % interval {area.low:.3f} to {area.high:.3f}; chance is 0.5.",
    )


def precision_recall(outcome: ArrayLike, probability: ArrayLike, area: Estimate) -> Picture:
    """How many of those called bought, beside how many buyers were found."""
    called, hits = _cumulated(outcome, probability)
    share = hits[-1] / max(called[-1], 1)
    chart = Chart(Axis.over("share of the buyers found", [0, 1]), Axis.over("share of those called who bought", [0, 1]))
    chart.level(share, FAINT, "chance")
    chart.line(zip(hits[1:] / max(hits[-1], 1), hits[1:] / called[1:], strict=True), INK, "this model")
    return chart.picture(
        "precision_recall",
        "Precision and recall",
        f"Precision by recall: area {area.value:.3f}, 95 % interval {area.low:.3f} to {area.high:.3f}; chance is "
        f"{share:.3f}.",
    )


def importances(weights: pl.DataFrame) -> Picture:
    """What the model goes by: `weights` with `name` and `shap`, the weightiest first."""
    top = weights.head(MOST_BARS)
    names = Axis.names("feature", top["name"].to_list(), 48)
    chart = Chart(
        Axis.over("share of the mean size of contributions", [0, *top["shap"]]),
        replace(names, low=names.high, high=names.low),
        high=max(22 * len(top), 60),
    )
    chart.bars(((0, share, at - 0.4, at + 0.4) for at, share in enumerate(top["shap"])), INK)
    sentence = "; ".join(f"{name} {share:.0%}" for name, share in top.head(5).select("name", "shap").iter_rows())
    return chart.picture("importance", "What the model goes by", f"Importance, the first five: {sentence}.")


def distribution(probability: ArrayLike) -> Picture:
    """How probabilities are spread; as many users may share a low one, their number is drawn in powers of ten."""
    scores = np.asarray(probability, dtype=np.float64)
    counts, edges = np.histogram(scores, bins=np.linspace(0, 1, 41))
    users = Axis.over("users, in powers of ten", [1, *counts.tolist()], is_log=True)
    chart = Chart(Axis.over("probability of a purchase", [0, 1]), replace(users, low=0.5))
    boxes = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    chart.bars(((left, right, 0.5, count) for left, right, count in boxes if count), INK)
    at = np.quantile(scores, [0.1, 0.5, 0.9]) if len(scores) else np.zeros(3)
    return chart.picture(
        "distribution",
        "Distribution of the scores",
        f"Distribution of {len(scores):,} probabilities: a tenth lies below {at[0]:.4f}, half below {at[1]:.4f}, nine "
        f"tenths below {at[2]:.4f}.",
    )


def learning(curve: LearningCurve) -> Picture:
    """What more rows have brought so far."""
    rows = [point.rows for point in curve.points]
    areas = [point.roc_auc for point in curve.points]
    ticks = {float(count): f"{count:,}" for count in rows}
    chart = Chart(
        Axis("rows trained on, in powers of ten", min(rows) * 0.9, max(rows) * 1.1, ticks, is_log=True),
        Axis.over("area under the ROC curve", [end for area in areas for end in (area.low, area.value, area.high)]),
    )
    chart.band(((count, area.low, area.high) for count, area in zip(rows, areas, strict=True)), INK)
    chart.line(((count, area.value) for count, area in zip(rows, areas, strict=True)), INK, is_marked=True)
    sentence = ", ".join(f"{count:,} rows {area.value:.3f}" for count, area in zip(rows, areas, strict=True))
    return chart.picture(
        "learning_curve", f"Learning curve: {curve.verdict}", f"ROC AUC by rows trained on: {sentence}."
    )


def over_time(
    name: str,
    title: str,
    lines: Mapping[str, Sequence[tuple[date, Value]]],
    *,
    of: str,
    limit: float | None = None,
    is_log: bool = False,
) -> Picture:
    """A line each by day, `of` something; above `limit` it matters."""
    values = [value for points in lines.values() for _, value in points]
    chart = Chart(
        Axis.days(day for points in lines.values() for day, _ in points),
        Axis.over(of, [*values, limit], is_log=is_log),
        WIDER,
    )
    for (label, points), look in zip(lines.items(), cycle(LOOKS), strict=False):
        chart.line(((day.toordinal(), value) for day, value in points), look, label, is_marked=True)
    if limit is not None and values:
        chart.level(limit, FAINT, f"limit {limit:g}")
    sentence = "; ".join(
        f"{label} {_said(points[-1][1])} on {points[-1][0]}" for label, points in lines.items() if points
    )
    return chart.picture(name, title, f"{title}, the newest: {sentence}.")


def beside(
    name: str, title: str, labels: Sequence[str], bars: Mapping[str, Sequence[Value]], *, of: str, by: str
) -> Picture:
    """Bars side by side, a group for each of `labels`, `by` something; `bars`: what is compared -> values, `of` it."""
    width, looks = 0.8 / max(len(bars), 1), (FAINT, INK, SECOND) if len(bars) > 1 else (INK,)
    shown = [value for values in bars.values() for value in values]
    chart = Chart(Axis.names(by, labels, 20), Axis.over(of, [0, *shown]))
    for place, ((label, values), look) in enumerate(zip(bars.items(), cycle(looks), strict=False)):
        lefts = [at - 0.4 + place * width for at in range(len(labels))]
        chart.bars(((left, left + width, 0, value) for left, value in zip(lefts, values, strict=True)), look, label)
    sentence = "; ".join(
        f"{label}: {', '.join(f'{name} {_said(value)}' for name, value in zip(labels, values, strict=True))}"
        for label, values in bars.items()
    )
    return chart.picture(name, title, f"{title}. {sentence}.")


def _said(value: Value) -> str:
    return "missing" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _cumulated(outcome: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Rows called and buyers among them at falling thresholds, from none on; ties together."""
    y, p = np.asarray(outcome, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, MOST_POINTS).astype(int))]
    return np.append(0.0, ends + 1), np.append(0.0, np.cumsum(y[order])[ends])
