"""Steps of the train job: the training set, the candidate and its judgement; the better model serves from then on.

Belongs here: reading what models learn from, calling the room, letting a better model serve. Does not belong here: how
a model is trained or judged (`models/`), which version serves when (`records/activations.py`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from importlib import metadata

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.feature_registry import MOMENTS
from gesture_assets.features.tables import USER_FEATURES
from gesture_assets.frames import to_polars
from gesture_assets.models import leakage, reasons, splits, tuning, versions
from gesture_assets.models.cross_fitting import calibrated
from gesture_assets.models.evaluation import Evaluation
from gesture_assets.models.judgement import directions
from gesture_assets.models.parameters import RECIPES
from gesture_assets.models.segments import Segment, judged_segments
from gesture_assets.models.tables import (
    CANDIDATE_MODEL,
    DAYS_APART,
    FEATURE_IMPORTANCE,
    FEATURE_SCREENING,
    MODEL_EVALUATION,
    TRAINING_SET,
)
from gesture_assets.models.training import Parameters
from gesture_assets.models.training_set import training_days
from gesture_assets.nights.judging import Judgement, judge
from gesture_assets.nights.night import Days, Night, one_day
from gesture_assets.nights.steps import Built, Markdown, Step
from gesture_assets.nights.training_rows import (
    model_inputs,
    newest_date,
    outcomes,
    possible_inputs,
    recounted_features,
    training_frame,
)
from gesture_assets.nights.workshop import Again, Candidate, Card, Training, Workshop
from gesture_assets.records import activations
from gesture_assets.records.tracking import CHALLENGER, CHAMPION, REPRODUCED, REPRODUCES, Tracking
from gesture_assets.reports.plots import model_pictures
from gesture_assets.rules.tables import RULE_SCORES
from gesture_assets.settings import Settings

RECOUNTED = 1000  # people at most whose features are worked out anew: what is wrong for one in a hundred is in it

# ---- the training set ----------------------------------------------------------------------------------------------


def training_set(night: Night, days: Days) -> Built:
    """Find out who could still buy and who did, place them in parts, and screen the features for leaks."""
    settings, day = night.settings, one_day(night, days, command="gesture train")
    source = (night.options or Again()).card(settings)
    horizon = source.get("horizon_days", settings.label_horizon_days)
    # Later days, too: of one that is live already nobody is told to wait for it.
    live = night.session.live_counts(USER_FEATURES.name, [settings.partitions_start, date.max])
    feature_days = _feature_days(source) or training_days(live, known_until=day, horizon=horizon)
    eligible = outcomes(night, feature_days, day, horizon).filter(nw.col("is_eligible"))
    rows = to_polars(eligible.select(PARTITION, "user_id", "person_id", "bought_on", "matures_on", "label"))
    again_on = day + timedelta(days=DAYS_APART)
    by_time = splits.crossed_split(rows.sort(PARTITION, "user_id"), feature_days, again_on=again_on)
    shares = splits.Shares.with_validation((night.options or Again()).share(source))
    placed = splits.random_split(nw.from_native(by_time.lazy()), shares=shares).sort(PARTITION, "user_id").collect()
    parts = pl.DataFrame(placed.to_native()).rename({PARTITION: "feature_date"})
    parts = parts.with_columns(pl.lit(day).alias(PARTITION)).select(*TRAINING_SET.column_names)
    inputs = _inputs(settings, source)
    looked_at = (*inputs, *MOMENTS)  # which are no inputs, but the oldest and the newest that inputs are made of
    taught = training_frame(night, parts.filter(pl.col("split") != splits.TEST), looked_at)
    # What a row may know ends with its own day, not with that of the training.
    screened = leakage.screen(
        taught.with_columns(pl.col("feature_date").alias(PARTITION)),
        "label",
        looked_at,
        leaks=_leaks_of_later_days(night, taught, inputs),
    )
    screened = screened.with_columns(pl.lit(day).alias(PARTITION)).select(*FEATURE_SCREENING.column_names)
    return Built(
        {TRAINING_SET: nw.from_native(parts.lazy()), FEATURE_SCREENING: nw.from_native(screened.lazy())},
        notes={
            "feature_days": ", ".join(map(str, feature_days)),
            "eligible": len(parts),
            "buyers": int(parts["label"].sum()),
            "judged_by": int(parts.filter(pl.col("split") != splits.TRAIN)["label"].sum()),
            "suspects": ", ".join(screened.filter(pl.col("verdict") != "fine")["feature"]) or "none",
        },
    )


def _leaks_of_later_days(night: Night, taught: pl.DataFrame, inputs: Sequence[str]) -> dict[str, str]:
    """The inputs that cannot be had from what was known on the newest day of `taught`, of some of its people."""
    newest = newest_date(taught["feature_date"])
    rows = taught.filter(pl.col("feature_date") == newest)
    rows = rows.gather_every(-(-len(rows) // RECOUNTED))
    recounted = to_polars(recounted_features(night, newest, rows["user_id"].to_list()))
    differing = leakage.differs_from_its_past(rows, recounted, inputs)
    again = f'gesture run --date {newest} --rebuild --restate --reason "features of an older version"'
    return {name: f"{why}; were they built by an older version, then  {again}" for name, why in differing.items()}


def _feature_days(source: Card) -> tuple[date, ...]:
    return tuple(date.fromisoformat(day) for day in json.loads(source.get("feature_days", "[]")))


def _inputs(settings: Settings, source: Card) -> tuple[str, ...]:
    """The features of the version that is trained once more, or those that models read now."""
    return tuple(json.loads(source["features"])) if source else model_inputs(settings)


# ---- the candidate -------------------------------------------------------------------------------------------------


def candidate_model(night: Night, days: Days) -> Built:
    """Train a model, judge it beside the champion on rows that neither has seen, and let the better one serve."""
    day, options, settings = one_day(night, days, command="gesture train"), night.options or Training(), night.settings
    source = options.card(settings)
    parts = to_polars(night.read(TRAINING_SET, on=day))
    strong_alone = leakage.strong_alone(to_polars(night.read(FEATURE_SCREENING, on=day)))
    inputs = _inputs(settings, source)
    frame = training_frame(night, parts, tuple(dict.fromkeys((*inputs, *possible_inputs(settings)))))
    shop = Workshop(night, day, options, source, parts, frame, inputs)
    tracking = Tracking(settings.mlflow_database, settings.mlflow_artifacts)
    tracking.end_killed()
    tags = {"dagster_run_id": night.session.run.run_id, "as_of_date": str(day), "data_hash": shop.data_hash}
    tags |= {REPRODUCES: options.from_version} if source else {}
    with tracking.run(f"train {day}", tags=tags) as run_id:
        candidate = _candidate(shop, tracking, run_id)
        judgement = judge(shop, candidate)
        if source:
            tracking.log(run_id, tags={REPRODUCED: judgement.because})
        card = source if candidate.is_again else _card(shop, candidate, judgement, run_id)
        test = candidate.judged.rows
        weights = judgement.weights
        pictures = model_pictures(
            test["label"],
            judgement.probabilities,
            judgement.parts["test"],
            weights,
            judgement.curve,
        )
        tracking.log(
            run_id,
            parameters=candidate.parameters.as_dict() | {"validation_split": options.share(source)},
            metrics=judgement.figures | judgement.summary,
            tags={
                "decision": str(card["decision"]),
                "because": judgement.because,
                "gesture_version": candidate.version,
            },
            images={f"pictures/{picture.name}.svg": picture.svg for picture in pictures},
        )
        if not candidate.is_again:
            _keep(shop, candidate, judgement, card, tracking, run_id, strong_alone)
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
    parameters = RECIPES[shop.recipe].overridden({"seed": shop.options.seed, **own})
    if shop.options.tune:
        parameters = _tuned(shop, tracking, run_id, parameters)
    segments = _segments(shop, parameters)
    scopes = [scope for scope, segment in segments.items() if segment.is_own]
    model = shop.fit(shop.taught, parameters, scopes=scopes, min_rows=shop.night.settings.min_training_samples)
    judged = shop.cross_fitted(parameters, scopes=scopes)
    model = calibrated(model, judged)
    seconds = tracking.seconds(run_id)
    is_again = model.fingerprint == shop.source.get("fingerprint")
    version = versions.version_name(shop.night.session.run.now, model.fingerprint)
    version = shop.options.from_version if is_again else version
    return Candidate(model, judged, version, parameters, segments, is_again, seconds)


def _segments(shop: Workshop, parameters: Parameters) -> dict[str, Segment]:
    """Which segments have a model of their own, decided on persons of one fold; none where no column is asked for."""
    if not shop.segment_column:
        return {}
    rows, asked = _learnt_and_asked(shop)
    monotone = directions(shop.inputs)
    return judged_segments(shop.fit(rows, parameters), shop.segment_column, rows, asked, monotone=monotone)


def _learnt_and_asked(shop: Workshop) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to learn from, by persons: four folds, and the fifth that choices before the training are asked of."""
    is_asked = pl.col("fold") == 1
    return shop.taught.filter(~is_asked), shop.taught.filter(is_asked)


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
        "recipe": shop.recipe,
        "rule_weight": model.curve.weight if model.curve else 0.0,
        "code_version": metadata.version("gesture_assets"),
        "calibration": model.calibrator.method,
        "feature_days": json.dumps([str(day) for day in shop.parts["feature_date"].unique().sort()]),
        "horizon_days": shop.source.get("horizon_days", settings.label_horizon_days),
        "training_samples": len(shop.taught),
        "validation_samples": len(candidate.judged.rows),
        "test_samples": len(candidate.judged.rows),
        "base_rate": model.base_rate,
        "training_seconds": candidate.seconds,
        "data_verdict": judgement.curve.verdict,
        "data_because": judgement.curve.because,
        "missing_numbers": model.encoding.missing,
        "validation_split": shop.options.share(shop.source),
        "segment_models": json.dumps({scope: segment.sentence for scope, segment in candidate.segments.items()}),
        "mlflow_run_id": run_id,
        "parent_version": judgement.champion,
        "decision": "promoted" if judgement.is_promoted else "kept",
        "because": judgement.because,
    }


