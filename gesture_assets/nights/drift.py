"""The step of drift: each day against the champion's training, and what people do against the weeks before.

Belongs here: reading what is compared, keeping the reference beside the model. Does not belong here: statistics and
verdicts (`monitoring/`).

The reference is everybody whom the model could have scored in the week up to its training: the same kind of people that
it scores each night. The rows that it learnt from are at least a horizon older, when those people were younger; against
them most of what grows with a person's time had moved on the first night, and none of it was news.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ModelMismatch
from gesture_assets.events.tables import DAILY_ACTIVITY, RAW_EVENTS
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import Frame, to_polars
from gesture_assets.models import labels
from gesture_assets.models.scoring import USERS_AT_ONCE, score_users, scored_columns
from gesture_assets.models.splits import TRAIN
from gesture_assets.models.tables import FEATURE_IMPORTANCE, MODEL_SCORES, NO_CHAMPION, TRAINING_SET
from gesture_assets.models.training import Model
from gesture_assets.models.versions import card_of, load_version
from gesture_assets.monitoring.drift import RESULTS, feature_drift, judge, outcome_drift, ranked
from gesture_assets.monitoring.event_mix import CURRENT_DAYS, REFERENCE_DAYS, event_mix
from gesture_assets.monitoring.profiles import WINDOWS, feature_statistics, profile
from gesture_assets.monitoring.reference import FROZEN, JUDGED, Reference, count, freeze
from gesture_assets.monitoring.score_effects import score_effects
from gesture_assets.monitoring.statistics import ALARMS
from gesture_assets.monitoring.tables import DRIFT_REPORTS, EVENT_MIX_DRIFT, FEATURE_PROFILES, FEATURE_STATISTICS
from gesture_assets.monitoring.visitor_days import Counted, of_events
from gesture_assets.nights.cohorts import matured_cohort
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.rules import rule_set_of
from gesture_assets.nights.steps import Built, Step
from gesture_assets.nights.training_rows import features_on, training_frame
from gesture_assets.records import activations
from gesture_assets.rules.tables import RULE_SCORES

log = logging.getLogger(__name__)

REFERENCE_WEEK = timedelta(days=6)  # and the day of the training: every day of the week is in it once
MOST_SCORED_AGAIN = 2_000  # people by whom it is told what a feature that moved does to the score


@dataclass(frozen=True)
class Baseline:
    """The model that serves a day, what drift is measured against, and its weights."""

    version: str
    features: Reference
    scores: Reference
    outcomes: pl.DataFrame
    importance: Mapping[str, float]
    model: Model


def _serving(night: Night) -> Mapping[date, str]:
    """Day -> the version that scores it."""
    connection = night.session.connection
    return {day: activations.champion(connection, day) or NO_CHAMPION for day in night.days}


def drift(night: Night, days: Days) -> Built:
    """Compare each day with the champion's training, and what people do with the weeks before."""
    serving = _serving(night)
    baselines = {version: _baseline(night, version) for version in sorted(set(serving.values()))}
    profiles: list[pl.DataFrame] = []
    reports: list[pl.DataFrame] = []
    for day in days:
        if baseline := baselines[serving[day]]:
            shapes, report = _measured(night, day, baseline)
            version = pl.lit(baseline.version).alias("model_version")
            profiles.append(shapes.with_columns(version))
            reports.append(report.with_columns(version))
    mixes = list(_mixes(night))
    that_matter = [report.filter("matters") for report in reports]
    return Built(
        {
            FEATURE_PROFILES: night.table(FEATURE_PROFILES, *profiles),
            FEATURE_STATISTICS: night.table(FEATURE_STATISTICS, *_statistics(night, profiles)),
            DRIFT_REPORTS: night.table(DRIFT_REPORTS, *reports),
            EVENT_MIX_DRIFT: night.table(EVENT_MIX_DRIFT, *mixes),
        },
        notes={"champion": serving[days[-1]], "moved": _moved([*that_matter, *mixes], days[-1])},
    )


def _baseline(night: Night, version: str) -> Baseline | None:
    """What drift is measured against; None where no model serves, or where its files cannot be used."""
    if version == NO_CHAMPION:
        return None
    folder = night.settings.models / version
    try:
        model = load_version(night.settings.models, version)
        if not all((folder / part).exists() for part in (FROZEN, JUDGED)):
            _freeze(night, folder, model)
    except ModelMismatch as error:
        log.warning(str(error))
        return None
    frozen = pl.read_parquet(folder / FROZEN)
    weights = night.select(FEATURE_IMPORTANCE).filter(nw.col("model_version") == version)
    importance = weights.group_by("feature").agg(nw.col("shap").max()).collect().rows()
    is_score = pl.col("kind") == "score"
    return Baseline(
        version,
        Reference.from_frame(frozen.filter(~is_score)),
        Reference.from_frame(frozen.filter(is_score)),
        pl.read_parquet(folder / JUDGED),
        dict(importance),
        model,
    )


