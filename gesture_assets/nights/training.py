"""Steps of the train job: the training set, the candidate and its judgement; the better model serves from then on.

Belongs here: reading what models learn from, calling the room, letting a better model serve. Does not belong here: how
a model is trained or judged (`models/`), which version serves when (`records/activations.py`).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from importlib import metadata
from typing import Any, Literal

import narwhals as nw
import polars as pl
from pydantic import BaseModel, Field

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError, ModelMismatch
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import to_polars
from gesture_assets.models import leakage, reasons, scoring, splits, tuning, versions
from gesture_assets.models.behaviour import behaviours
from gesture_assets.models.churn import Churn, churn
from gesture_assets.models.evaluation import (
    Comparison,
    Evaluation,
    LearningCurve,
    best_threshold,
    compare,
    evaluate,
    importance,
    learning_curve,
)
from gesture_assets.models.judgement import RULES, WITHOUT_RULES, beside_rows, decide, directions, evaluation_rows
from gesture_assets.models.segments import Segment, with_segments
from gesture_assets.models.tables import (
    CANDIDATE_MODEL,
    FEATURE_IMPORTANCE,
    FEATURE_SCREENING,
    MODEL_EVALUATION,
    SPLITS,
    TRAINING_SET,
)
from gesture_assets.models.tracking import CHALLENGER, CHAMPION, REPRODUCED, REPRODUCES, Tracking
from gesture_assets.models.training import Model, Parameters, column_of, train
from gesture_assets.models.training_set import RULE_SCORE, training_days
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.rules import rule_set_of
from gesture_assets.nights.steps import Built, Markdown, Step
from gesture_assets.nights.training_rows import (
    input_names,
    model_inputs,
    newest_date,
    outcomes,
    possible_inputs,
    training_frame,
)
from gesture_assets.records import activations
from gesture_assets.reports.plots import model_pictures
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.scoring import SEGMENTS, Missing

log = logging.getLogger(__name__)

Card = Mapping[str, Any]  # what a version resolves to: a row of candidate_model


class Again(BaseModel):
    """Which version to train once more, on its own days, features and horizon; empty: a new one."""

    from_version: str = ""

    def card(self, settings: Settings) -> Card:
        """What that version resolves to; empty for a new one."""
        return versions.card_of(settings.models, self.from_version) if self.from_version else {}


class Training(Again):
    """How to train: parameters by name, a search first, and letting the model serve for a reason of one's own."""

    parameters: dict[str, str] = Field(default_factory=dict[str, str])
    tune: bool = False
    trials: int = tuning.TRIALS
    sampler: Literal["tpe", "random"] = "tpe"
    force_reason: str = ""
    seed: int = 42


# ---- the training set ----------------------------------------------------------------------------------------------


def training_set(night: Night, days: Days) -> Built:
    """Find out who could still buy and who did, place them in parts, and screen the features for leaks."""
    settings, day = night.settings, _one_day(night, days)
    source = (night.options or Again()).card(settings)
    horizon = source.get("horizon_days", settings.label_horizon_days)
    live = night.session.live_counts(USER_FEATURES.name, [settings.partitions_start, day])
    feature_days = _feature_days(source) or training_days(live, known_until=day, horizon=horizon)
    eligible = outcomes(night, feature_days, day, horizon).filter(nw.col("is_eligible"))
    rows = to_polars(eligible.select(PARTITION, "user_id", "person_id", "matures_on", "label"))
    by_time = splits.time_split(nw.from_native(rows.lazy()), feature_days)
    placed = splits.random_split(by_time).sort(PARTITION, "user_id").collect()
    parts = pl.DataFrame(placed.to_native()).rename({PARTITION: "feature_date"})
    parts = parts.with_columns(pl.lit(day).alias(PARTITION)).select(*TRAINING_SET.column_names)
    inputs = _inputs(settings, source)
    screened = leakage.screen(training_frame(night, parts, inputs, parts_of=("train",)), "label", inputs)
    screened = screened.with_columns(pl.lit(day).alias(PARTITION)).select(*FEATURE_SCREENING.column_names)
    return Built(
        {TRAINING_SET: nw.from_native(parts.lazy()), FEATURE_SCREENING: nw.from_native(screened.lazy())},
        notes={
            "feature_days": ", ".join(map(str, feature_days)),
            "eligible": len(parts),
            "buyers": int(parts["label"].sum()),
            "suspects": ", ".join(screened.filter(pl.col("verdict") != "fine")["feature"]) or "none",
        },
    )


