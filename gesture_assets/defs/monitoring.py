"""Assets of monitoring: drift, how scores turned out, why they moved, the decision to retrain, alerts.

Belongs here: reading what the room compares, committing, what is alarming about a night. Does not belong here:
statistics, verdicts and triggers (`monitoring/`), telling people, also of a night that failed (`alerting.py`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.defs.alerting import tell
from gesture_assets.defs.common import (
    TYPES,
    USER_FEATURES,
    VALIDATED_SUBSCRIBERS,
    Events,
    Night,
    WarehouseResource,
    step,
)
from gesture_assets.defs.models import features_on, outcomes, training_frame
from gesture_assets.errors import ModelMismatch, TrainingRefused
from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS, RAW_EVENTS
from gesture_assets.frames import Frame, to_polars
from gesture_assets.models import labels
from gesture_assets.models.tables import (
    CANDIDATE_MODEL,
    MODEL_EVALUATION,
    MODEL_EXCLUSIONS,
    MODEL_SCORES,
    NO_CHAMPION,
    UNAVAILABLE,
)
from gesture_assets.models.training import Model
from gesture_assets.models.training_set import training_days
from gesture_assets.models.versions import card_of, load_version
from gesture_assets.monitoring import alerts as alarms
from gesture_assets.monitoring import performance as judged
from gesture_assets.monitoring.drift import feature_drift, judge, outcome_drift
from gesture_assets.monitoring.event_mix import COUNTED, CURRENT_DAYS, REFERENCE_DAYS, event_mix, of_events
from gesture_assets.monitoring.profiles import WINDOWS, feature_statistics, profile
from gesture_assets.monitoring.reference import FROZEN, JUDGED, KNOWN, Reference, freeze
from gesture_assets.monitoring.retraining import RetrainingState, Thresholds, decide_retraining, new_feedback
from gesture_assets.monitoring.statistics import ALARMS
from gesture_assets.monitoring.tables import (
    ALERTS,
    DRIFT_REPORTS,
    EVENT_MIX_DRIFT,
    FEATURE_PROFILES,
    FEATURE_STATISTICS,
    PERFORMANCE_REPORT,
    RETRAIN_DECISION,
    SCORE_BACKTEST,
    SCORE_CHANGES,
)
from gesture_assets.nights.why_changed import between
from gesture_assets.records import activations as registry
from gesture_assets.records import alert_log
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.vocabulary.scoring import SEGMENTS
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.schemas import LIVE

# A training learns from days a horizon ago, and people go on: what had moved by its day is news once it moves farther.
FARTHER = 1.5
NEWS = (nw.col("verdict").is_in(ALARMS), nw.col("importance") > 0, ~nw.col("was_known"))
OWNER = "scoring"
BOOTSTRAP = 100  # a night needs an interval, not its third digit
LEAST_CHANGE, MOST_CHANGES = 5.0, 1_000  # points from which on somebody asks why; users whose reasons are worked out
COLUMNS_AT_ONCE = 60  # features in memory together: a million users' are half a gigabyte


def _table(contract: Contract, *rows: pl.DataFrame) -> Frame:
    """`rows` in the columns and types of `contract`; a column that they lack is null."""
    empty = pl.DataFrame(schema={one.name: TYPES[one.type] for one in contract.columns})
    frames = [
        frame.select(pl.col(name).cast(empty.schema[name]) for name in frame.columns if name in empty.schema)
        for frame in rows
    ]
    return nw.from_native(pl.concat([empty, *frames], how="diagonal").lazy())


# ---- drift ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Champion:
    """The model that serves a day, what drift is measured against, and its weights."""

    version: str
    features: Reference
    scores: Reference
    outcomes: pl.DataFrame
    known: pl.DataFrame
    importance: Mapping[str, float]


@step("drift", FEATURE_PROFILES, FEATURE_STATISTICS, DRIFT_REPORTS, EVENT_MIX_DRIFT)
def drift(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Compare each day with the champion's training, and what people do with the weeks before."""
    with warehouse.open(context) as night:
        serving = {day: registry.champion(night.session.connection, day) for day in night.days}
        sources = {day: version or NO_CHAMPION for day, version in serving.items()}
        if kept := night.unchanged(
            FEATURE_PROFILES, FEATURE_STATISTICS, DRIFT_REPORTS, EVENT_MIX_DRIFT, sources=sources
        ):
            yield from kept
            return
        night.require(USER_FEATURES, RULE_SCORES, MODEL_SCORES, DAILY_ACTIVITY, IDENTITY_LINKS, VALIDATED_SUBSCRIBERS)
        known = {version: _champion(night, version) for version in sorted(set(sources.values()))}
        profiles, reports = [], []
        for day in night.days:
            if champion := known[sources[day]]:
                shape, report = _measured(night, day, champion)
                version = pl.lit(champion.version).alias("model_version")
                profiles.append(shape.with_columns(version))
                reports.append(report.with_columns(version))
        mixes = list(_mixes(night))
        yield from night.commit(
            (FEATURE_PROFILES, _table(FEATURE_PROFILES, *profiles)),
            (FEATURE_STATISTICS, _table(FEATURE_STATISTICS, *_statistics(night, profiles))),
            (DRIFT_REPORTS, _table(DRIFT_REPORTS, *reports)),
            (EVENT_MIX_DRIFT, _table(EVENT_MIX_DRIFT, *mixes)),
            notes={"champion": sources[night.days[-1]], "moved": _said([*reports, *mixes], night.days[-1])},
        )


