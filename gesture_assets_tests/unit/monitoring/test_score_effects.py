"""A feature is given its former spread exactly, by moving as few people as that takes, and the model says the rest."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.training import train
from gesture_assets.monitoring.reference import Values
from gesture_assets.monitoring.score_effects import EFFECTS, POINTS, score_effects, spread_as

BANDS = {"high": 70.0, "medium": 40.0}


def values_of(column: pl.Series) -> Values:
    """What a reference keeps of `column`."""
    counts = column.cast(pl.String if column.dtype == pl.Boolean else column.dtype).drop_nulls()
    counts = counts.alias("value").value_counts().sort("value")
    return Values(counts["value"].to_numpy(), counts["count"].cast(pl.Int64).to_numpy(), column.null_count())


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        ([5, 1, 3], [10, 30, 20], [30, 10, 20]),  # in their order
        ([5, 1, 3, 2], [10, 30], [30, 10, 30, 10]),  # of another size
        ([None, 7, 8, 9], [1, 2, 3, 4], [1, 2, 3, 4]),  # who is missing is the lowest
        ([6, 7, 8, 9], [None, None, 1, 2], [None, None, 1, 2]),
        (["a", "b", "b", "b"], ["a", "a", "b", "b"], ["a", "b", "b", "a"]),  # one moves, as one must
        (["x", "a", "x", None], ["a", "a", "b", None], ["a", "a", "b", None]),  # unknown then
        (["a", "a"], [None, None], [None, None]),
        ([True, True, True, False], [True, False, False, False], [True, False, False, False]),
    ],
)
def test_a_column_takes_the_spread_of_another(now: list[Any], then: list[Any], expected: list[Any]) -> None:
    column = pl.Series("x", now)
    spread = spread_as(column, values_of(pl.Series("x", then, dtype=column.dtype)))
    assert (spread.name, spread.to_list()) == ("x", expected)


def test_the_same_spread_moves_nobody() -> None:
    random = np.random.default_rng(1)
    columns = [pl.Series("x", random.integers(0, 9, 500)), pl.Series("x", random.choice(["a", "b", "c"], 500))]
    for column in columns:
        assert spread_as(column, values_of(column)).cast(column.dtype).equals(column)


def test_what_moved_is_told_in_points_of_the_score_and_only_of_what_the_model_reads() -> None:
    random = np.random.default_rng(2)
    people = pl.DataFrame({"visits": random.normal(size=2000), "idle": random.normal(size=2000)})
    chance = 1 / (1 + np.exp(-2 * people["visits"].to_numpy()))
    people = people.with_columns(
        label=pl.Series((random.random(2000) < chance).astype(int)),
        user_id=pl.format("u{}", pl.int_range(2000)),
        event_count=pl.lit(5),
    )
    model = train(people.head(1500), "label", ["visits", "idle"], validation=people.tail(500))
    now = people.with_columns(pl.col("visits") + 1)
    then = {name: values_of(people[name]) for name in ("visits", "idle")}
    effects = score_effects(model, now, then, BANDS)
    assert effects.schema == EFFECTS
    (visits, shift, moved, moves), idle = effects.rows()
    assert (visits, idle) == ("visits", ("idle", 0.0, 0.0, 0.0))
    expected = POINTS * (model.probabilities(now).mean() - model.probabilities(people).mean())
    assert shift == pytest.approx(expected)
    assert shift <= moved < shift + 1, "nearly all are raised"
    assert shift > 10
    assert 0.2 < moves < 0.8
    assert score_effects(model, now.clear(), then, BANDS).is_empty()
    assert score_effects(model, now, {}, BANDS).is_empty()
