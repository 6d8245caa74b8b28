"""Assets of models: the training set, the candidate and its judgement; tonight's model scores with their reasons.

Belongs here: reading what models learn from and score, calling the room, committing, and letting a better model serve.
Does not belong here: how a model is trained or judged (`models/`), which version serves (`records/activations.py`).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib import metadata
from typing import Any, Literal

import dagster as dg
import narwhals as nw
import polars as pl
from pydantic import Field

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.defs.common import (
    TYPES,
    USER_FEATURES,
    VALIDATED_SUBSCRIBERS,
    Events,
    Night,
    WarehouseResource,
    step,
)
from gesture_assets.defs.scores import rule_set_of
from gesture_assets.errors import ConfigError, ModelMismatch
from gesture_assets.events.tables import DAILY_ACTIVITY, IDENTITY_LINKS
from gesture_assets.features.feature_registry import IDENTIFIERS, feature_registry
from gesture_assets.frames import Frame, concat, to_polars
from gesture_assets.models import labels, leakage, reasons, scoring, splits, tuning, versions
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
from gesture_assets.models.matrix import FLAG
from gesture_assets.models.segments import Segment, with_segments
from gesture_assets.models.tables import (
    CANDIDATE_MODEL,
    FEATURE_IMPORTANCE,
    FEATURE_SCREENING,
    INTENT_SCORES,
    MODEL_EVALUATION,
    MODEL_EXCLUSIONS,
    MODEL_SCORES,
    NO_CHAMPION,
    SCORE_REASONS,
    SPLITS,
    TRAINING_SET,
    UNAVAILABLE,
)
from gesture_assets.models.tracking import CHALLENGER, CHAMPION, REPRODUCED, REPRODUCES, Tracking
from gesture_assets.models.training import Model, Parameters, column_of, train
from gesture_assets.models.training_set import RULE_SCORE, training_days, with_rule_score
from gesture_assets.records import activations as registry
from gesture_assets.reports.plots import distribution, model_pictures
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.vocabulary.scoring import SEGMENTS, Missing
from gesture_assets.warehouse.run_info import window_of

# Features that say whether somebody has bought: the same for all who are eligible.
KNOWN_OUTCOMES = ("made_purchase", f"days_since_last_{labels.CONVERSION}")
RULE_SCORE_NAME = "Points by the rules"
USERS_AT_ONCE = 200_000


def model_inputs(night: Night) -> tuple[str, ...]:
    """What models read: every feature that they may, but what the settings leave out."""
    return tuple(name for name in possible_inputs(night) if name not in night.settings.excluded_features)


def possible_inputs(night: Night) -> tuple[str, ...]:
    """What models may read: every feature but identifiers, moments and the outcome itself."""
    left_out = {*IDENTIFIERS, *KNOWN_OUTCOMES}
    names = [feature.name for feature in feature_registry(night.settings.tags) if feature.name not in left_out]
    return (*(name for name in names if not name.startswith(f"{labels.CONVERSION}_count")), RULE_SCORE)


def features_on(night: Night, day: date) -> Frame:
    """The features of everybody on `day`, the rules' score among them."""
    return with_rule_score(night.read(USER_FEATURES, on=day), night.read(RULE_SCORES, on=day))


class Again(dg.Config):
    """Which version to train once more, on its own days, features and horizon; empty: a new one."""

    from_version: str = ""

    def card(self, night: Night) -> dict[str, Any]:
        """What that version resolves to; empty for a new one."""
        return versions.card_of(night.settings.models, self.from_version) if self.from_version else {}


@step("training_set", TRAINING_SET, FEATURE_SCREENING)
def training_set(context: dg.AssetExecutionContext, warehouse: WarehouseResource, config: Again) -> Events:
    """Find out who could still buy and who did, place them in parts, and screen the features for leaks."""
    with warehouse.open(context) as night:
        day, source = _one_day(night), config.card(night)
        horizon = source.get("horizon_days", night.settings.label_horizon_days)
        live = night.session.live_counts(USER_FEATURES.name, [night.settings.partitions_start, day])
        days = _feature_days(source) or training_days(live, known_until=day, horizon=horizon)
        eligible = outcomes(night, days, day, horizon).filter(nw.col("is_eligible"))
        found = to_polars(eligible.select(PARTITION, "user_id", "person_id", "matures_on", "label"))
        rows = nw.from_native(found.lazy())
        placed = splits.random_split(splits.time_split(rows, days)).sort(PARTITION, "user_id").collect()
        parts = pl.DataFrame(placed.to_native()).rename({PARTITION: "feature_date"})
        parts = parts.with_columns(pl.lit(day).alias(PARTITION)).select(*TRAINING_SET.column_names)
        inputs = _inputs(night, source)
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
            "The days of a training",
            expected="one day",
            found=window_of(night.days),
            where="the run's partitions",
            next_step=f"gesture train --date {night.days[-1]}",
        )
    return first


