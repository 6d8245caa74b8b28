"""Engagement: what each event is worth, and what that makes of pings, users and pairs of both.

Belongs here: functions of lazy frames that give the same bytes on DuckDB and on Polars. Does not belong here: what the
weights may be (`weights.py`), who is shown what (`recommend.py`).

Points are added as whole numbers of 10⁻¹² of a point: 0.1 + 0.1 + 5.1 and 0.1 + 5.2 are both exactly 5.3, whatever the
order of the rows, so that equal pings tie. What is shown of them is the nearest double, read from the figures
themselves: 10⁻¹² is no double, and both a product with it and, above 2⁵³ units, a quotient would be rounded twice.
"""

import math
from datetime import date, datetime, timedelta

import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets.frames import Frame, to_polars, whole_days
from gesture_assets.pings.weights import UNITS, EventWeights

DEFAULT_DURATION = 30.0  # seconds, where no ping of the catalogue says how long it is
MOST_UNITS = 1000.0 * UNITS  # a single view: no honest one is watched a thousand times over
INTERACTED = ("view", "like", "comment", "share")
QUARTILES = (0.25, 0.5, 0.75, 0.9)


def within(interactions: Frame, *, until: datetime | None, days: int | None = None) -> Frame:
    """`interactions` before `until` and, with `days`, not longer ago than that; None: no bound on that side."""
    if until is None:
        return interactions
    at, end = nw.col("event_at"), nw.lit(until).cast(nw.Datetime("us"))
    before = interactions.filter(at < end)
    start = nw.lit(until - timedelta(days=days or 0)).cast(nw.Datetime("us"))
    return before if days is None else before.filter(at >= start)


def event_scores(interactions: Frame, pings: Frame, weights: EventWeights) -> Frame:
    """`interactions` with `duration_sec`, `watch_time_ratio`, `event_units` (10⁻¹² of a point) and `event_score`.

    The ratio is watched ÷ duration of views, null of other events; no watch time counts 0. A duration that is missing
    or not above 0 is the median of the catalogue's others, else 30 s; so is that of a ping which `pings` does not have.
    """
    known = nw.when(nw.col("duration_sec") > 0).then(nw.col("duration_sec"))
    durations = (
        pings.select("ping_id", duration_sec=known)
        .with_columns(median=nw.col("duration_sec").median())
        .select("ping_id", nw.coalesce("duration_sec", "median", nw.lit(DEFAULT_DURATION)).alias("duration_sec"))
    )
    joined = interactions.join(durations, on="ping_id", how="left")
    kind = nw.col("event_type")
    watched = nw.col("watch_time_sec").fill_null(0.0) / nw.col("duration_sec")
    rated = joined.with_columns(duration_sec=nw.col("duration_sec").fill_null(DEFAULT_DURATION)).with_columns(
        watch_time_ratio=nw.when(kind == "view").then(watched)
    )
    units = weights.units
    view = _units(nw.col("watch_time_ratio") * float(units.pop("view")))
    others = [nw.when(kind == name).then(nw.lit(worth, nw.Int64)) for name, worth in units.items()]
    event_units = nw.coalesce(nw.when(kind == "view").then(view), *others, nw.lit(0, nw.Int64))
    return rated.with_columns(event_units=event_units).with_columns(event_score=points("event_units"))


def user_ping_engagement(scored: Frame) -> Frame:
    """One row per user and ping of `scored` (by `event_scores`): score, exact units, last event, number of events."""
    events = scored.select(
        "user_id",
        "ping_id",
        engagement_units="event_units",
        last_event_at="event_at",
        event_count=nw.lit(1, nw.Int64),
    )
    return to_date(events)


def to_date(daily: Frame) -> Frame:
    """What the rows of `user_ping_engagement` of several days come to, a row per user and ping."""
    sums = daily.group_by("user_id", "ping_id").agg(
        nw.col("engagement_units").cast(nw.Int128).sum(), nw.col("last_event_at").max(), nw.col("event_count").sum()
    )
    return sums.select(
        "user_id",
        "ping_id",
        engagement_score=points("engagement_units"),
        engagement_units=nw.col("engagement_units").cast(nw.Int64),
        last_event_at="last_event_at",
        event_count=nw.col("event_count").cast(nw.Int64),
    )


def ping_engagement(user_ping: Frame, pings: Frame) -> Frame:
    """One row per ping that anybody did anything with: `global_engagement`, `user_count`, `rank` from 1.

    The most engaging first; equal ones by the catalogue's order, those that it does not have last, by id.
    """
    sums = user_ping.group_by("ping_id").agg(
        nw.col("engagement_units").cast(nw.Int128).sum().alias("units"), nw.len().alias("user_count")
    )
    rows = sums.join(pings.select("ping_id", "catalogue_row"), on="ping_id", how="left")
    order = ["score_down", "row", "ping_id"]
    return (
        rows.select(
            "ping_id",
            global_engagement=points("units"),
            user_count=nw.col("user_count").cast(nw.Int64),
            score_down=-points("units"),
            row=nw.col("catalogue_row").fill_null(2**62),
        )
        .with_columns(rank=nw.col("ping_id").cum_count().over(order_by=order).cast(nw.Int64))
        .drop("score_down", "row")
        .sort("rank")
    )


