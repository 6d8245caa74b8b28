"""Outliers of engagement: a planted one is flagged, the fences are Tukey's, and both engines agree."""

import random
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.features.outliers import engagement_outliers
from gesture_assets.features.tables import ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS, METRICS
from gesture_assets_tests.events_by_hand import collected
from gesture_assets_tests.properties.test_engines_agree import on_both

MONDAY, TUESDAY = date(2026, 3, 9), date(2026, 3, 10)
KINDS = {"event_count_30d": pl.Int32, "session_count_30d": pl.Int32, "active_day_count_30d": pl.Int32}


def users(*values: dict[str, Any]) -> pl.DataFrame:
    """Rows of user_features with the columns that are looked at; what is not given is 1."""
    rows = [
        {"as_of_date": MONDAY, "user_id": f"u{n}", **dict.fromkeys(METRICS, 1), **value}
        for n, value in enumerate(values)
    ]
    kinds = {"as_of_date": pl.Date, "user_id": pl.String, **{name: KINDS.get(name, pl.Float64) for name in METRICS}}
    return pl.DataFrame([{name: row[name] for name in kinds} for row in rows], schema=kinds, strict=False)


def fences(table: pl.DataFrame, metric: str) -> dict[str, Any]:
    frame = on_both(lambda rows: engagement_outliers(rows)[0], table, contract=ENGAGEMENT_FENCES)
    return frame.filter(pl.col("metric") == metric).row(0, named=True)


def flagged(table: pl.DataFrame) -> set[tuple[str, str]]:
    frame = on_both(lambda rows: engagement_outliers(rows)[1], table, contract=ENGAGEMENT_OUTLIERS)
    return set(frame.select("user_id", "metric").rows())


def test_a_planted_outlier_is_flagged_and_nobody_else() -> None:
    usual = [{"event_count_30d": 10 + n % 5} for n in range(20)]
    assert flagged(users(*usual)) == set()
    assert flagged(users(*usual, {"event_count_30d": 400})) == {("u20", "event_count_30d")}
    assert flagged(users(*usual, {"event_count_30d": 12, "engagement_trend": -9.0})) == {("u20", "engagement_trend")}


def test_the_fences_lie_one_and_a_half_interquartile_ranges_beyond_the_quartiles() -> None:
    # 1 … 8: the quartiles are 2.75 and 6.25, the range between them 3.5.
    table = users(*({"event_count_30d": n} for n in range(1, 9)))
    row = fences(table, "event_count_30d")
    assert [row[name] for name in ("user_count", "lower_quartile", "median", "upper_quartile")] == [8, 2.75, 4.5, 6.25]
    assert (row["low_fence"], row["high_fence"], row["outlier_count"], row["outlier_share"]) == (-2.5, 11.5, 0, 0.0)


def test_a_value_on_the_fence_is_none() -> None:
    usual = [{"event_count_30d": n} for n in (1, 3, 3, 3, 5, 5, 5, 7)]  # quartiles 3 and 5, fences 0 and 8
    assert flagged(users(*usual)) == set()
    assert fences(users(*usual), "event_count_30d")["high_fence"] == 8.0
    assert flagged(users(*usual, {"event_count_30d": 8})) == set()
    assert flagged(users(*usual, {"event_count_30d": 9})) == {("u8", "event_count_30d")}


def test_users_without_an_event_and_values_that_are_unknown_are_left_out() -> None:
    quiet = [{"event_count_30d": 0, "dwell_seconds_per_session": 1e9}] * 50
    active: list[dict[str, Any]] = [{"dwell_seconds_per_session": None}, *[{"dwell_seconds_per_session": 2.0}] * 4]
    row = fences(users(*quiet, *active), "dwell_seconds_per_session")
    assert (row["user_count"], row["median"], row["outlier_count"]) == (4, 2.0, 0)
    everybody_quiet = users(*quiet)
    assert [len(collected(frame)) for frame in engagement_outliers(nw.from_native(everybody_quiet.lazy()))] == [0, 0]


def test_each_day_has_fences_of_its_own() -> None:
    monday = [{"event_count_30d": 10 + n % 3} for n in range(10)]
    tuesday = [{"as_of_date": TUESDAY, "event_count_30d": 100 + n % 3} for n in range(10)]
    assert flagged(users(*monday, *tuesday)) == set()
    assert flagged(users(*monday, {"event_count_30d": 101}, *tuesday)) == {("u10", "event_count_30d")}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_quartiles_are_polars_own_and_the_order_of_rows_is_none_of_their_business(seed: int) -> None:
    dice = random.Random(seed)
    table = users(*({name: dice.lognormvariate(3, 1) // 1 for name in METRICS} for _ in range(dice.randint(3, 200))))
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed)
    for metric in METRICS:
        row = fences(table, metric)
        values = table.filter(pl.col("event_count_30d") > 0)[metric].cast(pl.Float64)
        for name, share in (("lower_quartile", 0.25), ("median", 0.5), ("upper_quartile", 0.75)):
            assert row[name] == round(values.quantile(share, "linear") or 0.0, 6)
        beyond = values.filter((values < row["low_fence"]) | (values > row["high_fence"]))
        assert row["outlier_count"] == len(beyond) == sum(name == metric for _, name in flagged(table))
        assert fences(shuffled, metric) == row