def _one_day(night: Night, days: Days) -> date:
    """The day of the training: a range would train on days that the next one is judged by."""
    first, *others = days
    if others:
        raise ConfigError.bad_value(
            "The days of a training",
            expected="one day",
            found=night.session.run.window,
            where="the run's partitions",
            next_step=f"gesture train --date {days[-1]}",
        )
    return first


def _feature_days(source: Card) -> tuple[date, ...]:
    return tuple(date.fromisoformat(day) for day in json.loads(source.get("feature_days", "[]")))


def _inputs(settings: Settings, source: Card) -> tuple[str, ...]:
    """The features of the version that is trained once more, or those that models read now."""
    return tuple(json.loads(source["features"])) if source else model_inputs(settings)


# ---- the candidate -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workshop:
    """What a training works with: the day, the options, the version it repeats (if any), and the rows, by part."""

    night: Night
    day: date
    options: Training
    source: Card
    parts: pl.DataFrame
    frame: pl.DataFrame
    inputs: tuple[str, ...]

    @cached_property
    def pieces(self) -> dict[str, pl.DataFrame]:
        """The rows of each part, by the split that decides."""
        return {part: self.frame.filter(pl.col("split") == part) for part in SPLITS}

    @cached_property
    def data_hash(self) -> str:
        """Hash of everything that the training read."""
        return versions.digest(dict(self.night.session.inputs_read))

    @cached_property
    def missing(self) -> Missing:
        """What stands for a missing number: what the version trained once more has, or the setting."""
        own = self.source.get("missing_numbers") or "native" if self.source else None
        return own or self.night.settings.missing_numbers

    @cached_property
    def segment_column(self) -> str:
        """The column whose values may have models of their own: that of the version trained again, or the setting's."""
        # Versions of before segments had models have none.
        if self.source:
            return column_of(json.loads(self.source.get("segment_models") or "{}"))
        return self.night.settings.segment_models

    @cached_property
    def everybody(self) -> pl.DataFrame:
        """Everybody on the day that calibrates, but those who are tested on."""
        newest = newest_date(self.parts.filter(pl.col("split") == "validation")["feature_date"])
        rows = splits.not_tested(self.parts, newest, day_column="feature_date")
        return training_frame(self.night, rows, self.inputs, parts_of=(*SPLITS, splits.LEFT_OUT))

    def train(
        self,
        parameters: Parameters,
        *,
        pieces: Mapping[str, pl.DataFrame] | None = None,
        inputs: Sequence[str] | None = None,
        level: pl.DataFrame | None = None,
    ) -> Model:
        """A model of the training part, calibrated on the validation part."""
        rows, names = pieces or self.pieces, inputs or self.inputs
        return train(
            rows["train"],
            "label",
            names,
            parameters=parameters,
            validation=rows["validation"],
            level=level,
            monotone=directions(names),
            min_rows=self.night.settings.min_training_samples,
            missing=self.missing,
        )


@dataclass(frozen=True)
class Candidate:
    """A trained model under its name, with what is needed to judge it."""

    model: Model
    version: str
    parameters: Parameters
    segments: Mapping[str, Segment]
    is_again: bool  # the same model as the version that was trained once more
    seconds: float


@dataclass(frozen=True)
class Judgement:
    """How good a model is, what stands beside it on the same test rows, and what follows."""

    parts: Mapping[str, Evaluation]
    against_rules: Comparison
    without_rules: Comparison
    curve: LearningCurve
    rows: pl.DataFrame
    champion: str | None
    is_promoted: bool
    because: str

    @property
    def figures(self) -> dict[str, float]:
        """Metric -> value on the test part, of those that have one."""
        metrics = self.parts["test"].metrics
        return {name: metric.value for name, metric in metrics.items() if metric.value == metric.value}

    @property
    def summary(self) -> dict[str, float]:
        """The ROC AUC of what stands beside it, by name."""
        return {f"{part}_roc_auc": self.parts[part].metrics["roc_auc"].value for part in (RULES, WITHOUT_RULES)}


