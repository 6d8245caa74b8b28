"""Tests of how a trained model behaves, whatever its figures say.

Belongs here: questions that a model must answer sensibly, each a sentence that is true when it passes. Does not belong
here: how good it is (`evaluation.py`), what happens when it fails (`judgement.py`).

An ERROR keeps a model from scoring anybody. A WARN is for people to read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, Protocol

import numpy as np
import polars as pl

from gesture_assets.features.feature_registry import WINDOWS
from gesture_assets.models.calibration import Floats
from gesture_assets.models.leakage import auc_error, rank_auc
from gesture_assets.models.matrix import NEVER_INPUTS

# Trees are no straight lines, and a model may lower somebody by a rounding's worth: what counts is who falls far.
FALL = 0.02  # a fall of the probability by more than two points of a hundred is one that people would ask about
FALLEN_SHARE = 0.05  # of the users
LARGEST_GAP = 0.1  # in ROC AUC between the best and the worst served segment
FEWEST_OF_AN_OUTCOME = 20  # in a segment; below that its AUC is uncertain by more than the gap
CHANCE = 0.01  # how often a column of segments that are served alike may be accused, however many segments it has
COMMONEST_SHARE = 0.95  # of users with one and the same probability
FEWEST_USERS = 20  # fewer may well all be alike
ALONE = 5  # users who are scored one by one: a frame of a single user takes as long to encode as one of a thousand


class Scorer(Protocol):
    """What a model has to offer to be tested."""

    def probabilities(self, frame: pl.DataFrame) -> Floats:
        """The probability of each row."""
        ...


@dataclass(frozen=True)
class Behaviour:
    """The outcome of a test: `name` is the sentence it proves, `observed` the figure that `limit` was held against.

    It passes where `observed` is at most `limit`. `because` says in words what was seen; `rows` are behind it.
    """

    name: str
    passed: bool
    observed: float
    limit: float
    severity: Literal["ERROR", "WARN"]
    because: str
    rows: int


def behaviours(
    model: Scorer,
    frame: pl.DataFrame,
    *,
    label: str = "label",
    event_types: Sequence[str] = ("demo_request_click",),
    segments: Sequence[str] = ("country", "subscriber_country", "primary_device"),
    seed: int = 42,
) -> list[Behaviour]:
    """Every test of `model` on `frame`: users' features, and for the segments their known outcome in `label`."""
    return [
        *(one_more_never_lowers_a_score(model, frame, event_type) for event_type in event_types),
        scores_do_not_depend_on_who_somebody_is(model, frame, seed=seed),
        scores_do_not_depend_on_company_or_order(model, frame, seed=seed),
        scores_are_not_all_alike(model, frame),
        no_segment_is_served_much_worse(model, frame, label=label, segments=segments),
    ]


def with_one_more_event(frame: pl.DataFrame, event_type: str) -> pl.DataFrame:
    """`frame` as it would be had everybody done one more thing of `event_type` on the as-of day, in a visit they made.

    That is one more in every count of the type and of all events, and no day since the last one. A rule score in the
    frame stays: that more points mean more is a question for the rules.
    """
    counts = {f"{stem}_count{span}" for stem in (event_type, "event") for span in ("", *(f"_{n}d" for n in WINDOWS))}
    last = f"days_since_last_{event_type}"
    return frame.with_columns(
        *((pl.col(name) + 1) for name in frame.columns if name in counts),
        *((pl.lit(0).cast(frame.schema[name]).alias(name)) for name in frame.columns if name == last),
    )


def one_more_never_lowers_a_score(
    model: Scorer,
    frame: pl.DataFrame,
    event_type: str = "demo_request_click",
    *,
    fall: float = FALL,
    share: float = FALLEN_SHARE,
) -> Behaviour:
    """One more `event_type` (`with_one_more_event`) must not lower the mean probability, nor many users' by much.

    `observed` is the share of users whose probability falls by more than `fall`; at most `share` may. Where the mean
    falls it does not pass either, whatever the share.
    """
    before, after = model.probabilities(frame), model.probabilities(with_one_more_event(frame, event_type))
    change = np.asarray(after) - np.asarray(before)
    fallen = float((change < -fall).mean()) if len(change) else 0.0
    mean = float(change.mean()) if len(change) else 0.0
    return Behaviour(
        f"one_more_{event_type}_never_lowers_a_score",
        fallen <= share and mean >= -1e-9,
        fallen,
        share,
        "ERROR",
        f"the mean probability changes by {mean:+.4f}; it falls by more than {fall:g} for {fallen:.1%} of the users",
        frame.height,
    )


def scores_do_not_depend_on_who_somebody_is(model: Scorer, frame: pl.DataFrame, *, seed: int = 42) -> Behaviour:
    """Swapping ids, names and addresses between users changes no probability by a single bit.

    `observed` is the share of users whose probability changes.
    """
    random = np.random.default_rng(seed)
    swapped = frame.with_columns(
        frame[name].gather(random.permutation(frame.height)) for name in sorted(NEVER_INPUTS & set(frame.columns))
    )
    return _unchanged(
        "scores_do_not_depend_on_who_somebody_is", model.probabilities(frame), model.probabilities(swapped)
    )


