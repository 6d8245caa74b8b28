"""Whether a candidate may serve: what of its figures is kept, and whether it beats the champion beyond noise.

Belongs here: the rows of `model_evaluation`, targets, the decision. Does not belong here: metrics (`evaluation.py`),
tests of behaviour (`behaviour.py`), carrying the decision out (`nights/training.py`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl

from gesture_assets.models.behaviour import Behaviour
from gesture_assets.models.calibration import Floats
from gesture_assets.models.churn import Churn
from gesture_assets.models.evaluation import Comparison, Estimate, Evaluation, LearningCurve
from gesture_assets.models.measures import TOP
from gesture_assets.models.segments import Segment
from gesture_assets.models.splits import FEWEST_JUDGED
from gesture_assets.models.tables import DAYS_APART

# Document 002's targets; conversion is ranked, so precision depends on the base rate and lift does not.
TARGETS = {"roc_auc": 0.85, "precision_top_20": 0.70, "lift_top_20": 2.0}
PASSED_OVER = "; passed over: "  # before what speaks against a version that somebody lets serve
# Its "faster sales cycles": by how much sooner buyers of the highest scores buy. Fewer of them have no median.
SOONER, TIMED = "time_to_purchase_top_20", "timed_buyers_top_20"
SOONER_TARGET, FEWEST_TIMED = 0.40, 5
# What somebody does who is about to buy, from software to shops: one more of it may not lower a score.
INTENT_EVENTS = ("demo_request_click", "add_to_cart", "checkout_step")
# Beside the model's own parts: the rules alone on the test part, and a model that does not read their score.
RULES, WITHOUT_RULES, LEARNING, SEGMENT_MODEL = "rules", "without_rule_score", "learning_curve", "segment_model"
RANKING = ("roc_auc", "pr_auc", "precision_top_20", "lift_top_20")  # points are no probabilities, but they rank


def directions(features: Sequence[str]) -> Mapping[str, Literal[-1, 0, 1]]:
    """Feature -> 1 where more of it may not lower a score, -1 where it may not raise it: what nobody would believe."""
    signs: dict[str, Literal[-1, 0, 1]] = {}
    for name in features:
        if name == "member_rating" or name.startswith(tuple(f"{event}_count" for event in INTENT_EVENTS)):
            signs[name] = 1
        elif name in {f"days_since_last_{event}" for event in INTENT_EVENTS}:
            signs[name] = -1
    return signs


def intent_events(rows: pl.DataFrame) -> tuple[str, ...]:
    """Those of `INTENT_EVENTS` that occur in the rows: of the others a model knows nothing."""
    counts = {event: f"{event}_count" for event in INTENT_EVENTS}
    return tuple(event for event, name in counts.items() if name in rows.columns and (rows[name] > 0).any())


def evaluation_rows(
    version: str, parts: Mapping[str, Evaluation], behaviours: Sequence[Behaviour] = ()
) -> pl.DataFrame:
    """Rows of `model_evaluation` without their day: every metric of every part and segment, then the behaviours."""
    frames = [
        evaluation.frame().select(
            model_version=pl.lit(version),
            part=pl.lit(part),
            segment=pl.when(pl.col("segment_column").is_null())
            .then(pl.lit("all"))
            .otherwise(pl.format("{}={}", "segment_column", "segment")),
            metric=pl.col("metric"),
            value=pl.col("value"),
            low=pl.col("low"),
            high=pl.col("high"),
            target=_target(part),
            sample_count=pl.col("rows").cast(pl.Int32),
        )
        for part, evaluation in parts.items()
    ]
    whole = [
        _row(version, part, "all", name, Estimate(*[total / evaluation.rows] * 3), evaluation.rows)
        for part, evaluation in parts.items()
        if part != RULES
        for name, total in (
            ("base_rate", evaluation.positives),
            ("mean_probability", evaluation.probability_sum),
            ("threshold", evaluation.threshold * evaluation.rows),  # what precision, recall and F1 were measured at
        )
    ]
    rows = pl.concat([*frames, *whole], how="diagonal").with_columns(is_met=pl.col("value") >= pl.col("target"))
    ranks = pl.col("metric").is_in(RANKING) | pl.col("metric").str.starts_with("lift_decile")
    rows = rows.filter((pl.col("part") != RULES) | ranks)
    if behaviours:
        tests = pl.DataFrame(
            {
                "model_version": version,
                "part": "behaviour",
                "segment": "all",
                "metric": [behaviour.name for behaviour in behaviours],
                "value": [behaviour.observed for behaviour in behaviours],
                "is_met": [behaviour.passed for behaviour in behaviours],
                "sample_count": [behaviour.rows for behaviour in behaviours],
            },
            schema_overrides={"sample_count": pl.Int32},
        )
        rows = pl.concat([rows, tests], how="diagonal")
    # A figure that cannot be worked out, such as an AUC of one class, is no row.
    ends = [pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in ("low", "high")]
    return rows.filter(pl.col("value").is_finite()).with_columns(ends)


def beside_rows(
    version: str,
    *,
    against_rules: Comparison,
    without_rules: Comparison,
    curve: LearningCurve,
    segments: Mapping[str, Segment],
) -> pl.DataFrame:
    """Rows of `model_evaluation`: what the model gains over the rules alone and by reading their score (paired on the
    test part), what more rows brought, and what a segment's own model gains over the global one.
    """
    gains = (
        (RULES, "roc_auc_gain_of_model", against_rules),
        (WITHOUT_RULES, "roc_auc_gain_of_rule_score", without_rules),
    )
    return pl.concat(
        [
            *(
                _row(version, part, "all", name, comparison.metrics["roc_auc"].difference, comparison.rows)
                for part, name, comparison in gains
            ),
            *(
                _row(
                    version,
                    SEGMENT_MODEL,
                    scope,
                    "roc_auc_gain",
                    comparison.metrics["roc_auc"].difference,
                    comparison.rows,
                )
                for scope, segment in segments.items()
                if (comparison := segment.comparison)
            ),
            *(
                _row(version, LEARNING, f"share={point.share:g}", "roc_auc", point.roc_auc, point.rows)
                for point in curve.points
            ),
        ]
    )


def sooner_rows(version: str, judged: pl.DataFrame, probabilities: Floats) -> pl.DataFrame:
    """Rows of `model_evaluation` on time to purchase: how many buyers of a known day are among the first 20 % by
    score, and, from `FEWEST_TIMED` of them on, 1 - (their median days from the scored day to the purchase ÷ that of all
    buyers).

    `judged`: `feature_date` and `bought_on`, null for who did not buy or whose day nobody knows. Who ties with the last
    of the first 20 % is among them.
    """
    first = max(int(np.ceil(TOP * len(judged) - 1e-9)), 1)
    in_top = pl.Series(probabilities >= np.sort(probabilities)[-first])
    days = (judged["bought_on"] - judged["feature_date"]).dt.total_days()
    everybody, top = (part.drop_nulls().to_numpy() for part in (days, days.filter(in_top)))
    because = f"{len(top)} buyers of a known day are among the first {TOP * 100:g} %, and a median takes {FEWEST_TIMED}"
    sooner = pl.DataFrame()
    if len(top) >= FEWEST_TIMED:
        of_top, of_all = float(np.median(top)), float(np.median(everybody))
        because = (
            f"{of_top:g} days of {len(top)} buyers among the first {TOP * 100:g} %, {of_all:g} of all {len(everybody)}"
        )
        value = 1 - of_top / of_all
        sooner = _row(version, "test", "all", SOONER, Estimate(*[value] * 3), len(everybody))
        sooner = sooner.drop("low", "high").with_columns(target=SOONER_TARGET, is_met=value >= SOONER_TARGET)
    count = _row(version, "test", "all", TIMED, Estimate(*[float(len(top))] * 3), len(everybody))
    return pl.concat([count.with_columns(because=pl.lit(because)), sooner], how="diagonal")


def _row(version: str, part: str, segment: str, metric: str, estimate: Estimate, rows: int) -> pl.DataFrame:
    row = {
        "model_version": version,
        "part": part,
        "segment": segment,
        "metric": metric,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "sample_count": rows,
    }
    return pl.DataFrame([row], schema_overrides={"sample_count": pl.Int32})


def _target(part: str) -> pl.Expr:
    """Document 002's target of a metric, for the part that decides."""
    if part != "test":
        return pl.lit(None, pl.Float64)
    is_whole = pl.col("segment_column").is_null()
    return pl.when(is_whole).then(pl.col("metric").replace_strict(TARGETS, default=None, return_dtype=pl.Float64))