def input_names(night: Night) -> dict[str, str]:
    """Input of a model -> what people call it."""
    names = {one.name: one.description.rstrip(".") for one in feature_registry(night.settings.tags)}
    names[RULE_SCORE] = RULE_SCORE_NAME
    return names | {FLAG + name: f"Not known: {meaning}" for name, meaning in names.items()}


def _feature_days(source: Mapping[str, Any]) -> tuple[date, ...]:
    return tuple(date.fromisoformat(one) for one in json.loads(source.get("feature_days", "[]")))


def _inputs(night: Night, source: Mapping[str, Any]) -> tuple[str, ...]:
    """The features of the version that is trained once more, or those that models read now."""
    return tuple(json.loads(source["features"])) if source else model_inputs(night)


def _segment_column(night: Night, source: Mapping[str, Any]) -> str:
    """The column whose values may have models of their own: that of the version trained once more, or the setting's."""
    # Versions of before segments had models have none.
    return column_of(json.loads(source.get("segment_models") or "{}")) if source else night.settings.segment_models


def _missing(night: Night, source: Mapping[str, Any]) -> Missing:
    """What stands for a missing number: what the version trained once more has, or the setting."""
    return (source.get("missing_numbers") or "native") if source else night.settings.missing_numbers


def outcomes(night: Night, days: Collection[date], known_until: date, horizon: int) -> Frame:
    """`labels.labels` of everybody of `days`, as known by the end of `known_until`, as a table."""
    as_of = sorted(set(days))
    crm = sorted({*as_of, *(day + timedelta(days=horizon) for day in as_of)})
    found = labels.labels(
        concat([night.read(USER_FEATURES, on=day) for day in as_of]),
        night.read(DAILY_ACTIVITY, through=known_until),
        night.read(IDENTITY_LINKS, through=known_until),
        concat([night.read(VALIDATED_SUBSCRIBERS, on=day) for day in crm]),
        known_until=known_until,
        horizon=horizon,
        include_bots=night.settings.include_bots,
        name_step=night.session.name_step,
    )
    return night.session.set_aside("outcomes", found)


def training_frame(
    night: Night, parts: pl.DataFrame, inputs: Sequence[str], *, parts_of: Sequence[str] = SPLITS
) -> pl.DataFrame:
    """The rows of `parts` that are in one of the parts, with their features, in order of day and user."""
    wanted = parts.filter(pl.col("split").is_in(parts_of))
    frames = []
    for (day,), rows in wanted.partition_by("feature_date", as_dict=True, maintain_order=True).items():
        names = dict.fromkeys(("user_id", "mailchimp_id", *SEGMENTS, *inputs))
        frame = to_polars(features_on(night, day).select(*names))
        frames.append(rows.join(frame, on="user_id", how="inner", maintain_order="left"))
    return pl.concat(frames)


