"""Pictures of a model and of nights: how far a model can be taken at its word, what it goes by, what moves.

Belongs here: drawing with Matplotlib, which MLflow brings along, and saying in words what is drawn. Does not belong
here: working out figures (`models/evaluation.py`), where pictures are shown (`page.py`, `nights/training.py`).

Equal data give equal bytes: no date, no random id, text as text. Matplotlib is drawn on without its global state.
"""

import atexit
import io
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from gesture_assets.models.evaluation import Estimate, Evaluation, LearningCurve
from gesture_assets.reports.page import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, SECOND = "#0b5394", "#999999", "#b45f06"  # told apart without colours too: by dashes, marks and labels
SIZE = 5.2, 3.4  # inches
MOST_POINTS = 200  # of a curve: more cannot be seen at this size
MOST_BARS = 15
STYLE = {
    "svg.hashsalt": "gesture",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


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

    def draw(axes: "Axes") -> None:
        top = max(*predicted, *observed, 0.01) * 1.05
        axes.plot([0, top], [0, top], "--", color=FAINT, label="as good as its word")
        axes.plot(predicted, observed, "o-", color=INK, label="this model")
        axes.set(xlabel="mean predicted probability", ylabel="share that bought", xlim=(0, top), ylim=(0, top))
        axes.legend(frameon=False)

    return _drawn(
        "reliability",
        "Reliability: what was predicted beside what came",
        draw,
        f"Reliability in {len(predicted)} bins: calibration error {ece.value:.3f} ({ece.low:.3f} to {ece.high:.3f}); "
        f"the highest bin predicted {predicted[-1]:.3f}, and {observed[-1]:.3f} of it bought.",
    )


def lift(deciles: Sequence[Estimate]) -> Picture:
    """How many times as many buyers each tenth holds as everybody does, with 95 % intervals."""
    values = np.array([tenth.value for tenth in deciles])
    ends = np.array([[tenth.value - tenth.low, tenth.high - tenth.value] for tenth in deciles]).T.clip(0)

    def draw(axes: "Axes") -> None:
        axes.bar(range(1, len(values) + 1), values, color=INK, yerr=ends, ecolor=FAINT, capsize=2)
        axes.axhline(1, ls="--", color=SECOND)
        axes.text(len(values) + 0.5, 1, "everybody", ha="right", va="bottom", color=SECOND)
        axes.set(xlabel="tenth of the users, highest scores first", ylabel="lift", xticks=range(1, len(values) + 1))

    return _drawn(
        "lift",
        "Lift by decile",
        draw,
        f"Lift by decile: the first tenth holds {values[0]:.2f} times as many buyers as everybody, the second "
        f"{values[1]:.2f}, the last {values[-1]:.2f}.",
    )


def roc(outcome: ArrayLike, probability: ArrayLike, area: Estimate) -> Picture:
    """Buyers found beside others called, at every threshold."""
    called, hits = _cumulated(outcome, probability)
    others = called - hits

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], "--", color=FAINT, label="chance")
        axes.plot(others / max(others[-1], 1), hits / max(hits[-1], 1), color=INK, label="this model")
        axes.set(xlabel="share of the others called", ylabel="share of the buyers found", xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(frameon=False, loc="lower right")

    return _drawn(
        "roc",
        "ROC curve",
        draw,
        f"ROC curve: area {area.value:.3f}, 95 % interval {area.low:.3f} to {area.high:.3f}; chance is 0.5.",
    )


def precision_recall(outcome: ArrayLike, probability: ArrayLike, area: Estimate) -> Picture:
    """How many of those called bought, beside how many buyers were found."""
    called, hits = _cumulated(outcome, probability)
    share = hits[-1] / max(called[-1], 1)

    def draw(axes: "Axes") -> None:
        axes.axhline(share, ls="--", color=FAINT, label="chance")
        axes.plot(hits[1:] / max(hits[-1], 1), hits[1:] / called[1:], color=INK, label="this model")
        axes.set(
            xlabel="share of the buyers found", ylabel="share of those called who bought", xlim=(0, 1), ylim=(0, 1.01)
        )
        axes.legend(frameon=False)

    return _drawn(
        "precision_recall",
        "Precision and recall",
        draw,
        f"Precision by recall: area {area.value:.3f}, 95 % interval {area.low:.3f} to {area.high:.3f}; chance is "
        f"{share:.3f}.",
    )


def importances(weights: pl.DataFrame) -> Picture:
    """What the model goes by: `weights` with `name` and `shap`, the weightiest first."""
    top = weights.head(MOST_BARS)
    names = [name if len(name) <= 48 else f"{name[:47]}…" for name in top["name"]]

    def draw(axes: "Axes") -> None:
        axes.barh(range(len(names)), top["shap"].to_list(), color=INK)
        axes.set(yticks=range(len(names)), yticklabels=names, xlabel="share of the mean size of contributions")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")

    sentence = "; ".join(f"{name} {share:.0%}" for name, share in top.head(5).select("name", "shap").iter_rows())
    return _drawn("importance", "What the model goes by", draw, f"Importance, the first five: {sentence}.", size=(8, 4))


def distribution(probability: ArrayLike) -> Picture:
    """How probabilities are spread; as many users may share a low one, their number is drawn in powers of ten."""
    scores = np.asarray(probability, dtype=np.float64)

    def draw(axes: "Axes") -> None:
        axes.hist(scores, bins=np.linspace(0, 1, 41).tolist(), color=INK)
        axes.set(xlabel="probability of a purchase", ylabel="users", yscale="log", xlim=(0, 1))
        axes.set_ylim(bottom=0.5)

    at = np.quantile(scores, [0.1, 0.5, 0.9]) if len(scores) else np.zeros(3)
    return _drawn(
        "distribution",
        "Distribution of the scores",
        draw,
        f"Distribution of {len(scores):,} probabilities: a tenth lies below {at[0]:.4f}, half below {at[1]:.4f}, nine "
        f"tenths below {at[2]:.4f}.",
    )


def learning(curve: LearningCurve) -> Picture:
    """What more rows have brought so far."""
    rows = [point.rows for point in curve.points]
    areas = [point.roc_auc for point in curve.points]

    def draw(axes: "Axes") -> None:
        axes.fill_between(
            rows, [area.low for area in areas], [area.high for area in areas], color=INK, alpha=0.15, lw=0
        )
        axes.plot(rows, [area.value for area in areas], "o-", color=INK)
        axes.set(
            xlabel="rows trained on",
            ylabel="area under the ROC curve",
            xscale="log",
            xticks=rows,
            xticklabels=[f"{count:,}" for count in rows],
        )
        axes.minorticks_off()

    sentence = ", ".join(f"{count:,} rows {area.value:.3f}" for count, area in zip(rows, areas, strict=True))
    return _drawn(
        "learning_curve", f"Learning curve: {curve.verdict}", draw, f"ROC AUC by rows trained on: {sentence}."
    )


def over_time(
    name: str,
    title: str,
    lines: Mapping[str, Sequence[tuple[date, float]]],
    *,
    of: str,
    limit: float | None = None,
    is_log: bool = False,
) -> Picture:
    """A line each by day, `of` something; above `limit` it matters."""

    def draw(axes: "Axes") -> None:
        for (label, points), mark in zip(lines.items(), cycle("os^vDP*X"), strict=False):
            axes.plot([day for day, _ in points], [value for _, value in points], marker=mark, ms=3, lw=1, label=label)  # pyright: ignore[reportArgumentType]
        if limit is not None:
            axes.axhline(limit, ls="--", color=SECOND)
        axes.set(ylabel=of, **({"yscale": "log"} if is_log else {}))
        axes.tick_params(axis="x", labelrotation=30)
        axes.legend(frameon=False, fontsize=7)

    sentence = "; ".join(f"{label} {points[-1][1]:.3g} on {points[-1][0]}" for label, points in lines.items() if points)
    return _drawn(name, title, draw, f"{title}, the newest: {sentence}.", size=(8, 3.4))


def beside(name: str, title: str, labels: Sequence[str], bars: Mapping[str, Sequence[float]], *, of: str) -> Picture:
    """Bars side by side, a group for each of `labels`; `bars`: what is compared -> its values, `of` something."""
    width, colours = 0.8 / max(len(bars), 1), (FAINT, INK, SECOND) if len(bars) > 1 else (INK,)

    def draw(axes: "Axes") -> None:
        for place, ((label, values), colour) in enumerate(zip(bars.items(), cycle(colours), strict=False)):
            axes.bar([at + place * width for at in range(len(labels))], values, width, color=colour, label=label)
        axes.set(ylabel=of, xticks=[at + 0.4 - width / 2 for at in range(len(labels))], xticklabels=labels)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
        axes.grid(visible=False, axis="x")
        axes.legend(frameon=False)

    sentence = "; ".join(
        f"{label}: {', '.join(f'{name} {value:.3g}' for name, value in zip(labels, values, strict=True))}"
        for label, values in bars.items()
    )
    return _drawn(name, title, draw, f"{title}. {sentence}.")


def _drawn(
    name: str, title: str, draw: "Callable[[Axes], None]", alt: str, size: tuple[float, float] = SIZE
) -> Picture:
    def drawn(kind: str) -> bytes:
        mpl = _matplotlib()
        from matplotlib.figure import Figure

        stream = io.BytesIO()
        with mpl.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
            figure = Figure(figsize=size, layout="constrained", dpi=80)
            draw(figure.add_subplot())
            figure.savefig(stream, format=kind, metadata={"svg": {"Date": None}, "png": {"Software": None}}[kind])
        return stream.getvalue()

    return Picture(name, title, alt, drawn)


@cache
def _matplotlib() -> Any:
    """matplotlib, whose list of fonts is made anew in a moment and is no business of the home folder."""
    if "MPLCONFIGDIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="matplotlib-")
        atexit.register(folder.cleanup)
        os.environ["MPLCONFIGDIR"] = folder.name
    import matplotlib as mpl

    return mpl


def _cumulated(outcome: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Rows called and buyers among them at falling thresholds, from none on; ties together."""
    y, p = np.asarray(outcome, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, MOST_POINTS).astype(int))]
    return np.append(0.0, ends + 1), np.append(0.0, np.cumsum(y[order])[ends])