def top_pings(engagement: Frame, pings: Frame, n: int = 10) -> Frame:
    """The `n` most engaging pings (of `ping_engagement`) with what the catalogue says of them, best first."""
    return engagement.filter(nw.col("rank") <= n).join(pings, on="ping_id", how="left").sort("rank")


def watch_time_stats(scored: Frame) -> pl.DataFrame:
    """`statistic`, `watch_time_ratio`: what pandas' `describe` says of the views' ratios, 90 % among the quantiles.

    count, mean, std (n − 1), min, 25%, 50%, 75%, 90% (linear between neighbours), max. Sums are exact, so that the
    order of rows is no matter. Without views the count is 0 and the rest null; of one view the std is null.
    """
    views = scored.filter(~nw.col("watch_time_ratio").is_null()).select("watch_time_ratio")
    ratios = np.sort(to_polars(views)["watch_time_ratio"].to_numpy())
    names = ["mean", "std", "min", *(f"{quantile:.0%}" for quantile in QUARTILES), "max"]
    values: list[float | None] = [None] * len(names)
    if n := len(ratios):
        mean = math.fsum(ratios) / n
        std = math.sqrt(math.fsum((ratios - mean) ** 2) / (n - 1)) if n > 1 else None
        quantiles = [float(np.quantile(ratios, quantile)) for quantile in QUARTILES]
        values = [mean, std, float(ratios[0]), *quantiles, float(ratios[-1])]
    return pl.DataFrame(
        {"statistic": ["count", *names], "watch_time_ratio": [float(n), *values]},
        schema={"statistic": pl.String, "watch_time_ratio": pl.Float64},
    )


def new_vs_existing_users(scored: Frame, users: Frame, *, new_days: int, as_of: date | None = None) -> Frame:
    """Two rows at most: `is_new`, `user_count`, `avg_pings`, `view_count`, `avg_watch_time_ratio`.

    New is who signed up at most `new_days` days before `as_of`, or the newest signup of `users`; whose signup is
    unknown is not.
    `avg_pings`: pings that a user viewed, liked, commented or shared, those with none included. The ratio is that of
    views of known users, null without any.
    """
    last = nw.col("signup_date").max() if as_of is None else nw.lit(as_of).cast(nw.Date)
    newest = users.with_columns(newest=last)
    age = whole_days("signup_date", "newest")
    people = newest.select("user_id", is_new=nw.when(age <= new_days).then(nw.lit(True)).otherwise(nw.lit(False)))
    is_view = ~nw.col("watch_time_ratio").is_null()
    of_user = (
        scored.filter(nw.col("event_type").is_in(INTERACTED))
        .with_columns(ratio_units=nw.when(is_view).then(_units(nw.col("watch_time_ratio") * float(UNITS))))
        .group_by("user_id")
        .agg(
            nw.col("ping_id").n_unique().alias("ping_count"),
            nw.col("ratio_units").count().alias("view_count"),
            nw.col("ratio_units").cast(nw.Int128).sum().alias("ratio_units"),
        )
    )
    counts = [nw.col(name).fill_null(0).cast(nw.Int64) for name in ("ping_count", "view_count")]
    rows = people.join(of_user, on="user_id", how="left").with_columns(*counts)
    sums = rows.group_by("is_new").agg(
        nw.len().cast(nw.Float64).alias("users"),
        nw.col("ping_count", "view_count").sum().cast(nw.Float64),
        nw.col("ratio_units").fill_null(0).cast(nw.Int128).sum().alias("ratio_units"),
    )
    return sums.select(
        "is_new",
        user_count=nw.col("users").cast(nw.Int64),
        avg_pings=nw.col("ping_count") / nw.col("users"),
        view_count=nw.col("view_count").cast(nw.Int64),
        avg_watch_time_ratio=nw.when(nw.col("view_count") > 0).then(points("ratio_units") / nw.col("view_count")),
    ).sort("is_new")


def user_affinities(interactions: Frame, pings: Frame) -> Frame:
    """One row per user, `kind` (category or creator) and `value`: `event_count`, and `affinity`, its share of all.

    The share is of all events of the user in `interactions` (a window: `within`), of pings without that attribute too,
    so it is above 0 and at most 1, and a user's affinities of a kind sum to 1 at most.
    """
    totals = interactions.group_by("user_id").agg(nw.len().cast(nw.Float64).alias("total"))
    known = interactions.select("user_id", "ping_id").join(
        pings.select("ping_id", "category", "creator_id"), on="ping_id", how="left"
    )
    kinds = [
        known.filter(~nw.col(column).is_null())
        .group_by("user_id", column)
        .agg(nw.len().cast(nw.Int64).alias("event_count"))
        .select("user_id", nw.lit(kind).alias("kind"), nw.col(column).alias("value"), "event_count")
        for kind, column in (("category", "category"), ("creator", "creator_id"))
    ]
    shares = nw.concat(kinds).join(totals, on="user_id", how="left")
    return shares.with_columns(affinity=nw.col("event_count").cast(nw.Float64) / nw.col("total")).drop("total")


def _units(value: nw.Expr) -> nw.Expr:
    """The nearest whole number, halves up, as BIGINT."""
    return (value.clip(-MOST_UNITS, MOST_UNITS) + 0.5).floor().cast(nw.Int64)


def points(units: str) -> nw.Expr:
    """Points of a column of whole 10⁻¹²: the double that is nearest to them."""
    return nw.concat_str([nw.col(units).cast(nw.String), nw.lit("e-12")]).cast(nw.Float64)
