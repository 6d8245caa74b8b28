"""Who buys: conversion by segment, how buyers and others are spread, and whether that is enough to learn from.

Belongs here: validated subscribers to the long tables of document 003's exploratory analysis. Does not belong here:
which criteria there are (`subscribers/tables.py`), drawing them (whoever opens the published file).
"""

from collections.abc import Mapping

import narwhals as nw

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame, concat, whole_days
from gesture_assets.subscribers.tables import (
    DATA_SUFFICIENCY,
    NEEDED,
    PURCHASE_QUANTILES,
    QUANTILE_METRICS,
    QUANTILES,
    SEGMENT_CONVERSION,
    VERDICT,
)

UNKNOWN = "unknown"
DIGITS = 6  # engines go part of the way from one value to the next in sums that differ in the last bit
PAIRS = (("member_rating", "tag_count"), ("country", "member_rating"), ("optin_year", "member_rating"))


def _segments() -> Mapping[str, nw.Expr]:
    """Dimension -> the segment of a subscriber, as text."""
    tags = nw.col("tag_count")
    single = {
        "country": nw.col("country"),
        "member_rating": nw.col("member_rating").cast(nw.String),
        "tag_count": nw.when(tags < 3)
        .then(tags.cast(nw.String))
        .otherwise(nw.when(tags <= 5).then(nw.lit("3 to 5")).otherwise(nw.when(tags > 5).then(nw.lit("6 or more")))),
        "optin_year": nw.col("optin_date").dt.year().cast(nw.String),
    }
    named = {name: segment.fill_null(UNKNOWN) for name, segment in single.items()}
    joined = {
        f"{first} × {second}": nw.concat_str([named[first], nw.lit(" × "), named[second]], ignore_nulls=False)
        for first, second in PAIRS
    }
    return named | joined


def segment_conversion(subscribers: Frame) -> Frame:
    """Buyers and subscribers of each segment of each dimension, most buyers first, with shares and running sums."""
    counted = concat(
        [
            subscribers.select(
                PARTITION, nw.lit(dimension).alias("dimension"), segment.alias("segment"), "made_purchase"
            )
            .group_by(PARTITION, "dimension", "segment")
            .agg(
                nw.len().cast(nw.Int64).alias("subscriber_count"),
                nw.col("made_purchase").sum().fill_null(0).cast(nw.Int64).alias("buyer_count"),
                (~nw.col("made_purchase").is_null()).cast(nw.Int64).sum().alias("known_count"),
            )
            for dimension, segment in _segments().items()
        ]
    ).with_columns(fewer_buyers=-nw.col("buyer_count"), fewer_subscribers=-nw.col("subscriber_count"))
    each = (PARTITION, "dimension")
    order = ("fewer_buyers", "fewer_subscribers", "segment")
    placed = counted.with_columns(
        place=nw.col("segment").cum_count().over(*each, order_by=order).cast(nw.Int32),
        subscribers_so_far=nw.col("subscriber_count").cum_sum().over(*each, order_by=order),
        buyers_so_far=nw.col("buyer_count").cum_sum().over(*each, order_by=order),
        all_subscribers=nw.col("subscriber_count").sum().over(*each),
        all_buyers=nw.col("buyer_count").sum().over(*each),
    )

    def share(part: str, whole: str) -> nw.Expr:
        return nw.when(nw.col(whole) > 0).then(nw.col(part).cast(nw.Float64) / nw.col(whole).cast(nw.Float64))

    return placed.with_columns(
        conversion_rate=share("buyer_count", "known_count"),
        subscriber_share=share("subscriber_count", "all_subscribers"),
        buyer_share=share("buyer_count", "all_buyers"),
        cumulative_subscriber_share=share("subscribers_so_far", "all_subscribers"),
        cumulative_buyer_share=share("buyers_so_far", "all_buyers"),
    ).select(*SEGMENT_CONVERSION.column_names)


def purchase_quantiles(subscribers: Frame) -> Frame:
    """The quantiles of each metric among buyers and others, to a millionth; between two values a part of the way."""
    known = subscribers.filter(~nw.col("made_purchase").is_null())
    dated = known.with_columns(optin_days=whole_days("optin_date", PARTITION))
    quantiles: list[Frame] = []
    for metric in QUANTILE_METRICS:
        value = dated.select(PARTITION, "made_purchase", nw.col(metric).cast(nw.Float64).alias("value"))
        grouped = value.filter(~nw.col("value").is_null()).group_by(PARTITION, "made_purchase")
        quantiles += [
            grouped.agg(
                nw.col("value").quantile(quantile, interpolation="linear").round(DIGITS).alias("value"),
                nw.len().cast(nw.Int64).alias("subscriber_count"),
            ).with_columns(nw.lit(metric).alias("metric"), nw.lit(quantile).cast(nw.Float64).alias("quantile"))
            for quantile in QUANTILES
        ]
    return concat([rows.select(*PURCHASE_QUANTILES.column_names) for rows in quantiles])


def data_sufficiency(subscribers: Frame) -> Frame:
    """Each criterion with what is there and what is needed, and the verdict over all of them."""
    ones = nw.lit(1)
    counts = subscribers.group_by(PARTITION).agg(
        nw.len().cast(nw.Float64).alias("subscribers"),
        nw.col("made_purchase").sum().fill_null(0).cast(nw.Float64).alias("buyers"),
        nw.when(~nw.col("made_purchase").is_null()).then(ones).sum().cast(nw.Float64).alias("known"),
        nw.when(~nw.col("member_rating").is_null()).then(ones).sum().cast(nw.Float64).alias("rated"),
        nw.when(~nw.col("tag_count").is_null()).then(ones).sum().cast(nw.Float64).alias("tagged"),
    )
    everybody = nw.col("subscribers")
    values = counts.with_columns(
        others=nw.col("known").fill_null(0.0) - nw.col("buyers"),
        rated_share=nw.col("rated").fill_null(0.0) / everybody,
        tagged_share=nw.col("tagged").fill_null(0.0) / everybody,
    )
    criteria = concat(
        [
            values.select(
                PARTITION,
                nw.lit(name).alias("criterion"),
                nw.col(name).alias("found"),
                nw.lit(float(needed)).cast(nw.Float64).alias("needed"),
            )
            for name, (needed, _) in NEEDED.items()
        ]
    ).with_columns(is_met=nw.col("found") >= nw.col("needed"))
    met = nw.when(nw.col("is_met")).then(nw.lit(1)).otherwise(nw.lit(0)).sum()
    verdict = (
        criteria.group_by(PARTITION)
        .agg(met.cast(nw.Float64).alias("found"))
        .with_columns(nw.lit(VERDICT).alias("criterion"), nw.lit(float(len(NEEDED))).cast(nw.Float64).alias("needed"))
        .with_columns(is_met=nw.col("found") >= nw.col("needed"))
    )
    columns = DATA_SUFFICIENCY.column_names
    return nw.concat([criteria.select(*columns), verdict.select(*columns)])
