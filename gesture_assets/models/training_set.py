"""What a model learns from: eligible users on several past days, with what was known then and what came of it.

Belongs here: choosing the as-of days, putting features, rule score, label and parts side by side. Does not belong here:
labels (`labels.py`), the parts themselves (`splits.py`), training (`training.py`).
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import narwhals as nw

from gesture_assets.errors import TrainingRefused, listing
from gesture_assets.features.user_features import KEY, NameStep, unnamed
from gesture_assets.frames import Frame
from gesture_assets.models.labels import HORIZON_DAYS
from gesture_assets.models.splits import SHARES, Shares, persons, random_split, time_split

# Two days a fortnight apart share half of a month's window: closer ones repeat each other's rows rather than add some.
DAYS_APART = 14
LEAST_DAYS = 3  # one each to train, calibrate and test on
MOST_DAYS = 8
RULE_SCORE = "rule_score"


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
    newest = known_until - timedelta(days=horizon)
    chosen: list[date] = []
    live = sorted({day for day in live_days if day <= newest}, reverse=True)
    for day in live:
        if len(chosen) < at_most and (not chosen or chosen[-1] - day >= timedelta(days=apart)):
            chosen.append(day)
    if len(chosen) < at_least:
        first = newest - timedelta(days=apart * (at_least - 1))
        raise TrainingRefused(
            f"There are too few days to learn from, as known by the end of {known_until}.",
            expected=f"{at_least} days with features, {apart} or more apart, up to {newest} (outcomes take {horizon})",
            found=listing(chosen),
            where=f"user_features, {len(live)} days up to {newest}",
            next_step=f"gesture run --from {first} --to {newest}  (events of {first} and before must have landed), "
            "or train on a later day",
        )
    return tuple(sorted(chosen))


def training_set(
    features: Frame,
    labels: Frame,
    days: Sequence[date],
    *,
    rule_scores: Frame | None = None,
    shares: Shares = SHARES,
    embargo: int | None = None,
    validation_days: int = 1,
    seed: int = 42,
    name_step: NameStep = unnamed,
) -> Frame:
    """The eligible rows of `features` on `days` with `person_id`, `label`, `matures_on`, `split` and `random_split`.

    Ordered by day and user. `labels` are those of `labels.labels`: they are read several times, so they should be a
    table and not a long query. With `rule_scores` the rules' score of the day stands in `rule_score`, as an input like
    any other. `name_step` names parts of the query.
    """
    eligible = labels.filter(nw.col("is_eligible"))
    drawn = name_step("persons", persons(eligible, seed=seed))
    by_time = time_split(eligible, days, shares=shares, embargo=embargo, validation_days=validation_days, drawn=drawn)
    by_time = name_step("parts_by_time", by_time)
    placed = name_step("parts", random_split(by_time, shares=shares, drawn=drawn))
    outcomes = placed.select(*KEY, "person_id", "label", "matures_on", "split", "random_split")
    rows = with_rule_score(features, rule_scores) if rule_scores is not None else features
    return rows.join(outcomes, on=list(KEY), how="inner").sort(*KEY)


def with_rule_score(features: Frame, rule_scores: Frame) -> Frame:
    """`features` with `rule_score`, for training and for the night alike; null where the rules gave none."""
    scores = rule_scores.select(*KEY, nw.col("score").alias(RULE_SCORE))
    return features.join(scores, on=list(KEY), how="left")
