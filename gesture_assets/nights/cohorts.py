"""Cohorts: the scores of a past day whose outcomes are known.

Belongs here: reading them, for drift and for performance. Does not belong here: judging them (`monitoring/`).
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import to_polars
from gesture_assets.models.tables import MODEL_SCORES
from gesture_assets.monitoring.performance import matured
from gesture_assets.nights.night import Night
from gesture_assets.nights.training_rows import outcomes
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.vocabulary.scoring import SEGMENTS


@dataclass(frozen=True)
class Cohort:
    """The scores of a day whose outcomes are known: those of the model (none without one) and those of the rules."""

    day: date
    by_model: pl.DataFrame
    by_rules: pl.DataFrame


def has_features(night: Night, day: date) -> bool:
    """Whether `day` has features."""
    return bool(night.session.live_counts(USER_FEATURES.name, [day]).get(day))


def matured_cohort(night: Night, day: date, *, ago: int = 0) -> Cohort | None:
    """The scores whose horizon ends with `day`, or those of `ago` days before it; None where nobody was scored."""
    scored_on = day - timedelta(days=max(ago, night.settings.label_horizon_days))
    if not has_features(night, scored_on):
        return None
    known = outcomes(night, [scored_on], day, night.settings.label_horizon_days)
    segments = night.read(USER_FEATURES, on=scored_on).select("user_id", *SEGMENTS)
    by_model = matured(night.read(MODEL_SCORES, on=scored_on), known)
    by_rules = matured(night.read(RULE_SCORES, on=scored_on), known)
    model = to_polars(by_model.join(segments, on="user_id", how="left")).sort("user_id")
    return Cohort(scored_on, model, to_polars(by_rules).sort("user_id"))
