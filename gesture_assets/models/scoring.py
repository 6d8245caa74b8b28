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
USERS_AT_ONCE = 200_000


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


def percentiles(scored: Frame, *, by: str = "probability") -> Frame:
    """`scored` with `percentile`: the share of the day's users who are lower by that column, those who are equal half.

    Two users who are equal have one percentile, so the mean of all is one half.
    """
    counts = scored.group_by(PARTITION, by).agg(nw.len().cast(nw.Int64).alias("equal_count"))
    counts = counts.with_columns(
        up_to=nw.col("equal_count").cum_sum().over(PARTITION, order_by=by),
        total=nw.col("equal_count").sum().over(PARTITION),
    )
    below = nw.col("up_to").cast(nw.Float64) - nw.col("equal_count").cast(nw.Float64) * 0.5
    share = counts.select(PARTITION, by, (below / nw.col("total").cast(nw.Float64)).alias("percentile"))
    return scored.drop("percentile", strict=False).join(share, on=[PARTITION, by], how="left")


def intent_scores(rule_scores: Frame, model_scores: Frame, exclusions: Frame, curves: Frame) -> Frame:
    """Rules and model side by side, and the one to act on.

    `curves`: `slope` and `intercept` of the rules' curve (`RuleCurve`) on each day that a model scores. On such a day
    every score is a probability: the model's, or for whom it does not score that of their points. On other days it is
    the points. Who has no model score has a reason in `exclusions`. Suppressed users have neither.

    Points and probabilities are not on one scale, so how far rules and model are apart is told by ranks: the
    percentiles of a user among those whom both score.
    """
    key = [PARTITION, "user_id"]
    by_model = model_scores.select(
        *key, "model_version", model_score="score", its_own="probability", model_percentile="percentile"
    )
    by_both = rule_scores.filter(~nw.col("score").is_null()).join(by_model.select(*key, "model_percentile"), on=key)
    apart = percentiles(by_both.select(*key, "score", "model_percentile"), by="score").select(
        *key, rank_difference=(nw.col("percentile") - nw.col("model_percentile")).abs() * 100.0
    )
    scores = (
        rule_scores.select(*key, nw.col("score").alias("rule_score"), "rule_set_version")
        .join(by_model, on=key, how="left")
        .join(apart, on=key, how="left")
        .join(exclusions.select(*key, nw.col("reason").alias("excluded_because")), on=key, how="left")
        .join(curves, on=PARTITION, how="left")
    )
    rule, model, source = nw.col("rule_score"), nw.col("model_score"), nw.col("source")
    is_suppressed = rule.is_null()
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
            is_disagreement=(nw.col("rank_difference") > DISAGREEMENT).fill_null(False),
            fallback_reason=nw.when(source == "rules_fallback").then(nw.col("excluded_because")),
        )
        .select(*INTENT_SCORES.column_names)
    )


def scored_columns(model: Model) -> Sequence[str]:
    """What `score_users` reads of a frame of features."""
    segments = [column_of(model.members)] if model.members else []
    return tuple(dict.fromkeys(("user_id", "event_count", *segments, *model.encoding.columns)))


def differing(said: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """The rows of `said` (`user_id`, `feature_hash`, `probability`) that `again` gives otherwise, with `because`."""
    both = said.join(again, on="user_id", how="left", suffix="_again", maintain_order="left")
    is_missing = pl.col("feature_hash_again").is_null()
    has_other_features = pl.col("feature_hash") != pl.col("feature_hash_again")
    because = (
        pl.when(is_missing)
        .then(pl.lit("no features"))
        .when(has_other_features)
        .then(pl.lit("other features"))
        .when(pl.col("probability") != pl.col("probability_again"))
        .then(pl.lit("another probability"))
    )
    return both.with_columns(because=because).filter(pl.col("because").is_not_null())
