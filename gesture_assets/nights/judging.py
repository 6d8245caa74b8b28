"""Judging a candidate: beside the champion, the rules, and models that were trained otherwise.

Belongs here: what is compared on which rows, and what follows. Does not belong here: measures and verdicts (`models/`),
letting a model serve (`training.py`).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl

from gesture_assets.errors import ModelMismatch
from gesture_assets.models import scoring, splits, versions
from gesture_assets.models.behaviour import Behaviour, behaviours
from gesture_assets.models.calibration import Floats
from gesture_assets.models.churn import Churn, churn
from gesture_assets.models.cross_fitting import OutOfFold, calibrated, cross_calibrated, out_of_fold
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
from gesture_assets.models.judgement import (
    RULES,
    WITHOUT_RULES,
    beside_rows,
    decide,
    evaluation_rows,
    if_few,
    intent_events,
    sooner_rows,
)
from gesture_assets.models.leakage import importance_drops
from gesture_assets.models.measures import CALIBRATION
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.rule_curve import RULE_SCORE
from gesture_assets.models.segments import MARGIN
from gesture_assets.models.training import Model
from gesture_assets.nights.night import Night
from gesture_assets.nights.rules import rule_set_of
from gesture_assets.nights.training_rows import input_names, model_inputs
from gesture_assets.nights.workshop import Candidate, Workshop
from gesture_assets.records import activations
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.scoring import SEGMENTS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """How good a model is, what stands beside it on the same test rows, and what follows.

    `probabilities` are those that calibration was measured on, by calibrators of other persons; `weights` what the
    model goes by on these rows (`importance`); `not_passed` the tests that should keep it from serving.
    """

    parts: Mapping[str, Evaluation]
    probabilities: Floats
    weights: pl.DataFrame
    curve: LearningCurve
    rows: pl.DataFrame
    champion: str | None
    is_promoted: bool
    because: str
    not_passed: list[str]

    @property
    def figures(self) -> dict[str, float]:
        """Metric -> value on the test part, of those that have one."""
        metrics = self.parts["test"].metrics
        return {name: metric.value for name, metric in metrics.items() if metric.value == metric.value}

    @property
    def summary(self) -> dict[str, float]:
        """The ROC AUC of what stands beside it, by name."""
        return {f"{part}_roc_auc": self.parts[part].metrics["roc_auc"].value for part in (RULES, WITHOUT_RULES)}


def judge(shop: Workshop, candidate: Candidate) -> Judgement:
    """Hold the candidate against what serves, a model or the rules, and against document 003's random split."""
    night, test, own = shop.night, candidate.judged.rows, candidate.probabilities
    champion = activations.champion(night.session.connection, shop.day + timedelta(days=1))
    champion = shop.source["parent_version"] if candidate.is_again else champion
    served = usable_model(night, champion)
    label, groups = test["label"], test["person_id"]
    against_rules = compare(label, _points(test), own, groups=groups)
    comparison = _beside_champion(candidate.model, served, test) if served else against_rules
    behaved = behaviours(candidate.model, test, event_types=intent_events(shop.taught), segments=SEGMENTS)
    names = input_names(night.settings)
    weights = importance(candidate.model, test, label, names=names)
    # Of the judged rows the model learnt those before the last day: what has run out would not show in them.
    later = test.filter(pl.col("split") == splits.TEST)
    shares = (importance(candidate.model, rows, rows["label"]) for rows in (shop.taught, later))
    behaved.append(_carries_the_later_days(*shares))
    is_promoted, because = decide(
        behaved,
        comparison,
        champion if served else None,
        against_rules=against_rules,
        churned=served and _churn(night.settings, test, served, candidate.model),
        forced=shop.options.force_reason,
    )
    because += if_few(test, shop.day)
    honest = cross_calibrated(candidate.model, candidate.judged)
    parts, without_rules, curve = _beside(shop, candidate, honest)
    beside = beside_rows(
        candidate.version,
        against_rules=against_rules,
        without_rules=without_rules,
        curve=curve,
        segments=candidate.segments,
    )
    sooner = sooner_rows(candidate.version, test, own)
    rows = pl.concat([evaluation_rows(candidate.version, parts, behaved), beside, sooner], how="diagonal")
    if served and champion:
        rows = pl.concat(
            [rows, evaluation_rows(champion, {"test": _evaluated(test, served.probabilities(test))})], how="diagonal"
        )
    not_passed = [f"{one.name} ({one.because})" for one in behaved if one.severity == "ERROR" and not one.passed]
    judgement = Judgement(parts, honest, weights, curve, rows, champion, is_promoted, because, not_passed)
    if not shop.source:
        return judgement
    repeated = shop.options.from_version
    differs = versions.largest_difference(night.settings.models, repeated, judgement.figures)
    equals = "equals" if candidate.is_again else "does not equal"
    return replace(judgement, because=f"{because}; {equals} {repeated}, {differs}")


