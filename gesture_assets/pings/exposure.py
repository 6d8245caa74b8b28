"""What lists show to whom: how much of the catalogue, whose pings, how popular ones, how alike for everybody.

Belongs here: measures of lists that need no outcome. Does not belong here: whether users liked them (`evaluation.py`).

Lists are rows of `user_id`, `rank`, `ping_id`; a measure over none is NaN.
"""

import math

import numpy as np
import polars as pl

from gesture_assets.pings.evaluation import Interval, mean_interval


def coverage(lists: pl.DataFrame, pings: pl.DataFrame) -> float:
    """Share of the catalogue's pings that anybody's list holds."""
    if not pings.height:
        return math.nan
    return pings.join(lists.select("ping_id").unique(), on="ping_id", how="semi").height / pings.height


def novelty(lists: pl.DataFrame, seen: pl.DataFrame, *, seed: int) -> Interval:
    """Share of the listed pings that the user had not seen (`seen`: `user_id`, `ping_id`)."""
    is_new = lists.join(seen.select("user_id", "ping_id").unique(), on=["user_id", "ping_id"], how="anti")
    return _share_of_rows(lists, is_new, seed)


def churn(lists: pl.DataFrame, earlier: pl.DataFrame, *, seed: int) -> Interval:
    """Share of the listed pings that the user's list of before did not hold; of users who had one."""
    both = lists.join(earlier.select("user_id").unique(), on="user_id", how="semi")
    return _share_of_rows(both, both.join(earlier, on=["user_id", "ping_id"], how="anti"), seed)


def creator_gini(lists: pl.DataFrame, pings: pl.DataFrame) -> float:
    """How unequally places go to the catalogue's creators: 0 as many to each, towards 1 all to one.

    Creators who are never listed count; pings without a creator do not.
    """
    creators = pings.select("ping_id", "creator_id").drop_nulls()
    shown = lists.join(creators, on="ping_id").group_by("creator_id").len("places")
    everyone = creators.select("creator_id").unique().join(shown, on="creator_id", how="left")
    places = np.sort(everyone["places"].fill_null(0).cast(pl.Int64).to_numpy())
    n, total = len(places), int(places.sum())
    if total == 0:
        return math.nan
    return float(np.dot(2 * np.arange(1, n + 1) - n - 1, places) / (n * total))


def popularity_bias(lists: pl.DataFrame, pings: pl.DataFrame, engagement: pl.DataFrame, *, seed: int) -> Interval:
    """Mean place of the listed pings among all by `global_engagement`: 0 the least popular, 1 the most, 0.5 no bias.

    Equal pings share the mean of their places; without engagement a ping has 0. NaN of a catalogue of one ping.
    """
    total = pings.select("ping_id").join(engagement.select("ping_id", "global_engagement"), on="ping_id", how="left")
    if pings.height < 2:
        return Interval(math.nan, math.nan, math.nan, 0)
    place = pl.col("global_engagement").fill_null(0.0).rank("average") - 1  # halves: their sums are exact
    places = lists.join(total.select("ping_id", place=place), on="ping_id")
    sums = places.group_by("user_id").agg(pl.col("place").sum(), rows=pl.len())
    return mean_interval(sums["place"] / (pings.height - 1), weights=sums["rows"], seed=seed)


def mean_overlap(lists: pl.DataFrame) -> float:
    """Mean over all pairs of users of the pings that both lists hold, ÷ the root of both lengths; NaN of one user.

    Of lists of one length: the share of pings in common. 1: everybody is shown the same. Counted from how many lists
    of each length hold a ping, n of which make n (n − 1) ordered pairs, so that no pair is ever built.
    """
    lengths = lists.group_by("user_id").len("length")
    n = lengths.height
    if n < 2:
        return math.nan
    listed = lists.join(lengths, on="user_id").group_by("ping_id", "length").agg(users=pl.len().cast(pl.Int64))
    itself = (pl.col("length") == pl.col("length_right")).cast(pl.Int64)
    both = listed.join(listed, on="ping_id").with_columns(pairs=pl.col("users") * (pl.col("users_right") - itself))
    common = both.group_by("length", "length_right").agg(pl.col("pairs").sum()).cast(pl.Float64)
    return math.fsum(
        common.select(pl.col("pairs") / (pl.col("length") * pl.col("length_right")).sqrt()).to_series()
    ) / (n * (n - 1))


def _share_of_rows(lists: pl.DataFrame, kept: pl.DataFrame, seed: int) -> Interval:
    """Rows of `kept` ÷ rows of `lists`, with the interval over users."""
    rows = lists.group_by("user_id").len("rows").join(kept.group_by("user_id").len("kept"), on="user_id", how="left")
    return mean_interval(rows["kept"].fill_null(0), weights=rows["rows"], seed=seed)
