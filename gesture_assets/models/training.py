"""One way to train a model from a frame, and the model that comes out of it.

Belongs here: parameters, fitting XGBoost, the trained model with its margins, probabilities and contributions, and its
files. Does not belong here: labels and splits (`labels.py`, `splits.py`), how good it is (`evaluation.py`), versions
and champions (`registry.py`).

Every model of the product and every reference data set is trained by `train`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

import numpy as np
import polars as pl

from gesture_assets.errors import ConfigError, ModelMismatch, TrainingRefused
from gesture_assets.models.calibration import Calibrator, Choice, Floats, fit_calibrator, to_share
from gesture_assets.models.matrix import (
    FEWEST_ROWS,
    MOST_VALUES,
    Encoding,
    Matrix,
    encode,
    fit_encoding,
    other_shares,
)
from gesture_assets.models.tables import GLOBAL
from gesture_assets.vocabulary.scoring import Missing

if TYPE_CHECKING:
    import xgboost

MIN_TRAINING_SAMPLES = 100
# Numbers in a matrix below which one thread trains in about a second; more threads wait for each other at every node,
# and on a busy machine take ten times as long as one.
ONE_THREAD = 1_000_000
FORMAT = 1  # of a model's files
BOOSTER_FILE, MODEL_FILE, MEMBERS = "booster.json", "model.json", "segments"

# Name -> type, lowest and highest value that makes sense.
RANGES: dict[str, tuple[type[int] | type[float], float, float]] = {
    "max_depth": (int, 1, 16),
    "learning_rate": (float, 0.001, 1),
    "n_estimators": (int, 1, 5000),
    "subsample": (float, 0.1, 1),
    "colsample_bytree": (float, 0.1, 1),
    "min_child_weight": (float, 0, 1e6),
    "gamma": (float, 0, 1e6),
    "reg_alpha": (float, 0, 1e6),
    "reg_lambda": (float, 0, 1e6),
    "max_bin": (int, 2, 4096),
    "seed": (int, 0, 2**31 - 1),
}


@dataclass(frozen=True)
class Parameters:
    """What XGBoost is told: document 001's values unless overridden, XGBoost's own defaults for the rest."""

    objective: Literal["binary:logistic"] = "binary:logistic"
    eval_metric: Literal["logloss"] = "logloss"
    max_depth: int = 6
    learning_rate: float = 0.1
    n_estimators: int = 100
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    min_child_weight: float = 1.0
    gamma: float = 0.0
    reg_alpha: float = 0.0
    reg_lambda: float = 1.0
    max_bin: int = 256
    seed: int = 42

    def __post_init__(self) -> None:
        for name, (kind, low, high) in RANGES.items():
            value = getattr(self, name)
            is_kind = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
            if not is_kind or not low <= value <= high:
                what = "a whole number" if kind is int else "a number"
                raise ConfigError.bad_value(
                    f"The training parameter {name!r}",
                    expected=f"{what} from {low:g} to {high:g}",
                    found=value,
                    where="the parameters given to the training",
                    next_step=f"choose another value:  gesture train --params {name}={getattr(type(self), name)}",
                )
        fixed = {"objective": "binary:logistic", "eval_metric": "logloss"}
        for name, only in fixed.items():
            if getattr(self, name) != only:
                raise ConfigError.bad_value(
                    f"The training parameter {name!r}",
                    expected=only,
                    found=getattr(self, name),
                    where="the parameters given to the training",
                    next_step="leave it out",
                )

    def overridden(self, values: Mapping[str, object]) -> Self:
        """These parameters with `values` (numbers, or text that is one) in their place; `random_state` is the seed.

        Raises `ConfigError` for a name that is none of them and for a value out of range.
        """
        names = [one.name for one in fields(self)]
        changed: dict[str, Any] = {}
        for given, value in values.items():
            name = "seed" if given == "random_state" else given
            if name not in names:
                raise ConfigError.unknown_name(
                    "The training parameter",
                    given,
                    names,
                    where="the parameters given to the training",
                    next_step="leave it out (probabilities are calibrated, so classes are never weighted)"
                    if given == "scale_pos_weight"
                    else "correct the name:  gesture train --params max_depth=4",
                )
            changed[name] = _number(value, RANGES[name][0]) if name in RANGES else value
        return replace(self, **changed)

    def as_dict(self) -> dict[str, Any]:
        """Every parameter by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model: what it reads, what it makes of it, and what it was trained with.

    `features` as asked for; `encoding.names` are those it reads, `encoding.empty` those that carried nothing.
    `base_rate` is the share of positives in the training part, of `rows` rows.

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
    members: Mapping[str, "Model"] = field(default_factory=dict)

    def scopes(self, frame: pl.DataFrame) -> pl.Series:
        """Which model is asked about each row: "global" for this one, or the scope of a member."""
        if not self.members:
            return pl.Series([GLOBAL], dtype=pl.String).new_from_index(0, len(frame))
        own = scopes_by(frame, column_of(self.members))
        return own.set(~own.is_in(list(self.members)), GLOBAL)

    def margins(self, frame: pl.DataFrame) -> np.ndarray:
        """The log odds of each row, as XGBoost has them (float32). A row's margin depends on that row only."""
        return self.margins_of(encode(frame, self.encoding), self.scopes(frame))

    def margins_of(self, matrix: Matrix, scopes: pl.Series) -> np.ndarray:
        """As `margins`, from an encoded matrix and the scope of each row."""
        return self._by_scope(
            matrix,
            scopes,
            lambda one, rows: (
                one.booster.inplace_predict(rows, predict_type="margin") if len(rows) else np.empty(0, dtype=np.float32)
            ),
        )

    def probabilities(self, frame: pl.DataFrame) -> Floats:
        """The calibrated probability of each row, never 0 nor 1."""
        return self.probabilities_of(self.margins(frame), self.scopes(frame))

    def probabilities_of(self, margins: np.ndarray, scopes: pl.Series) -> Floats:
        """As `probabilities`, from the margin and the scope of each row: every model has a calibrator of its own."""
        return self._by_scope(margins, scopes, lambda one, rows: one.calibrator.probabilities(rows))

    def contributions(self, frame: pl.DataFrame) -> Matrix:
        """What each input adds to each row's margin (SHAP), in the encoding's order; the last column is the start."""
        return self.contributions_of(encode(frame, self.encoding), self.scopes(frame))

    def contributions_of(self, matrix: Matrix, scopes: pl.Series) -> Matrix:
        """As `contributions`, from an encoded matrix and the scope of each row."""
        import xgboost

        nothing = np.empty((0, len(self.encoding.inputs) + 1), dtype=np.float32)
        return self._by_scope(
            matrix,
            scopes,
            lambda one, rows: one.booster.predict(xgboost.DMatrix(rows), pred_contribs=True) if len(rows) else nothing,
        )

    def _by_scope(self, rows: np.ndarray, scopes: pl.Series, ask: Callable[["Model", Any], np.ndarray]) -> Any:
        """What the model of its scope answers for each row, in the rows' order."""
        if not self.members:
            return ask(self, rows)
        places = [(scopes == scope).arg_true().to_numpy() for scope in (GLOBAL, *self.members)]
        models = (self, *self.members.values())
        found = np.concatenate([ask(one, rows[own]) for one, own in zip(models, places, strict=True)])
        return found[np.argsort(np.concatenate(places))]

    def unknown_values(self, frame: pl.DataFrame) -> dict[str, float]:
        """Input -> share of values that training did not know (nulls aside); `encoding` has training's own share."""
        return other_shares(frame, self.encoding)

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
        import xgboost

        absent = [name for name in (BOOSTER_FILE, MODEL_FILE) if not (folder / name).is_file()]
        found = {} if absent else json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        if absent or found.get("format") != FORMAT:
            raise ModelMismatch(
                "A model cannot be loaded.",
                expected=f"{BOOSTER_FILE} and {MODEL_FILE} of format {FORMAT}",
                found=f"no {' and no '.join(absent)}" if absent else f"format {found.get('format')}",
                where=str(folder),
                next_step="choose another version:  gesture models list",
            )
        booster = xgboost.Booster()
        booster.load_model(bytearray((folder / BOOSTER_FILE).read_bytes()))
        return cls(
            booster=booster,
            encoding=Encoding.from_json(json.dumps(found["encoding"])),
            calibrator=Calibrator.from_dict(found["calibrator"]),
            parameters=Parameters(**found["parameters"]),
            features=tuple(found["features"]),
            target=found["target"],
            base_rate=found["base_rate"],
            rows=found["rows"],
            members={scope: cls.load(_folder_of(folder, scope)) for scope in found.get("members", {})},
        )

    def _booster_bytes(self) -> bytes:
        return bytes(self.booster.save_raw("json"))

    def _description(self) -> str:
        found = {
            "format": FORMAT,
            "target": self.target,
            "features": list(self.features),
            "rows": self.rows,
            "base_rate": self.base_rate,
            "parameters": self.parameters.as_dict(),
            "encoding": json.loads(self.encoding.to_json()),
            "calibrator": self.calibrator.to_dict(),
        }
        if self.members:  # a model without keeps the hash that it always had
            found["members"] = {scope: member.fingerprint for scope, member in self.members.items()}
        return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


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
    level: pl.DataFrame | None = None,
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
    "none", they are XGBoost's own. `level`: more rows of the validation day, of which only the share of positives is
    learnt: their probabilities have it as their mean. `monotone`: feature -> 1 where more of it may never lower the
    margin, -1 where it may never raise it. Equal arguments give an equal model, byte for byte. `threads`: None for all
    there are, or one where the matrix is small. `encoding`: that of another model, in place of one fitted on `frame`.
    Raises `TrainingRefused` for fewer than `min_rows` rows or a single outcome, `ConfigError` or `ModelMismatch` for
    features that cannot be used (`fit_encoding`).
    """
    parameters = parameters or Parameters()
    outcome = outcomes(frame, target, features)
    refuse_thin(outcome, target, min_rows)
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
    booster = fit_booster(encode(frame, encoding), outcome, parameters, signs(encoding, monotone), threads)
    share = float(outcome.mean(dtype=np.float64))
    model = Model(booster, encoding, Calibrator(), parameters, tuple(features), target, share, len(outcome))
    if validation is None or calibration == "none":
        return model
    margins = model.margins(validation)
    fitted = fit_calibrator(margins, outcomes(validation, target), choice=calibration, seed=parameters.seed)
    if level is not None:
        fitted = to_share(fitted, model.margins(level), float(outcomes(level, target).mean(dtype=np.float64)))
    return replace(model, calibrator=fitted)


def fit_booster(
    matrix: Matrix,
    outcome: np.ndarray,
    parameters: Parameters,
    monotone: Sequence[int] = (),
    threads: int | None = None,
) -> "xgboost.Booster":
    """XGBoost's own fit on an encoded matrix."""
    import xgboost

    if threads is None and matrix.size < ONE_THREAD:
        threads = 1
    told = parameters.as_dict()
    rounds = told.pop("n_estimators")
    quantised = xgboost.QuantileDMatrix(matrix, outcome, max_bin=parameters.max_bin, nthread=threads)
    told |= {"tree_method": "hist", "nthread": threads or 0}
    if any(monotone):
        told["monotone_constraints"] = "(" + ",".join(str(sign) for sign in monotone) + ")"
    return xgboost.train(told, quantised, rounds)