def _beside_champion(model: Model, served: Model, judged: pl.DataFrame) -> Comparison:
    """Both as they serve, on the last day: neither learnt from it, and both may have learnt from its people before.

    Out of fold the candidate would know less of these people than the champion does.
    """
    last = judged.filter(pl.col("split") == splits.TEST)
    both = (one.probabilities(last) for one in (served, model))
    return compare(last["label"], *both, groups=last["person_id"])


def _beside(
    shop: Workshop, candidate: Candidate, honest: Floats
) -> tuple[dict[str, Evaluation], Comparison, LearningCurve]:
    """The model on every part; document 003's random split, the rules alone, and a model that does not read them."""
    model, parameters, test = candidate.model, candidate.parameters, candidate.judged.rows
    by_chance = {part: shop.frame.filter(pl.col("random_split") == part) for part in splits.PARTS}
    chance = shop.fit(by_chance["train"], parameters, validation=by_chance["validation"])
    others = [name for name in shop.inputs if name != RULE_SCORE]
    alone = shop.cross_fitted(parameters, inputs=others)
    without = _calibrated(model, alone)
    parts = {
        "train": _evaluated(shop.taught, model.probabilities(shop.taught)),
        "test": _judged(candidate, honest),
        "random_test": _evaluated(by_chance["test"], chance.probabilities(by_chance["test"])),
        RULES: evaluate(test["label"], _points(test), groups=test["person_id"]),
        WITHOUT_RULES: _evaluated(test, without),
    }
    own = candidate.probabilities
    if model.members:  # beside one without members
        own = _calibrated(model, shop.cross_fitted(parameters))
    gain = compare(test["label"], without, own, groups=test["person_id"])
    return parts, gain, _curve(shop, parameters)


def _calibrated(model: Model, judged: OutOfFold) -> Floats:
    """The probabilities of what models without members say of the judged rows; `model` brings the target."""
    return calibrated(replace(model, members={}), judged).probabilities_of(judged.margins, judged.scopes)


def _curve(shop: Workshop, parameters: Parameters) -> LearningCurve:
    """What growing parts of the rows bring on the last day, whose rows are asked out of fold."""
    last = shop.frame.filter(pl.col("split") == splits.TEST)

    def predicted_from(part: pl.DataFrame) -> Floats:
        rows = pl.concat([part.with_columns(split=pl.lit(splits.TRAIN)), last])
        judged = out_of_fold(rows, lambda learnt: shop.fit(learnt, parameters))
        return MARGIN.probabilities(judged.margins)

    return learning_curve(shop.taught, "label", last, predicted_from)


def _carries_the_later_days(taught: pl.DataFrame, judged: pl.DataFrame) -> Behaviour:
    """What carries the model on the rows it learnt from carries it later too: else it knew something that ran out."""
    shares = [dict(weights.select("feature", "permutation").iter_rows()) for weights in (taught, judged)]
    drops = importance_drops(*shares)
    return Behaviour(
        "what_carries_the_training_carries_later_days",
        not drops,
        float(len(drops)),
        0.0,
        "WARN",
        "; ".join(f"{name}: {why}" for name, why in drops.items()) or "no feature loses its weight",
        len(judged),
    )


def _points(rows: pl.DataFrame) -> pl.Series:
    return rows[RULE_SCORE].fill_null(0) / 100


def usable_model(night: Night, version: str | None) -> Model | None:
    """The model of a version; None, and a warning, where it cannot be used."""
    if version is None:
        return None
    try:
        model = versions.load_version(night.settings.models, version)
        versions.require_features(model, model_inputs(night.settings), version=version)
        versions.require_curve(model, version=version)
    except ModelMismatch as error:
        log.warning(str(error))
        return None
    return model


def _churn(settings: Settings, test: pl.DataFrame, before: Model, after: Model) -> Churn:
    """What becomes of the scores of the newest test day when the candidate takes over."""
    rows = test.filter(pl.col("feature_date") == pl.col("feature_date").max())
    not_rounded = scoring.LOWEST + (scoring.HIGHEST - scoring.LOWEST) * pl.col("probability")
    scores = [scoring.score_users(model, rows).select("user_id", score=not_rounded) for model in (before, after)]
    return churn(scores[0], scores[1], rule_set_of(settings).bands, budget=settings.churn_budget)


def _evaluated(rows: pl.DataFrame, probabilities: Floats) -> Evaluation:
    return evaluate(
        rows["label"],
        probabilities,
        segments={column: rows[column] for column in SEGMENTS},
        threshold=best_threshold(rows["label"], probabilities),
        groups=rows["person_id"],
    )


def _judged(candidate: Candidate, honest: Floats) -> Evaluation:
    """The candidate on the rows that judge: ranking by its own calibrator, calibration by those of other persons.

    Its calibrator was fitted on these rows. That changes no rank, but would flatter how well it is calibrated.
    """
    rows = candidate.judged.rows
    found = _evaluated(rows, candidate.probabilities)
    by_others = evaluate(rows["label"], honest, groups=rows["person_id"])
    return replace(
        found,
        metrics=found.metrics | {name: by_others.metrics[name] for name in CALIBRATION},
        reliability=by_others.reliability,
        probability_sum=by_others.probability_sum,
    )