def scores_do_not_depend_on_company_or_order(model: Scorer, frame: pl.DataFrame, *, seed: int = 42) -> Behaviour:
    """Users and columns in another order, and users all by themselves, have the same probability to the bit.

    `observed` is the share of users whose probability changes; `ALONE` of them are scored one by one.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(frame.height)
    before = np.asarray(model.probabilities(frame))
    shuffled = np.empty_like(before)
    shuffled[order] = model.probabilities(frame[order].select(reversed(frame.columns)))
    for row in order[:ALONE]:
        if (alone := float(model.probabilities(frame[int(row)])[0])) != before[row]:
            shuffled[row] = alone
    return _unchanged("scores_do_not_depend_on_company_or_order", before, shuffled)


def scores_are_not_all_alike(model: Scorer, frame: pl.DataFrame) -> Behaviour:
    """No single probability is that of nearly everybody. `observed` is the share of users with the commonest one."""
    counts = np.unique(np.asarray(model.probabilities(frame)), return_counts=True)[1]
    commonest = float(counts.max() / frame.height) if frame.height else 1.0
    enough = frame.height >= FEWEST_USERS
    return Behaviour(
        "scores_are_not_all_alike",
        commonest <= COMMONEST_SHARE or not enough,
        commonest,
        COMMONEST_SHARE,
        "ERROR",
        f"{len(counts)} different probabilities; {commonest:.1%} of the users have the commonest one"
        + ("" if enough else "; too few users to tell"),
        frame.height,
    )


def segment_aucs(
    model: Scorer, frame: pl.DataFrame, *, label: str = "label", segments: Sequence[str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """(column, value) -> (ROC AUC, its standard error) among these users; null is a value.

    Segments with fewer than `FEWEST_OF_AN_OUTCOME` users of an outcome are left out.
    """
    scored = pl.DataFrame({"outcome": frame[label].cast(pl.Int64), "probability": model.probabilities(frame)})
    aucs: dict[tuple[str, str], tuple[float, float]] = {}
    for column in segments:
        if column not in frame.columns:
            continue
        of_column = scored.with_columns(segment=frame[column].cast(pl.String).fill_null("missing"))
        for (value,), part in sorted(of_column.partition_by("segment", as_dict=True).items(), key=str):
            positives = int(part["outcome"].sum())
            if min(positives, part.height - positives) >= FEWEST_OF_AN_OUTCOME:
                auc = rank_auc(part["outcome"], part["probability"])
                aucs[column, str(value)] = auc, auc_error(auc, positives, part.height)
    return aucs


def no_segment_is_served_much_worse(
    model: Scorer,
    frame: pl.DataFrame,
    *,
    label: str = "label",
    segments: Sequence[str] = ("country", "subscriber_country", "primary_device"),
    gap: float = LARGEST_GAP,
) -> Behaviour:
    """Between the best and the worst served segment of a column the ROC AUC differs by at most `gap`.

    `observed` is the widest difference that is more than chance: among many small segments one is always far off, so
    the more pairs of segments, the more standard errors it takes (Bonferroni, `CHANCE`).
    """
    by_column: dict[str, dict[str, tuple[float, float]]] = {}
    for (column, value), auc_and_error in segment_aucs(model, frame, label=label, segments=segments).items():
        by_column.setdefault(column, {})[value] = auc_and_error
    widest, because = 0.0, "no two segments of a column differ by more than chance"
    for column, aucs in by_column.items():
        worst = min(aucs, key=lambda segment: aucs[segment])
        best = max(aucs, key=lambda segment: aucs[segment])
        difference = aucs[best][0] - aucs[worst][0]
        if difference > max(widest, _errors(len(aucs)) * np.hypot(aucs[best][1], aucs[worst][1])):
            widest = difference
            because = f"{column}: AUC {aucs[worst][0]:.3f} for {worst}, {aucs[best][0]:.3f} for {best}"
    return Behaviour("no_segment_is_served_much_worse", widest <= gap, widest, gap, "WARN", because, frame.height)


def _errors(segments: int) -> float:
    """How many standard errors of a difference the widest among so many segments exceeds by chance only rarely."""
    pairs = max(segments * (segments - 1) / 2, 1)
    return NormalDist().inv_cdf(1 - CHANCE / 2 / pairs)


def _unchanged(name: str, before: Floats, after: Floats) -> Behaviour:
    changed = float((np.asarray(before) != np.asarray(after)).mean()) if len(before) else 0.0
    return Behaviour(
        name, changed == 0, changed, 0.0, "ERROR", f"{changed:.1%} of the probabilities changed", len(before)
    )