def decide(
    behaviours: Sequence[Behaviour],
    comparison: Comparison,
    champion: str | None,
    *,
    against_rules: Comparison,
    churned: Churn | None = None,
    forced: str = "",
) -> tuple[bool, str]:
    """Whether the candidate is to serve, and why. `forced` is somebody's reason to let it serve all the same.

    `comparison` is with what serves, `champion`, or without one the rules: the candidate serves only where it is better
    on the same rows by more than chance explains, where it is not worse than the rules, and where `churned`, what
    becomes of everybody's scores, is within its budget: people act on bands and ranks, and a better model that turns
    them over is for somebody to approve. From the rules to a model the scale itself changes, so no budget is asked.
    """
    if forced:
        is_better, because = decide(behaviours, comparison, champion, against_rules=against_rules, churned=churned)
        return True, f"by hand: {forced}" + ("" if is_better else PASSED_OVER + because)
    failed = [behaviour for behaviour in behaviours if behaviour.severity == "ERROR" and not behaviour.passed]
    failures = "; ".join(f"{behaviour.name} does not hold ({behaviour.because})" for behaviour in failed)
    if failed:
        return False, f"it does not behave: {failures}"
    sentence = _compared(comparison, champion or "the rules")
    if comparison.verdict == "better" and against_rules.verdict == "worse":
        return False, f"better than {champion}, and worse than the rules: {_compared(against_rules, 'the rules')}"
    if comparison.verdict == "better" and churned and not churned.is_within_budget:
        return False, f"better, and held for approval (gesture models activate): {churned.sentence} {sentence}"
    return comparison.verdict == "better", f"{comparison.verdict}: {sentence}"


def _compared(comparison: Comparison, other: str) -> str:
    figures = comparison.metrics[comparison.decided_by]
    gain = figures.difference
    return (
        f"{comparison.decided_by} {figures.challenger:.4f} against {figures.champion:.4f} of {other}: "
        f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    )


def if_few(judged: pl.DataFrame, day: date) -> str:
    """Beside a decision of `day` that few buyers stand behind: that it is so, and about when there are enough of them.

    `judged` has a row per person and `feature_date`, with `label`; empty where it holds `FEWEST_JUDGED` buyers.
    """
    outcomes, days = judged.filter(pl.col("label") == 1), judged["feature_date"].n_unique()
    if (buyers := outcomes["person_id"].n_unique()) >= FEWEST_JUDGED:
        return ""
    missing = FEWEST_JUDGED - buyers
    enough = day + timedelta(days=DAYS_APART * -(-missing * days // max(buyers, 1)))
    return (
        f"; only {buyers} buyers ({len(outcomes)} outcomes) judge it, and of fewer than {FEWEST_JUDGED} the figures "
        f"are rough: at their rate there are enough on {enough}"
    )