class Training(Again):
    """How to train: parameters by name, a search first, and letting the model serve for a reason of one's own."""

    parameters: dict[str, str] = Field(default_factory=dict)
    tune: bool = False
    trials: int = tuning.TRIALS
    sampler: Literal["tpe", "random"] = "tpe"
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
        source = config.card(night)
        parts = to_polars(night.read(TRAINING_SET, on=day))
        night.read(FEATURE_SCREENING, on=day)
        inputs = _inputs(night, source)
        frame = training_frame(night, parts, tuple(dict.fromkeys((*inputs, *possible_inputs(night)))))
        pieces = {part: frame.filter(pl.col("split") == part) for part in SPLITS}
        tracking = Tracking(settings.mlflow_database, settings.mlflow_artifacts)
        tracking.end_killed()
        tags = {"dagster_run_id": context.run.run_id, "as_of_date": str(day), "data_hash": _data_hash(night)}
        tags |= {REPRODUCES: config.from_version} if source else {}
        with tracking.run(f"train {day}", tags=tags) as run_id:
            own = {**json.loads(source.get("parameters", "{}")), **config.parameters}
            parameters = Parameters(seed=config.seed).overridden(own)
            missing = _missing(night, source)
            if config.tune:
                parameters = _tuned(night, tracking, run_id, pieces, inputs, parameters, missing, config)
            level = _level(night, parts, inputs)
            model = _trained(night, pieces, inputs, parameters, level, missing=missing)
            segments: dict[str, Segment] = {}
            if column := _segment_column(night, source):
                model, segments = with_segments(model, column, pieces, level, monotone=directions(inputs))
            said = {scope: one.sentence for scope, one in segments.items()}
            seconds = tracking.seconds(run_id)
            is_again = model.fingerprint == source.get("fingerprint")
            version = versions.version_name(night.session.run.now, model.fingerprint)
            version = config.from_version if is_again else version
            champion = registry.champion(connection, day + timedelta(days=1))
            champion = source["parent_version"] if is_again else champion
            served = _loaded(night, champion)
            test = pieces["test"]
            found = _judged(night, frame, pieces, inputs, model, parameters, level)
            behaved = behaviours(model, test, segments=SEGMENTS)
            comparison = served and compare(
                test["label"], served.probabilities(test), model.probabilities(test), groups=test["person_id"]
            )
            churned = served and _churn(night, test, served, model)
            promoted, because = decide(behaved, comparison, champion, churned=churned, forced=config.force_reason)
            beside = found.beside(version, segments)
            rows = pl.concat([evaluation_rows(version, found.parts, behaved), beside], how="diagonal")
            if served and champion:
                rows = pl.concat([rows, evaluation_rows(champion, {"test": _evaluated(served, test)})], how="diagonal")
            weights = importance(model, test, test["label"], names=input_names(night))
            figures = {name: one.value for name, one in found.parts["test"].metrics.items() if one.value == one.value}
            if source:
                differs = versions.largest_difference(settings.models, config.from_version, figures)
                because += f"; {'equals' if is_again else 'does not equal'} {config.from_version}, {differs}"
                tracking.log(run_id, tags={REPRODUCED: because})
            card = (
                source
                if is_again
                else {
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
                    "horizon_days": source.get("horizon_days", settings.label_horizon_days),
                    "training_samples": len(pieces["train"]),
                    "validation_samples": len(pieces["validation"]),
                    "test_samples": len(test),
                    "base_rate": model.base_rate,
                    "training_seconds": seconds,
                    "data_verdict": found.curve.verdict,
                    "data_because": found.curve.because,
                    "missing_numbers": model.encoding.missing,
                    "segment_models": json.dumps(said),
                    "mlflow_run_id": run_id,
                    "parent_version": champion,
                    "decision": "promoted" if promoted else "kept",
                    "because": because,
                }
            )
            pictures = model_pictures(
                test["label"], model.probabilities(test), found.parts["test"], weights, found.curve
            )
            tracking.log(
                run_id,
                parameters=parameters.as_dict(),
                metrics=figures | found.summary,
                tags={"decision": str(card["decision"]), "gesture_version": version},
                images={f"pictures/{one.name}.png": one.png for one in pictures},
            )
            if not is_again:
                kept = {"test": figures, **found.summary, "model_version": version}
                folder = versions.save_version(model, card, settings.models, figures=kept, tested=test)
                tracking.log(run_id, files=[folder])
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
                "data": f"{card['data_verdict']}: {card['data_because']}",
                "segments": dg.MetadataValue.json(said),
                "test": dg.MetadataValue.md(_figures(found.parts["test"])),
                **{one.name: dg.MetadataValue.md(one.markdown) for one in pictures},
            },
        )
        if is_again:  # it has its place already, and serves or not as it did
            return
        if promoted:
            # The first champion also scores the day it was trained on; a later one leaves that day its own.
            since = day + timedelta(days=1) if champion else day
            registry.activate(
                connection,
                version,
                since=since,
                now=night.session.run.now,
                action="promoted",
                reason=because,
                run_id=context.run.run_id,
            )
        tracking.alias(CHAMPION, version if promoted else champion)
        tracking.alias(CHALLENGER, None if promoted else version)


@dataclass(frozen=True)
class _Judged:
    """How good a model is, and what stands beside it on the same test rows."""

    parts: Mapping[str, Evaluation]
    against_rules: Comparison
    without_rules: Comparison
    curve: LearningCurve

    def beside(self, version: str, segments: Mapping[str, Segment]) -> pl.DataFrame:
        return beside_rows(
            version,
            against_rules=self.against_rules,
            without_rules=self.without_rules,
            curve=self.curve,
            segments=segments,
        )

    @property
    def summary(self) -> dict[str, float]:
        """The ROC AUC of what stands beside it, by name."""
        return {f"{part}_roc_auc": self.parts[part].metrics["roc_auc"].value for part in (RULES, WITHOUT_RULES)}


