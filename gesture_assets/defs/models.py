"""Assets of models: the training set, the candidate and its judgement; tonight's model scores with their reasons.

Belongs here: reading what models learn from and score, calling the room, committing, and letting a better model serve.
Does not belong here: how a model is trained or judged (`models/`), which version serves (`warehouse/registry.py`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from importlib import metadata
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl
from pydantic import Field

from gesture_assets.contracts import DAILY_ACTIVITY, IDENTITY_LINKS, RULE_SCORES, Contract
from gesture_assets.contracts.contract import PARTITION
from gesture_assets.contracts.models import (
    CANDIDATE_MODEL,
    FEATURE_IMPORTANCE,
    FEATURE_SCREENING,
    INTENT_SCORES,
    MODEL_EVALUATION,
    MODEL_EXCLUSIONS,
    MODEL_SCORES,
    SCORE_REASONS,
    SPLITS,
    TRAINING_SET,
)
from gesture_assets.defs.common import USER_FEATURES, VALIDATED_SUBSCRIBERS, Events, Night, WarehouseResource, step
from gesture_assets.errors import ConfigError, ModelMismatch
from gesture_assets.features.registry import IDENTIFIERS, feature_registry
from gesture_assets.models import labels, leakage, reasons, scoring, splits, tuning, versions
from gesture_assets.models.behaviour import behaviours
from gesture_assets.models.evaluation import Evaluation, best_threshold, compare, evaluate, importance
from gesture_assets.models.judgement import decide, directions, evaluation_rows
from gesture_assets.models.tracking import CHALLENGER, CHAMPION, Tracking
from gesture_assets.models.training import Model, Parameters, train
from gesture_assets.models.training_set import RULE_SCORE, training_days, with_rule_score
from gesture_assets.warehouse import registry

NO_CHAMPION, UNAVAILABLE = "no_champion", "champion_unavailable"
# Features that say whether somebody has bought: the same for all who are eligible.
KNOWN_OUTCOMES = ("made_purchase", f"days_since_last_{labels.CONVERSION}")
RULE_SCORE_NAME = "Points by the rules"
SEGMENTS = ("subscriber_country", "primary_device", "is_subscriber")
USERS_AT_ONCE = 200_000


def model_inputs(night: Night) -> tuple[str, ...]:
    """What models read: every feature but identifiers, moments, the outcome itself and what the settings leave out."""
    left_out = {*night.settings.excluded_features, *IDENTIFIERS, *KNOWN_OUTCOMES}
    names = [feature.name for feature in feature_registry(night.settings.tags) if feature.name not in left_out]
    return (*(name for name in names if not name.startswith(f"{labels.CONVERSION}_count")), RULE_SCORE)


def features_on(night: Night, day: date) -> nw.LazyFrame[Any]:
    """The features of everybody on `day`, the rules' score among them."""
    return with_rule_score(night.read(USER_FEATURES, on=day), night.read(RULE_SCORES, on=day))


