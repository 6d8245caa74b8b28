"""Whether lists are any good: what users did in the days after, beside what they were shown.

Belongs here: the split in time, graded gains, measures per user, their intervals. Does not belong here: what is shown
to whom (`exposure.py`), what a list has to beat (`baselines.py`), what another policy would have got (`off_policy.py`).

A measure is a mean over users, and its interval resamples users. Who did nothing good in the days after can show no
list to be better than another: such users are left out of the mean, and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from gesture_assets.errors import ConfigError, TrainingRefused
from gesture_assets.frames import Frame

GAINS = {"share": 4.0, "comment": 3.0, "like": 2.0}
# Watched share from which a view gains so much. Below half there is none: most were skipped.
VIEW_GAINS = ((0.5, 0.5), (0.8, 1.0))
SAMPLES = 1000
COVERAGE = 0.95
CELLS = 4_000_000  # of resampled counts that are held at once
AUC_OF_NOTHING, AUC_TOLERANCE = 0.5, 0.01
MEASURES = ("hit_rate", "reciprocal_rank", "ndcg", "ndcg_exponential")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over `user_count` users, and between what 95 % of resampled means lie; all NaN without users."""

    value: float
    low: float
    high: float
    user_count: int


@dataclass(frozen=True)
class PerUser:
    """`table`: a row per user that says something, sorted by `user_id`, a column per measure; and who says nothing."""

    table: pl.DataFrame
    excluded_count: int

    def interval(self, measure: str, *, seed: int, samples: int = SAMPLES) -> Interval:
        """The mean of a measure over users."""
        return mean_interval(self.table[measure].to_numpy(), seed=seed, samples=samples)

    def less(self, other: "PerUser", measure: str, *, seed: int, samples: int = SAMPLES) -> Interval:
        """How much higher the mean is than that of `other` over the same users: their differences are resampled.

        Raises `ConfigError` where the users are not the same.
        """
        ours, theirs = self.table["user_id"], other.table["user_id"]
        if not ours.equals(theirs):
            raise ConfigError.bad_value(
                f"The difference in {measure}",
                expected="the same users on both sides",
                found=f"{len(ours)} and {len(theirs)} users, {len(set(ours) ^ set(theirs))} of one side only",
                where="recommendation_evaluation",
                next_step="judge both by the same gains",
            )
        difference = self.table[measure].to_numpy() - other.table[measure].to_numpy()
        return mean_interval(difference, seed=seed, samples=samples)


def refuse_overlap_in_time(train: Frame, test: Frame) -> None:
    """Raise `ConfigError` unless everything in `train` happened before anything in `test`, by `event_at`."""
    last = train.select(nw.col("event_at").max()).collect().item()
    first = test.select(nw.col("event_at").min()).collect().item()
    if last is not None and first is not None and last >= first:
        raise ConfigError.bad_value(
            "The split of interactions into train and test",
            expected="every event of train before the first of test",
            found=f"train goes to {last:%Y-%m-%d %H:%M:%S.%f}, test begins at {first:%Y-%m-%d %H:%M:%S.%f}",
            where="recommendation_evaluation",
            next_step="cut both at the same moment:  split_at(interactions, moment)",
        )


def split_at(interactions: Frame, moment: datetime) -> tuple[Frame, Frame]:
    """What happened before `moment`, and what from then on."""
    at, cut = nw.col("event_at"), nw.lit(moment).cast(nw.Datetime("us"))
    return interactions.filter(at < cut), interactions.filter(at >= cut)


def is_hit() -> nw.Expr:
    """Whether an event of `event_scores` is what document 004 calls high engagement: it gains something."""
    return nw.col("event_type").is_in(tuple(GAINS)) | (nw.col("watch_time_ratio") >= VIEW_GAINS[0][0])


