"""Whether a model is to be trained anew, and why.

Belongs here: the triggers of documents 001 and 002, how they combine, and what counts as new feedback. Does not belong
here: the figures they look at (`performance.py`, `drift.py`), training (`models/`), letting a model serve.

Any trigger is enough, as the documents list them side by side; each that fires is told. Too little to learn from stops
them all. A false alarm costs a training and no more: a challenger serves only where it is better beyond noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import narwhals as nw

from gesture_assets.errors import listing
from gesture_assets.frames import Frame

if TYPE_CHECKING:
    from datetime import date

    from gesture_assets.settings import Settings

NO_CHAMPION, MODEL_AGE, NEW_FEEDBACK, F1_DROP, AUC_DROP, PRECISION_DROP, DRIFT = TRIGGERS = (
    "no_champion",
    "model_age",
    "new_feedback",
    "f1_drop",
    "auc_drop",
    "precision_drop",
    "drift",
)
TOO_FEW_SAMPLES = "too_few_samples"
# Trigger -> metric of `models/measures.py`.
DROPS = {F1_DROP: "f1", AUC_DROP: "roc_auc", PRECISION_DROP: "precision"}
# 0.75 less 0.70 is 0.05000000000000004 in binary: a difference of this size is no difference.
TOLERANCE = 1e-9
# Features drift all the time; together they matter once the model goes by them for a tenth of what it says.
DRIFTED_IMPORTANCE = 0.1


@dataclass(frozen=True)
class Thresholds:
    """What each trigger is held against: more than this, but at least as much feedback and as many samples."""

    interval_days: float = 7
    f1: float = 0.05
    auc: float = 0.05
    precision: float = 0.05
    min_feedback: int = 50
    min_samples: int = 100
    drifted_importance: float = DRIFTED_IMPORTANCE

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """The thresholds that `settings` name."""
        return cls(
            settings.retrain_interval_days,
            settings.retrain_threshold_f1,
            settings.retrain_threshold_auc,
            settings.retrain_threshold_precision,
            settings.retrain_min_feedback,
            settings.min_training_samples,
        )

    @property
    def drops(self) -> dict[str, float]:
        """Trigger -> how far its metric may fall."""
        return {F1_DROP: self.f1, AUC_DROP: self.auc, PRECISION_DROP: self.precision}


@dataclass(frozen=True)
class RetrainingState:
    """What is known at the moment `now` (UTC, naive) of the champion and of what it could learn.

    `trained_at`: when the champion was trained, None without one. `new_feedback`: as the function of that name counts
    it. `training_samples`: rows that a training would grow trees on tonight. `baseline` and `current`: metric -> value
    of the champion on its test part and on outcomes that have matured since; a metric that is missing or NaN on either
    side triggers nothing. `drifted`: feature that drifted -> its share of what the model goes by, 0 to 1.
    """

    now: datetime
    trained_at: datetime | None
    new_feedback: int
    training_samples: int
    baseline: Mapping[str, float] = field(default_factory=dict[str, float])
    current: Mapping[str, float] = field(default_factory=dict[str, float])
    drifted: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to train. `reasons` and `blocked_by` are (code, sentence): what calls for it, what forbids it."""

    should_retrain: bool
    reasons: tuple[tuple[str, str], ...]
    blocked_by: tuple[tuple[str, str], ...]


def decide_retraining(state: RetrainingState, thresholds: Thresholds | None = None) -> RetrainDecision:
    """Train when any trigger fires and there are samples enough. Reasons come in the order of `TRIGGERS`.

    Without a champion nothing else is asked. Source: documents 001 (age, feedback, F1, samples) and 002 (AUC,
    precision, drift); all drops are absolute.
    """
    limits = thresholds or Thresholds()
    reasons, blocked = ((NO_CHAMPION, "No model serves; the rules do."),), ()
    if state.trained_at is not None:
        reasons = tuple(_triggered(state, state.now - state.trained_at, limits))
    if state.training_samples < limits.min_samples:
        shortage = f"There are {state.training_samples} samples to learn from, and {limits.min_samples} are needed."
        blocked = ((TOO_FEW_SAMPLES, shortage),)
    return RetrainDecision(bool(reasons) and not blocked, reasons, blocked)


def new_feedback(outcomes: Frame, *, trained_on: "date") -> int:
    """People of whom something is known that was not known on the day `trained_on`, at whose end a model was trained.

    `outcomes`: eligible rows of `models.labels.labels` (`person_id`, `matures_on`, `label`), mature ones, of any as-of
    days. Somebody counts once: when their first outcome has matured since, or their purchase. That the same person did
    not buy for another night is no news; counted, every night would be a reason to train.
    """
    is_known = nw.col("matures_on") <= nw.lit(trained_on).cast(nw.Date)
    persons = outcomes.with_columns(
        was_known=is_known.cast(nw.Int64), bought=nw.col("label").cast(nw.Int64)
    ).with_columns(had_bought=nw.col("bought") * nw.col("was_known"))
    persons = persons.group_by("person_id").agg(nw.col("was_known", "bought", "had_bought").max())
    is_new = (nw.col("was_known") == 0) | (nw.col("bought") > nw.col("had_bought"))
    return int(persons.filter(is_new).select(people=nw.len()).collect()["people"].item())


def _triggered(state: RetrainingState, age: timedelta, limits: Thresholds) -> list[tuple[str, str]]:
    reasons: list[tuple[str, str]] = []
    if age > timedelta(days=limits.interval_days):
        reasons.append((MODEL_AGE, f"The model is {age} old; {limits.interval_days:g} days are allowed."))
    if state.new_feedback >= limits.min_feedback:
        sentence = (
            f"{state.new_feedback} people have an outcome that it does not know; {limits.min_feedback} are enough."
        )
        reasons.append((NEW_FEEDBACK, sentence))
    for trigger, limit in limits.drops.items():
        metric = DROPS[trigger]
        before, after = (values.get(metric, math.nan) for values in (state.baseline, state.current))
        if exceeds(before - after, limit):
            sentence = f"{metric} fell by {before - after:.4f}, from {before:.4f} to {after:.4f}; {limit:g} is allowed."
            reasons.append((trigger, sentence))
    weight = sum(state.drifted.values())
    if state.drifted and not exceeds(limits.drifted_importance, weight):
        sentence = f"{listing(state.drifted)} drifted, which make {weight:.0%} of what it goes by."
        reasons.append((DRIFT, sentence))
    return reasons


def exceeds(value: float, limit: float) -> bool:
    """Whether `value` is above `limit` by more than binary fractions explain; NaN exceeds nothing."""
    return value > limit + TOLERANCE
