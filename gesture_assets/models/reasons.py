"""Why a model scored somebody as it did: the weightiest features up and down, with a code and a sentence each.

Belongs here: reasons of model scores from XGBoost's contributions (SHAP). Does not belong here: reasons of rule scores
(`rules/scorer.py`), importance over all users (`evaluation.py`).

A user's rows of reasons, the rest among them, add up to the user's margin. Rows depend on that user only.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.errors import ConfigError
from gesture_assets.models.matrix import Matrix, with_flags
from gesture_assets.models.tables import GLOBAL
from gesture_assets.models.training import Model

PLACES = 5  # each way, by document 001
CHUNK = 65_536  # users at once: matrix, contributions and texts of 60 features stay under 200 MB
REST = "rest"
DIRECTIONS = ("up", "down", REST)
REST_CODE = "R-000000"
FIGURES = 3  # of what the odds are multiplied by
DECIMALS = 4  # of a number in a text; what is shown is what is stored

SCHEMA = {
    "user_id": pl.String,
    "place": pl.Int8,
    "direction": pl.String,
    "feature": pl.String,
    "value": pl.String,
    "contribution": pl.Float64,
    "odds_factor": pl.Float64,
    "code": pl.String,
    "scope": pl.String,
}


def reason_code(feature: str) -> str:
    """The stable code of a feature as a reason, such as R-3FA91C: the same in every model, list and language."""
    return f"R-{hashlib.sha256(feature.encode()).hexdigest()[:6].upper()}"


def reason_codes(features: Iterable[str]) -> dict[str, str]:
    """Feature -> code, for the data dictionary. Raises `ConfigError` should two features have one code."""
    codes = {feature: reason_code(feature) for feature in features}
    owner: dict[str, str] = {REST_CODE: "what is not listed"}
    for feature, code in codes.items():
        if owner.setdefault(code, feature) != feature:
            raise ConfigError.bad_value(
                f"The feature {feature!r}",
                expected="a reason code of its own",
                found=f"{code}, which is the code of {owner[code]}",
                where="the reason codes of the features",
                next_step="give one of the two another name",
            )
    return codes


def reasons(
    model: Model, frame: pl.DataFrame, *, user: str = "user_id", places: int = PLACES, chunk: int = CHUNK
) -> Iterator[pl.DataFrame]:
    """The reasons of everybody in `frame`, in frames of `chunk` users, so that memory does not grow with their number.

    For each user at most `places` rows up (contribution above 0, weightiest first, place from 1), as many down, and one
    row `rest` (place 0, no feature): where every score starts and what all else adds. `value` is the feature's value as
    text, null where it was missing; `contribution` is in log odds and sums to the margin over a user's rows;
    `odds_factor` is what it multiplies the odds by before calibration, rounded; `code` is `reason_code`; `scope` says
    which model it is of, by `Model.scopes`. Ties go to the model's first input.
    """
    codes = reason_codes(model.encoding.names)
    for start in range(0, len(frame), chunk):
        part = frame[start : start + chunk]
        yield _reasons(model.contributions(part), part, model, user, places, codes)


def sentences(rows: pl.DataFrame, names: Mapping[str, str] | None = None) -> pl.DataFrame:
    """`rows` with a column `sentence`, whose every number is in its row: "Visits in 30 days: 6 (odds × 2.31)".

    `names`: feature -> what people call it; a feature without a name is called by its own.
    """
    name = pl.col("feature").cast(pl.String)
    if names:
        name = name.replace(dict(names))
    listed = pl.format(
        "{}: {} (odds × {})", name, pl.col("value").fill_null("unknown"), pl.col("odds_factor").cast(pl.String)
    )
    start = pl.when(pl.col("scope") == GLOBAL).then(pl.lit("Start")).otherwise(pl.format("Start for {}", "scope"))
    rest = pl.format("{} and everything else (odds × {})", start, pl.col("odds_factor").cast(pl.String))
    return rows.with_columns(sentence=pl.when(pl.col("feature").is_null()).then(rest).otherwise(listed))


def _reasons(
    contributions: Matrix, part: pl.DataFrame, model: Model, user: str, places: int, codes: Mapping[str, str]
) -> pl.DataFrame:
    part = with_flags(part, model.encoding)
    rows, inputs = len(part), len(model.encoding.inputs)
    own = contributions[:, :inputs]
    width = min(places, inputs)
    up = np.argsort(-own, axis=1, kind="stable")[:, :width]
    down = np.argsort(own, axis=1, kind="stable")[:, :width]
    feature = np.hstack([up, down, np.full((rows, 1), inputs)])
    amount = np.take_along_axis(contributions, feature, axis=1).astype(np.float64)
    place = np.array([*range(1, width + 1), *range(1, width + 1), 0], dtype=np.int8)
    direction = np.array([0] * width + [1] * width + [2], dtype=np.uint8)
    is_listed = np.where(direction == 0, amount > 0, np.where(direction == 1, amount < 0, True))
    shown = np.where(is_listed[:, :-1], amount[:, :-1], 0.0).sum(axis=1)
    amount[:, -1] = contributions.sum(axis=1, dtype=np.float64) - shown
    who, slot = np.nonzero(is_listed)
    feature, amount = feature[who, slot], amount[who, slot]
    table = pl.DataFrame(
        {
            "user_id": part[user].cast(pl.String).gather(who),
            "place": place[slot],
            "direction": _named(direction[slot], DIRECTIONS),
            "feature": _named(feature, [*model.encoding.names, None]),
            "value": _texts(feature, who, part, model.encoding.names),
            "contribution": amount,
            "odds_factor": pl.Series(np.exp(amount)).round_sig_figs(FIGURES),
            "code": _named(feature, [*(codes[name] for name in model.encoding.names), REST_CODE]),
            "scope": model.scopes(part).gather(who),
        }
    )
    return table.cast(SCHEMA)  # pyright: ignore[reportArgumentType]


def _named(places: NDArray[np.integer[Any]], names: Sequence[str | None]) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(places)


def _texts(feature: NDArray[np.intp], who: NDArray[np.intp], part: pl.DataFrame, names: tuple[str, ...]) -> pl.Series:
    """The value of each row's feature as text: gathered feature by feature, then brought back into the rows' order."""
    order = np.argsort(feature, kind="stable")
    ends = np.searchsorted(feature[order], np.arange(len(names) + 1), side="right")
    starts = np.append(0, ends[:-1])
    texts = [
        _text(part[name].gather(who[order[start:end]]))
        for name, start, end in zip(names, starts[:-1], ends[:-1], strict=True)
    ]
    rest = pl.Series([None], dtype=pl.String).new_from_index(0, int(ends[-1] - starts[-1]))
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return pl.concat([*texts, rest]).gather(back)


def _text(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():
        # Rounded, and whole numbers without a point; nothing that is not finite is a value.
        rounded = values.set(~values.is_finite(), None).round(DECIMALS).cast(pl.Float64)
        return rounded.cast(pl.String).str.strip_suffix(".0").alias("value")
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String).replace({"0": "no", "1": "yes"}).alias("value")
    return values.cast(pl.String).alias("value")
