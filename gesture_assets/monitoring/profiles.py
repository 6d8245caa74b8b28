"""Feature profiles: what is kept of a day's features, so that months later nobody needs the rows.

Belongs here: the profile of a day, and today's against the profiles of the days before. Does not belong here: the
verdict on drift (`drift.py`), which compares with the reference itself.

A profile's histogram is over the frozen bins of the reference, so profiles of one reference add up and compare bin by
bin. Their PSI is exact. A Kolmogorov–Smirnov statistic of two histograms is that at the bins' edges, and the true one
is at least that: the column is called `ks_at_least`.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType

import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.monitoring.reference import Feature, Reference, Values
from gesture_assets.monitoring.statistics import FLOOR

# A row per feature and day.
PROFILE = {
    PARTITION: pl.Date,
    "feature": pl.String,
    "kind": pl.String,  # number, category or score
    "row_count": pl.Int64,
    "missing_count": pl.Int64,  # null, NaN and infinite
    "distinct_count": pl.Int64,
    "mean": pl.Float64,  # null of categories, as the next five
    "standard_deviation": pl.Float64,  # of the population
    "minimum": pl.Float64,
    "median": pl.Float64,
    "maximum": pl.Float64,
    "edges": pl.List(pl.Float64),  # upper ends of the bins, themselves included; the last bin is open
    "categories": pl.List(pl.String),  # null of numbers
    "bin_counts": pl.List(pl.Int64),  # a bin per edge or category, one for all others, one for missing values
}

# The days before a day that it is compared with, by how many they are.
WINDOWS: Mapping[str, int] = MappingProxyType({"daily": 1, "weekly": 7, "biweekly": 14, "monthly": 30, "quarterly": 90})

# A row per feature and window.
STATISTICS = {
    PARTITION: pl.Date,
    "feature": pl.String,
    "window": pl.String,  # daily, weekly, biweekly, monthly or quarterly
    "day_count": pl.Int64,  # days of the window that have a profile; 0: what follows of the baseline is null
    "row_count": pl.Int64,
    "baseline_row_count": pl.Int64,
    "mean": pl.Float64,
    "baseline_mean": pl.Float64,  # over all rows of the window
    "mean_shift_sd": pl.Float64,  # in standard deviations of the window's rows
    "missing_share": pl.Float64,
    "baseline_missing_share": pl.Float64,
    "missing_shift": pl.Float64,
    "psi": pl.Float64,  # against the window's days with the same bins
    "ks_at_least": pl.Float64,  # likewise, at the edges of the bins; null of categories
}


def profile(reference: Reference, found: Mapping[str, Values], day: date) -> pl.DataFrame:
    """The columns `PROFILE` of every feature of `reference`; `found`: what `count` found of them on `day`."""
    rows = [{PARTITION: day, **_profiled(feature, found[feature.name])} for feature in reference.features]
    return pl.DataFrame(rows, schema=PROFILE)


def feature_statistics(profiles: pl.DataFrame, day: date, *, windows: Mapping[str, int] = WINDOWS) -> pl.DataFrame:
    """The columns `STATISTICS`: each feature of `day` against the days before it, by window; from profiles alone.

    `profiles` holds rows of `PROFILE` for `day` and, as far as there are any, the 90 days before. The day itself is in
    no window.
    """
    today = profiles.filter(pl.col(PARTITION) == day)
    filled = pl.col("row_count") - pl.col("missing_count")
    sums = {
        "baseline_row_count": pl.col("row_count"),
        "missing": pl.col("missing_count"),
        "filled": filled,
        "total": pl.col("mean") * filled,
        "squares": (pl.col("standard_deviation") ** 2 + pl.col("mean") ** 2) * filled,
    }
    compared: list[pl.DataFrame] = []
    for window, days in windows.items():
        before = profiles.filter(pl.col(PARTITION).is_between(day - timedelta(days=days), day - timedelta(days=1)))
        baseline = before.group_by("feature").agg(
            day_count=pl.len().cast(pl.Int64), **{name: summand.sum() for name, summand in sums.items()}
        )
        compared.append(
            today.join(baseline, on="feature", how="left", maintain_order="left")
            .join(_between_bins(today, before), on="feature", how="left", maintain_order="left")
            .with_columns(
                window=pl.lit(window),
                day_count=pl.col("day_count").fill_null(0),
                baseline_mean=pl.when(pl.col("mean").is_not_null()).then(pl.col("total") / pl.col("filled")),
                missing_share=pl.col("missing_count") / pl.col("row_count"),
                baseline_missing_share=pl.col("missing") / pl.col("baseline_row_count"),
            )
        )
    deviation = (pl.col("squares") / pl.col("filled") - pl.col("baseline_mean") ** 2).clip(0).sqrt()
    return (
        pl.concat(compared)
        .with_columns(
            mean_shift_sd=pl.when(deviation > 0).then((pl.col("mean") - pl.col("baseline_mean")) / deviation),
            missing_shift=pl.col("missing_share") - pl.col("baseline_missing_share"),
        )
        .select(
            pl.col(name).fill_nan(None).cast(kind) if kind == pl.Float64 else pl.col(name).cast(kind)
            for name, kind in STATISTICS.items()
        )
    )


def _profiled(feature: Feature, sample: Values) -> dict[str, object]:
    row: dict[str, object] = {
        "feature": feature.name,
        "kind": feature.kind,
        "row_count": sample.rows,
        "missing_count": sample.missing,
        "distinct_count": len(sample.values),
        "bin_counts": feature.histogram(sample).tolist(),
    }
    if feature.kind == "category":
        return {**row, "categories": list(feature.categories)}
    row["edges"] = feature.edges.tolist()
    if not sample.filled:
        return row
    ends = {"minimum": float(sample.values[0]), "median": sample.quantile(0.5), "maximum": float(sample.values[-1])}
    return {**row, "mean": sample.mean, "standard_deviation": sample.deviation(), **ends}


def _between_bins(today: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """`psi` and `ks_at_least` by feature, of today's histogram and the sum of those before over the same bins."""
    bins = ["feature", "edges", "categories"]
    # A profile of an earlier model has other bins: its counts cannot be added to these.
    same = before.join(today.select(bins), on=bins, how="semi", nulls_equal=True)
    parts = [
        rows.select("feature", "kind", counts="bin_counts", place=pl.int_ranges(pl.col("bin_counts").list.len()))
        .explode("counts", "place")
        .group_by("feature", "kind", "place")
        .agg(pl.col("counts").sum().alias(name))
        for name, rows in (("now", today), ("then", same))
    ]
    bins_of_both = parts[0].join(parts[1], on=["feature", "kind", "place"]).sort("feature", "place")
    now, then = ((pl.col(name) / pl.col(name).sum().over("feature")).clip(FLOOR) for name in ("now", "then"))
    is_value = pl.col("place") < pl.col("place").max().over("feature")
    gap = [
        pl.when(is_value).then(pl.col(name)).otherwise(0).cum_sum().over("feature", order_by="place")
        / pl.when(is_value).then(pl.col(name)).otherwise(0).sum().over("feature")
        for name in ("now", "then")
    ]
    return (
        bins_of_both.with_columns(part=(now - then) * (now / then).log(), gap=(gap[0] - gap[1]).abs())
        .group_by("feature")
        .agg(
            psi=pl.col("part").sum(),
            ks_at_least=pl.when(pl.col("kind").first() != "category").then(pl.col("gap").fill_nan(None).max()),
        )
    )