def graded_gains(scored: Frame) -> Frame:
    """`user_id`, `ping_id`, `gain` of pairs that gained anything: the most that one event of theirs did.

    share 4, comment 3, like 2; a view 1 from 80 % watched, 0.5 from half; anything else nothing. `scored` is of
    `event_scores`.
    """
    gained = scored.filter(is_hit()).with_columns(gain=gain_of_event())
    return gained.group_by("user_id", "ping_id").agg(nw.col("gain").max())


def gain_of_event() -> nw.Expr:
    """What an event gains by itself, 0 for most."""
    gain = nw.lit(0.0)
    for least, worth in VIEW_GAINS:
        gain = nw.when(nw.col("watch_time_ratio") >= least).then(nw.lit(worth)).otherwise(gain)
    for kind, worth in GAINS.items():
        gain = nw.when(nw.col("event_type") == kind).then(nw.lit(worth)).otherwise(gain)
    return gain


def list_measures(lists: pl.DataFrame, gains: pl.DataFrame, *, k: int) -> PerUser:
    """Hit rate, MRR and NDCG at `k` of each user of `gains`; who has no list, or a bad one, has 0.

    `lists`: `user_id`, `rank` from 1, `ping_id`, a ping once a user. `gains`: `user_id`, `ping_id`, `gain` above 0.
    `hit_rate`: 1 where one of the first `k` gained. `reciprocal_rank`: 1 ÷ the rank of the first that did. `ndcg`: the
    gains ÷ log2(rank + 1), ÷ the most that any order of all the user's gains reaches in `k` places;
    `ndcg_exponential`: the same of 2^gain − 1. Users of `lists` without gains are `excluded_count`.
    """
    users = gains.select(pl.col("user_id").unique().sort()).with_row_index("user")
    shown = lists.filter(pl.col("rank") <= k).join(gains, on=["user_id", "ping_id"]).join(users, on="user_id")
    found = _grid(users.height, k, shown["user"], shown["rank"] - 1, shown["gain"])
    order = gains.sort("user_id", "gain", descending=[False, True]).join(users, on="user_id", maintain_order="left")
    place = pl.int_range(pl.len()).over("user")
    best = order.select("user", "gain", place=place).filter(pl.col("place") < k)
    ideal = _grid(users.height, k, best["user"], best["place"], best["gain"])
    hits = found > 0
    any_hit = hits.any(axis=1)
    reciprocal = np.where(any_hit, 1 / (hits.argmax(axis=1) + 1), 0.0)
    table = users.select(
        "user_id",
        hit_rate=any_hit.astype(np.float64),
        reciprocal_rank=reciprocal,
        ndcg=_dcg(found) / _dcg(ideal),
        ndcg_exponential=_dcg(2**found - 1) / _dcg(2**ideal - 1),
    )
    excluded = lists.select(pl.col("user_id").unique()).join(users, on="user_id", how="anti").height
    return PerUser(table, excluded)