@step("training_set", TRAINING_SET, FEATURE_SCREENING)
def training_set(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Find out who could still buy and who did, place them in parts, and screen the features for leaks."""
    with warehouse.open(context) as night:
        day, horizon = _one_day(night), night.settings.label_horizon_days
        live = night.session.live_counts(USER_FEATURES.name, [night.settings.partitions_start, day])
        days = training_days(live, known_until=day, horizon=horizon)
        found = pl.concat([_eligible_on(night, one, day) for one in days])
        rows = nw.from_native(found.lazy())
        placed = splits.random_split(splits.time_split(rows, days)).sort(PARTITION, "user_id").collect()
        parts = pl.DataFrame(placed.to_native()).rename({PARTITION: "feature_date"})
        parts = parts.with_columns(pl.lit(day).alias(PARTITION)).select(*TRAINING_SET.column_names)
        inputs = model_inputs(night)
        trained = training_frame(night, parts, inputs, parts_of=("train",))
        screened = leakage.screen(trained, "label", inputs).with_columns(pl.lit(day).alias(PARTITION))
        yield from night.commit(
            (TRAINING_SET, nw.from_native(parts.lazy())),
            (FEATURE_SCREENING, nw.from_native(screened.select(*FEATURE_SCREENING.column_names).lazy())),
            notes={
                "feature_days": ", ".join(map(str, days)),
                "eligible": len(parts),
                "buyers": int(parts["label"].sum()),
                "suspects": ", ".join(screened.filter(pl.col("verdict") != "fine")["feature"]) or "none",
            },
        )


def _one_day(night: Night) -> date:
    """The day of the training: a range would train on days that the next one is judged by."""
    first, *others = night.days
    if others:
        raise ConfigError.bad_value(
            "The days of a training", expected="one day", found=night.session.run.window, where="the run's partitions",
            next_step=f"gesture train --date {night.days[-1]}",
        )  # fmt: skip
    return first


def _eligible_on(night: Night, day: date, known_until: date) -> pl.DataFrame:
    """The users of a feature day who could still buy, with their outcome."""
    horizon = night.settings.label_horizon_days
    subscribers = [night.read(VALIDATED_SUBSCRIBERS, on=one) for one in (day, day + timedelta(days=horizon))]
    found = labels.labels(
        night.read(USER_FEATURES, on=day),
        night.read(DAILY_ACTIVITY, through=known_until),
        night.read(IDENTITY_LINKS, through=known_until),
        nw.concat(subscribers),
        known_until=known_until,
        horizon=horizon,
        include_bots=night.settings.include_bots,
    )
    eligible = found.filter(nw.col("is_eligible"))
    return to_polars(eligible.select(PARTITION, "user_id", "person_id", "matures_on", "label"))


def training_frame(
    night: Night, parts: pl.DataFrame, inputs: Sequence[str], *, parts_of: Sequence[str] = SPLITS
) -> pl.DataFrame:  # fmt: skip
    """The rows of `parts` that are in one of the parts, with their features, in order of day and user."""
    wanted = parts.filter(pl.col("split").is_in(parts_of))
    frames = []
    for (day,), rows in wanted.partition_by("feature_date", as_dict=True, maintain_order=True).items():
        names = dict.fromkeys(("user_id", "mailchimp_id", *SEGMENTS, *inputs))
        frame = to_polars(features_on(night, day).select(*names))
        frames.append(rows.join(frame, on="user_id", how="inner", maintain_order="left"))
    return pl.concat(frames)


def to_polars(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
    """The rows of `frame`, through Arrow."""
    return pl.DataFrame(frame.collect().to_arrow())


class Training(dg.Config):
    """How to train: parameters by name, a search first, and letting the model serve for a reason of one's own."""

    parameters: dict[str, str] = Field(default_factory=dict)
    tune: bool = False
    trials: int = tuning.TRIALS
    sampler: str = "tpe"
    force_reason: str = ""
    seed: int = 42


@step(
    "candidate_model",
    CANDIDATE_MODEL,
    MODEL_EVALUATION,
    FEATURE_IMPORTANCE,
    kinds={"candidate_model": ("xgboost", "mlflow")},
)
def candidate_model(context: dg.AssetExecutionContext, warehouse: WarehouseResource, config: Training) -> Events:
    """Train a model, judge it beside the champion on rows that neither has seen, and let the better one serve."""
    with warehouse.open(context) as night:
        day, connection, settings = _one_day(night), night.session.connection, night.settings
        parts = to_polars(night.read(TRAINING_SET, on=day))
        night.read(FEATURE_SCREENING, on=day)
        inputs = model_inputs(night)
        frame = training_frame(night, parts, inputs, parts_of=SPLITS)
        pieces = {part: frame.filter(pl.col("split") == part) for part in SPLITS}
        tracking = Tracking(settings.mlflow_database, settings.mlflow_artifacts)
        tags = {"dagster_run_id": context.run.run_id, "as_of_date": str(day), "data_hash": _data_hash(night)}
        with tracking.run(f"train {day}", tags=tags) as run_id:
            parameters = Parameters(seed=config.seed).overridden(config.parameters)
            if config.tune:
                parameters = _tuned(night, tracking, run_id, pieces, inputs, parameters, config)
            model = train(
                pieces["train"], "label", inputs, parameters=parameters, validation=pieces["validation"],
                monotone=directions(inputs), min_rows=settings.min_training_samples,
            )  # fmt: skip
            version = versions.version_name(night.session.run.now, model.fingerprint)
            judged = {part: _evaluated(model, rows) for part, rows in pieces.items()}
            judged["random_test"] = _randomly_split(frame, inputs, parameters, settings.min_training_samples)
            test = pieces["test"]
            behaved = behaviours(model, test, segments=SEGMENTS)
            champion = registry.champion(connection, day + timedelta(days=1))
            served = _loaded(night, champion)
            comparison = served and compare(
                test["label"], served.probabilities(test), model.probabilities(test), groups=test["person_id"]
            )
            promoted, because = decide(behaved, comparison, champion, forced=config.force_reason)
            rows = evaluation_rows(version, judged, behaved)
            if served and champion:
                rows = pl.concat([rows, evaluation_rows(champion, {"test": _evaluated(served, test)})], how="diagonal")
            names = {f.name: f.description.rstrip(".") for f in feature_registry(settings.tags)}
            names[RULE_SCORE] = RULE_SCORE_NAME
            weights = importance(model, test, test["label"], names=names)
            card = {
                PARTITION: day,
                "model_version": version,
                "fingerprint": model.fingerprint,
                "data_hash": tags["data_hash"],
                "feature_list_hash": versions.digest(model.features),
                "features": json.dumps(model.features),
                "rule_set_version": _rule_set_version(night, parts),
                "parameters": json.dumps(parameters.as_dict(), sort_keys=True),
                "code_version": metadata.version("gesture_assets"),
                "calibration": model.calibrator.method,
                "feature_days": json.dumps([str(one) for one in parts["feature_date"].unique().sort()]),
                "horizon_days": settings.label_horizon_days,
                "training_samples": len(pieces["train"]),
                "validation_samples": len(pieces["validation"]),
                "test_samples": len(test),
                "base_rate": model.base_rate,
                "mlflow_run_id": run_id,
                "parent_version": champion,
                "decision": "promoted" if promoted else "kept",
                "because": because,
            }
            folder = versions.save_version(model, card, settings.models)
            figures = {name: one.value for name, one in judged["test"].metrics.items() if one.value == one.value}
            tracking.log(
                run_id, parameters=parameters.as_dict(), metrics=figures, files=[folder],
                tags={"decision": str(card["decision"]), "gesture_version": version},
            )  # fmt: skip
            tracking.register(run_id, model, version)
        yield from night.commit(
            (CANDIDATE_MODEL, _daily(pl.DataFrame([card], infer_schema_length=None), CANDIDATE_MODEL, day)),
            (MODEL_EVALUATION, _daily(rows, MODEL_EVALUATION, day)),
            (FEATURE_IMPORTANCE, _daily(_ranked(weights, version), FEATURE_IMPORTANCE, day)),
            version=version,
            notes={
                "model_version": version,
                "mlflow_run_id": run_id,
                "decision": f"{card['decision']}: {because}",
                "test": dg.MetadataValue.md(_figures(judged["test"])),
            },
        )
        if promoted:
            # The first champion also scores the day it was trained on; a later one leaves that day its own.
            since = day + timedelta(days=1) if champion else day
            registry.activate(
                connection, version, since=since, now=night.session.run.now, action="promoted", reason=because,
                run_id=context.run.run_id,
            )  # fmt: skip
        tracking.alias(CHAMPION, version if promoted else champion)
        tracking.alias(CHALLENGER, None if promoted else version)


def _tuned(
    night: Night, tracking: Tracking, parent: str, pieces: Mapping[str, pl.DataFrame], inputs: Sequence[str],
    parameters: Parameters, config: Training,
) -> Parameters:  # fmt: skip
    """The best parameters of a search that goes on where a killed one stopped; each trial is a child run of MLflow."""

    def logged(trial: tuning.Trial) -> None:
        with tracking.run(f"trial {trial.number}", tags={}, parent=parent) as run_id:
            figures = {"roc_auc": trial.roc_auc, "f1": trial.f1, "recall": trial.recall, "seconds": trial.seconds}
            tracking.log(run_id, parameters=trial.parameters.as_dict(), metrics=figures)

    data = _data_hash(night)
    found = tuning.tune(
        pieces["train"], pieces["validation"], "label", inputs, parameters=parameters, trials=config.trials,
        sampler="random" if config.sampler == "random" else "tpe", seed=config.seed, monotone=directions(inputs),
        storage=str(night.settings.data_dir / "tuning.journal"), study=f"{data[:12]}-{config.sampler}-{config.seed}",
        on_trial=logged,
    )  # fmt: skip
    return found.best.parameters


def _evaluated(model: Model, rows: pl.DataFrame) -> Evaluation:
    probabilities = model.probabilities(rows)
    return evaluate(
        rows["label"], probabilities, segments={column: rows[column] for column in SEGMENTS},
        threshold=best_threshold(rows["label"], probabilities), groups=rows["person_id"],
    )  # fmt: skip


def _randomly_split(frame: pl.DataFrame, inputs: Sequence[str], parameters: Parameters, fewest: int) -> Evaluation:
    """What the random split of document 003 would have said, with a model of its own."""
    pieces = {part: frame.filter(pl.col("random_split") == part) for part in SPLITS}
    model = train(
        pieces["train"],
        "label",
        inputs,
        parameters=parameters,
        validation=pieces["validation"],
        monotone=directions(inputs),
        min_rows=fewest,
    )
    return _evaluated(model, pieces["test"])


def _loaded(night: Night, version: str | None) -> Model | None:
    """The model of a version; None, and a warning, where it cannot be used."""
    if version is None:
        return None
    try:
        model = versions.load_version(night.settings.models, version)
        versions.require_features(model, model_inputs(night), version=version)
    except ModelMismatch as error:
        night.context.log.warning(str(error))
        return None
    return model


def _data_hash(night: Night) -> str:
    """Hash of everything that the training read."""
    return versions.digest(night.session.input_hashes)


def _rule_set_version(night: Night, parts: pl.DataFrame) -> str:
    newest = parts["feature_date"].max()
    assert isinstance(newest, date)
    found = night.read(RULE_SCORES, on=newest).select("rule_set_version").unique().collect()
    return ",".join(sorted(found["rule_set_version"].to_list()))


def _ranked(weights: pl.DataFrame, version: str) -> pl.DataFrame:
    codes = reasons.reason_codes(weights["feature"])
    return weights.with_columns(
        model_version=pl.lit(version),
        rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32),
        feature_name=pl.col("name"),
        reason_code=pl.col("feature").replace_strict(codes),
    )


