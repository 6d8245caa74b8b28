"""What a model learns from: eligible users on several past days, with what was known then and what came of it.

Belongs here: choosing the as-of days, what to say where there are too few, putting features, rule score, label and
parts side by side. Does not belong here: labels (`labels.py`), the parts themselves (`splits.py`), training
(`training.py`).
"""

from collections.abc import Iterable
from datetime import date, timedelta

import narwhals as nw

from gesture_assets.errors import TrainingRefused, listing
from gesture_assets.features.user_features import KEY
from gesture_assets.frames import Frame
from gesture_assets.models.labels import HORIZON_DAYS
from gesture_assets.models.rule_curve import RULE_SCORE
from gesture_assets.models.tables import DAYS_APART

TOO_FEW_DAYS = "There are too few days to learn from"
LEAST_DAYS = 3  # two to learn from and one to be judged on
MOST_DAYS = 8


def training_days(
    live_days: Iterable[date],
    *,
    known_until: date,
    horizon: int = HORIZON_DAYS,
    apart: int = DAYS_APART,
    at_most: int = MOST_DAYS,
    at_least: int = LEAST_DAYS,
) -> tuple[date, ...]:
    """The as-of days to learn from, in order: the newest mature one of `live_days`, then each `apart` or more before.

    Mature is a day whose horizon was over by the end of `known_until`. Raises `TrainingRefused` below `at_least` days,
    with the command that builds what is missing.
    """
    live_days = sorted(set(live_days), reverse=True)
    newest = known_until - timedelta(days=horizon)
    chosen: list[date] = []
    live = [day for day in live_days if day <= newest]
    for day in live:
        if len(chosen) < at_most and (not chosen or chosen[-1] - day >= timedelta(days=apart)):
            chosen.append(day)
    if len(chosen) < at_least:
        first = newest - timedelta(days=apart * (at_least - 1))
        earliest = live_days[-1] if live_days else known_until
        enough = earliest + timedelta(days=apart * (at_least - 1) + horizon)
        raise TrainingRefused(
            f"{TOO_FEW_DAYS}, as known by the end of {known_until}.",
            expected=f"{at_least} days with features, {apart} or more apart, up to {newest} (outcomes take {horizon})",
            found=listing(chosen),
            where=f"user_features, {len(live)} days up to {newest}",
            next_step=f"gesture run --from {first} --to {newest}  (events of {first} and before must have landed), "
            "or train on a later day"
            if earliest <= first
            else f"gesture train --date {enough}{'' if enough in live_days else ', when that day is live'}"
            f"  (the history begins on {earliest})",
        )
    return tuple(sorted(chosen))


def training_advice(live_days: Iterable[date], *, horizon: int = HORIZON_DAYS, refused_on: date | None = None) -> str:
    """The command that trains on the newest of `live_days`, or from which day one works where that would be refused.

    `refused_on`: the day of a training that found too little in its days, and after which none succeeded.
    """
    live_days = set(live_days)
    newest = max(live_days)
    try:
        training_days(live_days, known_until=newest, horizon=horizon)
    except TrainingRefused as refusal:
        return refusal.next_step
    again_on = refused_on + timedelta(days=DAYS_APART) if refused_on else newest
    if again_on > newest:
        return f"gesture train --date {again_on}, when that day is live and more outcomes are known"
    return "gesture train"


def with_rule_score(features: Frame, rule_scores: Frame) -> Frame:
    """`features` with `rule_score`, for training and for the night alike; null where the rules gave none."""
    scores = rule_scores.select(*KEY, nw.col("score").alias(RULE_SCORE))
    return features.join(scores, on=list(KEY), how="left")
