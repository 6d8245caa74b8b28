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
from gesture_assets.models import scoring, versions
from gesture_assets.models.behaviour import behaviours
from gesture_assets.models.churn import Churn, churn
from gesture_assets.models.evaluation import (
    Comparison,
    Evaluation,
    LearningCurve,
    best_threshold,
    compare,
    evaluate,
    learning_curve,
)
from gesture_assets.models.judgement import RULES, WITHOUT_RULES, beside_rows, decide, evaluation_rows
from gesture_assets.models.tables import (
    SPLITS,
)
from gesture_assets.models.training import Model
from gesture_assets.models.training_set import RULE_SCORE
from gesture_assets.nights.night import Night
from gesture_assets.nights.rules import rule_set_of
from gesture_assets.nights.training_rows import (
    model_inputs,
)
from gesture_assets.nights.workshop import Candidate, Workshop
from gesture_assets.records import activations
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.scoring import SEGMENTS

log = logging.getLogger(__name__)


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


def judge(shop: Workshop, candidate: Candidate) -> Judgement:
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
