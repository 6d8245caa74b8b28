"""Judging everybody by models that have seen neither them nor their day, and calibrating on what those say.

Belongs here: scoring rows out of fold, calibrating a model on such scores. Does not belong here: which fold and part a
row is in (`splits.py`), training (`training.py`), measures (`evaluation.py`).

A fifth of the persons as a test part holds a handful of buyers in a small company, and what is calibrated or judged on
them is a lottery; this way all of them are asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from gesture_assets.models.calibration import Choice, Floats, fit_calibrator
from gesture_assets.models.splits import FOLDS, TRAIN
from gesture_assets.models.training import GLOBAL, Margins, Model, outcomes

DAY = "feature_date"


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The `rows` that judge, in order of day and user, with the margin and the scope that others' model gives each."""

    rows: pl.DataFrame
    margins: Margins
    scopes: pl.Series

    @property
    def folds(self) -> pl.Series:
        """The fold of each row."""
        return self.rows["fold"]


def out_of_fold(frame: pl.DataFrame, fit: Callable[[pl.DataFrame], Model]) -> OutOfFold:
    """What models made by `fit` say of the rows of `frame` that judge (`split` other than "train").

    Each row is asked of the model of the other folds' rows of all earlier days. `frame` holds `split`, `fold` and
    `feature_date`. Raises what `fit` raises, `TrainingRefused` where a fold's others have one outcome only.
    """
    judged = frame.filter(pl.col("split") != TRAIN).with_row_index("place")
    margins = np.empty(len(judged), dtype=np.float32)
    scopes: list[pl.DataFrame] = []
    for (day, fold), rows in judged.partition_by(DAY, "fold", as_dict=True, maintain_order=True).items():
        model = fit(frame.filter(pl.col(DAY) < day, pl.col("fold") != fold))
        margins[rows["place"].to_numpy()] = model.margins(rows)
        scopes.append(rows.select("place", scope=model.scopes(rows)))
    in_order = pl.concat(scopes).sort("place")["scope"]
    return OutOfFold(judged.drop("place"), margins, in_order)


def calibrated(model: Model, judged: OutOfFold, *, choice: Choice = "auto") -> Model:
    """`model`, and each of its members, with a calibrator fitted on what others' models say of its users."""
    outcome = outcomes(judged.rows, model.target)

    def with_calibrator(part: Model, scope: str) -> Model:
        own = (judged.scopes == scope).to_numpy()
        if len(np.unique(outcome[own])) < 2:
            own = np.ones(len(outcome), dtype=bool)
        fitted = fit_calibrator(judged.margins[own], outcome[own], choice=choice, seed=part.parameters.seed)
        return replace(part, calibrator=fitted)

    members = {scope: with_calibrator(member, scope) for scope, member in model.members.items()}
    return replace(with_calibrator(model, GLOBAL), members=members)


def cross_calibrated(model: Model, judged: OutOfFold, *, choice: Choice = "auto") -> Floats:
    """The probability of each judged row by a calibrator of the other folds' rows: what calibration is measured on."""
    probabilities = np.empty(len(judged.margins), dtype=np.float64)
    for fold in range(1, FOLDS + 1):
        inside = (judged.folds == fold).to_numpy()
        others = OutOfFold(judged.rows.filter(~inside), judged.margins[~inside], judged.scopes.filter(~inside))
        if others.rows[model.target].n_unique() < 2:
            others = judged
        fitted = calibrated(model, others, choice=choice)
        probabilities[inside] = fitted.probabilities_of(judged.margins[inside], judged.scopes.filter(inside))
    return probabilities
