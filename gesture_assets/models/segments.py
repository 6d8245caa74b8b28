"""Which segments of the users have a model of their own, and why the others are scored by the global one.

Belongs here: what a segment must bring to have a model, and whether that model is better where it would score. Does not
belong here: training (`training.py`), which model is asked about whom (`Model.scopes`), whether the whole may serve
(`judgement.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from gesture_assets.models.calibration import Calibrator
from gesture_assets.models.evaluation import Comparison, compare
from gesture_assets.models.training import Model, column_of, scopes_by, train

FEWEST_EACH, FEWEST_BUYERS = 40, 120  # to learn from, by document 000: buyers and others, or buyers alone
FEWEST_JUDGED = 10  # of either outcome to be judged by: of fewer, a bootstrap draws the same few again and again
MARGIN = Calibrator()  # margins as probabilities, before anything was fitted


@dataclass(frozen=True)
class Segment:
    """What became of a segment: whether a model of its own scores it, and why; `comparison` where one was trained."""

    is_own: bool
    because: str
    comparison: Comparison | None = None

    @property
    def sentence(self) -> str:
        """Who scores it and why."""
        return f"{'own' if self.is_own else 'global'}: {self.because}"


def judged_segments(
    model: Model,
    column: str,
    rows: pl.DataFrame,
    judged: pl.DataFrame,
    *,
    monotone: Mapping[str, Literal[-1, 0, 1]] | None = None,
) -> dict[str, Segment]:
    """What becomes of each value of `column`: whether its own model is better than `model`. Both learn from `rows`.

    A segment needs 40 buyers and 40 others to learn from, or 120 buyers beside others, and 10 of either to be judged
    by. Its model serves when the ROC AUC of its margins on the segment's `judged` rows, other persons', is better
    beyond noise. They are none that judge the whole, whose figures would flatter from then on.
    """
    segments: dict[str, Segment] = {}
    for scope in scopes_by(rows, column).unique().sort():
        learnt, asked = (part.filter(scopes_by(part, column) == scope) for part in (rows, judged))
        if shortage := too_few(learnt[model.target], asked[model.target]):
            segments[scope] = Segment(False, shortage)
            continue
        own = _member(model, learnt, monotone)
        before, after = (MARGIN.probabilities(candidate.margins(asked)) for candidate in (model, own))
        comparison = compare(asked[model.target], before, after, groups=asked["person_id"])
        segments[scope] = Segment(comparison.verdict == "better", _comparison_sentence(comparison), comparison)
    return segments


def with_members(
    model: Model,
    scopes: Sequence[str],
    rows: pl.DataFrame,
    *,
    monotone: Mapping[str, Literal[-1, 0, 1]] | None = None,
) -> Model:
    """`model` with a model of its own for each of `scopes`, trained on their `rows`; not for one that has not both
    outcomes there.
    """
    members: dict[str, Model] = {}
    for scope in scopes:
        learnt = rows.filter(scopes_by(rows, column_of(scopes)) == scope)
        if learnt[model.target].n_unique() > 1:
            members[scope] = _member(model, learnt, monotone)
    return replace(model, members=members)


def _member(model: Model, rows: pl.DataFrame, monotone: Mapping[str, Literal[-1, 0, 1]] | None) -> Model:
    return train(
        rows,
        model.target,
        model.features,
        parameters=model.parameters,
        is_blended=model.blend is not None,
        monotone=monotone,
        encoding=model.encoding,
        min_rows=1,
    )


def too_few(learnt: pl.Series, judged: pl.Series) -> str:
    """What a segment lacks, by the outcomes it learns from and is judged by; empty where it has enough."""
    buyers, others = int(learnt.sum()), len(learnt) - int(learnt.sum())
    if not others or (min(buyers, others) < FEWEST_EACH and buyers < FEWEST_BUYERS):
        return (
            f"{buyers} buyers and {others} others to learn from, and {FEWEST_EACH} of each or {FEWEST_BUYERS} buyers "
            "beside others are needed"
        )
    buyers, others = int(judged.sum()), len(judged) - int(judged.sum())
    if min(buyers, others) < FEWEST_JUDGED:
        return f"{buyers} buyers and {others} others to be judged by, and {FEWEST_JUDGED} of each are needed"
    return ""


def _comparison_sentence(comparison: Comparison) -> str:
    figures = comparison.metrics[comparison.decided_by]
    gain = figures.difference
    return (
        f"{comparison.verdict}: {comparison.decided_by} {figures.challenger:.4f} of its own model against "
        f"{figures.champion:.4f} on {comparison.rows} rows of others: {gain.value:+.4f} ({gain.low:+.4f} to "
        f"{gain.high:+.4f})"
    )
