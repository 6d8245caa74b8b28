"""From a frame of features to the matrix of numbers that a model reads.

Belongs here: which column becomes which input, learnt on the training part and frozen with the model. Does not belong
here: what the model does with the matrix (`training.py`), how features are computed (`features/`).

A category becomes its rank by frequency in the training part, the most frequent 0, and the tree splits on that rank.
Measured beside XGBoost's own categories and one-hot columns, five folds: subscribers' AUC 0.823 against 0.819 and
0.820, X Education without `Tags` 0.952 against 0.950 and 0.951, in about half the time. It also gives a value
that training never saw a sensible place: after the rarest.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from gesture_assets.errors import ConfigError, ModelMismatch, listing
from gesture_assets.features.feature_registry import IDENTIFIERS
from gesture_assets.vocabulary.scoring import Missing

Kind = Literal["numeric", "boolean", "ordinal", "categorical", "flag"]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Numbers = np.ndarray[tuple[int], np.dtype[np.float32]]

# Who somebody is, or nothing but a way to find out: with these a model learns persons, not behaviour.
NEVER_INPUTS = frozenset({*IDENTIFIERS, "mailchimp_id", "user_full_name", "user_email", "optin_time", "email_provider"})
MOST_VALUES = 50  # beyond these a category is too rare in any data we know to carry its own split
FEWEST_ROWS = 10  # a rarer value is `other` in training too, so that `other` means something when it is met later
OLD_MISSING = -999.0  # what the programme of document 003 wrote for a missing number
FLAG = "imputed_"  # and the number's name: the input that says whether it was missing


@dataclass(frozen=True)
class Input:
    """A column of the matrix. `values`: of a category the most frequent first, of an ordinal input the lowest first.

    A `flag` is 1 where the number it is named after was missing, else 0.

    `other_share` is the share of the training part's values (nulls aside) that were none of `values`.
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    other_share: float = 0.0


