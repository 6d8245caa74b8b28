"""What the numbers say, in a few sentences: skimming, rare signals, new users, impressions, follows.

Belongs here: which sentence follows from which figures, and that none is written of too few. Does not belong here: the
figures themselves (`engagement.py`, `health.py`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import narwhals as nw
import polars as pl

from gesture_assets.frames import Frame, to_polars

LEAST = 30  # events, users or pings that a sentence is about: of fewer, a share moves by points with each
MOST = 6
SKIMMED = 0.5
STRONG = ("share", "comment")
# Many impressions of a ping for each of its views: what is offered and not taken.
IMPRESSIONS_PER_VIEW = 5


@dataclass(frozen=True)
class Insight:
    """A sentence, the numbers in it by name as they are in the tables, and how many rows it is about."""

    name: str
    sentence: str
    numbers: dict[str, float]
    counted: int


def insights(scored: Frame, pings: Frame, statistics: pl.DataFrame, groups: pl.DataFrame) -> list[Insight]:
    """Six at most, in the order of document 004; none about fewer than 30 events, users or pings.

    `scored` is of `event_scores`, `statistics` of `watch_time_stats`, `groups` of `new_vs_existing_users`.
    """
    counts = _counts(scored)
    of_pings = to_polars(_by_ping(scored))
    follows = to_polars(_watched_after_follows(scored, pings))
    found = [
        *_skimming(statistics, counts),
        *_rare_signals(counts),
        *_new_users(groups),
        *_impressions(of_pings),
        *_follows(follows),
        *_leaders(of_pings),
    ]
    return [insight for insight in found if insight.counted >= LEAST][:MOST]


def _skimming(statistics: pl.DataFrame, counts: dict[str, float]) -> Iterator[Insight]:
    values = dict(statistics.iter_rows())
    if not values["count"]:
        return
    numbers = {"views": values["count"], "median": values["50%"], "skimmed": counts["skimmed"] / counts["views"]}
    sentence = (
        "Half of {views:,.0f} views watched at most {median:.0%} of the ping, and {skimmed:.0%} less than half of it: "
        "the first seconds decide."
    )
    yield _insight("skimming", sentence, numbers, values["count"])


def _rare_signals(counts: dict[str, float]) -> Iterator[Insight]:
    if not counts["strong"] or not counts["units"]:
        return
    numbers = {
        "events": counts["events"],
        "share_of_events": counts["strong"] / counts["events"],
        "share_of_engagement": counts["strong_units"] / counts["units"],
    }
    sentence = (
        "Shares and comments are {share_of_events:.1%} of {events:,.0f} events and {share_of_engagement:.1%} of all "
        "engagement: they are rare, and decide which pings lead."
    )
    yield _insight("rare_signals", sentence, numbers, counts["events"])


def _new_users(groups: pl.DataFrame) -> Iterator[Insight]:
    rows = {row["is_new"]: row for row in groups.iter_rows(named=True)}
    if len(rows) < 2 or any(row["avg_watch_time_ratio"] is None for row in rows.values()):
        return
    numbers = {
        f"{name}_{column}": rows[is_new][f"avg_{column}"]
        for name, is_new in (("new", True), ("other", False))
        for column in ("pings", "watch_time_ratio")
    }
    sentence = (
        "New users watch {new_watch_time_ratio:.0%} of a ping and try {new_pings:.1f} pings; the others watch "
        "{other_watch_time_ratio:.0%} and have tried {other_pings:.1f}."
    )
    fewest = min(min(row["user_count"], row["view_count"]) for row in rows.values())
    yield _insight("new_users", sentence, numbers, fewest)


def _impressions(of_pings: pl.DataFrame) -> Iterator[Insight]:
    offered = of_pings.filter(pl.col("impressions") >= LEAST)
    passed = offered.filter(pl.col("impressions") >= IMPRESSIONS_PER_VIEW * pl.col("views"))
    numbers = {
        "pings": float(offered.height),
        "passed_over": float(passed.height),
        "times": float(IMPRESSIONS_PER_VIEW),
    }
    sentence = (
        "Of {pings:,.0f} pings that were shown often, {passed_over:,.0f} got {times:.0f} impressions or more for each "
        "view: fresher ones, or better first pictures, might do more there."
    )
    yield _insight("impressions", sentence, numbers, offered.height)


def _follows(follows: pl.DataFrame) -> Iterator[Insight]:
    views = {row["follows"]: row for row in follows.iter_rows(named=True)}
    if len(views) < 2:
        return
    numbers = {
        "views": float(views[True]["views"]),
        "followed": views[True]["ratio"] / views[True]["views"],
        "others": views[False]["ratio"] / views[False]["views"],
    }
    sentence = (
        "Users watch {followed:.0%} of a ping whose creator they follow ({views:,.0f} views), {others:.0%} of others'."
    )
    yield _insight("follows", sentence, numbers, min(row["views"] for row in views.values()))


def _leaders(of_pings: pl.DataFrame) -> Iterator[Insight]:
    units = of_pings["units"].sort(descending=True)
    if not (total := math.fsum(units)):
        return
    numbers = {"pings": float(len(units)), "share": math.fsum(units.head(10)) / total}
    sentence = "The ten leading of {pings:,.0f} pings bring {share:.0%} of all engagement."
    yield _insight("leaders", sentence, numbers, of_pings.height)


def _insight(name: str, sentence: str, numbers: dict[str, float], counted: float) -> Insight:
    return Insight(name, sentence.format(**numbers), numbers, int(counted))


def _counts(scored: Frame) -> dict[str, float]:
    """Events, views, and units of points, of all and of what is rare."""
    kind, units = nw.col("event_type"), nw.col("event_units")
    strong = kind.is_in(STRONG)
    nothing = nw.lit(0, nw.Int64)
    row = scored.select(
        events=_flag(~kind.is_null()).sum(),
        views=_flag(kind == "view").sum(),
        skimmed=_flag(nw.col("watch_time_ratio") < SKIMMED).sum(),
        strong=_flag(strong).sum(),
        units=units.cast(nw.Int128).sum(),
        strong_units=nw.when(strong).then(units).otherwise(nothing).cast(nw.Int128).sum(),
    )
    found = to_polars(row.select(nw.all().cast(nw.Float64))).row(0, named=True)
    return {name: value or 0.0 for name, value in found.items()}


def _by_ping(scored: Frame) -> Frame:
    kind = nw.col("event_type")
    flags = scored.with_columns(impressions=_flag(kind == "impression"), views=_flag(kind == "view"))
    sums = flags.group_by("ping_id").agg(
        nw.col("impressions", "views").sum(), nw.col("event_units").cast(nw.Int128).sum().alias("units")
    )
    return sums.select("ping_id", nw.col("impressions", "views", "units").cast(nw.Float64))


def _watched_after_follows(scored: Frame, pings: Frame) -> Frame:
    """`follows`, `views`, `ratio` (summed): of views from the user's first follow of the creator on, and of others."""
    kind, pair = nw.col("event_type"), ["user_id", "creator_id"]
    known = scored.join(pings.select("ping_id", "creator_id"), on="ping_id", how="inner")
    since = known.filter(kind == "follow_creator").group_by(*pair).agg(nw.col("event_at").min().alias("since"))
    views = known.filter(kind == "view").join(since, on=pair, how="left")
    follows = (nw.col("event_at") >= nw.col("since")).fill_null(False)
    # In millionths: whole numbers add up the same in any order.
    millionths = (nw.col("watch_time_ratio").clip(0.0, 1000.0) * 1e6 + 0.5).floor().cast(nw.Int64)
    sums = views.select(follows=follows, ratio=millionths).group_by("follows")
    made = sums.agg(nw.len().alias("views"), nw.col("ratio").sum().cast(nw.Float64))
    return made.select("follows", views=nw.col("views").cast(nw.Int64), ratio=nw.col("ratio") * 1e-6)


def _flag(flag: nw.Expr) -> nw.Expr:
    return nw.when(flag).then(nw.lit(1, nw.Int64)).otherwise(nw.lit(0, nw.Int64))
