"""What a feature that moved does to the scores: tonight's people, scored again as if it were spread as it was.

Belongs here: giving a feature its former spread, and the scores that follow. Does not belong here: whether it moved
(`drift.py`), whom it is asked of (`nights/drift.py`).
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from gesture_assets.models.churn import churn
from gesture_assets.models.scoring import HIGHEST, LOWEST, score_users
from gesture_assets.models.training import Model
from gesture_assets.monitoring.reference import Values

EFFECTS = {"feature": pl.String, "score_shift": pl.Float64, "score_moves": pl.Float64, "band_moves": pl.Float64}
POINTS = HIGHEST - LOWEST  # of the score, for a probability of 1


def score_effects(
    model: Model, people: pl.DataFrame, then: Mapping[str, Values], bands: Mapping[str, float]
) -> pl.DataFrame:
    """A row per feature of `then`: `score_shift`, what its move adds to the mean score of `people`, in points,
    `score_moves`, how far a score moves for it on average, up or down, and `band_moves`, the share of them who are in
    another band for it.

    `people`: what `scored_columns` says, in a fixed order. `then`: the values of each feature in the reference.
    """
    if not then or people.is_empty():
        return pl.DataFrame(schema=EFFECTS)
    now = score_users(model, people)
    rows: list[tuple[str, float, float, float]] = []
    for name, values in then.items():
        as_then = score_users(model, people.with_columns(spread_as(people[name], values)))
        moves = POINTS * (now["probability"].to_numpy() - as_then["probability"].to_numpy())
        share = churn(as_then, now, bands).share_moved
        rows.append((name, float(np.mean(moves)), float(np.mean(np.abs(moves))), share))
    return pl.DataFrame(rows, schema=EFFECTS, orient="row")


def spread_as(now: pl.Series, then: Values) -> pl.Series:
    """`now` with its values spread as in `then`, and as few people in another place as that takes.

    Of numbers the lowest gets the lowest and so on, missing ones below all; of categories as many as can keep theirs.
    """
    if now.dtype.is_numeric():
        return _numbers_as(now, then)
    spread = _categories_as(now.cast(pl.String), then)
    return (spread == "true" if now.dtype == pl.Boolean else spread.cast(now.dtype)).alias(now.name)


def _numbers_as(now: pl.Series, then: Values) -> pl.Series:
    numbers = now.cast(pl.Float64).to_numpy()
    order = np.argsort(np.where(np.isfinite(numbers), numbers, -np.inf), kind="stable")
    places = (np.arange(len(now)) + 0.5) / len(now) * then.rows - then.missing
    spread = np.full(len(now), np.nan)
    is_filled = places >= 0
    spread[order[is_filled]] = then.values[np.searchsorted(np.cumsum(then.counts), places[is_filled], side="right")]
    return pl.Series(now.name, spread, nan_to_null=True)


def _categories_as(now: pl.Series, then: Values) -> pl.Series:
    ends = np.round(np.cumsum([*then.counts, then.missing]) / then.rows * len(now)).astype(np.int64)
    wanted = dict(zip([*then.values.tolist(), None], np.diff(ends, prepend=0).tolist(), strict=True))
    counts = dict(now.value_counts().iter_rows())
    rows = pl.DataFrame({"now": now}).with_columns(place=pl.int_range(pl.len()).over("now"))
    keeps = rows["place"] < now.replace_strict(list(wanted), list(wanted.values()), default=0, return_dtype=pl.Int64)
    given = [value for value, rows in wanted.items() for _ in range(rows - counts.get(value, 0))]
    spread = now.to_numpy().astype(object)
    spread[~keeps.to_numpy()] = given
    return pl.Series(now.name, spread, dtype=pl.String)