@dataclass(frozen=True)
class Fill:
    """What stands for a missing number: the median of one's peers in the training part, or `median`, that of everybody.

    Peers have the same value of the input `peers`, the one that tells most about the number; `medians` are in the order
    of its values. An input is empty where there is none to tell peers by.
    """

    name: str
    median: float
    peers: str = ""
    medians: tuple[float, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """How frames become matrices, frozen on the training part. `empty`: features dropped since all of it was missing.

    `missing`: "native" leaves a missing value to XGBoost, which learns a side for it; "-999" writes that number;
    "imputed" writes what `fills` has for a number, and a flag beside it.
    """

    inputs: tuple[Input, ...]
    empty: tuple[str, ...] = ()
    missing: Missing = "native"
    fills: tuple[Fill, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs' names, in the order of the matrix' columns."""
        return tuple(column.name for column in self.inputs)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a frame that are read: the inputs but for the flags, which are made of them."""
        return tuple(column.name for column in self.inputs if column.kind != "flag")

    def to_json(self) -> str:
        """The encoding as text; equal encodings give equal text."""
        fields = asdict(self)
        if not self.fills:  # a model without keeps the hash that it always had
            del fields["fills"]
        return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Encoding":
        """The encoding that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        inputs = tuple(Input(**column | {"values": tuple(column["values"])}) for column in fields["inputs"])
        fills = tuple(Fill(**fill | {"medians": tuple(fill["medians"])}) for fill in fields.get("fills", ()))
        return cls(inputs, tuple(fields["empty"]), fields["missing"], fills)


def fit_encoding(
    frame: pl.DataFrame,
    features: Sequence[str],
    *,
    ordinal: Mapping[str, Sequence[str]] | None = None,
    missing: Missing = "native",
    most_values: int = MOST_VALUES,
    fewest_rows: int = FEWEST_ROWS,
) -> Encoding:
    """The encoding of `features`, with the vocabularies of `frame`, the training part and nothing else.

    Numbers and booleans stay what they are; text is a category of at most `most_values` values with at least
    `fewest_rows` rows each, unless `ordinal` gives the feature's values from lowest to highest. Raises `ConfigError`
    for an identifier, a date or nothing left to learn from, `ModelMismatch` for a feature that `frame` lacks.
    """
    ordinal = ordinal or {}
    _refuse_identifiers(features)
    _require(frame, features)
    inputs: list[Input] = []
    for name in features:
        column = frame[name]
        if _is_empty(column):
            continue
        if name in ordinal:
            inputs.append(Input(name, "ordinal", tuple(str(value) for value in ordinal[name])))
        elif column.dtype == pl.Boolean:
            inputs.append(Input(name, "boolean"))
        elif column.dtype.is_numeric():
            inputs.append(Input(name, "numeric"))
        elif _is_text(column.dtype):
            inputs.append(_category(column, most_values, fewest_rows))
        else:
            raise ConfigError.bad_value(
                f"The feature {name!r}",
                expected="a number, true and false, or text",
                found=column.dtype,
                where="the training set",
                next_step="make a number of it, such as the days up to the as-of day, or leave it out",
            )
    if not inputs:
        raise ConfigError.bad_value(
            "The feature list",
            expected="at least one feature with a value in the training set",
            found=f"only missing values in {listing(features)}" if features else "no feature",
            where="the training set",
            next_step="name features that are filled:  gesture train --help",
        )
    filled = {column.name for column in inputs}
    empty = tuple(name for name in features if name not in filled)
    fills = _fills(frame, inputs, fewest_rows) if missing == "imputed" else ()
    return Encoding((*inputs, *(Input(FLAG + fill.name, "flag") for fill in fills)), empty, missing, fills)


def encode(frame: pl.DataFrame, encoding: Encoding) -> Matrix:
    """The matrix of `frame`: float32, one row a row, one column an input, rows side by side in memory.

    A row's numbers depend on that row only. A value that training did not see becomes `other` (of an ordinal input:
    missing) and never raises. A missing or infinite number is missing. Raises `ModelMismatch` when a column is missing
    or is text where the model was given numbers.
    """
    _require(frame, encoding.columns)
    schema = frame.schema  # made anew each time it is asked for
    wrong = [
        f"{column.name} ({schema[column.name]})"
        for column in encoding.inputs
        if column.kind in ("numeric", "boolean") and not _is_numeric(schema[column.name])
    ]
    if wrong:
        raise ModelMismatch(
            "The features cannot be encoded.",
            expected="numbers, as when the model was trained",
            found=listing(wrong),
            where="the frame of features to score",
            next_step="give the features the types they were trained with, or train anew:  gesture train",
        )
    numbers = _numbers(frame, encoding.inputs)
    fills = {fill.name: _filled(fill, numbers) for fill in encoding.fills}
    gap = np.float32(OLD_MISSING if encoding.missing == "-999" else np.nan)
    matrix = np.empty((frame.height, len(encoding.inputs)), dtype=np.float32)
    for position, column in enumerate(encoding.inputs):
        if column.kind == "flag":
            matrix[:, position] = np.isnan(numbers[column.name.removeprefix(FLAG)])
        else:
            number = numbers[column.name]
            matrix[:, position] = np.where(np.isnan(number), fills.get(column.name, gap), number)
    return matrix


def with_flags(frame: pl.DataFrame, encoding: Encoding) -> pl.DataFrame:
    """`frame` with a boolean column for each flag among the inputs: whether its number is missing."""
    filled = {fill.name for fill in encoding.fills}
    numbers = _numbers(frame, [column for column in encoding.inputs if column.name in filled])
    return frame.with_columns(pl.Series(FLAG + name, np.isnan(numbers[name])) for name in numbers)


def _category(column: pl.Series, most_values: int, fewest_rows: int) -> Input:
    counts = column.cast(pl.String).drop_nulls().alias("value").value_counts(name="rows")
    # Equally frequent values in the order of the alphabet: the rank must not depend on the order of rows.
    frequent = counts.filter(pl.col("rows") >= fewest_rows).sort(["rows", "value"], descending=[True, False])
    listed = frequent.head(most_values)
    share = 1 - int(listed["rows"].sum()) / int(counts["rows"].sum())
    return Input(column.name, "categorical", tuple(listed["value"]), share)


def _fills(frame: pl.DataFrame, inputs: Sequence[Input], fewest_rows: int) -> tuple[Fill, ...]:
    """What stands for each numeric input that is missing somewhere in `frame`, the training part."""
    columns = _numbers(frame, inputs).items()
    numbers = pl.DataFrame([pl.Series(name, number, pl.Float64) for name, number in columns]).fill_nan(None)
    gaps = [column.name for column in inputs if column.kind == "numeric" and numbers[column.name].null_count()]
    categories = [column for column in inputs if column.values]
    return tuple(_fill(numbers, name, categories, fewest_rows) for name in gaps)


def _fill(numbers: pl.DataFrame, name: str, categories: Sequence[Input], fewest_rows: int) -> Fill:
    """The fill of `name` by the category that tells most about it; rarer values of it have everybody's median."""
    overall = float(np.median(numbers[name].drop_nulls().to_numpy()))
    best, most_explained = Fill(name, overall), 0.0
    for peers in categories:
        filled = numbers.select(peers.name, name).drop_nulls()
        if filled.is_empty():
            continue
        column, values = pl.col(name), filled[name].to_numpy()
        groups = filled.group_by(peers.name, maintain_order=True).agg(
            size=pl.len(), mean=column.mean(), median=column.median()
        )
        # The sum of squares between the groups, less what it is when the groups mean nothing.
        deviations = groups["mean"].to_numpy() - values.mean()
        explained = float(groups["size"].to_numpy() @ deviations**2) - (len(groups) - 1) * float(values.var())
        if explained > most_explained:
            usual = groups.filter(pl.col("size") >= fewest_rows)
            medians = dict(zip(usual[peers.name], usual["median"], strict=True))
            ranks = range(len(peers.values))
            best = Fill(name, overall, peers.name, tuple(medians.get(rank, overall) for rank in ranks))
            most_explained = explained
    return best


def _filled(fill: Fill, numbers: Mapping[str, Numbers]) -> Numbers:
    """What stands in each row for the number, were it missing."""
    ranks = numbers[fill.peers] if fill.peers else np.array([np.nan], np.float32)
    known = ranks < len(fill.medians)  # neither missing nor rarer than training knew
    medians = np.array([*fill.medians, fill.median], np.float32)
    return medians[np.where(known, ranks, len(fill.medians)).astype(np.intp)]


def _numbers(frame: pl.DataFrame, inputs: Sequence[Input]) -> dict[str, Numbers]:
    """Input -> its numbers, NaN where one is missing; of the flags among `inputs` none.

    All numeric columns in one expression: to write hundreds takes a hundred times as long as to run them on a row.
    """
    plain = [column.name for column in inputs if column.kind in ("numeric", "boolean")]
    ranked = [column for column in inputs if column.kind in ("categorical", "ordinal")]
    numbers = frame.select(pl.col(plain).cast(pl.Float32), *(_rank(column) for column in ranked)).to_numpy()
    numbers = np.where(np.isfinite(numbers), numbers, np.float32(np.nan))
    return dict(zip([*plain, *(column.name for column in ranked)], numbers.T, strict=True))


def _rank(column: Input) -> pl.Expr:
    """The place of a text in the input's values, null where it is missing."""
    ranks = pl.Series(range(len(column.values)), dtype=pl.Float32)
    other = len(column.values) if column.kind == "categorical" else None
    text = pl.col(column.name).cast(pl.String)
    ranked = text.replace_strict(list(column.values), ranks, default=other, return_dtype=pl.Float32)
    return pl.when(text.is_not_null()).then(ranked).alias(column.name)


def _is_numeric(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or dtype == pl.Categorical or dtype == pl.Enum


def _is_empty(column: pl.Series) -> bool:
    if column.dtype.is_float():
        return not column.is_finite().any()
    return column.null_count() == len(column)


def _refuse_identifiers(features: Sequence[str]) -> None:
    refused = sorted(set(features) & NEVER_INPUTS)
    twice = sorted({name for name in features if list(features).count(name) > 1})
    if refused or twice:
        raise ConfigError.bad_value(
            "The feature list",
            expected="no identifier, and every feature once",
            found=listing(refused) if refused else f"twice: {listing(twice)}",
            where="the features given to the model",
            next_step="take these out of the list",
        )


def _require(frame: pl.DataFrame, features: Sequence[str]) -> None:
    columns = set(frame.columns)
    absent = [name for name in features if name not in columns]
    if absent:
        raise ModelMismatch(
            f"A model of {len(features)} features cannot read this frame: {listing(absent)} missing.",
            expected=listing(features),
            found=listing(frame.columns),
            where="the frame of features given to the model",
            next_step="score with a version trained on these features:  gesture models list,  or train:  gesture train",
        )