def _freeze(night: Night, folder: Path, model: Model) -> None:
    """Keep people as they were when the model was trained, by value counts, and what it said of the rows that it was
    judged by.
    """
    trained_on = date.fromisoformat(str(card_of(folder.parent, folder.name)["as_of_date"]))
    week = f"{PARTITION} between date '{trained_on - REFERENCE_WEEK}' and date '{trained_on}'"
    days = to_polars(night.select(RULE_SCORES, week).select(PARTITION).unique())[PARTITION].sort().to_list()
    people = {day: _could_buy(night, day) for day in days}
    columns = scored_columns(model)
    scores = [
        score_users(model, part).select(pl.lit(day).alias(PARTITION), "probability")
        for day, rows in people.items()
        for part in night.session.in_parts(rows.select(*columns), by="user_id", rows=USERS_AT_ONCE)
    ]
    by_day = pl.concat(scores).partition_by(PARTITION, as_dict=True) if scores else {}
    probabilities = {day: nw.from_native(rows.lazy()) for (day,), rows in by_day.items()}
    placed = to_polars(night.select(TRAINING_SET, f"{PARTITION} = date '{trained_on}'"))
    placed = placed.filter(pl.col("split") != TRAIN).sort("feature_date", "user_id")
    test = training_frame(night, placed, model.features)
    frozen = [freeze(people, model.features), freeze(probabilities, ["probability"], is_score=True)]
    for frame, name in (
        (pl.concat([reference.to_frame() for reference in frozen]), FROZEN),
        (test.select(pl.Series("probability", model.probabilities(test)), "label"), JUDGED),
    ):
        part = folder / f".{name}.tmp"
        frame.write_parquet(part)
        part.replace(folder / name)


def _could_buy(night: Night, day: date) -> Frame:
    """The features of everybody whom a model could have scored on `day`."""
    suppressed = night.read(RULE_SCORES, on=day).filter(~nw.col("suppression_reason").is_null())
    users = labels.exclusions(night.read(USER_FEATURES, on=day), suppressed=suppressed)
    return features_on(night, day).join(
        users.filter(nw.col("reason").is_null()).select("user_id"), on="user_id", how="semi"
    )


def _measured(night: Night, day: date, baseline: Baseline) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Profiles of a day and its drift report, of everybody whom the champion scored."""
    scored = night.read(MODEL_SCORES, on=day)
    frame = features_on(night, day).join(scored.select("user_id"), on="user_id", how="semi")
    profiles: list[pl.DataFrame] = []
    measured: list[pl.DataFrame] = []
    for reference, rows in ((baseline.features, frame), (baseline.scores, scored)):
        found = count(rows, reference)
        profiles.append(profile(reference, found, day))
        measured.append(feature_drift(reference, found, day))
    if cohort := matured_cohort(night, day):
        came = nw.from_native(cohort.by_model.lazy())
        measured.append(outcome_drift(nw.from_native(baseline.outcomes.lazy()), came, day))
    judged = judge(*measured, importance=baseline.importance)
    return pl.concat(profiles), ranked(judged, _effects(night, day, baseline, judged, frame))


def _effects(night: Night, day: date, baseline: Baseline, judged: pl.DataFrame, frame: Frame) -> pl.DataFrame:
    """What the features that moved do to the scores of `frame`'s people, some of them where they are many."""
    is_used = (pl.col("importance") > 0) & ~pl.col("kind").is_in(RESULTS)
    moved = set(judged.filter(is_used, pl.col("verdict").is_in(ALARMS))["feature"])
    people = pl.DataFrame(schema={"user_id": pl.String})
    if moved:
        everybody = to_polars(frame.select("user_id")).sort("user_id")
        drawn = everybody.gather_every(-(-everybody.height // MOST_SCORED_AGAIN))
        chosen = night.session.set_aside("scored_again", nw.from_native(drawn.lazy()))
        rows = frame.select(*scored_columns(baseline.model)).join(chosen, on="user_id", how="semi")
        people = to_polars(rows).sort("user_id")
    features = [feature for feature in baseline.features.features if feature.name in moved]
    then = {feature.name: feature.sample(baseline.features.other_days(day)) for feature in features}
    return score_effects(baseline.model, people, then, rule_set_of(night.settings).bands)


def _statistics(night: Night, profiles: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Each day of the run against the days before it, those of the run among them."""
    if not profiles:
        return
    first, last = night.days[0] - timedelta(days=max(WINDOWS.values())), night.days[0] - timedelta(days=1)
    before = to_polars(night.select(FEATURE_PROFILES, f"{PARTITION} between date '{first}' and date '{last}'"))
    shapes = [frame.select(FEATURE_PROFILES.column_names[:-1]) for frame in (before, *profiles)]
    history = pl.concat(shapes, how="vertical_relaxed")
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
    first_days = seen.group_by(PARTITION, "user_id").agg(nw.col("activity_date").min().alias("first_day"))
    counted = Counted.of(of_events(events, keep=(PARTITION,)), first_days)
    for day in night.days:
        yield event_mix(counted, day)


def _moved(rows: Sequence[pl.DataFrame], day: date) -> str:
    """What moved on `day`, five sentences at most."""
    sentences = [
        sentence
        for frame in rows
        for sentence in frame.filter(pl.col(PARTITION) == day, pl.col("verdict").is_in(ALARMS))["sentence"]
    ]
    more = f"; and {len(sentences) - 5} more" if len(sentences) > 5 else ""
    return "; ".join(sentences[:5]) + more if sentences else "nothing"


STEPS = (
    Step("drift", drift, (FEATURE_PROFILES, FEATURE_STATISTICS, DRIFT_REPORTS, EVENT_MIX_DRIFT), sources=_serving),
)
