"""How good the scores that were given turned out to be, and how good tonight's are likely to be.

Belongs here: stored scores against outcomes known since, against what the model promised, by band and by segment; and
the estimate before outcomes are known. Does not belong here: the measures (`models/measures.py`), outcomes
(`models/labels.py`), what follows from a fall (`retraining.py`, `alerts.py`).

Nobody is scored again: a score counts as it was given, by the model and the rules of its day. Only mature outcomes
count: before its horizon is over a day holds buyers only.
"""

from collections.abc import Mapping, Sequence

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame
from gesture_assets.models.behaviour import FEWEST_OF_AN_OUTCOME, LARGEST_GAP
from gesture_assets.models.calibration import Floats
from gesture_assets.models.evaluation import Evaluation, evaluate
from gesture_assets.models.measures import DECILES, SMALLER_IS_BETTER, Estimate
from gesture_assets.monitoring.retraining import exceeds

# Metric -> how far it may get worse before somebody has to act: documents 001 and 002, row M08 for the calibration
# error; the Brier score is only reported, as it moves with the share of buyers.
LIMITS: Mapping[str, float | None] = {"roc_auc": 0.05, "precision": 0.05, "f1": 0.05, "ece": 0.05, "brier": None}
ESTIMATED = ("roc_auc", "precision", "recall", "f1", "brier")
RANKING = ("roc_auc", "pr_auc", "precision_top_20", "lift_top_20", *(f"lift_decile_{n}" for n in range(1, DECILES + 1)))
DEGRADED, FINE, TOO_FEW, WIDE = "degraded", "fine", "too_few_rows", "wide"
BACKTEST_DAYS = 90
NORMAL_95 = 1.959964  # two-sided 95 % of a normal distribution


def matured(scores: Frame, outcomes: Frame) -> Frame:
    """The rows of `scores` whose outcome is known, with `person_id`, `label` (0 or 1) and `matures_on`.

    `scores`: stored rows of `model_scores`, `rule_scores` or `intent_scores`; those of suppressed users, who have
    none, are left out. `outcomes`: `models.labels.labels` of the same days. Who could not buy any more is left out.
    """
    key = [PARTITION, "user_id"]
    eligible = outcomes.filter(nw.col("is_eligible")).select(*key, "person_id", "label", "matures_on")
    return scores.filter(~nw.col("score").is_null()).join(eligible, on=key, how="inner")


def realised(
    judged: pl.DataFrame, *, threshold: float, segments: Sequence[str] = (), bootstrap: int = 200, seed: int = 42
) -> Evaluation:
    """Every measure of the probabilities of `judged` (rows of `matured`, in memory) against what came.

    `threshold` is the one that the baseline was measured with. `segments` are columns of `judged`. A person's rows are
    resampled together. Raises `ConfigError` without rows.
    """
    return evaluate(
        judged["label"],
        judged["probability"],
        segments={name: judged[name] for name in segments},
        threshold=threshold,
        groups=judged["person_id"],
        bootstrap=bootstrap,
        seed=seed,
    )


def against_baseline(
    baseline: Mapping[str, float], evaluation: Evaluation, limits: Mapping[str, float | None] = LIMITS
) -> pl.DataFrame:
    """One row per metric of `limits`: metric, baseline, value, low, high, drop, limit, is_beyond_noise, verdict, rows,
    positives.

    `baseline`: metric -> value of the same model on its test part. `drop` is how much worse it has become, whichever
    way that is; null where either value is unknown. `is_beyond_noise`: the whole interval is worse than the baseline.
    `verdict`: degraded (drop above the limit), fine, or too_few_rows (fewer than 20 of either outcome).
    """
    is_enough = min(evaluation.positives, evaluation.rows - evaluation.positives) >= FEWEST_OF_AN_OUTCOME
    rows: list[tuple[object, ...]] = []
    for metric, limit in limits.items():
        before, now = baseline.get(metric, float("nan")), evaluation.metrics[metric]
        sign = -1 if metric in SMALLER_IS_BETTER else 1
        drop = sign * (before - now.value)
        best = max(sign * now.low, sign * now.high)
        verdict = DEGRADED if limit is not None and exceeds(drop, limit) else FINE
        rows.append(
            (
                metric,
                before,
                now.value,
                now.low,
                now.high,
                drop,
                limit,
                best < sign * before,
                verdict if is_enough else TOO_FEW,
                evaluation.rows,
                evaluation.positives,
            )
        )
    schema = {
        "metric": pl.String,
        "baseline": pl.Float64,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "drop": pl.Float64,
        "limit": pl.Float64,
        "is_beyond_noise": pl.Boolean,
        "verdict": pl.String,
        "rows": pl.Int64,
        "positives": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.selectors.float().fill_nan(None))


def estimated(probabilities: ArrayLike, *, threshold: float, draws: int = 200, seed: int = 42) -> dict[str, Estimate]:
    """Metric of `ESTIMATED` -> what it should turn out to be if the probabilities can be taken at their word.

    Who has probability p is p of a buyer and 1 − p of none, which gives an expected confusion at `threshold` and an
    expected ROC curve. The interval holds 95 % of `draws` worlds in which each user buys with their probability (a
    Poisson binomial number of buyers). Drift of features shows here at once, in the mix of scores; that the model is
    no longer right about people does not: that takes outcomes. NaN where a metric is not defined.
    Source: confidence-based performance estimation (NannyML, 2022).
    """
    falling = -np.sort(-np.asarray(probabilities, dtype=np.float64))
    if not len(falling):
        return dict.fromkeys(ESTIMATED, Estimate(np.nan, np.nan, np.nan))
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    called = int((falling >= threshold).sum())
    expected = _measures(falling, falling, ends, called)
    random = np.random.default_rng(seed)
    worlds = np.array(
        [
            _measures(falling, (random.random(len(falling)) < falling).astype(np.float64), ends, called)
            for _ in range(draws)
        ]
    )
    estimates: dict[str, Estimate] = {}
    for place, name in enumerate(ESTIMATED):
        defined = worlds[:, place][~np.isnan(worlds[:, place])]
        low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
        estimates[name] = Estimate(float(expected[place]), float(low), float(high))
    return estimates


