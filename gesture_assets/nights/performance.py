"""The step of performance: how stored scores turned out, and whether to train.

Belongs here: reading scores and outcomes. Does not belong here: figures and limits (`monitoring/performance.py`), when
a training is called for (`monitoring/retraining.py`).
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import TrainingRefused
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import to_polars
from gesture_assets.models.tables import (
    CANDIDATE_MODEL,
    MODEL_EVALUATION,
    MODEL_EXCLUSIONS,
    MODEL_SCORES,
    NO_CHAMPION,
    UNAVAILABLE,
)
from gesture_assets.models.training_set import training_days
from gesture_assets.monitoring import performance as judged
from gesture_assets.monitoring.retraining import RetrainingState, Thresholds, decide_retraining, new_feedback
from gesture_assets.monitoring.tables import DRIFT_REPORTS, PERFORMANCE_REPORT, RETRAIN_DECISION, SCORE_BACKTEST
from gesture_assets.nights.cohorts import has_features, matured_cohort
from gesture_assets.nights.night import Days, Night, is_one_of
from gesture_assets.nights.steps import Built, Step
from gesture_assets.nights.training_rows import outcomes
from gesture_assets.records import activations
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.scoring import SEGMENTS

BOOTSTRAP = 100  # a night needs an interval, not its third digit
FIFTHS = {"top_20": 0.2, "20_to_40": 0.4, "40_to_60": 0.6, "60_to_80": 0.8, "last_20": 1.0}  # of the model's ranking
REPORTED = {"segment": pl.String, "metric": pl.String, "verdict": pl.String, "cohort_date": pl.Date}


def _champions(night: Night) -> Mapping[date, str | None]:
    """Day -> the version that scores from the day after on."""
    connection = night.session.connection
    return {day: activations.champion(connection, day + timedelta(days=1)) for day in night.days}


def _made_of(night: Night) -> Mapping[date, str]:
    return {day: f"{version or NO_CHAMPION} {_last_training(night, day)}" for day, version in _champions(night).items()}


def performance(night: Night, days: Days) -> Built:
    """Hold stored scores against what came, and decide whether to train."""
    champions = _champions(night)
    reports: list[pl.DataFrame] = []
    backtests: list[pl.DataFrame] = []
    decisions: list[pl.DataFrame] = []
    for day in days:
        on_day = pl.lit(day).alias(PARTITION)
        report = pl.concat([*_realised(night, day), *_estimated(night, day)], how="diagonal_relaxed")
        reports.append(report.with_columns(on_day))
        backtests += [backtest.with_columns(on_day) for backtest in _backtests(night, day)]
        decisions.append(_decision(night, day, champions[day], report))
    return Built(
        {
            PERFORMANCE_REPORT: night.table(PERFORMANCE_REPORT, *reports),
            SCORE_BACKTEST: night.table(SCORE_BACKTEST, *backtests),
            RETRAIN_DECISION: night.table(RETRAIN_DECISION, *decisions),
        },
        notes={"retrain": decisions[-1]["because"][0]},
    )


def _realised(night: Night, day: date) -> Iterator[pl.DataFrame]:
    """How good the scores of a horizon ago turned out to be, the model's by segment and the rules' beside them."""
    yield pl.DataFrame(schema=REPORTED)
    cohort = matured_cohort(night, day)
    if cohort is None or cohort.by_rules.is_empty():
        return
    when = pl.lit(cohort.day).alias("cohort_date")
    ranks = judged.ranking(cohort.by_rules, bootstrap=BOOTSTRAP)
    yield ranks.select(
        "metric",
        "value",
        "low",
        "high",
        when,
        basis=pl.lit("rules"),
        segment=pl.lit("all"),
        verdict=pl.lit(judged.FINE),
        sample_count="rows",
        buyer_count="positives",
    )
    if cohort.by_model.is_empty():
        return
    version = cohort.by_model["model_version"][0]
    baseline = _baseline(night, version)
    metrics = judged.realised(
        cohort.by_model, threshold=baseline.get("threshold", 0.5), segments=SEGMENTS, bootstrap=BOOTSTRAP
    )
    about = (when, pl.lit("realised").alias("basis"), pl.lit(version).alias("model_version"))
    yield judged.against_baseline(baseline, metrics, _limits(night.settings)).select(
        "metric",
        "value",
        "low",
        "high",
        "verdict",
        *about,
        segment=pl.lit("all"),
        baseline_value="baseline",
        fall="drop",
        allowed_fall="limit",
        sample_count="rows",
        buyer_count="positives",
    )
    yield (
        judged.segment_gaps(metrics)
        .filter(pl.col("rows").is_not_null())
        .select(
            "low",
            "high",
            "verdict",
            *about,
            segment=pl.format("{}={}", "segment_column", "segment"),
            metric=pl.lit("roc_auc"),
            value="roc_auc",
            fall="gap",
            sample_count="rows",
            buyer_count="positives",
        )
    )


def _estimated(night: Night, day: date) -> Iterator[pl.DataFrame]:
    """What tonight's scores should turn out to be, if their probabilities can be taken at their word."""
    scores = to_polars(night.read(MODEL_SCORES, on=day).select("user_id", "probability", "model_version"))
    if scores.is_empty():
        return
    scores = scores.sort("user_id")
    version = scores["model_version"][0]
    baseline = _baseline(night, version)
    metrics = judged.estimated(scores["probability"], threshold=baseline.get("threshold", 0.5), draws=BOOTSTRAP)
    rows = [(name, metric.value, metric.low, metric.high, baseline.get(name)) for name, metric in metrics.items()]
    yield pl.DataFrame(rows, schema=["metric", "value", "low", "high", "baseline_value"], orient="row").with_columns(
        pl.selectors.float().fill_nan(None),
        cohort_date=pl.lit(day),
        basis=pl.lit("estimated"),
        model_version=pl.lit(version),
        segment=pl.lit("all"),
        verdict=pl.lit(judged.FINE),
        sample_count=pl.lit(len(scores), pl.Int64),
    )