def candidate_model(night: Night, days: Days) -> Built:
    """Train a model, judge it beside the champion on rows that neither has seen, and let the better one serve."""
    day, options, settings = _one_day(night, days), night.options or Training(), night.settings
    source = options.card(settings)
    parts = to_polars(night.read(TRAINING_SET, on=day))
    night.read(FEATURE_SCREENING, on=day)
    inputs = _inputs(settings, source)
    frame = training_frame(night, parts, tuple(dict.fromkeys((*inputs, *possible_inputs(settings)))))
    shop = Workshop(night, day, options, source, parts, frame, inputs)
    tracking = Tracking(settings.mlflow_database, settings.mlflow_artifacts)
    tracking.end_killed()
    tags = {"dagster_run_id": night.session.run.run_id, "as_of_date": str(day), "data_hash": shop.data_hash}
    tags |= {REPRODUCES: options.from_version} if source else {}
    with tracking.run(f"train {day}", tags=tags) as run_id:
        candidate = _candidate(shop, tracking, run_id)
        judgement = _judge(shop, candidate)
        if source:
            tracking.log(run_id, tags={REPRODUCED: judgement.because})
        card = source if candidate.is_again else _card(shop, candidate, judgement, run_id)
        test = shop.pieces["test"]
        weights = importance(candidate.model, test, test["label"], names=input_names(settings))
        pictures = model_pictures(
            test["label"],
            candidate.model.probabilities(test),
            judgement.parts["test"],
            weights,
            judgement.curve,
        )
        tracking.log(
            run_id,
            parameters=candidate.parameters.as_dict(),
            metrics=judgement.figures | judgement.summary,
            tags={"decision": str(card["decision"]), "gesture_version": candidate.version},
            images={f"pictures/{picture.name}.png": picture.png for picture in pictures},
        )
        if not candidate.is_again:
            _keep(shop, candidate, judgement, card, tracking, run_id)
    on_day = pl.lit(day).alias(PARTITION)
    return Built(
        {
            CANDIDATE_MODEL: night.table(
                CANDIDATE_MODEL, pl.DataFrame([card], infer_schema_length=None).with_columns(on_day)
            ),
            MODEL_EVALUATION: night.table(MODEL_EVALUATION, judgement.rows.with_columns(on_day)),
            FEATURE_IMPORTANCE: night.table(
                FEATURE_IMPORTANCE, _ranked(weights, candidate.version).with_columns(on_day)
            ),
        },
        version=candidate.version,
        notes={
            "model_version": candidate.version,
            "mlflow_run_id": run_id,
            "decision": f"{card['decision']}: {judgement.because}",
            "data": f"{card['data_verdict']}: {card['data_because']}",
            "segments": {scope: segment.sentence for scope, segment in candidate.segments.items()},
            "test": _figures(judgement.parts["test"]),
            **{picture.name: Markdown(picture.markdown) for picture in pictures},
        },
        when_live=lambda: _let_serve(shop, candidate, judgement, tracking),
    )


def _candidate(shop: Workshop, tracking: Tracking, run_id: str) -> Candidate:
    """Train, after a search where one was asked for, and with models of segments where the settings say so."""
    own = {**json.loads(shop.source.get("parameters", "{}")), **shop.options.parameters}
    parameters = Parameters(seed=shop.options.seed).overridden(own)
    if shop.options.tune:
        parameters = _tuned(shop, tracking, run_id, parameters)
    model = shop.train(parameters, level=shop.everybody)
    segments: dict[str, Segment] = {}
    if column := shop.segment_column:
        monotone = directions(shop.inputs)
        model, segments = with_segments(model, column, shop.pieces, shop.everybody, monotone=monotone)
    seconds = tracking.seconds(run_id)
    is_again = model.fingerprint == shop.source.get("fingerprint")
    version = versions.version_name(shop.night.session.run.now, model.fingerprint)
    version = shop.options.from_version if is_again else version
    return Candidate(model, version, parameters, segments, is_again, seconds)


def _judge(shop: Workshop, candidate: Candidate) -> Judgement:
    """Hold the candidate against the champion, the rules, and document 003's random split."""
    night, model, test = shop.night, candidate.model, shop.pieces["test"]
    champion = activations.champion(night.session.connection, shop.day + timedelta(days=1))
    champion = shop.source["parent_version"] if candidate.is_again else champion
    served = usable_model(night, champion)
    parts, against_rules, without_rules, curve = _beside(shop, candidate)
    behaved = behaviours(model, test, segments=SEGMENTS)
    comparison = served and compare(
        test["label"], served.probabilities(test), model.probabilities(test), groups=test["person_id"]
    )
    moved = served and _churn(night.settings, test, served, model)
    is_promoted, because = decide(behaved, comparison, champion, churned=moved, forced=shop.options.force_reason)
    beside = beside_rows(
        candidate.version,
        against_rules=against_rules,
        without_rules=without_rules,
        curve=curve,
        segments=candidate.segments,
    )
    rows = pl.concat([evaluation_rows(candidate.version, parts, behaved), beside], how="diagonal")
    if served and champion:
        rows = pl.concat([rows, evaluation_rows(champion, {"test": _evaluated(served, test)})], how="diagonal")
    judgement = Judgement(parts, against_rules, without_rules, curve, rows, champion, is_promoted, because)
    if not shop.source:
        return judgement
    repeated = shop.options.from_version
    differs = versions.largest_difference(night.settings.models, repeated, judgement.figures)
    equals = "equals" if candidate.is_again else "does not equal"
    return replace(judgement, because=f"{because}; {equals} {repeated}, {differs}")