def _champion(night: Night, version: str) -> _Champion | None:
    """What drift is measured against; None where no model serves, or where its files cannot be used."""
    if version == NO_CHAMPION:
        return None
    folder = night.settings.models / version
    try:
        if not all((folder / part).exists() for part in (FROZEN, KNOWN, JUDGED)):
            _freeze(night, folder, load_version(night.settings.models, version))
    except ModelMismatch as error:
        night.context.log.warning(str(error))
        return None
    frozen = pl.read_parquet(folder / FROZEN)
    weights = night.session.connection.execute(
        f"select feature, max(shap) from {LIVE}.feature_importance where model_version = ? group by all", [version]
    ).fetchall()
    is_score = pl.col("kind") == "score"
    return _Champion(
        version,
        Reference.from_frame(frozen.filter(~is_score)),
        Reference.from_frame(frozen.filter(is_score)),
        pl.read_parquet(folder / JUDGED),
        pl.read_parquet(folder / KNOWN),
        dict(weights),
    )


def _freeze(night: Night, folder: Path, model: Model) -> None:
    """Keep what the model was trained on, by value counts, and what it said of the rows that it was judged by."""
    trained_on = date.fromisoformat(str(card_of(folder.parent, folder.name)["as_of_date"]))
    parts = night.session.connection.sql(
        f"select * from {LIVE}.training_set where {PARTITION} = date '{trained_on}' order by feature_date, user_id"
    )
    placed = pl.DataFrame(parts.to_arrow_table())
    train = training_frame(night, placed, model.features, parts_of=("train",))
    test = training_frame(night, placed, model.features, parts_of=("test",))
    test = test.select("feature_date", "label", probability=pl.Series(model.probabilities(test)))
    features = freeze(nw.from_native(train.lazy()), model.features, day="feature_date")
    scores = freeze(nw.from_native(test.lazy()), ["probability"], day="feature_date", is_score=True).to_frame()
    asked = labels.exclusions(night.read(USER_FEATURES, on=trained_on))
    could_buy = asked.filter(nw.col("reason").is_null()).select("user_id")
    then = features_on(night, trained_on).join(could_buy, on="user_id", how="semi")
    known = pl.concat([measured for _, measured in _by_columns(features, then, trained_on)])
    effects = known.select("feature", known_effect="effect", known_missing_effect="missing_effect")
    for frame, name in (
        (pl.concat([features.to_frame(), scores]), FROZEN),
        (effects.fill_null(0.0), KNOWN),
        (test.select("probability", "label"), JUDGED),
    ):
        part = folder / f".{name}.tmp"
        frame.write_parquet(part)
        part.replace(folder / name)