def ranked(impressions: pl.DataFrame, score: str, *, seed: int, by: Sequence[str] = ("user_id",)) -> pl.DataFrame:
    """`impressions` with a `rank` from 1 within `by`, the highest `score` first; equal ones in an order by chance.

    By chance, and not as they stand in the log, whose order knows what was watched: a constant score ranks as a random
    one. `impressions` hold a ping once within `by`; how they are sorted is no matter.
    """
    rows = impressions.sort(*by, "ping_id")
    chance = pl.Series("chance", np.random.default_rng(seed).random(rows.height))
    ordered = rows.with_columns(chance).sort(*by, score, "chance", descending=[*(False for _ in by), True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over(by)).drop("chance")


def auc_per_user(impressions: pl.DataFrame, score: str, *, by: Sequence[str] = ("user_id",)) -> PerUser:
    """The chance that of a user's impressions a good one (`is_good`) scores above another; ties count half.

    With `by` of user and day it is the mean over the user's days. Users whose impressions are all good or all not,
    each day, are excluded.
    Raises `ConfigError` where a score is missing or no number.
    """
    if missing := impressions.select((pl.col(score).is_null() | pl.col(score).is_nan()).sum()).item():
        raise ConfigError.bad_value(
            f"The score {score!r}",
            expected="a number for every impression",
            found=f"{missing} of {impressions.height} without",
            where="recommendation_evaluation",
            next_step="score them, or leave them out of every comparison",
        )
    rank = pl.col(score).rank("average").over(by)
    good = pl.col("is_good")
    sums = (
        impressions.with_columns(rank=rank)
        .group_by(by)
        .agg(  # ranks are halves: their sums are exact
            ranks=pl.col("rank").filter(good).sum(), good=good.sum().cast(pl.Float64), all=pl.len().cast(pl.Float64)
        )
        .sort(by)
    )
    pairs = pl.col("good") * (pl.col("all") - pl.col("good"))
    above = pl.col("ranks") - pl.col("good") * (pl.col("good") + 1) / 2
    key = "user_id" if "user_id" in by else by[0]
    judged = sums.filter(pairs > 0).group_by(key, maintain_order=True).agg(auc=(above / pairs).mean())
    return PerUser(judged, sums[key].n_unique() - judged.height)


def refuse_a_ranking_by_user(impressions: pl.DataFrame, *, by: Sequence[str] = ("user_id",)) -> float:
    """The AUC of the best feature that is constant per user, its share of good impressions, which must be 0.50 ± 0.01.

    Such a feature cannot tell a user's pings apart; where it seems to, the groups hold more than one user or moment,
    and every other figure flatters, too. Raises `TrainingRefused` then. Without anything to judge it is 0.50.
    """
    constant = impressions.with_columns(constant=pl.col("is_good").mean().over("user_id"))
    judged = auc_per_user(constant, "constant", by=by).table
    found = float(judged["auc"].to_numpy().mean()) if judged.height else AUC_OF_NOTHING
    if abs(found - AUC_OF_NOTHING) > AUC_TOLERANCE:
        raise TrainingRefused(
            "Rankings of impressions cannot be compared.",
            expected=f"AUC {AUC_OF_NOTHING:.2f} ± {AUC_TOLERANCE:.2f} of a feature that is constant per user",
            found=f"AUC {found:.3f} within groups of {', '.join(by)}",
            where="the groups that impressions are ranked in",
            next_step="rank within one user and day",
        )
    return found


def mean_interval(
    values: ArrayLike, *, weights: ArrayLike | None = None, seed: int, samples: int = SAMPLES
) -> Interval:
    """Σ values ÷ Σ weights (1 each) with its 95 % interval by resampling users; one value and weight a user.

    Users who are alike are counted, and the counts are resampled: the same distribution as of drawing each user by
    itself. The order of users is no matter. NaN without users, or where the weights sum to 0.
    """
    above = np.asarray(values, np.float64)
    below = np.ones(len(above)) if weights is None else np.asarray(weights, np.float64)
    n = len(above)
    if n == 0 or below.sum() == 0:
        return Interval(np.nan, np.nan, np.nan, n)
    pairs, counts = np.unique(np.stack([above, below], axis=1), axis=0, return_counts=True)
    totals = counts @ pairs
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS // len(counts))
    drawn = [
        rng.multinomial(n, counts / n, size=min(at_once, samples - done)) @ pairs for done in range(0, samples, at_once)
    ]
    sums = np.concatenate(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums[:, 0] / sums[:, 1]
    low, high = np.nanquantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(totals[0] / totals[1]), float(low), float(high), n)


def _grid(rows: int, columns: int, row: pl.Series, column: pl.Series, value: pl.Series) -> Floats:
    """`value` at `row` and `column`, 0 elsewhere."""
    grid = np.zeros((rows, columns))
    grid[row.to_numpy(), column.to_numpy()] = value.to_numpy()
    return grid


def _dcg(gains: Floats) -> Floats:
    """Gains ÷ log2(rank + 1), summed over each row."""
    discount: Floats = np.log2(np.arange(gains.shape[1], dtype=np.float64) + 2)
    return (gains / discount).sum(axis=1)