def _limits(settings: Settings) -> dict[str, float | None]:
    return {
        **judged.LIMITS,
        "roc_auc": settings.retrain_threshold_auc,
        "precision": settings.retrain_threshold_precision,
        "f1": settings.retrain_threshold_f1,
    }


def _baseline(night: Night, version: str) -> dict[str, float]:
    """Metric -> value of the version on the test part of its own training."""
    rows = to_polars(night.select(MODEL_EVALUATION, "part = 'test' and segment = 'all'"))
    own = rows.filter(pl.col("model_version") == version, pl.col("value").is_not_null()).sort(PARTITION)
    first = own.unique("metric", keep="first", maintain_order=True)
    return dict(first.select("metric", "value").rows())


def _backtests(night: Night, day: date) -> Iterator[pl.DataFrame]:
    """What became of the bands of 90 days ago, of the rules and of the model's ranking."""
    cohort = matured_cohort(night, day, ago=judged.BACKTEST_DAYS)
    if cohort is None:
        return
    place = pl.col("probability").rank("ordinal", descending=True) / pl.len()
    fifth = pl.coalesce(pl.when(place <= end).then(pl.lit(name)) for name, end in FIFTHS.items())
    band = pl.lit("top_20") if cohort.by_model.is_empty() else fifth
    for scored_by, rows in (("rules", cohort.by_rules), ("model", cohort.by_model.with_columns(band=band))):
        if len(rows):
            bands = judged.backtest(nw.from_native(rows.lazy())).collect().to_polars().sort("band")
            yield bands.drop(PARTITION).with_columns(scored_by=pl.lit(scored_by), cohort_date=pl.lit(cohort.day))


def _decision(night: Night, day: date, version: str | None, report: pl.DataFrame) -> pl.DataFrame:
    """Whether to train at the end of `day`."""
    end = datetime.combine(day + timedelta(days=1), time())
    trained_at, feedback = None, 0
    falls: dict[str, dict[str, float | None]] = {}
    drifted: dict[str, float] = {}
    if version:
        trained_on = _last_training(night, day) or day
        trained_at = datetime.combine(trained_on + timedelta(days=1), time())
        feedback = _feedback(night, day, trained_on)
        rows = report.filter(
            pl.col("basis") == "realised", pl.col("segment") == "all", pl.col("verdict") != judged.TOO_FEW
        )
        falls = {row["metric"]: row for row in rows.iter_rows(named=True)}
        moved = night.read(DRIFT_REPORTS, on=day).filter(nw.col("matters"))
        moved = to_polars(moved.filter(nw.col("kind").is_in(["number", "category"])).select("feature", "importance"))
        drifted = dict(moved.sort("importance", "feature", descending=[True, False]).rows())
    samples = _training_samples(night, day)
    decision = decide_retraining(
        RetrainingState(
            end,
            trained_at,
            feedback,
            samples,
            drifted=drifted,
            baseline={name: row["baseline_value"] for name, row in falls.items() if row["baseline_value"] is not None},
            current={name: row["value"] for name, row in falls.items() if row["value"] is not None},
        ),
        Thresholds.of(night.settings),
    )
    sentences = [sentence for _, sentence in (*decision.reasons, *decision.blocked_by)]
    return pl.DataFrame(
        [
            {
                PARTITION: day,
                "should_retrain": decision.should_retrain,
                "reasons": ", ".join(code for code, _ in decision.reasons),
                "because": " ".join(sentences) or "Nothing calls for a training.",
                "model_version": version,
                "model_age_days": (end - trained_at) / timedelta(days=1) if trained_at else None,
                "new_feedback_count": feedback,
                "training_sample_count": samples,
                **{f"{metric}_fall": falls.get(metric, {}).get("fall") for metric in ("f1", "roc_auc", "precision")},
                "drifted_importance": float(sum(drifted.values())),
            }
        ]
    )


def _feedback(night: Night, day: date, trained_on: date) -> int:
    """People of whom something has become known since the training."""
    horizon = timedelta(days=night.settings.label_horizon_days)
    cohorts = [when for when in (trained_on - horizon, day - horizon) if has_features(night, when)]
    if not cohorts or day <= trained_on:
        return 0
    mature = outcomes(night, cohorts, day, horizon.days).filter(nw.col("is_eligible"), nw.col("is_mature"))
    return new_feedback(mature, trained_on=trained_on)


def _last_training(night: Night, day: date) -> date | None:
    """The newest day up to `day` that a model was trained on; one that was not better has seen the outcomes too."""
    trained = night.select(CANDIDATE_MODEL, f"{PARTITION} <= date '{day}'")
    return trained.select(nw.col(PARTITION).max()).collect().item()


def _training_samples(night: Night, day: date) -> int:
    """Rows that a training at the end of `day` would have: everybody who could be scored on its feature days."""
    live = night.session.live_counts(USER_FEATURES.name, [night.settings.partitions_start, day])
    try:
        days = training_days(live, known_until=day, horizon=night.settings.label_horizon_days)
    except TrainingRefused:
        return 0
    where = is_one_of(days)
    scored = night.select(MODEL_SCORES, where)
    unserved = night.select(MODEL_EXCLUSIONS, f"{where} and reason in ('{NO_CHAMPION}', '{UNAVAILABLE}')")
    return sum(frame.select(nw.len()).collect().item() for frame in (scored, unserved))


STEPS = (Step("performance", performance, (PERFORMANCE_REPORT, SCORE_BACKTEST, RETRAIN_DECISION), sources=_made_of),)