def outcomes(frame: pl.DataFrame, target: str, features: Sequence[str] = ()) -> np.ndarray:
    """The column `target` as float32 zeros and ones. Raises `ConfigError` where it is anything else, or a feature."""
    column = frame[target] if target in frame.columns else None
    if column is None or target in features:
        found = f"no column {target!r}" if column is None else "one of the features"
    elif column.null_count():
        found = f"{column.null_count()} rows without it"
    elif not (column.dtype == pl.Boolean or column.dtype.is_numeric()):
        found = f"type {column.dtype}"
    else:
        values = column.cast(pl.Float32).to_numpy()
        if np.isin(values, (0.0, 1.0)).all():
            return np.ascontiguousarray(values)
        found = f"values from {values.min():g} to {values.max():g}"
    raise ConfigError.bad_value(
        f"The target {target!r}",
        expected="a column of 0 and 1 (or false and true) in every row, which is no feature",
        found=found,
        where="the training set",
        next_step="correct the target, or drop the rows whose outcome is not known yet",
    )


def signs(encoding: Encoding, monotone: Mapping[str, Literal[-1, 0, 1]] | None) -> tuple[int, ...]:
    """The wished-for directions in the order of the inputs, empty where there is none; names must be of ordered inputs.

    A feature that was dropped because it carried nothing keeps every promise.
    """
    if not monotone:
        return ()
    ordered = {one.name for one in encoding.inputs if one.kind != "categorical"} | set(encoding.empty)
    for name, sign in monotone.items():
        if name not in ordered or sign not in (-1, 0, 1):
            raise ConfigError.bad_value(
                f"The monotone feature {name!r}",
                expected="a number, boolean or ordinal feature of the model, with -1, 0 or 1",
                found=f"{sign} for {'an ordered feature' if name in ordered else 'no ordered feature'}",
                where="the monotone features of the training",
                next_step="correct the name or the sign, or leave it out",
            )
    return tuple(monotone.get(one.name, 0) for one in encoding.inputs)


def refuse_thin(outcome: np.ndarray, target: str, min_rows: int = MIN_TRAINING_SAMPLES) -> None:
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


def _number(value: object, kind: type[int] | type[float]) -> object:
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return value  # refused by its range, which says what was expected
    return value