def _keep(
    shop: Workshop,
    candidate: Candidate,
    judgement: Judgement,
    card: Card,
    tracking: Tracking,
    run_id: str,
    strong_alone: Mapping[str, float],
) -> None:
    """Save the version's files and register it."""
    figures: dict[str, object] = {"test": judgement.figures, **judgement.summary, "model_version": candidate.version}
    figures |= {"not_passed": judgement.not_passed, "strong_alone": strong_alone}
    tested = candidate.judged.rows.with_columns(probability=candidate.probabilities)
    folder = versions.save_version(candidate.model, card, shop.night.settings.models, figures=figures, tested=tested)
    tracking.log(run_id, files=[folder])
    tracking.register(run_id, candidate.model, candidate.version)


def _let_serve(shop: Workshop, candidate: Candidate, judgement: Judgement, tracking: Tracking) -> None:
    """Activate the candidate where it is better; one that was trained again has its place already."""
    if candidate.is_again:
        return
    run, champion = shop.night.session.run, judgement.champion
    if judgement.is_promoted:
        # The first champion also scores the day it was trained on, where that is the newest: older ones were acted on;
        # a later one leaves that day its own.
        is_newest = shop.day + timedelta(days=1) >= run.now.date()
        activations.activate(
            shop.night.session.connection,
            candidate.version,
            since=shop.day if is_newest and not champion else shop.day + timedelta(days=1),
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

    rows, asked = _learnt_and_asked(shop)
    search = tuning.tune(
        rows,
        asked,
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