def _beside(
    shop: Workshop, candidate: Candidate
) -> tuple[dict[str, Evaluation], Comparison, Comparison, LearningCurve]:
    """The model on every part; document 003's random split, the rules alone, and a model that does not read them."""
    model, parameters, test = candidate.model, candidate.parameters, shop.pieces["test"]
    by_chance = {part: shop.frame.filter(pl.col("random_split") == part) for part in SPLITS}
    others = [name for name in shop.inputs if name != RULE_SCORE]
    alone = shop.train(parameters, inputs=others, level=shop.everybody)
    points = test[RULE_SCORE].fill_null(0) / 100
    label, groups, own = test["label"], test["person_id"], model.probabilities(test)
    without_members = replace(model, members={}).probabilities(test)  # beside a model that has no members either
    parts = {part: _evaluated(model, rows) for part, rows in shop.pieces.items()}
    parts["random_test"] = _evaluated(shop.train(parameters, pieces=by_chance), by_chance["test"])
    parts[RULES] = evaluate(label, points, groups=groups)
    parts[WITHOUT_RULES] = _evaluated(alone, test)
    return (
        parts,
        compare(label, points, own, groups=groups),
        compare(label, alone.probabilities(test), without_members, groups=groups),
        learning_curve(shop.pieces["train"], "label", shop.inputs, test, parameters=parameters),
    )


def _card(shop: Workshop, candidate: Candidate, judgement: Judgement, run_id: str) -> Card:
    """What the version resolves to."""
    model, settings = candidate.model, shop.night.settings
    return {
        PARTITION: shop.day,
        "model_version": candidate.version,
        "fingerprint": model.fingerprint,
        "data_hash": shop.data_hash,
        "feature_list_hash": versions.digest(model.features),
        "features": json.dumps(model.features),
        "rule_set_version": _rule_set_version(shop),
        "parameters": json.dumps(candidate.parameters.as_dict(), sort_keys=True),
        "code_version": metadata.version("gesture_assets"),
        "calibration": model.calibrator.method,
        "feature_days": json.dumps([str(day) for day in shop.parts["feature_date"].unique().sort()]),
        "horizon_days": shop.source.get("horizon_days", settings.label_horizon_days),
        "training_samples": len(shop.pieces["train"]),
        "validation_samples": len(shop.pieces["validation"]),
        "test_samples": len(shop.pieces["test"]),
        "base_rate": model.base_rate,
        "training_seconds": candidate.seconds,
        "data_verdict": judgement.curve.verdict,
        "data_because": judgement.curve.because,
        "missing_numbers": model.encoding.missing,
        "segment_models": json.dumps({scope: segment.sentence for scope, segment in candidate.segments.items()}),
        "mlflow_run_id": run_id,
        "parent_version": judgement.champion,
        "decision": "promoted" if judgement.is_promoted else "kept",
        "because": judgement.because,
    }


def _keep(
    shop: Workshop, candidate: Candidate, judgement: Judgement, card: Card, tracking: Tracking, run_id: str
) -> None:
    """Save the version's files and register it."""
    figures = {"test": judgement.figures, **judgement.summary, "model_version": candidate.version}
    folder = versions.save_version(
        candidate.model, card, shop.night.settings.models, figures=figures, tested=shop.pieces["test"]
    )
    tracking.log(run_id, files=[folder])
    tracking.register(run_id, candidate.model, candidate.version)


