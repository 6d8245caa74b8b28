"""Tonight's model scores: margins, probabilities, percentiles and confidence, and the score to act on.

Belongs here: from features and a model to rows of `model_scores`, and putting rules and model side by side. Does not
belong here: reasons (`reasons.py`), who is eligible (`labels.py`), which model serves (`records/activations.py`).
"""

from collections.abc import Sequence

import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame
from gesture_assets.models.calibration import CLOSEST, confidence
from gesture_assets.models.tables import DISAGREEMENT, INTENT_SCORES
from gesture_assets.models.training import Model, column_of

HIGHEST, LOWEST = 100.0, 1.0


def score_users(model: Model, frame: pl.DataFrame) -> pl.DataFrame:
    """`user_id`, `model_scope`, `margin`, `probability`, `score`, `confidence` of each row of `frame`; a row depends on
    itself only.

    `frame` holds what `scored_columns` says.
    """
    scopes, margins = model.scopes(frame), model.margins(frame)
    probabilities = model.probabilities_of(margins, scopes)
    return pl.DataFrame(
        {
            "user_id": frame["user_id"],
            "model_scope": scopes,
            "margin": margins.astype(np.float64),
            "probability": probabilities,
            "score": LOWEST + np.round((HIGHEST - LOWEST) * probabilities),
            "confidence": confidence(frame["event_count"].to_numpy(), model.errors_of(margins, scopes)),
        }
    )


def percentiles(scored: Frame) -> Frame:
    """`scored` with `percentile`: the share of the day's users with a lower probability, those with an equal one half.

    Two users of equal probability have one percentile, so the mean of all is one half.
    """
    counts = scored.group_by(PARTITION, "probability").agg(nw.len().cast(nw.Int64).alias("equal_count"))
    counts = counts.with_columns(
        up_to=nw.col("equal_count").cum_sum().over(PARTITION, order_by="probability"),
        total=nw.col("equal_count").sum().over(PARTITION),
    )
    below = nw.col("up_to").cast(nw.Float64) - nw.col("equal_count").cast(nw.Float64) * 0.5
    share = counts.select(PARTITION, "probability", (below / nw.col("total").cast(nw.Float64)).alias("percentile"))
    return scored.drop("percentile", strict=False).join(share, on=[PARTITION, "probability"], how="left")


def intent_scores(rule_scores: Frame, model_scores: Frame, exclusions: Frame, curves: Frame) -> Frame:
    """Rules and model side by side, and the one to act on.

    `curves`: `slope` and `intercept` of the rules' curve (`RuleCurve`) on each day that a model scores. On such a day
    every score is a probability: the model's, or for whom it does not score that of their points. On other days it is
    the points. Who has no model score has a reason in `exclusions`. Suppressed users have neither.
    """
    key = [PARTITION, "user_id"]
    scores = (
        rule_scores.select(*key, nw.col("score").alias("rule_score"), "rule_set_version")
        .join(
            model_scores.select(
                *key, nw.col("score").alias("model_score"), nw.col("probability").alias("its_own"), "model_version"
            ),
            on=key,
            how="left",
        )
        .join(exclusions.select(*key, nw.col("reason").alias("excluded_because")), on=key, how="left")
        .join(curves, on=PARTITION, how="left")
    )
    rule, model, source = nw.col("rule_score"), nw.col("model_score"), nw.col("source")
    is_suppressed = rule.is_null()
    difference = (rule - model).abs()
    serves = (
        nw.when(is_suppressed)
        .then(nw.lit("suppressed"))
        .otherwise(nw.when(model.is_null()).then(nw.lit("rules_fallback")).otherwise(nw.lit("model")))
    )
    log_odds = nw.col("slope") * (rule + 1.0).log() + nw.col("intercept")
    by_points = (1.0 / ((-log_odds).exp() + 1.0)).clip(CLOSEST, 1 - CLOSEST)
    is_probability = ~nw.col("slope").is_null()
    on_its_scale = LOWEST + (nw.col("probability") * (HIGHEST - LOWEST)).round(0)
    return (
        scores.with_columns(
            source=serves,
            model_score=nw.when(~is_suppressed).then(model),
            model_version=nw.when(~is_suppressed).then(nw.col("model_version")),
        )
        .with_columns(
            probability=nw.when(source == "model")
            .then(nw.col("its_own"))
            .otherwise(nw.when(source == "rules_fallback").then(by_points)),
        )
        .with_columns(
            score=nw.when(source == "model")
            .then(model)
            .otherwise(nw.when(is_probability & ~is_suppressed).then(on_its_scale).otherwise(rule)),
            scale=nw.when(is_probability).then(nw.lit("probability")).otherwise(nw.lit("points")),
            difference=difference,
            is_disagreement=(difference > DISAGREEMENT).fill_null(False),
            fallback_reason=nw.when(source == "rules_fallback").then(nw.col("excluded_because")),
        )
        .select(*INTENT_SCORES.column_names)
    )


def scored_columns(model: Model) -> Sequence[str]:
    """What `score_users` reads of a frame of features."""
    segments = [column_of(model.members)] if model.members else []
    return tuple(dict.fromkeys(("user_id", "event_count", *segments, *model.encoding.columns)))
