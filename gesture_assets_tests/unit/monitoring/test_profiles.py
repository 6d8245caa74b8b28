"""A profile is what is kept of a day: it adds up, and says later what the rows would have said."""

from datetime import date, timedelta

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from gesture_assets.monitoring.profiles import PROFILE, STATISTICS, WINDOWS, feature_statistics, profile
from gesture_assets.monitoring.reference import Frame, Reference, count, freeze
from gesture_assets.monitoring.statistics import population_stability_index

TODAY = date(2026, 3, 9)


def lazy(rows: pl.DataFrame) -> Frame:
    return nw.from_native(rows.lazy())


def frozen(rows: pl.DataFrame) -> Reference:
    return freeze({TODAY - timedelta(days=100): lazy(rows)}, rows.columns)


def profile_of(reference: Reference, rows: Frame, day: date) -> pl.DataFrame:
    return profile(reference, count(rows, reference), day)


TRAINED = pl.DataFrame({"visits": range(1, 11), "country": ["de"] * 6 + ["us"] * 4})


def test_a_profile_holds_the_day_in_a_row_a_feature() -> None:
    tonight = pl.DataFrame({"visits": [0, 2, 2, 99, None], "country": ["us", "us", "br", None, "de"]})
    profiled = profile_of(frozen(TRAINED), lazy(tonight), TODAY)
    assert profiled.schema == PROFILE
    visits, country = profiled.to_dicts()
    assert {name: visits[name] for name in ("as_of_date", "kind", "row_count", "missing_count", "distinct_count")} == {
        "as_of_date": TODAY,
        "kind": "number",
        "row_count": 5,
        "missing_count": 1,
        "distinct_count": 3,
    }
    assert (visits["mean"], visits["minimum"], visits["median"], visits["maximum"]) == (25.75, 0.0, 2.0, 99.0)
    assert visits["standard_deviation"] == pytest.approx(float(np.std([0, 2, 2, 99])))
    assert visits["edges"][1:] == [float(n) for n in range(1, 11)]
    assert visits["bin_counts"] == [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert (country["categories"], country["bin_counts"]) == (["de", "us"], [1, 2, 1, 1])
    assert (country["mean"], country["edges"]) == (None, None)


def test_an_empty_day_has_a_profile_too() -> None:
    profiled = profile_of(frozen(TRAINED), lazy(TRAINED.clear()), TODAY)
    assert profiled.select("row_count", "mean").rows() == [(0, None), (0, None)]
    profile_of(frozen(TRAINED), lazy(pl.DataFrame({"visits": [None], "country": ["de"]}, schema=TRAINED.schema)), TODAY)


def history(days: int, reference: Reference) -> tuple[pl.DataFrame, list[list[int]]]:
    values = [[10 + back % 3, 20, 30 - back % 2] * (1 + back % 4) for back in range(days)]
    frames = [lazy(pl.DataFrame({"visits": visits}).with_columns(country=pl.lit("de"))) for visits in values]
    profiles = [profile_of(reference, rows, TODAY - timedelta(days=back)) for back, rows in enumerate(frames)]
    return pl.concat(profiles), values


def test_a_day_is_held_against_the_rows_of_each_window_before_it() -> None:
    reference = frozen(pl.DataFrame({"visits": range(5, 40), "country": ["de"] * 35}))
    profiles, values = history(40, reference)
    statistics = feature_statistics(profiles, TODAY)
    assert statistics.schema == STATISTICS
    assert statistics.height == 2 * len(WINDOWS)
    for window, days in WINDOWS.items():
        row = statistics.filter(pl.col("feature") == "visits", pl.col("window") == window).row(0, named=True)
        before = np.concatenate(values[1 : days + 1])
        assert row["day_count"] == min(days, 39)
        assert (row["row_count"], row["baseline_row_count"]) == (3, len(before))
        assert row["baseline_mean"] == pytest.approx(before.mean())
        assert row["mean_shift_sd"] == pytest.approx((np.mean(values[0]) - before.mean()) / before.std())
        bins = [np.searchsorted(reference.features[0].edges, visits) for visits in (before, values[0])]
        counts = [np.bincount(places, minlength=13) for places in bins]
        assert row["psi"] == pytest.approx(population_stability_index(*counts))
        shares = [np.cumsum(rows) / rows.sum() for rows in counts]
        assert row["ks_at_least"] == pytest.approx(np.abs(shares[0] - shares[1]).max())
    country = statistics.filter(pl.col("feature") == "country", pl.col("window") == "weekly").row(0, named=True)
    assert (country["psi"], country["mean"], country["ks_at_least"]) == (0.0, None, None)


def test_missing_values_are_held_against_the_window_too() -> None:
    reference = frozen(TRAINED)
    days = [pl.DataFrame({"visits": [1, None], "country": ["de", "de"]}), TRAINED.select("visits", "country")]
    profiles = pl.concat(
        [profile_of(reference, lazy(rows), TODAY - timedelta(days=back)) for back, rows in enumerate(days)]
    )
    row = feature_statistics(profiles, TODAY).filter(pl.col("feature") == "visits").row(0, named=True)
    assert (row["missing_share"], row["baseline_missing_share"], row["missing_shift"]) == (0.5, 0.0, 0.5)


def test_profiles_of_another_reference_give_means_and_no_psi() -> None:
    rows = pl.DataFrame({"visits": [1, 2, 3], "country": ["de"] * 3})
    earlier = profile_of(
        frozen(pl.DataFrame({"visits": [7, 8], "country": ["us"] * 2})), lazy(rows), TODAY - timedelta(1)
    )
    today = profile_of(frozen(TRAINED), lazy(rows), TODAY)
    statistics = feature_statistics(pl.concat([earlier, today]), TODAY).filter(pl.col("window") == "weekly")
    assert statistics.filter(pl.col("feature") == "visits").select("baseline_mean", "psi").row(0) == (2.0, None)
    assert statistics["psi"].to_list() == [None, None]


def test_a_first_day_has_rows_without_a_baseline() -> None:
    statistics = feature_statistics(profile_of(frozen(TRAINED), lazy(TRAINED), TODAY), TODAY)
    assert statistics.select("day_count", "baseline_mean", "psi").unique().rows() == [(0, None, None)]
