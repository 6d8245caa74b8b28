"""What models learn from and are judged by: inputs, outcomes and rows of features.

Belongs here: reading them for a training, for tonight's scores and for monitoring. Does not belong here: a step
(`training.py`, `model_scores.py`, `drift.py`, `performance.py`), how labels follow from events (`models/labels.py`).
"""

from collections.abc import Collection, Sequence
from datetime import date, timedelta

import narwhals as nw
import polars as pl

from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.feature_registry import IDENTIFIERS, feature_registry
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.features.user_features import user_features
from gesture_assets.frames import Frame, concat, to_polars
from gesture_assets.models import labels
from gesture_assets.models.matrix import FLAG
from gesture_assets.models.rule_curve import RULE_SCORE
from gesture_assets.models.training_set import with_rule_score
from gesture_assets.nights.night import Night, moments
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.settings import Settings
from gesture_assets.subscribers.tables import VALIDATED_SUBSCRIBERS
from gesture_assets.vocabulary.scoring import SEGMENTS

# Features that say whether somebody has bought: the same for all who are eligible.
KNOWN_OUTCOMES = ("made_purchase", f"days_since_last_{labels.CONVERSION}")
RULE_SCORE_NAME = "Points by the rules"


def model_inputs(settings: Settings) -> tuple[str, ...]:
    """What models read: every feature that they may, but what the settings leave out."""
    return tuple(name for name in possible_inputs(settings) if name not in settings.excluded_features)


def possible_inputs(settings: Settings) -> tuple[str, ...]:
    """What models may read: every feature but identifiers, moments and the outcome itself."""
    left_out = {*IDENTIFIERS, *KNOWN_OUTCOMES}
    names = [feature.name for feature in feature_registry(settings.tags) if feature.name not in left_out]
    return (*(name for name in names if not name.startswith(f"{labels.CONVERSION}_count")), RULE_SCORE)


def input_names(settings: Settings) -> dict[str, str]:
    """Input of a model -> what people call it."""
    names = {feature.name: feature.description.rstrip(".") for feature in feature_registry(settings.tags)}
    names[RULE_SCORE] = RULE_SCORE_NAME
    return names | {FLAG + name: f"Not known: {meaning}" for name, meaning in names.items()}


def features_on(night: Night, day: date) -> Frame:
    """The features of everybody on `day`, the rules' score among them."""
    return with_rule_score(night.read(USER_FEATURES, on=day), night.read(RULE_SCORES, on=day))


def recounted_features(night: Night, day: date, users: list[str]) -> Frame:
    """The features of `users` on `day`, worked out anew from nothing that arrived after it."""
    features = night.session.query(
        user_features,
        night.read(DAILY_ACTIVITY, through=day),
        night.read(IDENTITY_LINKS, through=day),
        night.read(VALIDATED_SUBSCRIBERS, on=day),
        moments(night, [day]),
        include_bots=night.settings.include_bots,
        tags=night.settings.tags,
        name_step=night.session.name_step,
    )
    return night.session.set_aside("recounted_features", features.filter(nw.col("user_id").is_in(users)))


def outcomes(night: Night, days: Collection[date], known_until: date, horizon: int) -> Frame:
    """`labels.labels` of everybody of `days`, as known by the end of `known_until`, as a table."""
    as_of = sorted(set(days))
    crm = sorted({*as_of, *(day + timedelta(days=horizon) for day in as_of)})
    labelled = night.session.query(
        labels.labels,
        concat([night.read(USER_FEATURES, on=day) for day in as_of]),
        night.read(DAILY_ACTIVITY, through=known_until),
        night.read(IDENTITY_LINKS, through=known_until),
        concat([night.read(VALIDATED_SUBSCRIBERS, on=day) for day in crm]),
        moments(night, [known_until]),
        horizon=horizon,
        include_bots=night.settings.include_bots,
        name_step=night.session.name_step,
    )
    return night.session.set_aside("outcomes", labelled)


def training_frame(night: Night, rows_of: pl.DataFrame, inputs: Sequence[str]) -> pl.DataFrame:
    """`rows_of` (rows of a training set) with their features, in order of day and user."""
    frames: list[pl.DataFrame] = []
    for (day,), rows in rows_of.partition_by("feature_date", as_dict=True, maintain_order=True).items():
        names = dict.fromkeys(("user_id", "mailchimp_id", *SEGMENTS, *inputs))
        frame = to_polars(features_on(night, day).select(*names))
        frames.append(rows.join(frame, on="user_id", how="inner", maintain_order="left"))
    return pl.concat(frames)


def newest_date(days: pl.Series) -> date:
    """The newest of `days`, one at least."""
    newest = days.max()
    assert isinstance(newest, date)
    return newest