def _measured(night: Night, day: date, champion: _Champion) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Profiles of a day and its drift report, of everybody whom the champion scored."""
    scored = night.read(MODEL_SCORES, on=day)
    frame = features_on(night, day).join(scored.select("user_id"), on="user_id", how="semi")
    profiles, measured = map(list, zip(*_by_columns(champion.features, frame, day), strict=True))
    scores = nw.from_native(to_polars(scored.select("probability")).lazy())
    profiles.append(profile(champion.scores, scores, day))
    measured.append(feature_drift(champion.scores, scores, day))
    if matured := _cohort(night, day):
        came = nw.from_native(matured.by_model.lazy())
        measured.append(outcome_drift(nw.from_native(champion.outcomes.lazy()), came, day))
    report = judge(*measured, importance=champion.importance).join(champion.known, on="feature", how="left")
    effects = (("effect", "known_effect"), ("missing_effect", "known_missing_effect"))
    was_known = [pl.col(now).fill_null(0.0) <= FARTHER * pl.col(then) for now, then in effects]
    report = report.with_columns(was_known=pl.all_horizontal(was_known).fill_null(value=False))
    return pl.concat(profiles), report.sort("rank")


def _by_columns(reference: Reference, frame: Frame, day: date) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Profiles and measurements of the rows of `day`, some features at a time."""
    by_name = {feature.name: feature for feature in reference.features}
    for start in range(0, len(by_name), COLUMNS_AT_ONCE):
        names = tuple(by_name)[start : start + COLUMNS_AT_ONCE]
        some = Reference(reference.days, tuple(by_name[name] for name in names))
        rows = nw.from_native(to_polars(frame.select(*names)).lazy())
        yield profile(some, rows, day), feature_drift(some, rows, day)


