"""What a training works with: its options, the rows by part, the version it repeats, the model it makes.

Belongs here: training with the settings of a night. Does not belong here: how a model is trained
(`models/training.py`), judging it (`judging.py`), the steps (`training.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, Field

from gesture_assets.models import splits, tuning, versions
from gesture_assets.models.calibration import Floats
from gesture_assets.models.cross_fitting import OutOfFold, out_of_fold
from gesture_assets.models.judgement import directions
from gesture_assets.models.parameters import BLEND
from gesture_assets.models.segments import Segment, with_members
from gesture_assets.models.training import Model, Parameters, column_of, train
from gesture_assets.nights.night import Night
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.scoring import Missing

Card = Mapping[str, Any]  # what a version resolves to: a row of candidate_model


class Again(BaseModel):
    """Which version to train once more, on its own days, features and horizon; empty: a new one. How much of the random
    split beside the judgement calibrates: the blend and what serves are calibrated out of fold, on everybody.
    """

    from_version: str = ""
    validation_split: float = Field(default=splits.SHARES.validation / 100, ge=0.05, le=0.6)

    def share(self, source: Card) -> float:
        """`validation_split`, or that of the version trained once more."""
        return source.get("validation_split") or (Again() if source else self).validation_split

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


@dataclass(frozen=True)
class Workshop:
    """What a training works with: the day, the options, the version it repeats (if any), and the rows."""

    night: Night
    day: date
    options: Training
    source: Card
    parts: pl.DataFrame
    frame: pl.DataFrame
    inputs: tuple[str, ...]

    @cached_property
    def taught(self) -> pl.DataFrame:
        """The rows that the model learns from: those of every day before the last."""
        return self.frame.filter(pl.col("split") != splits.TEST)

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
    def recipe(self) -> str:
        """What the training begins with: that of the version trained once more, or the setting's."""
        return self.source.get("recipe") or self.night.settings.model_recipe

    def fit(
        self,
        rows: pl.DataFrame,
        parameters: Parameters,
        *,
        inputs: Sequence[str] | None = None,
        scopes: Sequence[str] = (),
        validation: pl.DataFrame | None = None,
        min_rows: int = 1,
    ) -> Model:
        """A model of `rows`, with members for `scopes`; calibrated on `validation`, if at all."""
        names = inputs or self.inputs
        model = train(
            rows,
            "label",
            names,
            parameters=parameters,
            validation=validation,
            is_blended=self.recipe == BLEND,
            monotone=directions(names),
            min_rows=min_rows,
            missing=self.missing,
        )
        return with_members(model, scopes, rows, monotone=directions(names)) if scopes else model

    def cross_fitted(
        self, parameters: Parameters, *, inputs: Sequence[str] | None = None, scopes: Sequence[str] = ()
    ) -> OutOfFold:
        """What others' models say of the rows that judge."""
        return out_of_fold(self.frame, lambda rows: self.fit(rows, parameters, inputs=inputs, scopes=scopes))


@dataclass(frozen=True)
class Candidate:
    """A trained model under its name, with what is needed to judge it.

    `judged`: what others' models say of the rows that judge, `probabilities` what the model's calibrator makes of it.
    """

    model: Model
    judged: OutOfFold
    version: str
    parameters: Parameters
    segments: Mapping[str, Segment]
    is_again: bool  # the same model as the version that was trained once more
    seconds: float

    @property
    def probabilities(self) -> Floats:
        """The probability of each judged row."""
        return self.model.probabilities_of(self.judged.margins, self.judged.scopes)