def _level(night: Night, parts: pl.DataFrame, inputs: Sequence[str]) -> pl.DataFrame:
    """Everybody on the day that calibrates, but those who are tested on."""
    newest = parts.filter(pl.col("split") == "validation")["feature_date"].max()
    assert isinstance(newest, date)
    rows = splits.not_tested(parts, newest, day_column="feature_date")
    return training_frame(night, rows, inputs, parts_of=(*SPLITS, splits.LEFT_OUT))


def _trained(
    night: Night,
    pieces: Mapping[str, pl.DataFrame],
    inputs: Sequence[str],
    parameters: Parameters,
    level: pl.DataFrame | None = None,
    *,
    missing: Missing,
) -> Model:
    return train(
        pieces["train"],
        "label",
        inputs,
        parameters=parameters,
        validation=pieces["validation"],
        level=level,
        monotone=directions(inputs),
        min_rows=night.settings.min_training_samples,
        missing=missing,
    )


def _judged(
    night: Night,
    frame: pl.DataFrame,
    pieces: Mapping[str, pl.DataFrame],
    inputs: Sequence[str],
    model: Model,
    parameters: Parameters,
    level: pl.DataFrame,
) -> _Judged:
    """The model on every part; document 003's random split, the rules alone, and a model that does not read them."""
    by_chance = {part: frame.filter(pl.col("random_split") == part) for part in SPLITS}
    missing = model.encoding.missing
    others = [name for name in inputs if name != RULE_SCORE]
    alone = _trained(night, pieces, others, parameters, level, missing=missing)
    test = pieces["test"]
    points = test[RULE_SCORE].fill_null(0) / 100
    label, groups, own = test["label"], test["person_id"], model.probabilities(test)
    without_members = replace(model, members={}).probabilities(test)  # beside a model that has no members either
    return _Judged(
        {part: _evaluated(model, rows) for part, rows in pieces.items()}
        | {
            "random_test": _evaluated(
                _trained(night, by_chance, inputs, parameters, missing=missing), by_chance["test"]
            ),
            RULES: evaluate(label, points, groups=groups),
            WITHOUT_RULES: _evaluated(alone, test),
        },
        against_rules=compare(label, points, own, groups=groups),
        without_rules=compare(label, alone.probabilities(test), without_members, groups=groups),
        curve=learning_curve(pieces["train"], "label", inputs, test, parameters=parameters),
    )


def _tuned(
    night: Night,
    tracking: Tracking,
    parent: str,
    pieces: Mapping[str, pl.DataFrame],
    inputs: Sequence[str],
    parameters: Parameters,
    missing: Missing,
    config: Training,
) -> Parameters:
    """The best parameters of a search that goes on where a killed one stopped; each trial is a child run of MLflow,
    those of before it was killed too.
    """
    made: set[int] = set()

    def logged(trial: tuning.Trial) -> None:
        made.add(trial.number)
        with tracking.run(f"trial {trial.number}", tags={}, parent=parent) as run_id:
            figures = {"roc_auc": trial.roc_auc, "f1": trial.f1, "recall": trial.recall, "seconds": trial.seconds}
            tracking.log(run_id, parameters=trial.parameters.as_dict(), metrics=figures)

    data = _data_hash(night)
    found = tuning.tune(
        pieces["train"],
        pieces["validation"],
        "label",
        inputs,
        parameters=parameters,
        trials=config.trials,
        sampler=config.sampler,
        workers=tuning.WORKERS[config.sampler],
        seed=config.seed,
        monotone=directions(inputs),
        missing=missing,
        storage=str(night.settings.data_dir / "tuning.journal"),
        study=f"{data[:12]}-{missing}-{config.sampler}-{config.seed}",
        on_trial=logged,
    )
    for trial in found.trials:
        if trial.number not in made:
            logged(trial)
    tracking.log(parent, tags={"trials": str(len(found.trials)), "resumed": str(found.resumed)})
    return found.best.parameters


def _evaluated(model: Model, rows: pl.DataFrame) -> Evaluation:
    probabilities = model.probabilities(rows)
    return evaluate(
        rows["label"],
        probabilities,
        segments={column: rows[column] for column in SEGMENTS},
        threshold=best_threshold(rows["label"], probabilities),
        groups=rows["person_id"],
    )


def _churn(night: Night, test: pl.DataFrame, before: Model, after: Model) -> Churn:
    """What becomes of the scores of the newest test day when the candidate takes over."""
    rows = test.filter(pl.col("feature_date") == pl.col("feature_date").max())
    scores = [scoring.score_users(model, rows).select("user_id", "score") for model in (before, after)]
    return churn(scores[0], scores[1], rule_set_of(night.settings).bands, budget=night.settings.churn_budget)


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
    return versions.digest({**night.session.inputs_read, **night.inputs})


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


