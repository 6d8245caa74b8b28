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
from gesture_assets.models.judgement import directions
from gesture_assets.models.segments import Segment
from gesture_assets.models.tables import (
    SPLITS,
)
from gesture_assets.models.training import Model, Parameters, column_of, train
from gesture_assets.nights.night import Night
from gesture_assets.nights.training_rows import (
    newest_date,
    training_frame,
)
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.scoring import Missing

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
