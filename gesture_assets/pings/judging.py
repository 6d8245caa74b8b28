"""A night's judgement: the lists of the day before, and plain ones, by what users did on the day.

Belongs here: which lists are compared, and the rows that come of it. Does not belong here: the measures
(`evaluation.py`, `exposure.py`), the plain orders (`baselines.py`).
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime

import narwhals as nw
import polars as pl

from gesture_assets.frames import Frame, to_polars
from gesture_assets.pings.baselines import hit_rates, lists_by_score, random_lists, recent_hits, shortest_first
from gesture_assets.pings.engagement import event_scores, ping_engagement, user_ping_engagement
from gesture_assets.pings.evaluation import MEASURES, Interval, graded_gains, list_measures
from gesture_assets.pings.exposure import churn, coverage, creator_gini, mean_overlap, novelty, popularity_bias
from gesture_assets.pings.off_policy import in_list_estimate
from gesture_assets.pings.recommend import seen_pings
from gesture_assets.pings.weights import PingWeights

SERVED = "served"
CHANCES = {"is_explored", "propensity"}  # of places of lists, where they are known
SEEN_BY = ("impression", "view")  # what tells that a user was shown a ping
SCHEMA = {
    "policy": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "user_count": pl.Int64,
    "excluded_count": pl.Int64,
}
Row = tuple[str, str, float, float | None, float | None, int, int]


def judged_lists(
    served: Frame,
    before_served: Frame,
    before: Frame,
    done: Frame,
    pings: Frame,
    weights: PingWeights,
    *,
    until: datetime,
    seed: int,
    served_length: int | None = None,
) -> pl.DataFrame:
    """Rows of `policy`, `measure`, `value`, `low`, `high`, `user_count`, `excluded_count`.

    `served` are lists (`user_id`, `rank`, `ping_id`, and what is in `CHANCES`) that were made at `until`, of what had
    happened `before`; `before_served` those of a day earlier. `done` is what happened after. Both are interactions,
    `pings` the catalogue as it was at `until`; all frames are of one engine. Everybody with a list who did something
    good in `done` is judged, by the served list and by plain ones; with chances, everybody who saw a place of theirs by
    `ips` and `snips` of what else could have been shown, where that is not said by too few. Nothing to judge: no rows.
    `served_length`: how long the served lists were to be, where that is not the length by `weights`.
    """
    gains = graded_gains(event_scores(done, pings, weights.events)).join(
        served.select("user_id"), on="user_id", how="semi"
    )
    known = to_polars(gains)
    if known.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    k, people = weights.lists.length, gains.group_by("user_id").agg()
    scored = event_scores(before, pings, weights.events)
    engagement = to_polars(ping_engagement(user_ping_engagement(scored), pings))
    table = to_polars(pings)
    plain = _plain_lists(before, scored, pings, people, engagement, weights, until=until, seed=seed)
    seen = to_polars(seen_pings(before, weights, until=until))
    rows: list[Row] = []
    ours = to_polars(served)
    for policy, lists in {SERVED: ours, **plain}.items():
        judged = list_measures(lists, known, k=k)
        rows += [
            _row(policy, measure, judged.interval(measure, seed=seed), judged.excluded_count) for measure in MEASURES
        ]
        of_judged = lists.join(known, on="user_id", how="semi")
        rows += _exposure(policy, of_judged, table, engagement, seen, seed)
    if CHANCES.issubset(ours.columns) and ours["is_explored"].any():
        saw = done.filter(nw.col("event_type").is_in(SEEN_BY)).group_by("user_id", "ping_id").agg()
        shown = ours.join(to_polars(saw), on=["user_id", "ping_id"])
        by_popularity = _popular_lists(before, pings, saw.group_by("user_id").agg(), engagement, weights, until)
        best = ours.filter(~pl.col("is_explored"))
        for policy, target in (("without_exploration", best), ("popularity", by_popularity)):
            found = in_list_estimate(shown, target, known, length=served_length or k, seed=seed)
            estimates = {"ips": found.ips, "snips": found.snips}
            rows += [_row(policy, measure, estimate, 0) for measure, estimate in estimates.items() if estimate]
    rows.append(_row(SERVED, "churn", churn(ours, to_polars(before_served), seed=seed), 0))
    kept = [row for row in rows if not math.isnan(row[2])]
    return pl.DataFrame(kept, schema=SCHEMA, orient="row")


def _popular_lists(
    before: Frame, pings: Frame, people: Frame, engagement: pl.DataFrame, weights: PingWeights, until: datetime
) -> pl.DataFrame:
    """The most popular unseen pings for each of `people`, whether or not they did anything good."""
    theirs = before.join(people, on="user_id", how="semi")
    score = engagement.select("ping_id", "global_engagement")
    return lists_by_score(theirs, pings, people, score, weights, until=until)


def _plain_lists(
    before: Frame,
    scored: Frame,
    pings: Frame,
    people: Frame,
    engagement: pl.DataFrame,
    weights: PingWeights,
    *,
    until: datetime,
    seed: int,
) -> Mapping[str, pl.DataFrame]:
    """The same number of unseen pings for each of `people`, in orders that know nothing of them."""
    theirs = before.join(people, on="user_id", how="semi")
    pairs, gains = before.select("user_id", "ping_id"), graded_gains(scored)
    orders = {
        "popularity": engagement.select("ping_id", "global_engagement"),
        "recent_hits": recent_hits(scored, until=until),
        "hit_rate": hit_rates(pairs, gains, pings),
        "shortest_first": shortest_first(pings),
    }
    seen = to_polars(seen_pings(theirs, weights, until=until))
    users = to_polars(people)["user_id"]
    chance = random_lists(users, to_polars(pings), seen, k=weights.lists.length, seed=seed)
    by_score = {
        name: lists_by_score(theirs, pings, people, score, weights, until=until) for name, score in orders.items()
    }
    return {"random": chance} | {name: lists.select("user_id", "rank", "ping_id") for name, lists in by_score.items()}


def _exposure(
    policy: str, lists: pl.DataFrame, pings: pl.DataFrame, engagement: pl.DataFrame, seen: pl.DataFrame, seed: int
) -> Iterator[Row]:
    users = lists["user_id"].n_unique()
    for measure, value in (
        ("coverage", coverage(lists, pings)),
        ("creator_gini", creator_gini(lists, pings)),
        ("mean_overlap", mean_overlap(lists)),
    ):
        yield policy, measure, value, None, None, users, 0
    yield _row(policy, "novelty", novelty(lists, seen, seed=seed), 0)
    yield _row(policy, "popularity_bias", popularity_bias(lists, pings, engagement, seed=seed), 0)


def _row(policy: str, measure: str, found: Interval, excluded: int) -> Row:
    return policy, measure, found.value, found.low, found.high, found.user_count, excluded
