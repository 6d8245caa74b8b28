"""What a list has to beat: chance, popularity and other plain orders of the catalogue.

Belongs here: scores of pings that know nothing of the user, and lists by chance. Does not belong here: the heuristic
(`recommend.py`), how lists are judged (`evaluation.py`).

A score of pings is a frame of `ping_id` and `global_engagement`: what `recommendations` takes for popularity, so that
`lists_by_score` gives everybody the best unseen ones, and `popularity_bias` can ask for their places.
"""

from datetime import datetime

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.frames import Frame, to_polars
from gesture_assets.pings.evaluation import is_hit
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import UNITS, PingWeights, ScoreWeights

# Short videos live for days: on the reference log a day predicts better than two or three.
HALF_LIFE_DAYS = 1.0
# Exposures at the mean rate that every ping is given: one of few does not lead by luck.
PRIOR_EXPOSURES = 20.0
SECONDS_PER_HOUR = 3_600
BY_POPULARITY = ScoreWeights(popularity=1.0, category=0.0, creator=0.0, freshness=0.0)


def recent_popularity(scored: Frame, *, until: datetime, half_life_days: float = HALF_LIFE_DAYS) -> pl.DataFrame:
    """Engagement of each ping, an event counting half for every `half_life_days` (whole hours) before `until`."""
    return _faded(scored.select("ping_id", "event_at", "event_units"), until, half_life_days)


def recent_hits(scored: Frame, *, until: datetime, half_life_days: float = HALF_LIFE_DAYS) -> pl.DataFrame:
    """The same of high-engagement events alone (`is_hit`), one point each."""
    hits = scored.filter(is_hit()).select("ping_id", "event_at", event_units=nw.lit(UNITS, nw.Int64))
    return _faded(hits, until, half_life_days)


def _faded(events: Frame, until: datetime, half_life_days: float) -> pl.DataFrame:
    seconds = (nw.lit(until).cast(nw.Datetime("us")) - nw.col("event_at")).dt.total_seconds()
    by_hour = (
        events.with_columns(hour=(seconds.cast(nw.Float64) * (1 / SECONDS_PER_HOUR)).floor().cast(nw.Int32))
        .group_by("ping_id", "hour")
        .agg(nw.col("event_units").cast(nw.Int128).sum().alias("units"))
        .select("ping_id", "hour", units=nw.col("units").cast(nw.Float64))
    )
    rows = to_polars(by_hour).sort("ping_id", "hour")
    age = rows["hour"].to_numpy() / (24 * half_life_days)
    ids, place = np.unique(rows["ping_id"].to_numpy(), return_inverse=True)
    faded = np.bincount(place, rows["units"].to_numpy() / UNITS * 0.5**age, len(ids)).astype(np.float64)
    return _scores(pl.Series(ids, dtype=pl.String), faded)


def hit_rates(pairs: Frame, gains: Frame, pings: Frame, *, prior: float = PRIOR_EXPOSURES) -> pl.DataFrame:
    """Share of the users that each of `pings` reached (`pairs`: `user_id`, `ping_id`) who gained from it, smoothed.

    (gained + `prior` × mean rate) ÷ (reached + `prior`), which is the mean rate where nobody was reached.
    """
    gained = gains.select("user_id", "ping_id", gained=nw.lit(1, nw.Int64))
    once = pairs.group_by("user_id", "ping_id").agg()
    reach = once.join(gained, on=["user_id", "ping_id"], how="left").group_by("ping_id")
    counts = to_polars(reach.agg(nw.len().cast(nw.Int64).alias("reached"), nw.col("gained").sum().cast(nw.Int64)))
    rows = to_polars(pings.select("ping_id")).join(counts, on="ping_id", how="left").sort("ping_id")
    reached, good = (rows[name].fill_null(0).cast(pl.Float64).to_numpy() for name in ("reached", "gained"))
    mean = float(good.sum() / max(reached.sum(), 1.0))
    return _scores(rows["ping_id"], (good + prior * mean) / (reached + prior))


def shortest_first(pings: Frame) -> pl.DataFrame:
    """Minus the duration of each ping; those of an unknown one as long as the median."""
    table = to_polars(pings.select("ping_id", "duration_sec")).sort("ping_id")
    seconds = table["duration_sec"].fill_null(table["duration_sec"].median()).fill_null(0.0)
    return _scores(table["ping_id"], -seconds.to_numpy())


def lists_by_score(
    interactions: Frame,
    pings: Frame,
    users: Frame,
    score: pl.DataFrame,
    weights: PingWeights,
    *,
    until: datetime | None = None,
) -> pl.DataFrame:
    """The unseen pings of the highest `score`, 0 where there is none, for everybody, as of `recommendations`."""
    plain = weights.model_copy(update={"score": BY_POPULARITY})
    return recommendations(interactions, pings, users, nw.from_native(score.lazy()), plain, until=until)


def random_lists(users: pl.Series, pings: pl.DataFrame, seen: pl.DataFrame, *, k: int, seed: int) -> pl.DataFrame:
    """`user_id`, `rank`, `ping_id`: min(`k`, unseen) pings by chance for each of `users`; `seen` as of `seen_pings`.

    The catalogue is shuffled once and each user begins somewhere in it, so that every ping has the same chance and no
    order is made for every user. The order of rows is no matter.
    """
    rng = np.random.default_rng(seed)
    shuffled = pings.select(pl.col("ping_id").sort())[rng.permutation(pings.height)].with_row_index("place")
    people = pl.DataFrame({"user_id": users.unique().sort()})
    people = people.with_columns(start=pl.Series(rng.integers(0, max(pings.height, 1), people.height)))
    looked_at = seen.group_by("user_id").agg(count=pl.len().cast(pl.Int64))
    needed = people.join(looked_at, on="user_id", how="left", maintain_order="left").with_columns(
        count=(pl.col("count").fill_null(0) + k).clip(upper_bound=pings.height)
    )
    rows = needed.with_columns(step=pl.int_ranges(0, "count")).explode("step", empty_as_null=False)
    place = ((pl.col("start") + pl.col("step")) % max(pings.height, 1)).cast(pl.UInt32)
    found = rows.with_columns(place=place).join(shuffled, on="place", maintain_order="left")
    unseen = found.join(seen, on=["user_id", "ping_id"], how="anti", maintain_order="left")
    unseen = unseen.sort("user_id", "step")
    ranks = unseen.select("user_id", pl.int_range(1, pl.len() + 1).over("user_id").alias("rank"), "ping_id")
    return ranks.filter(pl.col("rank") <= k)


def _scores(ids: pl.Series, scores: NDArray[np.float64]) -> pl.DataFrame:
    return pl.DataFrame({"ping_id": ids, "global_engagement": scores})
