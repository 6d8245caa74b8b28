"""Outliers of engagement: Tukey's fences of each metric among active users, and who lies beyond them.

Belongs here: user features to fences and flagged values. Does not belong here: which metrics, how far the fences are
(`features/tables.py`), leaving anybody out for it: rules and models see every value.
"""

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.features.tables import ENGAGEMENT_FENCES, ENGAGEMENT_OUTLIERS, IQR_FACTOR, METRICS
from gesture_assets.features.user_features import NameStep, unnamed
from gesture_assets.frames import Frame, concat

DIGITS = 6  # engines go part of the way from one value to the next in sums that differ in the last bit


def _long(active: Frame) -> Frame:
    """One row per active user and metric that has a value."""
    values = [
        active.select(
            PARTITION, "user_id", nw.lit(metric).alias("metric"), nw.col(metric).cast(nw.Float64).alias("value")
        )
        for metric in METRICS
    ]
    return concat(values).filter(~nw.col("value").is_null())


def _fences(active: Frame) -> Frame:
    """Quartiles and fences by metric, worked out side by side: one look at the users for all metrics."""
    quartiles = {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}
    wide = (
        active.with_columns(nw.col(metric).cast(nw.Float64) for metric in METRICS)
        .group_by(PARTITION)
        .agg(
            *(nw.col(metric).count().cast(nw.Int64).alias(f"{metric}_user_count") for metric in METRICS),
            *(
                nw.col(metric).quantile(share, interpolation="linear").round(DIGITS).alias(f"{metric}_{name}")
                for metric in METRICS
                for name, share in quartiles.items()
            ),
        )
    )
    spread = nw.col("upper_quartile") - nw.col("lower_quartile")
    return (
        concat(
            [
                wide.select(
                    PARTITION,
                    nw.lit(metric).alias("metric"),
                    *(nw.col(f"{metric}_{name}").alias(name) for name in ("user_count", *quartiles)),
                )
                for metric in METRICS
            ]
        )
        .filter(nw.col("user_count") > 0)
        .with_columns(
            low_fence=nw.col("lower_quartile") - spread * IQR_FACTOR,
            high_fence=nw.col("upper_quartile") + spread * IQR_FACTOR,
        )
    )


def engagement_outliers(features: Frame, keep: NameStep = unnamed) -> tuple[Frame, Frame]:
    """(engagement_fences, engagement_outliers) of rows of `user_features`, each day by itself.

    Only users with an event in 30 days are looked at. Quartiles are exact to a
    millionth, between two values a part of the way. `keep` works a frame out once that is used more than once.
    """
    active = features.filter(nw.col("event_count_30d") > 0).select(PARTITION, "user_id", *METRICS)
    active = keep("active", active)
    fences = keep("fences", _fences(active))
    beyond = (
        _long(active)
        .join(fences.select(PARTITION, "metric", "low_fence", "high_fence"), on=[PARTITION, "metric"])
        .filter((nw.col("value") < nw.col("low_fence")) | (nw.col("value") > nw.col("high_fence")))
    )
    beyond = keep("beyond", beyond)
    counts = beyond.group_by(PARTITION, "metric").agg(nw.len().cast(nw.Int64).alias("outlier_count"))
    counted = fences.join(counts, on=[PARTITION, "metric"], how="left").with_columns(
        nw.col("outlier_count").fill_null(0)
    )
    share = nw.col("outlier_count").cast(nw.Float64) / nw.col("user_count").cast(nw.Float64)
    return (
        counted.with_columns(outlier_share=share).select(*ENGAGEMENT_FENCES.column_names),
        beyond.select(*ENGAGEMENT_OUTLIERS.column_names),
    )