def _daily(rows: pl.DataFrame, contract: Contract, day: date) -> nw.LazyFrame[Any]:
    """`rows` in the columns and types of `contract`."""
    frame = rows.with_columns(pl.lit(day).alias(PARTITION))
    types = {"INTEGER": pl.Int32, "SMALLINT": pl.Int16, "DOUBLE": pl.Float64, "VARCHAR": pl.String,
             "BOOLEAN": pl.Boolean, "DATE": pl.Date}  # fmt: skip
    return nw.from_native(frame.select(pl.col(one.name).cast(types[one.type]) for one in contract.columns).lazy())


def _figures(evaluation: Evaluation) -> str:
    lines = [
        f"| {name} | {one.value:.4f} | {one.low:.4f} to {one.high:.4f} |" for name, one in evaluation.metrics.items()
    ]
    return "\n".join(["| metric | value | 95 % |", "|---|---|---|", *lines])


# ---- tonight -------------------------------------------------------------------------------------------------------


@step("model_scores", MODEL_SCORES, MODEL_EXCLUSIONS, SCORE_REASONS, kinds={"model_scores": ("xgboost",)})
def model_scores(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Score everybody who could still buy with the champion of the day, and say why."""
    with warehouse.open(context) as night:
        serving = {day: registry.champion(night.session.connection, day) for day in night.days}
        loaded = {version: _loaded(night, version) for version in sorted({one for one in serving.values() if one})}
        night.session.input_hashes["champion"] = ",".join(loaded) or "none"
        models = {day: (version or "", loaded.get(version or "")) for day, version in serving.items()}
        # A version never changes; whether its files can be used does.
        sources = {day: f"{version} {model is not None}" for day, (version, model) in models.items()}
        if kept := night.unchanged(MODEL_SCORES, MODEL_EXCLUSIONS, SCORE_REASONS, sources=sources):
            yield from kept
            return
        scores = night.session.set_aside("scored", _scored(night, models))
        yield from night.commit(
            (MODEL_SCORES, scoring.percentiles(scores).select(*MODEL_SCORES.column_names)),
            (MODEL_EXCLUSIONS, (_excluded(night, day, *models[day]) for day in night.days)),
            (SCORE_REASONS, _explained(night, models)),
            version=serving[night.days[-1]],
            notes={"champion": serving[night.days[-1]] or NO_CHAMPION},
        )


Models = Mapping[date, tuple[str, Model | None]]  # the version that serves each day, and its model where it is there


def _asked(night: Night, day: date) -> nw.LazyFrame[Any]:
    """Everybody of `day` with the `reason` for which no model looks at them, null for the rest."""
    features = features_on(night, day)
    suppressed = night.read(RULE_SCORES, on=day).filter(~nw.col("suppression_reason").is_null())
    reasons_ = labels.exclusions(features, suppressed=suppressed)
    return features.join(reasons_, on=[PARTITION, "user_id"], how="left")


def _excluded(night: Night, day: date, version: str, model: Model | None) -> nw.LazyFrame[Any]:
    rows = _asked(night, day)
    if model is None:
        without = nw.lit(UNAVAILABLE if version else NO_CHAMPION)
        rows = rows.with_columns(reason=nw.when(nw.col("reason").is_null()).then(without).otherwise(nw.col("reason")))
    return rows.filter(~nw.col("reason").is_null()).select(*MODEL_EXCLUSIONS.column_names)


def _eligible(night: Night, models: Models) -> Iterator[tuple[date, str, Model, pl.DataFrame]]:
    """For each day with a model: the users whom it scores, some at a time, in the columns that it reads."""
    for day, (version, model) in models.items():
        if model is not None:
            rows = _asked(night, day).filter(nw.col("reason").is_null()).select(*scoring.scored_columns(model))
            for part in night.session.in_parts(rows, by="user_id", rows=USERS_AT_ONCE):
                yield day, version, model, part


def _scored(night: Night, models: Models) -> Iterator[nw.LazyFrame[Any]]:
    yield _daily(pl.DataFrame(schema=dict.fromkeys(MODEL_SCORES.column_names)), MODEL_SCORES, night.days[0])
    for day, version, model, part in _eligible(night, models):
        found = scoring.score_users(model, part).with_columns(
            model_version=pl.lit(version), feature_hash=part["row_hash"], percentile=pl.lit(None)
        )
        yield _daily(found, MODEL_SCORES, day)


def _explained(night: Night, models: Models) -> Iterator[nw.LazyFrame[Any]]:
    yield _daily(pl.DataFrame(schema=dict.fromkeys(SCORE_REASONS.column_names)), SCORE_REASONS, night.days[0])
    names = {f.name: f.description.rstrip(".") for f in feature_registry(night.settings.tags)}
    for day, version, model, part in _eligible(night, models):
        for found in reasons.reasons(model, part):
            said = reasons.sentences(found, names | {RULE_SCORE: RULE_SCORE_NAME}).rename(
                {"value": "feature_value", "code": "reason_code"}
            )
            yield _daily(said.with_columns(model_version=pl.lit(version)), SCORE_REASONS, day)


@step("intent_scores", INTENT_SCORES)
def intent_scores(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
    """Put rules and model side by side, and choose the score to act on."""
    with warehouse.open(context) as night:
        if kept := night.unchanged(INTENT_SCORES):
            yield from kept
            return
        window = {"since": night.days[0], "through": night.days[-1]}
        found = scoring.intent_scores(
            night.read(RULE_SCORES, **window),
            night.read(MODEL_SCORES, **window),
            night.read(MODEL_EXCLUSIONS, **window),
        )
        yield from night.commit((INTENT_SCORES, found))
