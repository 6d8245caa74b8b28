"""Steps of tonight's model scores: everybody who could still buy, with reasons, and the score to act on.

Belongs here: which model scores which day, reading whom it scores, a part at a time. Does not belong here: how a score
is made or explained (`models/`), training (`training.py`).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import Frame, to_polars
from gesture_assets.models import labels, reasons, scoring
from gesture_assets.models.call_list import call_list, left_out
from gesture_assets.models.tables import (
    EVERYBODY,
    INTENT_SCORES,
    MODEL_EXCLUSIONS,
    MODEL_SCORES,
    NO_CHAMPION,
    SCORE_REASONS,
    TOP_USERS,
    UNAVAILABLE,
)
from gesture_assets.models.training import Model
from gesture_assets.nights.judging import usable_model
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.rules import rule_set_of
from gesture_assets.nights.steps import Built, Markdown, Step
from gesture_assets.nights.training_rows import features_on, input_names
from gesture_assets.records import activations
from gesture_assets.reports.plots import distribution
from gesture_assets.rules.tables import RULE_CONTRIBUTIONS, RULE_SCORES

CURVES = {PARTITION: pl.Date, "slope": pl.Float64, "intercept": pl.Float64}


@dataclass(frozen=True)
class Champion:
    """The version that scores a day, empty before the first, and its model where that can be used."""

    version: str
    model: Model | None


Champions = Mapping[date, Champion]


def champions(night: Night) -> Champions:
    """Day -> the champion that scores it."""

    def load() -> Champions:
        serving = {day: activations.champion(night.session.connection, day) for day in night.days}
        models = {version: usable_model(night, version) for version in sorted(filter(None, serving.values()))}
        return {day: Champion(version or "", models.get(version or "")) for day, version in serving.items()}

    return night.once(("champions", night.days), load)


def _made_of(night: Night) -> Mapping[date, str]:
    # A version never changes; whether its files can be used does.
    return {day: f"{champion.version} {champion.model is not None}" for day, champion in champions(night).items()}


def model_scores(night: Night, days: Days) -> Built:
    """Score everybody who could still buy with the champion of the day, and say why."""
    serving = champions(night)
    candidates = _candidates(night, serving)
    began = time.perf_counter()
    scores = night.session.set_aside("scored", _scored(night, serving, candidates))
    seconds = time.perf_counter() - began
    versions = sorted({champion.version for champion in serving.values()} - {""})
    newest = serving[days[-1]].version or None
    return Built(
        {
            MODEL_SCORES: scoring.percentiles(scores).select(*MODEL_SCORES.column_names),
            MODEL_EXCLUSIONS: candidates.filter(~nw.col("reason").is_null()).select(*MODEL_EXCLUSIONS.column_names),
            SCORE_REASONS: _explained(night, serving, candidates),
        },
        notes={"champion": newest or NO_CHAMPION, **_speed(scores, seconds), **_spread(scores, days[-1])},
        inputs={"champion": ",".join(versions) or "none"},
        version=newest,
    )


def _speed(scores: Frame, seconds: float) -> dict[str, Any]:
    """How long scoring took, reading features included; nothing where nobody was scored."""
    rows = to_polars(scores.select(nw.len()))["len"][0]
    return {"scoring_seconds": round(seconds, 3), "users_scored_per_second": round(rows / seconds)} if rows else {}


def _spread(scores: Frame, day: date) -> dict[str, Any]:
    """How the probabilities of `day` are spread, as a picture; nothing where nobody was scored."""
    rows = to_polars(scores.filter(nw.col(PARTITION) == nw.lit(day).cast(nw.Date)).select("probability"))
    return {"distribution": Markdown(distribution(rows["probability"]).markdown)} if len(rows) else {}


def _candidates(night: Night, serving: Champions) -> Frame:
    """Everybody of the days with the `reason` for which no model scores them, null for the rest."""
    suppressed = night.read_window(RULE_SCORES).filter(~nw.col("suppression_reason").is_null())
    users = labels.exclusions(night.read_window(USER_FEATURES), suppressed=suppressed)
    reason = nw.col("reason")
    without = {
        day: UNAVAILABLE if champion.version else NO_CHAMPION
        for day, champion in serving.items()
        if champion.model is None
    }
    for why in (NO_CHAMPION, UNAVAILABLE):
        days = [day for day, reason_of_day in without.items() if reason_of_day == why]
        is_without = reason.is_null() & nw.col(PARTITION).is_in(days)
        users = users.with_columns(reason=nw.when(is_without).then(nw.lit(why)).otherwise(reason))
    return night.session.set_aside("asked", users)


def _eligible(night: Night, serving: Champions, candidates: Frame) -> Iterator[tuple[date, str, Model, pl.DataFrame]]:
    """For each day with a model: the users whom it scores, some at a time, in the columns that it reads."""
    for day, champion in serving.items():
        if champion.model is not None:
            who = candidates.filter(nw.col(PARTITION) == nw.lit(day).cast(nw.Date), nw.col("reason").is_null())
            rows = features_on(night, day).join(who.select("user_id"), on="user_id", how="semi")
            columns = scoring.scored_columns(champion.model)
            for part in night.session.in_parts(rows.select(*columns), by="user_id", rows=scoring.USERS_AT_ONCE):
                yield day, champion.version, champion.model, part


def _scored(night: Night, serving: Champions, candidates: Frame) -> Iterator[Frame]:
    yield night.table(MODEL_SCORES)
    for day, version, model, part in _eligible(night, serving, candidates):
        scores = scoring.score_users(model, part).with_columns(
            pl.lit(day).alias(PARTITION),
            model_version=pl.lit(version),
            feature_hash=part["row_hash"],
            percentile=pl.lit(None),
        )
        yield night.table(MODEL_SCORES, scores)


def _explained(night: Night, serving: Champions, candidates: Frame) -> Iterator[Frame]:
    yield night.table(SCORE_REASONS)
    names = input_names(night.settings)
    for day, version, model, part in _eligible(night, serving, candidates):
        for contributions in reasons.reasons(model, part, _by_rule(night, day, part) if model.blend else None):
            sentences = reasons.sentences(contributions, names)
            renamed = sentences.rename({"value": "feature_value", "code": "reason_code"})
            yield night.table(
                SCORE_REASONS, renamed.with_columns(pl.lit(day).alias(PARTITION), model_version=pl.lit(version))
            )


def _by_rule(night: Night, day: date, part: pl.DataFrame) -> pl.DataFrame:
    """What each rule added to the points of the users of `part`."""
    users = night.session.set_aside("explained", nw.from_native(part.select("user_id").lazy()))
    rows = night.read(RULE_CONTRIBUTIONS, on=day).join(users, on="user_id", how="semi")
    return to_polars(rows.select("user_id", "rule_id", "points", "value", "because"))


def intent_scores(night: Night, days: Days) -> Built:
    """Put rules and model side by side, and choose the score to act on."""
    curves = nw.from_native(pl.LazyFrame(_curves(night), schema=CURVES, orient="row"))
    rules, scores, excluded = map(night.read_window, (RULE_SCORES, MODEL_SCORES, MODEL_EXCLUSIONS))
    curves = night.session.set_aside("rule_curves", curves)
    return Built({INTENT_SCORES: scoring.intent_scores(rules, scores, excluded, curves)})


def _curves(night: Night) -> list[tuple[date, float, float]]:
    """What points mean as a probability on each day with a model: by the curve of that model."""
    models = {day: champion.model for day, champion in champions(night).items()}
    curves = {day: model.curve for day, model in models.items() if model and model.curve}
    return [(day, curve.slope, curve.intercept) for day, curve in curves.items()]


def top_users(night: Night, days: Days) -> Built:
    """The head of the call list, and how many are left out of it because they have done what it is about."""
    intent, who = night.read_window(INTENT_SCORES), night.read_window(USER_FEATURES)
    rules, reasons = map(night.read_window, (RULE_SCORES, SCORE_REASONS))
    lists_everybody = rule_set_of(night.settings).call_list == EVERYBODY
    length = night.settings.top_users
    listed = call_list(intent, rules, reasons, length, lists_everybody=lists_everybody)
    listed = listed.join(
        who.select(PARTITION, "user_id", "mailchimp_id", "country"), on=[PARTITION, "user_id"], how="left"
    )
    newest = left_out(intent.filter(nw.col(PARTITION) == nw.lit(days[-1]).cast(nw.Date))).collect().rows()
    said = "; ".join(f"{reason}: {users}" for _, reason, users in newest) or "nobody"
    return Built(
        {TOP_USERS: listed.with_columns(list_length=nw.lit(length, nw.Int32)).select(*TOP_USERS.column_names)},
        notes={"left_out": "nobody: the rule set lists everybody" if lists_everybody else said},
    )


STEPS = (
    Step(
        "model_scores",
        model_scores,
        (MODEL_SCORES, MODEL_EXCLUSIONS, SCORE_REASONS),
        sources=_made_of,
        kinds={MODEL_SCORES.name: ("xgboost",)},
    ),
    Step("intent_scores", intent_scores, (INTENT_SCORES,), sources=_made_of),
    Step("top_users", top_users, (TOP_USERS,)),
)