def _let_serve(shop: Workshop, candidate: Candidate, judgement: Judgement, tracking: Tracking) -> None:
    """Activate the candidate where it is better; one that was trained again has its place already."""
    if candidate.is_again:
        return
    run, champion = shop.night.session.run, judgement.champion
    if judgement.is_promoted:
        # The first champion also scores the day it was trained on; a later one leaves that day its own.
        activations.activate(
            shop.night.session.connection,
            candidate.version,
            since=shop.day + timedelta(days=1) if champion else shop.day,
            now=run.now,
            action="promoted",
            reason=judgement.because,
            run_id=run.run_id,
        )
    tracking.alias(CHAMPION, candidate.version if judgement.is_promoted else champion)
    tracking.alias(CHALLENGER, None if judgement.is_promoted else candidate.version)


def _tuned(shop: Workshop, tracking: Tracking, parent: str, parameters: Parameters) -> Parameters:
    """The best parameters of a search that goes on where a killed one stopped.

    Each trial is a child run of MLflow, those of before it was killed too.
    """
    options, logged = shop.options, set[int]()

    def log_trial(trial: tuning.Trial) -> None:
        logged.add(trial.number)
        with tracking.run(f"trial {trial.number}", tags={}, parent=parent) as run_id:
            figures = {"roc_auc": trial.roc_auc, "f1": trial.f1, "recall": trial.recall, "seconds": trial.seconds}
            tracking.log(run_id, parameters=trial.parameters.as_dict(), metrics=figures)

    search = tuning.tune(
        shop.pieces["train"],
        shop.pieces["validation"],
        "label",
        shop.inputs,
        parameters=parameters,
        trials=options.trials,
        sampler=options.sampler,
        workers=tuning.WORKERS[options.sampler],
        seed=options.seed,
        monotone=directions(shop.inputs),
        missing=shop.missing,
        storage=str(shop.night.settings.data_dir / "tuning.journal"),
        study=f"{shop.data_hash[:12]}-{shop.missing}-{options.sampler}-{options.seed}",
        on_trial=log_trial,
    )
    for trial in search.trials:
        if trial.number not in logged:
            log_trial(trial)
    tracking.log(parent, tags={"trials": str(len(search.trials)), "resumed": str(search.resumed)})
    return search.best.parameters


def usable_model(night: Night, version: str | None) -> Model | None:
    """The model of a version; None, and a warning, where it cannot be used."""
    if version is None:
        return None
    try:
        model = versions.load_version(night.settings.models, version)
        versions.require_features(model, model_inputs(night.settings), version=version)
    except ModelMismatch as error:
        log.warning(str(error))
        return None
    return model


def _churn(settings: Settings, test: pl.DataFrame, before: Model, after: Model) -> Churn:
    """What becomes of the scores of the newest test day when the candidate takes over."""
    rows = test.filter(pl.col("feature_date") == pl.col("feature_date").max())
    scores = [scoring.score_users(model, rows).select("user_id", "score") for model in (before, after)]
    return churn(scores[0], scores[1], rule_set_of(settings).bands, budget=settings.churn_budget)


def _evaluated(model: Model, rows: pl.DataFrame) -> Evaluation:
    probabilities = model.probabilities(rows)
    return evaluate(
        rows["label"],
        probabilities,
        segments={column: rows[column] for column in SEGMENTS},
        threshold=best_threshold(rows["label"], probabilities),
        groups=rows["person_id"],
    )


def _rule_set_version(shop: Workshop) -> str:
    newest = newest_date(shop.parts["feature_date"])
    scores = shop.night.read(RULE_SCORES, on=newest).select("rule_set_version").unique().collect()
    return ",".join(sorted(scores["rule_set_version"].to_list()))


def _ranked(weights: pl.DataFrame, version: str) -> pl.DataFrame:
    codes = reasons.reason_codes(weights["feature"])
    return weights.with_columns(
        model_version=pl.lit(version),
        rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32),
        feature_name=pl.col("name"),
        reason_code=pl.col("feature").replace_strict(codes),
    )


def _figures(evaluation: Evaluation) -> Markdown:
    lines = [
        f"| {name} | {metric.value:.4f} | {metric.low:.4f} to {metric.high:.4f} |"
        for name, metric in evaluation.metrics.items()
    ]
    return Markdown("\n".join(["| metric | value | 95 % |", "|---|---|---|", *lines]))


STEPS = (
    Step("training_set", training_set, (TRAINING_SET, FEATURE_SCREENING), sources=None, options=Again),
    Step(
        "candidate_model",
        candidate_model,
        (CANDIDATE_MODEL, MODEL_EVALUATION, FEATURE_IMPORTANCE),
        sources=None,
        options=Training,
        kinds={CANDIDATE_MODEL.name: ("xgboost", "mlflow")},
    ),
)
