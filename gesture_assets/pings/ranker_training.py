"""A training of the second stage: its folds in time, how it is judged beside plain orders, whether it may serve.

Belongs here: which days teach and which judge, the table of the judgement, the decision. Does not belong here: learning
itself (`ranker.py`), what is known of an impression (`impressions.py`), files (`ranker_files.py`), which version serves
(`records/activations.py`).

The last days are judged by a ranker of the days before, as of the end of the last of those. An order of what users
were shown decides, since a ping that nobody was shown cannot be liked. But what is to serve are lists: one that orders
well and whose lists hold clearly less of what their users liked than the heuristic's does not serve. The objective is
chosen on as many days before the judged ones. What may serve is trained once more, on all days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets.errors import TrainingRefused
from gesture_assets.frames import Frame
from gesture_assets.pings.baselines import hit_rates, recent_hits, shortest_first
from gesture_assets.pings.engagement import ping_engagement, user_ping_engagement
from gesture_assets.pings.evaluation import graded_gains, list_measures, split_at
from gesture_assets.pings.impressions import (
    impressions,
    known_as_of,
    refuse_what_is_known_too_late,
    shown_after,
)
from gesture_assets.pings.ranker import (
    USUAL,
    Choice,
    Ranker,
    Reranking,
    Settings,
    candidate_scores,
    choose_objective,
    in_order_of,
    refuse_days_that_are_counted,
    reranking,
    train,
)
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import PingWeights, ScoreWeights

HISTORY_DAYS = 56  # that count: of what is older, less than a fiftieth is left
MOST_JUDGED_DAYS = 7
LEAST_DAYS = 4  # with impressions: two to learn from, one to choose an objective by, one to judge by
MOST_ROWS = 1_000_000  # impressions that are learned from and judged by, of users by chance where there are more
RANKER = "ranker"
MEASURES = ("ndcg", "auc")
LIST_NDCG = "list_ndcg"  # of lists of the whole catalogue, by what their users liked
EVALUATION_SCHEMA = {
    "policy": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "gain": pl.Float64,
    "gain_low": pl.Float64,
    "gain_high": pl.Float64,
    "user_count": pl.Int64,
    "excluded_count": pl.Int64,
}


@dataclass(frozen=True)
class Days:
    """Days with impressions: what teaches (`taught`), chooses the objective (`choosing`, the last of them), judges."""

    taught: tuple[date, ...]
    choosing: tuple[date, ...]
    judged: tuple[date, ...]


@dataclass(frozen=True)
class TrainedRanker:
    """What may serve, and how one of the days before the judged ones did: see `EVALUATION_SCHEMA`."""

    ranker: Ranker
    choice: Choice
    days: Days
    evaluation: pl.DataFrame
    is_better: bool
    because: str
    judged_rows: int
    user_count: int


def trained_ranker(
    scored: Frame,
    pings: pl.DataFrame,
    weights: PingWeights,
    *,
    seed: int,
    settings: Settings = USUAL,
    most_rows: int = MOST_ROWS,
) -> TrainedRanker:
    """Train and judge by `scored` (`event_scores` of the days that count) and the catalogue `pings`.

    Equal rows in any order give equal results. Raises `TrainingRefused` for too few days or outcomes, and where a
    sentinel finds that something is known too early.
    """
    history = impressions(scored)
    days = days_of(history["day"].unique().sort().to_list())
    rows = _some(shown_after(history), most_rows, seed)
    choosing = _known(rows, days.choosing, days.taught[-len(days.choosing) - 1], history, pings, weights.score)
    judged = _known(rows, days.judged, days.taught[-1], history, pings, weights.score)
    refuse_what_is_known_too_late(
        judged.select(rows.columns), history, lambda part, past: known_as_of(part, past, pings, weights.score)
    )
    known = known_as_of(rows, history, pings, weights.score)
    before_choosing = known.filter(pl.col("day") < days.choosing[0])
    choice = choose_objective(before_choosing, choosing, settings=settings, seed=seed)
    taught = known.filter(pl.col("day") < days.judged[0])
    refuse_days_that_are_counted(taught, judged)
    of_before = train(taught, choice.objective, settings=settings)
    evaluation, is_better, because = _judged(of_before, judged, scored, pings, days.judged[0], seed)
    lists, loses = _lists_judged(of_before, rows, history, scored, pings, weights, days, seed)
    evaluation = pl.concat([evaluation, lists])
    if is_better and loses:
        is_better, because = False, f"{because}; but {loses}"
    return TrainedRanker(
        ranker=train(known, choice.objective, settings=settings),
        choice=choice,
        days=days,
        evaluation=evaluation,
        is_better=is_better,
        because=because,
        judged_rows=judged.height,
        user_count=rows["user_id"].n_unique(),
    )


def days_of(days: Sequence[date]) -> Days:
    """The folds of `days` (in order, with impressions). Raises `TrainingRefused` for fewer than `LEAST_DAYS`."""
    if len(days) < LEAST_DAYS:
        raise TrainingRefused(
            "A ranker cannot be trained.",
            expected=f"interactions of at least {LEAST_DAYS} days: some teach, some choose, some judge",
            found=f"{len(days)} days with any",
            where="ping_interactions",
            next_step="wait for more days; lists go on by the weights",
        )
    n = min(MOST_JUDGED_DAYS, len(days) // LEAST_DAYS)
    return Days(tuple(days[:-n]), tuple(days[-2 * n : -n]), tuple(days[-n:]))


def _some(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """`rows`, or those of as many users by chance as have about `most`."""
    if rows.height <= most:
        return rows
    users = rows.select(pl.col("user_id").unique().sort())
    chosen = np.random.default_rng(seed).permutation(users.height)[: max(1, users.height * most // rows.height)]
    return rows.join(users[np.sort(chosen)], on="user_id", how="semi", maintain_order="left")


def _known(
    rows: pl.DataFrame,
    days: Sequence[date],
    as_of: date,
    history: pl.DataFrame,
    pings: pl.DataFrame,
    weights: ScoreWeights,
) -> pl.DataFrame:
    """Impressions of `days` as they were known at the end of `as_of`, before the first of them."""
    judged = rows.filter(pl.col("day").is_in(days)).with_columns(as_of=pl.lit(as_of))
    return known_as_of(judged, history, pings, weights)


def _judged(
    ranker: Ranker, judged: pl.DataFrame, scored: Frame, pings: pl.DataFrame, first: date, seed: int
) -> tuple[pl.DataFrame, bool, str]:
    """The table of the judgement, whether the ranker is better than all else by NDCG, and why."""
    rows = judged.with_columns(ranker.scores(judged).alias(RANKER))
    for name, score in _plain_scores(scored, pings, datetime.combine(first, time())).items():
        score = score.select("ping_id", pl.col("global_engagement").alias(name))
        rows = rows.join(score, on="ping_id", how="left", maintain_order="left").with_columns(pl.col(name).fill_null(0))
    rows = rows.with_columns(random=pl.Series(np.random.default_rng(seed).random(rows.height)))
    names = (RANKER, "heuristic", "recent_hits", "hit_rate", "shortest_first", "random")
    found = {name: reranking(rows, name, seed=seed) for name in names}
    table = pl.DataFrame(
        [_row(name, measure, found, seed) for name in names for measure in MEASURES],
        schema=EVALUATION_SCHEMA,
        orient="row",
    )
    by_ndcg = table.filter(pl.col("measure") == "ndcg", pl.col("policy") != RANKER)
    # The order that is hardest to beat decides: without a doubt above it is above all of them.
    hardest = by_ndcg.sort("gain_low", "policy").to_dicts()[0]
    ours = found[RANKER].ndcg.interval("ndcg", seed=seed).value
    is_better = hardest["gain_low"] > 0
    because = (
        f"NDCG@10 {ours:.4f} of re-ranked impressions against {hardest['value']:.4f} of {hardest['policy']}: "
        f"{hardest['gain']:+.4f} ({hardest['gain_low']:+.4f} to {hardest['gain_high']:+.4f})"
    )
    return table, is_better, because


def _lists_judged(
    ranker: Ranker,
    rows: pl.DataFrame,
    history: pl.DataFrame,
    scored: Frame,
    pings: pl.DataFrame,
    weights: PingWeights,
    days: Days,
    seed: int,
) -> tuple[pl.DataFrame, str]:
    """Rows of the evaluation of lists of the whole catalogue, the ranker's and the heuristic's; and what speaks against
    the ranker's, if they are clearly worse.
    """
    gains = rows.filter("is_good", pl.col("day").is_in(days.judged))
    gains = gains.group_by("user_id", "ping_id").agg(pl.col("gain").max())
    until = datetime.combine(days.judged[0], time())
    past, _ = split_at(scored, until)
    out = pings.filter((pl.col("created_at") < until).fill_null(True))
    catalogue, people = nw.from_native(out.lazy()), nw.from_native(gains.select(pl.col("user_id").unique()).lazy())
    lists = weights.lists.model_copy(update={"length": weights.lists.candidate_count})
    candidates = recommendations(
        past.join(people, on="user_id", how="semi"),
        catalogue,
        people,
        ping_engagement(user_ping_engagement(past), catalogue),
        weights.model_copy(update={"lists": lists}),
        until=until,
        now=until,
    )
    as_of = days.taught[-1]
    known = history.filter(pl.col("day") <= as_of)
    order = in_order_of(candidates, candidate_scores(ranker, candidates, known, pings, weights.score, as_of), RANKER)
    ours, theirs = (list_measures(found, gains, k=weights.lists.length) for found in (order, candidates))
    gain = ours.less(theirs, "ndcg", seed=seed)
    values = [found.interval("ndcg", seed=seed) for found in (ours, theirs)]
    told = [
        (name, LIST_NDCG, value.value, value.low, value.high, *gained, value.user_count, 0)
        for name, value, gained in (
            (RANKER, values[0], (None, None, None)),
            ("heuristic", values[1], (gain.value, gain.low, gain.high)),
        )
    ]
    loses = (
        f"its lists hold less of what was liked, {values[0].value:.4f} against {values[1].value:.4f} of heuristic: "
        f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    )
    return pl.DataFrame(told, schema=EVALUATION_SCHEMA, orient="row"), loses if gain.high < 0 else ""


def _plain_scores(scored: Frame, pings: pl.DataFrame, until: datetime) -> Mapping[str, pl.DataFrame]:
    """Orders that know nothing of the user, by what was known before the judged days."""
    past, _ = split_at(scored, until)
    catalogue = nw.from_native(pings.lazy())
    return {
        "recent_hits": recent_hits(past, until=until),
        "hit_rate": hit_rates(past, graded_gains(past), catalogue),
        "shortest_first": shortest_first(catalogue),
    }


def _row(name: str, measure: str, found: Mapping[str, Reranking], seed: int) -> tuple[object, ...]:
    """A row of the evaluation: the measure, and how much higher it is of the ranker (null of itself)."""
    ours, theirs = (getattr(found[policy], measure) for policy in (RANKER, name))
    value = theirs.interval(measure, seed=seed)
    gain = None if name == RANKER else ours.less(theirs, measure, seed=seed)
    gains = (gain.value, gain.low, gain.high) if gain else (None, None, None)
    return (name, measure, value.value, value.low, value.high, *gains, value.user_count, found[name].excluded_count)


def first_day(day: date) -> date:
    """The first day whose interactions count on `day`."""
    return day - timedelta(days=HISTORY_DAYS - 1)