def _measures(falling: Floats, buyers: Floats, ends: NDArray[np.intp], called: int) -> Floats:
    """`ESTIMATED` where each user is `buyers` of a buyer; `ends` are the last places of equal probabilities."""
    hits = np.cumsum(buyers)
    positives, negatives = hits[-1], len(hits) - hits[-1]
    hits_at = np.append(0.0, hits[ends])
    passed = np.diff(np.append(0.0, ends + 1.0)) - np.diff(hits_at)
    true = hits[called - 1] if called else 0.0
    brier = (buyers * (1 - falling) ** 2 + (1 - buyers) * falling**2).mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        area = (passed * (hits_at[1:] + hits_at[:-1])).sum() / 2 / (positives * negatives)
        return np.array(
            [area, np.float64(true) / called, true / positives, 2 * true / np.float64(called + positives), brier]
        )


def backtest(judged: Frame, *, band: str = "band") -> Frame:
    """One row per as-of day and `band` of `judged` (rows of `matured`): what became of the users of each band.

    Columns: as_of_date, band, user_count, buyer_count, conversion_rate, low, high (Wilson, 95 %), lift (over everybody
    of the day; null where nobody bought).
    """
    counts = judged.group_by(PARTITION, nw.col(band).alias("band")).agg(
        nw.len().cast(nw.Int64).alias("user_count"), nw.col("label").cast(nw.Int64).sum().alias("buyer_count")
    )
    n = nw.col("user_count").cast(nw.Float64)
    rate = nw.col("conversion_rate")
    square = NORMAL_95**2
    middle = (rate + square / 2 / n) / (square / n + 1)
    reach = (rate * (1 - rate) / n + square / 4 / (n * n)).sqrt() * NORMAL_95 / (square / n + 1)
    total = {name: nw.col(name).cast(nw.Float64).sum().over(PARTITION) for name in ("user_count", "buyer_count")}
    overall_rate = total["buyer_count"] / total["user_count"]
    return (
        counts.with_columns(conversion_rate=nw.col("buyer_count").cast(nw.Float64) / n, everybody=overall_rate)
        .with_columns(low=(middle - reach).clip(0.0, 1.0), high=(middle + reach).clip(0.0, 1.0))
        .with_columns(lift=nw.when(nw.col("everybody") > 0).then(rate / nw.col("everybody")))
        .select(PARTITION, "band", "user_count", "buyer_count", "conversion_rate", "low", "high", "lift")
    )


def ranking(judged: pl.DataFrame, *, bootstrap: int = 200, seed: int = 42) -> pl.DataFrame:
    """How well the column `score` (1 to 100, of rules or model) ranked the buyers of `judged`: its AUC and lifts.

    One row per metric of `RANKING`: metric, value, low, high, rows, positives. Points are no probabilities, so nothing
    but their order is judged.
    """
    evaluation = evaluate(
        judged["label"], judged["score"] * 0.01, groups=judged["person_id"], bootstrap=bootstrap, seed=seed
    )
    return (
        evaluation.frame()
        .filter(pl.col("metric").is_in(RANKING))
        .select("metric", "value", "low", "high", "rows", "positives")
    )


def segment_gaps(evaluation: Evaluation, *, largest: float = LARGEST_GAP) -> pl.DataFrame:
    """One row per segment of `evaluation`: how far its AUC lies below that of the best served segment of its column.

    Columns: segment_column, segment, rows, positives, roc_auc, low, high, gap, verdict. `verdict`: wide (gap above
    `largest`, and the two intervals do not meet), fine, or too_few_rows (fewer than 20 of either outcome, or too few
    to be judged at all); those with too few rows are nobody's best.
    """
    small = pl.DataFrame(evaluation.too_small, schema={"segment_column": pl.String, "segment": pl.String}, orient="row")
    judged = evaluation.frame().filter(pl.col("segment").is_not_null(), pl.col("metric") == "roc_auc")
    rows = pl.concat([judged, small], how="diagonal").with_columns(pl.selectors.float().fill_nan(None))
    rarer = pl.min_horizontal("positives", pl.col("rows") - pl.col("positives"))
    enough = (rarer >= FEWEST_OF_AN_OUTCOME).fill_null(False)
    best = pl.when(enough).then("value").max().over("segment_column")
    is_apart = pl.col("high") < pl.col("low").filter(enough & (pl.col("value") == best)).max().over("segment_column")
    gap = pl.when(enough).then(best - pl.col("value"))
    return (
        rows.with_columns(gap=gap)
        .select(
            "segment_column",
            "segment",
            "rows",
            "positives",
            pl.col("value").alias("roc_auc"),
            "low",
            "high",
            "gap",
            verdict=pl.when(~enough)
            .then(pl.lit(TOO_FEW))
            .when((pl.col("gap") > largest) & is_apart)
            .then(pl.lit(WIDE))
            .otherwise(pl.lit(FINE)),
        )
        .sort("segment_column", "segment")
    )
