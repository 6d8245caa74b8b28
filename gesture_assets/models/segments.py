"""Which segments of the users have a model of their own, and why the others are scored by the global one.

Belongs here: what a segment must bring to have a model, and whether that model is better where it would score. Does not
belong here: training (`training.py`), which model is asked about whom (`Model.scopes`), whether the whole may serve
(`judgement.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from gesture_assets.models.calibration import Calibrator
from gesture_assets.models.evaluation import Comparison, compare
from gesture_assets.models.training import Model, scopes_by, train

FEWEST_EACH, FEWEST_BUYERS = 40, 120  # to learn from, by document 000: buyers and others, or buyers alone
FEWEST_JUDGED = 10  # of either outcome to be judged by: of fewer, a bootstrap draws the same few again and again
MARGIN = Calibrator()  # margins as probabilities, before anything was fitted on the validation part


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


def with_segments(
    model: Model,
    column: str,
    pieces: Mapping[str, pl.DataFrame],
    level: pl.DataFrame,
    *,
    monotone: Mapping[str, Literal[-1, 0, 1]] | None = None,
) -> tuple[Model, dict[str, Segment]]:
    """`model` with a member for each value of `column` whose own model is better than it, and what became of each.

    `pieces` holds the parts "train" and "validation"; `level` is as for `train`. A segment needs 40 buyers and 40
    others to learn from, or 120 buyers beside others, and 10 of either to be judged by. Its model serves when its ROC
    AUC on the segment's validation rows is better beyond noise: of the margins, as both calibrators are fitted on these
    rows, and not on the test part, whose figures would flatter from then on.
    """
    segments: dict[str, Segment] = {}
    members: dict[str, Model] = {}
    for scope in scopes_by(pieces["train"], column).unique().sort():
        rows, judged, around = (
            part.filter(scopes_by(part, column) == scope) for part in (pieces["train"], pieces["validation"], level)
        )
        if shortage := too_few(rows[model.target], judged[model.target]):
            segments[scope] = Segment(False, shortage)
            continue
        own = train(
            rows,
            model.target,
            model.features,
            parameters=model.parameters,
            validation=judged,
            level=around,
            monotone=monotone,
            encoding=model.encoding,
            min_rows=1,
        )
        before, after = (MARGIN.probabilities(candidate.margins(judged)) for candidate in (model, own))
        comparison = compare(judged[model.target], before, after, groups=judged["person_id"])
        segments[scope] = Segment(comparison.verdict == "better", _comparison_sentence(comparison), comparison)
        if segments[scope].is_own:
            members[scope] = own
    return replace(model, members=members), segments


def too_few(learnt: pl.Series, judged: pl.Series) -> str:
    """What a segment lacks, by its outcomes in the parts "train" and "validation"; empty where it has enough."""
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
        f"{figures.champion:.4f} on {comparison.rows} validation rows: {gain.value:+.4f} ({gain.low:+.4f} to "
        f"{gain.high:+.4f})"
    )