def _daily(rows: pl.DataFrame, contract: Contract, day: date) -> Frame:
    """`rows` in the columns and types of `contract`."""
    frame = rows.with_columns(pl.lit(day).alias(PARTITION))
    return nw.from_native(frame.select(pl.col(one.name).cast(TYPES[one.type]) for one in contract.columns).lazy())


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
        night.inputs["champion"] = ",".join(loaded) or "none"
        models = {day: (version or "", loaded.get(version or "")) for day, version in serving.items()}
        # A version never changes; whether its files can be used does.
        sources = {day: f"{version} {model is not None}" for day, (version, model) in models.items()}
        if kept := night.unchanged(MODEL_SCORES, MODEL_EXCLUSIONS, SCORE_REASONS, sources=sources):
            yield from kept
            return
        asked = _asked(night, models)
        scores = night.session.set_aside("scored", _scored(night, models, asked))
        yield from night.commit(
            (MODEL_SCORES, scoring.percentiles(scores).select(*MODEL_SCORES.column_names)),
            (MODEL_EXCLUSIONS, asked.filter(~nw.col("reason").is_null()).select(*MODEL_EXCLUSIONS.column_names)),
            (SCORE_REASONS, _explained(night, models, asked)),
            version=serving[night.days[-1]],
            notes={"champion": serving[night.days[-1]] or NO_CHAMPION, **_spread(scores, night.days[-1])},
        )


def _spread(scores: Frame, day: date) -> dict[str, Any]:
    """How the probabilities of `day` are spread, as a picture; nothing where nobody was scored."""
    found = to_polars(scores.filter(nw.col(PARTITION) == nw.lit(day).cast(nw.Date)).select("probability"))
    return {"distribution": dg.MetadataValue.md(distribution(found["probability"]).markdown)} if len(found) else {}


Models = Mapping[date, tuple[str, Model | None]]  # the version that serves each day, and its model where it is there


def _asked(night: Night, models: Models) -> Frame:
    """Everybody of the run's days with the `reason` for which no model scores them, null for the rest."""
    window = {"since": night.days[0], "through": night.days[-1]}
    suppressed = night.read(RULE_SCORES, **window).filter(~nw.col("suppression_reason").is_null())
    found = labels.exclusions(night.read(USER_FEATURES, **window), suppressed=suppressed)
    reason = nw.col("reason")
    said = {day: UNAVAILABLE if version else NO_CHAMPION for day, (version, model) in models.items() if model is None}
    for without in (NO_CHAMPION, UNAVAILABLE):
        days = [day for day, one in said.items() if one == without]
        is_without = reason.is_null() & nw.col(PARTITION).is_in(days)
        found = found.with_columns(reason=nw.when(is_without).then(nw.lit(without)).otherwise(reason))
    return night.session.set_aside("asked", found)


def _eligible(night: Night, models: Models, asked: Frame) -> Iterator[tuple[date, str, Model, pl.DataFrame]]:
    """For each day with a model: the users whom it scores, some at a time, in the columns that it reads."""
    for day, (version, model) in models.items():
        if model is not None:
            who = asked.filter(nw.col(PARTITION) == nw.lit(day).cast(nw.Date), nw.col("reason").is_null())
            rows = features_on(night, day).join(who.select("user_id"), on="user_id", how="semi")
            for part in night.session.in_parts(
                rows.select(*scoring.scored_columns(model)), by="user_id", rows=USERS_AT_ONCE
            ):
                yield day, version, model, part


def _scored(night: Night, models: Models, asked: Frame) -> Iterator[Frame]:
    yield _daily(pl.DataFrame(schema=dict.fromkeys(MODEL_SCORES.column_names)), MODEL_SCORES, night.days[0])
    for day, version, model, part in _eligible(night, models, asked):
        found = scoring.score_users(model, part).with_columns(
            model_version=pl.lit(version), feature_hash=part["row_hash"], percentile=pl.lit(None)
        )
        yield _daily(found, MODEL_SCORES, day)


def _explained(night: Night, models: Models, asked: Frame) -> Iterator[Frame]:
    yield _daily(pl.DataFrame(schema=dict.fromkeys(SCORE_REASONS.column_names)), SCORE_REASONS, night.days[0])
    names = input_names(night)
    for day, version, model, part in _eligible(night, models, asked):
        for found in reasons.reasons(model, part):
            said = reasons.sentences(found, names).rename({"value": "feature_value", "code": "reason_code"})
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
