"""One way to train a model from a frame, and the model that comes out of it.

Belongs here: fitting XGBoost, the trained model with its margins, probabilities and contributions, and its files. Does
not belong here: its parameters (`parameters.py`), labels and splits (`labels.py`, `splits.py`), how good it is
(`evaluation.py`), versions (`versions.py`) and champions (`records/activations.py`).

Every model of the product and every reference data set is trained by `train`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.compat.lean_imports import UNUSED_BY_XGBOOST, absent
from gesture_assets.errors import ConfigError, ModelMismatch, TrainingRefused
from gesture_assets.models.calibration import Calibrator, Choice, Floats, fit_calibrator
from gesture_assets.models.matrix import (
    FEWEST_ROWS,
    MOST_VALUES,
    Encoding,
    Matrix,
    encode,
    fit_encoding,
)
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.rule_curve import RULE_SCORE, RuleCurve, fit_rule_curve, log_points
from gesture_assets.models.tables import GLOBAL
from gesture_assets.vocabulary.scoring import Missing

if TYPE_CHECKING:
    import xgboost

Margins = NDArray[np.float32]  # log odds, as XGBoost has them
Outcomes = NDArray[np.float32]  # zeros and ones

MIN_TRAINING_SAMPLES = 100
# Numbers in a matrix below which one thread trains in about a second; more threads wait for each other at every node,
# and on a busy machine take ten times as long as one.
ONE_THREAD = 1_000_000
FORMAT = 2  # of a model's files
BOOSTER_FILE, MODEL_FILE, MEMBERS = "booster.json", "model.json", "segments"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model: what it reads, what it makes of it, and what it was trained with.

    `features` as asked for; `encoding.names` are those it reads, `encoding.empty` those that carried nothing.
    `base_rate` is the share of positives in the training part, of `rows` rows. `curve`: what the points of the rules
    say by themselves, and how much of the margin that is; None where the rows had no points.

    `members`: scope, such as "primary_device=mobile", -> the model of those users, which is asked in place of this one.
    All are of one column and share this encoding, so that a matrix and its contributions mean the same for everybody.
    """

    booster: "xgboost.Booster"
    encoding: Encoding
    calibrator: Calibrator
    parameters: Parameters
    features: tuple[str, ...]
    target: str
    base_rate: float
    rows: int
    curve: RuleCurve | None = None
    members: Mapping[str, "Model"] = field(default_factory=dict[str, "Model"])

    def scopes(self, frame: pl.DataFrame) -> pl.Series:
        """Which model is asked about each row: "global" for this one, or the scope of a member."""
        if not self.members:
            return pl.Series([GLOBAL], dtype=pl.String).new_from_index(0, len(frame))
        own = scopes_by(frame, column_of(self.members))
        return own.set(~own.is_in(list(self.members)), GLOBAL)

    def margins(self, frame: pl.DataFrame) -> Margins:
        """The log odds of each row, as XGBoost has them (float32). A row's margin depends on that row only."""
        return self.margins_of(encode(frame, self.encoding), self.scopes(frame))

    def margins_of(self, matrix: Matrix, scopes: pl.Series) -> Margins:
        """As `margins`, from an encoded matrix and the scope of each row."""
        return self._by_scope(
            matrix,
            scopes,
            lambda model, rows: model._own_margins(rows) if len(rows) else np.empty(0, dtype=np.float32),
        )

    def _own_margins(self, matrix: Matrix) -> Margins:
        trees = self.booster.inplace_predict(matrix, predict_type="margin")
        return trees if self.blend is None else self.blend.blended(trees, matrix[:, self.place_of_points])

    @property
    def blend(self) -> RuleCurve | None:
        """The curve, where the model stands on the rules."""
        return self.curve if self.curve and self.curve.weight else None

    @property
    def place_of_points(self) -> int:
        """The place of the rules' points among the inputs of a model that stands on them."""
        return self.encoding.names.index(RULE_SCORE)

    def probabilities(self, frame: pl.DataFrame) -> Floats:
        """The calibrated probability of each row, never 0 nor 1."""
        return self.probabilities_of(self.margins(frame), self.scopes(frame))

    def probabilities_of(self, margins: Margins, scopes: pl.Series) -> Floats:
        """As `probabilities`, from the margin and the scope of each row: every model has a calibrator of its own."""
        return self._by_scope(margins, scopes, lambda model, rows: model.calibrator.probabilities(rows))

    def errors_of(self, margins: Margins, scopes: pl.Series) -> Floats:
        """The standard error of the log odds of each row, as its calibrator knows them."""
        return self._by_scope(margins, scopes, lambda model, rows: model.calibrator.errors(rows))

    def contributions(self, frame: pl.DataFrame) -> Matrix:
        """What each input adds to each row's margin (SHAP), in the encoding's order; the last column is the start.

        What the curve says is the rule score's, counted from no points on.
        """
        return self.contributions_of(encode(frame, self.encoding), self.scopes(frame))

    def contributions_of(self, matrix: Matrix, scopes: pl.Series) -> Matrix:
        """As `contributions`, from an encoded matrix and the scope of each row."""
        nothing = np.empty((0, len(self.encoding.inputs) + 1), dtype=np.float32)
        return self._by_scope(
            matrix, scopes, lambda model, rows: model._own_contributions(rows) if len(rows) else nothing
        )

    def _own_contributions(self, matrix: Matrix) -> Matrix:
        with absent(UNUSED_BY_XGBOOST):
            import xgboost

        added = self.booster.predict(xgboost.DMatrix(matrix), pred_contribs=True)
        if self.blend is None:
            return added
        added *= 1 - self.blend.weight
        by_points = self.blend.weight * self.blend.slope * log_points(matrix[:, self.place_of_points])
        added[:, self.place_of_points] += by_points.astype(np.float32)
        added[:, -1] += self.blend.weight * self.blend.intercept
        return added

    def _by_scope(
        self, rows: NDArray[Any], scopes: pl.Series, answer: Callable[["Model", Any], NDArray[Any]]
    ) -> NDArray[Any]:
        """What the model of its scope answers for each row, in the rows' order."""
        if not self.members:
            return answer(self, rows)
        places = [(scopes == scope).arg_true().to_numpy() for scope in (GLOBAL, *self.members)]
        models = (self, *self.members.values())
        answers = np.concatenate([answer(model, rows[own]) for model, own in zip(models, places, strict=True)])
        return answers[np.argsort(np.concatenate(places))]

    def total_gain(self) -> dict[str, float]:
        """XGBoost's name of an input (f0, f1, …) -> what its splits gained in training, members' left out."""
        gains = self.booster.get_score(importance_type="total_gain")
        return {place: float(gain) for place, gain in gains.items() if not isinstance(gain, list)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a prediction: equal for two trainings on equal data and parameters."""
        return hashlib.sha256(self._booster_bytes() + self._description().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the model into `folder` as two text files; equal models give equal bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BOOSTER_FILE).write_bytes(self._booster_bytes())
        (folder / MODEL_FILE).write_text(self._description(), encoding="utf-8")
        for scope, member in self.members.items():
            member.save(_folder_of(folder, scope))

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """The model that `save` wrote; its predictions are the same to the last bit. Raises `ModelMismatch`."""
        with absent(UNUSED_BY_XGBOOST):
            import xgboost

        missing = [name for name in (BOOSTER_FILE, MODEL_FILE) if not (folder / name).is_file()]
        description: dict[str, Any] = {} if missing else json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        if missing or description.get("format") != FORMAT:
            raise ModelMismatch(
                "A model cannot be loaded.",
                expected=f"{BOOSTER_FILE} and {MODEL_FILE} of format {FORMAT}",
                found=f"no {' and no '.join(missing)}" if missing else f"format {description.get('format')}",
                where=str(folder),
                next_step="choose another version:  gesture models list",
            )
        booster = xgboost.Booster()
        raw = bytearray((folder / BOOSTER_FILE).read_bytes())
        booster.load_model(raw)  # pyright: ignore[reportUnknownMemberType]: its stub leaves PathLike open
        return cls(
            booster=booster,
            encoding=Encoding.from_json(json.dumps(description["encoding"])),
            calibrator=Calibrator.from_dict(description["calibrator"]),
            parameters=Parameters(**description["parameters"]),
            features=tuple(description["features"]),
            target=description["target"],
            base_rate=description["base_rate"],
            rows=description["rows"],
            curve=RuleCurve(**description["curve"]) if description["curve"] else None,
            members={scope: cls.load(_folder_of(folder, scope)) for scope in description.get("members", {})},
        )

    def _booster_bytes(self) -> bytes:
        return bytes(self.booster.save_raw("json"))

    def _description(self) -> str:
        description: dict[str, Any] = {
            "format": FORMAT,
            "target": self.target,
            "features": list(self.features),
            "rows": self.rows,
            "base_rate": self.base_rate,
            "parameters": self.parameters.as_dict(),
            "encoding": json.loads(self.encoding.to_json()),
            "calibrator": self.calibrator.to_dict(),
            "curve": asdict(self.curve) if self.curve else None,
        }
        if self.members:  # a model without keeps the hash that it always had
            description["members"] = {scope: member.fingerprint for scope, member in self.members.items()}
        return json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def scopes_by(frame: pl.DataFrame, column: str) -> pl.Series:
    """The scope of each row by `column`, such as "primary_device=mobile"; "missing" where it has no value."""
    return frame.select(pl.format(f"{column}={{}}", pl.col(column).cast(pl.String).fill_null("missing"))).to_series()


def column_of(scopes: Iterable[str]) -> str:
    """The column that `scopes` are values of; empty where there is none."""
    return next(iter(scopes), "").partition("=")[0]


def _folder_of(folder: Path, scope: str) -> Path:
    return folder / MEMBERS / quote(scope, safe="=")


def train(
    frame: pl.DataFrame,
    target: str,
    features: Sequence[str],
    *,
    parameters: Parameters | None = None,
    validation: pl.DataFrame | None = None,
    calibration: Choice = "auto",
    is_blended: bool = False,
    monotone: Mapping[str, Literal[-1, 0, 1]] | None = None,
    ordinal: Mapping[str, Sequence[str]] | None = None,
    missing: Missing = "native",
    most_values: int = MOST_VALUES,
    fewest_rows: int = FEWEST_ROWS,
    min_rows: int = MIN_TRAINING_SAMPLES,
    threads: int | None = None,
    encoding: Encoding | None = None,
) -> Model:
    """A model of `target` (0 and 1, or false and true) from `features`, trained on `frame`.

    Probabilities are calibrated on `validation`, never on the rows trained with; without it, or with calibration
    "none", they are those of the margin itself. `is_blended`: the margin stands on the curve of the rules' points,
    where these are among the features (`RuleCurve`). `monotone`: feature -> 1 where more of it may never lower the
    margin, -1 where it may never raise it. Equal arguments give an equal model, byte for byte. `threads`: None for all
    there are, or one where the matrix is small. `encoding`: that of another model, in place of one fitted on `frame`.
    Raises `TrainingRefused` for fewer than `min_rows` rows or a single outcome, `ConfigError` or `ModelMismatch` for
    features that cannot be used (`fit_encoding`).
    """
    parameters = parameters or Parameters()
    outcome = outcomes(frame, target, features)
    refuse_too_few_outcomes(outcome, target, min_rows=min_rows)
    encoding = encoding or fit_encoding(
        frame, features, ordinal=ordinal, missing=missing, most_values=most_values, fewest_rows=fewest_rows
    )
    if validation is None and calibration not in ("auto", "none"):
        raise ConfigError.bad_value(
            f"The calibration {calibration!r}",
            expected="a validation part to fit it on",
            found="none",
            where="the arguments of the training",
            next_step="give a validation part, or calibration 'none'",
        )
    directions = monotone_signs(encoding, monotone)
    booster = fit_booster(encode(frame, encoding), outcome, parameters, monotone=directions, threads=threads)
    share = float(outcome.mean(dtype=np.float64))
    curve = None
    if RULE_SCORE in frame.columns:
        is_blended = is_blended and RULE_SCORE in encoding.names
        curve = fit_rule_curve(frame[RULE_SCORE].to_numpy(), outcome, is_blended=is_blended)
    model = Model(booster, encoding, Calibrator(), parameters, tuple(features), target, share, len(outcome), curve)
    if validation is None or calibration == "none":
        return model
    margins = model.margins(validation)
    fitted = fit_calibrator(margins, outcomes(validation, target), choice=calibration, seed=parameters.seed)
    return replace(model, calibrator=fitted)


def fit_booster(
    matrix: Matrix,
    outcome: Outcomes,
    parameters: Parameters,
    *,
    monotone: Sequence[int] = (),
    threads: int | None = None,
) -> "xgboost.Booster":
    """XGBoost's own fit on an encoded matrix."""
    with absent(UNUSED_BY_XGBOOST):
        import xgboost

    if threads is None and matrix.size < ONE_THREAD:
        threads = 1
    settings = parameters.as_dict()
    rounds = settings.pop("n_estimators")
    quantised = xgboost.QuantileDMatrix(matrix, outcome, max_bin=parameters.max_bin, nthread=threads)
    settings |= {"tree_method": "hist", "nthread": threads or 0}
    if any(monotone):
        settings["monotone_constraints"] = "(" + ",".join(str(sign) for sign in monotone) + ")"
    return xgboost.train(settings, quantised, rounds)


def outcomes(frame: pl.DataFrame, target: str, features: Sequence[str] = ()) -> Outcomes:
    """The column `target` as float32 zeros and ones. Raises `ConfigError` where it is anything else, or a feature."""
    column = frame[target] if target in frame.columns else None
    if column is None or target in features:
        problem = f"no column {target!r}" if column is None else "one of the features"
    elif column.null_count():
        problem = f"{column.null_count()} rows without it"
    elif not (column.dtype == pl.Boolean or column.dtype.is_numeric()):
        problem = f"type {column.dtype}"
    else:
        values = column.cast(pl.Float32).to_numpy()
        if np.isin(values, (0.0, 1.0)).all():
            return np.ascontiguousarray(values)
        problem = f"values from {values.min():g} to {values.max():g}"
    raise ConfigError.bad_value(
        f"The target {target!r}",
        expected="a column of 0 and 1 (or false and true) in every row, which is no feature",
        found=problem,
        where="the training set",
        next_step="correct the target, or drop the rows whose outcome is not known yet",
    )


def monotone_signs(encoding: Encoding, monotone: Mapping[str, Literal[-1, 0, 1]] | None) -> tuple[int, ...]:
    """The wished-for directions in the order of the inputs, empty where there is none; names must be of ordered inputs.

    A feature that was dropped because it carried nothing keeps every promise.
    """
    if not monotone:
        return ()
    ordered = {column.name for column in encoding.inputs if column.kind != "categorical"} | set(encoding.empty)
    for name, sign in monotone.items():
        if name not in ordered or sign not in (-1, 0, 1):
            raise ConfigError.bad_value(
                f"The monotone feature {name!r}",
                expected="a number, boolean or ordinal feature of the model, with -1, 0 or 1",
                found=f"{sign} for {'an ordered feature' if name in ordered else 'no ordered feature'}",
                where="the monotone features of the training",
                next_step="correct the name or the sign, or leave it out",
            )
    return tuple(monotone.get(column.name, 0) for column in encoding.inputs)


def refuse_too_few_outcomes(outcome: Outcomes, target: str, *, min_rows: int = MIN_TRAINING_SAMPLES) -> None:
    """Raise `TrainingRefused` for fewer than `min_rows` outcomes, or a single one."""
    positives = int(outcome.sum())
    if len(outcome) < min_rows:
        expected, found = f"at least {min_rows} rows", f"{len(outcome)} rows, {positives} of them positive"
    elif positives in (0, len(outcome)):
        expected, found = "both outcomes", f"{len(outcome)} rows, all with outcome {int(positives > 0)}"
    else:
        return
    raise TrainingRefused(
        f"A model of {target!r} cannot be trained.",
        expected=expected,
        found=found,
        where="the training part of the training set",
        next_step="wait until more outcomes are known, or take more as-of days; the model in use stays",
    )