def _statistics(night: Night, profiles: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Each day of the run against the days before it, those of the run among them."""
    if not profiles:
        return
    first = night.days[0] - timedelta(days=max(WINDOWS.values()))
    night.session.ensure(FEATURE_PROFILES)
    before = night.session.connection.sql(
        f"select * from {LIVE}.{FEATURE_PROFILES.name} where {PARTITION} between date '{first}' "
        f"and date '{night.days[0] - timedelta(days=1)}'"
    )
    shapes = [pl.DataFrame(before.to_arrow_table()), *profiles]
    history = pl.concat([shape.select(FEATURE_PROFILES.column_names[:-1]) for shape in shapes], how="vertical_relaxed")
    for day in night.days:
        yield feature_statistics(history.filter(pl.col(PARTITION) <= day), day).rename({"window": "baseline"})


def _mixes(night: Night) -> Iterator[pl.DataFrame]:
    """What people did in the week of each day, against the weeks before; flagged bots are no people."""
    length = timedelta(days=CURRENT_DAYS + REFERENCE_DAYS)
    events = night.read(RAW_EVENTS, since=night.days[0] - length, through=night.days[-1])
    seen = night.read(DAILY_ACTIVITY, through=night.days[-1])
    if not night.settings.include_bots:
        events, seen = events.filter(~nw.col("is_bot")), seen.filter(~nw.col("is_bot"))
    # Counted once for all days of the run; by filing day, because a day knows nothing that became known after it.
    counts = night.session.set_aside("event_counts", of_events(events, keep=(PARTITION,)))
    first = seen.group_by(PARTITION, "user_id").agg(nw.col("activity_date").min().alias("first_day"))
    firsts = night.session.set_aside("first_days", first)

    def keep(name: str, frame: Frame) -> Frame:
        return night.session.set_aside(f"mix_{name}", frame)

    for day in night.days:
        known = nw.col(PARTITION) <= nw.lit(day).cast(nw.Date)
        in_time = counts.filter(known, nw.col("day") > nw.lit(day - length).cast(nw.Date))
        rows = keep("counts", in_time.group_by(*COUNTED[:-1]).agg(nw.col("event_count").sum()))
        since = keep("first_days", firsts.filter(known).group_by("user_id").agg(nw.col("first_day").min()))
        yield event_mix(rows, day, first_days=since, keep=keep)


def _said(rows: Sequence[pl.DataFrame], day: date) -> str:
    moved = [
        sentence
        for frame in rows
        for sentence in frame.filter(pl.col(PARTITION) == day, pl.col("verdict").is_in(ALARMS))["sentence"]
    ]
    return "; ".join(moved[:5]) + (f"; and {len(moved) - 5} more" if len(moved) > 5 else "") if moved else "nothing"


# ---- performance ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cohort:
    """The scores of a day whose outcomes are known: those of the model (none without one) and those of the rules."""

    day: date
    by_model: pl.DataFrame
    by_rules: pl.DataFrame


def _live(night: Night, day: date) -> bool:
    """Whether `day` has features."""
    return bool(night.session.live_counts(USER_FEATURES.name, [day]).get(day))


def _cohort(night: Night, day: date, *, ago: int = 0) -> _Cohort | None:
    """The scores whose horizon ends with `day`, or those of `ago` days before it; None where nobody was scored."""
    scored_on = day - timedelta(days=max(ago, night.settings.label_horizon_days))
    if not _live(night, scored_on):
        return None
    known = outcomes(night, [scored_on], day, night.settings.label_horizon_days)
    segments = features_on(night, scored_on).select("user_id", *SEGMENTS)
    by_model = judged.matured(night.read(MODEL_SCORES, on=scored_on), known)
    by_rules = judged.matured(night.read(RULE_SCORES, on=scored_on), known)
    model = to_polars(by_model.join(segments, on="user_id", how="left")).sort("user_id")
    return _Cohort(scored_on, model, to_polars(by_rules).sort("user_id"))


@step("performance", PERFORMANCE_REPORT, SCORE_BACKTEST, RETRAIN_DECISION)
def performance(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Hold stored scores against what came, and decide whether to train."""
    with warehouse.open(context) as night:
        champions = {day: registry.champion(night.session.connection, day + timedelta(days=1)) for day in night.days}
        for contract in (CANDIDATE_MODEL, MODEL_EVALUATION):
            night.session.ensure(contract)  # before the first training
        sources = {day: f"{version or NO_CHAMPION} {_last_training(night, day)}" for day, version in champions.items()}
        tables = (PERFORMANCE_REPORT, SCORE_BACKTEST, RETRAIN_DECISION)
        if kept := night.unchanged(*tables, sources=sources):
            yield from kept
            return
        night.require(
            USER_FEATURES,
            RULE_SCORES,
            MODEL_SCORES,
            MODEL_EXCLUSIONS,
            DRIFT_REPORTS,
            DAILY_ACTIVITY,
            IDENTITY_LINKS,
            VALIDATED_SUBSCRIBERS,
        )
        reports, tests, decisions = [], [], []
        for day in night.days:
            report = pl.concat([*_realised(night, day), *_estimated(night, day)], how="diagonal_relaxed")
            reports.append(report.with_columns(pl.lit(day).alias(PARTITION)))
            tests.extend(one.with_columns(pl.lit(day).alias(PARTITION)) for one in _backtests(night, day))
            decisions.append(_decision(night, day, champions[day], report))
        yield from night.commit(
            (PERFORMANCE_REPORT, _table(PERFORMANCE_REPORT, *reports)),
            (SCORE_BACKTEST, _table(SCORE_BACKTEST, *tests)),
            (RETRAIN_DECISION, _table(RETRAIN_DECISION, *decisions)),
            notes={"retrain": decisions[-1]["because"][0]},
        )


REPORTED = {"segment": pl.String, "metric": pl.String, "verdict": pl.String, "cohort_date": pl.Date}


def _realised(night: Night, day: date) -> Iterator[pl.DataFrame]:
    """How good the scores of a horizon ago turned out to be, the model's by segment and the rules' beside them."""
    yield pl.DataFrame(schema=REPORTED)
    cohort = _cohort(night, day)
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
    found = judged.realised(
        cohort.by_model, threshold=baseline.get("threshold", 0.5), segments=SEGMENTS, bootstrap=BOOTSTRAP
    )
    about = (when, pl.lit("realised").alias("basis"), pl.lit(version).alias("model_version"))
    yield judged.against_baseline(baseline, found, _limits(night)).select(
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
        judged.segment_gaps(found)
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
    found = judged.estimated(scores["probability"], threshold=baseline.get("threshold", 0.5), draws=BOOTSTRAP)
    rows = [(name, one.value, one.low, one.high, baseline.get(name)) for name, one in found.items()]
    yield pl.DataFrame(rows, schema=["metric", "value", "low", "high", "baseline_value"], orient="row").with_columns(
        pl.selectors.float().fill_nan(None),
        cohort_date=pl.lit(day),
        basis=pl.lit("estimated"),
        model_version=pl.lit(version),
        segment=pl.lit("all"),
        verdict=pl.lit(judged.FINE),
        sample_count=pl.lit(len(scores), pl.Int64),
    )


def _limits(night: Night) -> dict[str, float | None]:
    settings = night.settings
    return {
        **judged.LIMITS,
        "roc_auc": settings.retrain_threshold_auc,
        "precision": settings.retrain_threshold_precision,
        "f1": settings.retrain_threshold_f1,
    }


def _baseline(night: Night, version: str) -> dict[str, float]:
    """Metric -> value of the version on the test part of its own training."""
    rows = night.session.connection.execute(
        f"select metric, arg_min(value, {PARTITION}) from {LIVE}.model_evaluation "
        "where model_version = ? and part = 'test' and segment = 'all' group by all",
        [version],
    ).fetchall()
    return dict(rows)


def _backtests(night: Night, day: date) -> Iterator[pl.DataFrame]:
    """What became of the bands of 90 days ago, of the rules and of the model's ranking."""
    cohort = _cohort(night, day, ago=judged.BACKTEST_DAYS)
    if cohort is None:
        return
    fifths = pl.col("probability").rank("ordinal", descending=True) / pl.len()
    by_model = cohort.by_model.with_columns(
        band=pl.lit("top_20")
        if cohort.by_model.is_empty()
        else fifths.cut([0.2, 0.4, 0.6, 0.8], labels=["top_20", "20_to_40", "40_to_60", "60_to_80", "last_20"]).cast(
            pl.String
        )
    )
    for scored_by, rows in (("rules", cohort.by_rules), ("model", by_model)):
        if len(rows):
            found = judged.backtest(nw.from_native(rows.lazy())).collect().to_polars().sort("band")
            yield found.drop(PARTITION).with_columns(scored_by=pl.lit(scored_by), cohort_date=pl.lit(cohort.day))


def _decision(night: Night, day: date, version: str | None, report: pl.DataFrame) -> pl.DataFrame:
    """Whether to train at the end of `day`."""
    settings = night.settings
    end = datetime.combine(day + timedelta(days=1), time())
    horizon = timedelta(days=settings.label_horizon_days)
    trained_at, feedback, falls, drifted = None, 0, {}, {}
    if version:
        trained_on = _last_training(night, day) or day
        trained_at = datetime.combine(trained_on + timedelta(days=1), time())
        cohorts = [one for one in (trained_on - horizon, day - horizon) if _live(night, one)]
        if cohorts and day > trained_on:
            mature = outcomes(night, cohorts, day, horizon.days).filter(nw.col("is_eligible"), nw.col("is_mature"))
            feedback = new_feedback(mature, trained_on=trained_on)
        rows = report.filter(
            pl.col("basis") == "realised", pl.col("segment") == "all", pl.col("verdict") != judged.TOO_FEW
        )
        falls = {row["metric"]: row for row in rows.iter_rows(named=True)}
        moved = night.read(DRIFT_REPORTS, on=day).filter(*NEWS)
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
        Thresholds.of(settings),
    )
    said = [sentence for _, sentence in (*decision.reasons, *decision.blocked_by)]
    return pl.DataFrame(
        [
            {
                PARTITION: day,
                "should_retrain": decision.should_retrain,
                "reasons": ", ".join(code for code, _ in decision.reasons),
                "because": " ".join(said) or "Nothing calls for a training.",
                "model_version": version,
                "model_age_days": (end - trained_at) / timedelta(days=1) if trained_at else None,
                "new_feedback_count": feedback,
                "training_sample_count": samples,
                **{f"{metric}_fall": falls.get(metric, {}).get("fall") for metric in ("f1", "roc_auc", "precision")},
                "drifted_importance": float(sum(drifted.values())),
            }
        ]
    )


def _last_training(night: Night, day: date) -> date | None:
    """The newest day up to `day` that a model was trained on; one that was not better has seen the outcomes too."""
    found = night.session.connection.execute(
        f"select max({PARTITION}) from {LIVE}.candidate_model where {PARTITION} <= ?", [day]
    ).fetchone()
    return found[0] if found else None


def _training_samples(night: Night, day: date) -> int:
    """Rows that a training at the end of `day` would have: everybody who could be scored on its feature days."""
    live = night.session.live_counts(USER_FEATURES.name, [night.settings.partitions_start, day])
    try:
        days = training_days(live, known_until=day, horizon=night.settings.label_horizon_days)
    except TrainingRefused:
        return 0
    listed = ", ".join(f"date '{one}'" for one in days)
    found = night.session.connection.execute(
        f"""select (select count(*) from {LIVE}.model_scores where {PARTITION} in ({listed}))
            + (select count(*) from {LIVE}.model_exclusions where {PARTITION} in ({listed})
                and reason in ('{NO_CHAMPION}', '{UNAVAILABLE}'))"""
    ).fetchone()
    return found[0] if found else 0


# ---- why scores moved ----------------------------------------------------------------------------------------------


@step("score_changes", SCORE_CHANGES)
def score_changes(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Say why the scores moved that moved most since the day before."""
    with warehouse.open(context) as night:
        found = [
            between(night.session, night.settings, _moved(night, day), day - timedelta(days=1), day, days=night.days)
            .by_user()
            .with_columns(pl.lit(day).alias(PARTITION))
            for day in night.days
        ]
        yield from night.commit((SCORE_CHANGES, _table(SCORE_CHANGES, *found)))


def _moved(night: Night, day: date) -> Frame:
    """Users in another band than the day before, or far from where they were; those who moved farthest."""
    scores = [
        night.read(RULE_SCORES, on=one).select("user_id", "points", "band") for one in (day - timedelta(days=1), day)
    ]
    both = scores[0].join(scores[1].rename({"points": "later", "band": "later_band"}), on="user_id", how="inner")
    moved = both.with_columns(size=(nw.col("later") - nw.col("points")).abs()).filter(
        (nw.col("size") >= LEAST_CHANGE) | (nw.col("band") != nw.col("later_band"))
    )
    users = to_polars(moved.select("user_id", "size")).sort("size", "user_id", descending=[True, False])
    return nw.from_native(users.head(MOST_CHANGES).select("user_id").lazy())


# ---- alerts --------------------------------------------------------------------------------------------------------


@step("alerts", ALERTS)
def alerts(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Collect what is wrong on each day; of the newest night, tell people what they do not know yet."""
    with warehouse.open(context) as night:
        found = {day: list(_alarms(night, day)) for day in night.days}
        rows = [
            pl.DataFrame(
                [
                    {
                        PARTITION: day,
                        "alert_key": one.key,
                        "severity": one.severity.value,
                        "owner": one.owner,
                        "what": one.what,
                        "place": one.place,
                        "runbook": one.runbook,
                    }
                    for one in sorted(sounded, key=lambda one: one.key)
                ]
            )
            for day, sounded in found.items()
            if sounded
        ]
        day, told = night.days[-1], "nothing to tell: an old day"
        if not night.session.run.is_backfill(day):
            told = _tell(night, day, found[day])
        yield from night.commit((ALERTS, _table(ALERTS, *rows)), notes={"told": told})


def _alarms(night: Night, day: date) -> Iterator[alarms.Alert]:
    """Everything that is wrong on `day`, one alarm for each trouble."""
    moved = to_polars(night.read(DRIFT_REPORTS, on=day).filter(*NEWS))
    for row in moved.sort("rank").iter_rows(named=True):
        yield alarms.Alert(
            f"drift/{row['kind']}/{row['feature']}",
            Severity.WARN,
            OWNER,
            f"{row['sentence']}.",
            f"drift_reports of {day}",
            "gesture report night; a release, a source that changed, or people who did",
            {"effect": row["effect"] or 0},
        )
    mixed = to_polars(night.read(EVENT_MIX_DRIFT, on=day).filter(nw.col("verdict").is_in(ALARMS)))
    for row in mixed.sort("segment", "kind", "name").iter_rows(named=True):
        yield alarms.Alert(
            f"events/{row['segment']}/{row['kind']}/{row['name']}",
            Severity.WARN,
            OWNER,
            f"{row['sentence']}.",
            f"event_mix_drift of {day}",
            "see what was released; ask who owns the step",
            {"effect": row["effect"] or 0},
        )
    report = to_polars(night.read(PERFORMANCE_REPORT, on=day).filter(nw.col("verdict").is_in(["degraded", "wide"])))
    for row in report.sort("segment", "metric").iter_rows(named=True):
        is_whole = row["verdict"] == judged.DEGRADED
        yield alarms.Alert(
            f"performance/{row['segment']}/{row['metric']}",
            Severity.ERROR if is_whole else Severity.WARN,
            OWNER,
            f"{row['metric']} of {row['segment']} is {row['value']:.3f}, worse by {row['fall']:.3f}.",
            f"performance_report of {day}",
            "gesture train, or  gesture models rollback",
            {"fall": row["fall"]},
        )
    gone = night.read(MODEL_EXCLUSIONS, on=day).filter(nw.col("reason") == UNAVAILABLE)
    count = to_polars(gone.select(count=nw.len()))["count"][0]
    if count:
        yield alarms.Alert(
            "model/unavailable",
            Severity.ERROR,
            OWNER,
            f"The champion cannot score; the rules serve {count} users.",
            f"data/models, and model_exclusions of {day}",
            "gesture models list; gesture models rollback",
            {"users": count},
        )


def _tell(night: Night, day: date, sounded: Sequence[alarms.Alert]) -> str:
    """Bring the log of alerts up to date and tell people; what was told, in words."""
    known = alert_log.incidents(night.session.connection)
    news = alarms.changes(known, sounded, day, is_backfill=False, unjudged=_unjudged(night, day))
    incidents, delivery = tell(night.session, night.settings, day, news)
    standing = sum(one.is_open for one in incidents)
    said = ", ".join(f"{count} {change}" for change, count in sorted(Counter(one.change for one in news).items()))
    return f"{standing} open; tonight {said or 'nothing new'}{f'; {delivery.failure}' if delivery.failure else ''}"


def _unjudged(night: Night, day: date) -> set[str]:
    """Keys of what had too few rows to be judged: what was wrong with it may still be."""
    few = nw.col("verdict") == "too_few_rows"
    moved = to_polars(night.read(DRIFT_REPORTS, on=day).filter(few).select("kind", "feature"))
    mixed = to_polars(night.read(EVENT_MIX_DRIFT, on=day).filter(few).select("segment", "kind", "name"))
    judged_ = to_polars(night.read(PERFORMANCE_REPORT, on=day).filter(few).select("segment", "metric"))
    return {
        *("/".join(("drift", *row)) for row in moved.rows()),
        *("/".join(("events", *row)) for row in mixed.rows()),
        *("/".join(("performance", *row)) for row in judged_.rows()),
    }
