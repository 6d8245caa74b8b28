"""The second stage on KuaiRand's log, beside plain orders: trained up to a day, judged on the days from there on.

Belongs here: the log as landed tables, the folds, and their two tables. Does not belong here: limits (`suite.py`),
measures (`pings/evaluation.py`).

Two tables, with 95 % intervals over users. *Re-ranking of logged impressions* decides: everything in it was shown, so
a ping that nobody liked had its chance. *Full catalogue* ranks thousands of pings of which the app showed a user ten.

What the figures cannot show:

- lists agree with the app's own log: a ping that the app would not have shown counts as a miss in the full catalogue,
  however much the user would have liked it, so that an order which copies the app's looks good there
- freshness has three values, as all of the videos were uploaded on three days: nothing is said of new pings
- watching half of a video is easier the shorter it is: what is put first is short (`median_seconds_first` beside
  `median_seconds`), and some of the gain is that
- users without a liked and an unliked impression are no part of the first table, those without a liked one of neither

Objectives are chosen on the fold before (29 and 30 April), as were the settings; the days of test were not used for
it. What lifts lists of the full catalogue above recent hits is whom a ping was shown with (`pings/company.py`):
without it NDCG@10 of the fold before is .037 and not .044, and theirs .036. Who has done nothing is ranked for like
everybody else.
"""

import time
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets.frames import Frame, to_polars
from gesture_assets.pings.baselines import (
    hit_rates,
    lists_by_score,
    random_lists,
    recent_hits,
    recent_popularity,
    shortest_first,
)
from gesture_assets.pings.company import in_company
from gesture_assets.pings.engagement import event_scores, ping_engagement, user_ping_engagement
from gesture_assets.pings.evaluation import (
    Interval,
    graded_gains,
    list_measures,
    mean_interval,
    ranked,
    split_at,
)
from gesture_assets.pings.exposure import coverage, creator_gini, mean_overlap, novelty, popularity_bias
from gesture_assets.pings.impressions import impressions, known_as_of, refuse_what_is_known_too_late, shown_after
from gesture_assets.pings.ranker import (
    CANDIDATE_FEATURES,
    OBJECTIVES,
    PLACES,
    Choice,
    Ranker,
    Reranking,
    candidates,
    choose_objective,
    ordered_candidates,
    refuse_days_that_are_counted,
    reranking,
    sampled_candidates,
    scored,
    train,
)
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import load_ping_weights
from gesture_assets_tests.benchmarks.world import Size

Figures = dict[str, Any]
WEIGHTS = load_ping_weights("script", user_folder=Path("none"))
FILES = ("kuairand_pure_standard_20220425_0430.parquet", "kuairand_pure_standard_20220501_0508.parquet")
VIDEOS = "kuairand_video_features_basic_pure.csv"
ZONE_HOURS = 8  # the log's days are those of China
FLAGS = {"is_like": "like", "is_comment": "comment", "is_forward": "share", "is_follow": "follow_creator"}
FOLDS = {"earlier": (date(2022, 4, 29), date(2022, 4, 30)), "test": (date(2022, 5, 1), date(2022, 5, 8))}
SEED = 1
# Of a user: the pings of the most hits lately. All are learned from: which fifty of them moves NDCG@10 by .002.
CANDIDATES = 150


class Log:
    """The three landed tables, and impressions; of a share of the users where `users` says how many."""

    def __init__(self, folder: Path, users: int | None = None) -> None:
        rows = pl.concat([pl.read_parquet(folder / name) for name in FILES]).unique().filter(pl.col("duration_ms") > 0)
        if users is not None:
            kept = rows.select(pl.col("user_id").unique().sort())
            rows = rows.join(kept.sample(min(users, kept.height), seed=SEED), on="user_id", how="semi")
        at = pl.from_epoch("time_ms", "ms") + pl.duration(hours=ZONE_HOURS)
        named = rows.with_columns(
            user_id=pl.format("user_{}", "user_id"),
            ping_id=pl.format("ping_{}", "video_id"),
            event_at=at.cast(pl.Datetime("us")),
        )
        nothing = pl.lit(None, pl.Float64)
        events = [_events(named, "impression", nothing), _events(named, "view", pl.col("play_time_ms") / 1000)]
        events += [_events(named.filter(pl.col(flag) == 1), kind, nothing) for flag, kind in FLAGS.items()]
        seconds = rows.group_by("video_id").agg(duration_sec=pl.col("duration_ms").median() / 1000)
        videos = pl.read_csv(folder / VIDEOS, infer_schema_length=None).join(seconds, on="video_id", how="left")
        self.pings = videos.sort("video_id").select(
            ping_id=pl.format("ping_{}", "video_id"),
            creator_id=pl.format("creator_{}", "author_id"),
            main_hashtag=pl.col("tag"),
            category=pl.col("tag").str.split(",").list.first(),
            duration_sec=pl.coalesce("duration_sec", pl.col("video_duration") / 1000),
            created_at=pl.col("upload_dt").str.to_date().cast(pl.Datetime("us")),
            catalogue_row=pl.int_range(pl.len()),
        )
        rated = event_scores(_frame(pl.concat(events)), _frame(self.pings), WEIGHTS.events)
        self.scored = _frame(to_polars(rated))
        self.history = impressions(self.scored)


class Fold:
    """What was known before `first`, and what users did from then to the end of `last`."""

    def __init__(self, log: Log, first: date, last: date) -> None:
        self.log, self.first, self.as_of = log, first, first - timedelta(days=1)
        self.past = log.history.filter(pl.col("day") < first)
        self.test = log.history.filter(pl.col("day").is_between(first, last))
        hits = self.test.filter("is_good")
        self.gains = hits.group_by("user_id", "ping_id").agg(pl.col("gain").max())
        self.users = self.gains.select(pl.col("user_id").unique().sort())

    def impressions(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What to learn from, each known the day before; and those of the days after, all known as of one day."""
        judged = self.test.with_columns(as_of=pl.lit(self.as_of))
        rows = _known(pl.concat([shown_after(self.past), judged]), self.log.history, self.log)
        refuse_what_is_known_too_late(judged, self.log.history, lambda part, past: _known(part, past, self.log))
        return rows.filter(pl.col("day") < self.first), rows.filter(pl.col("day") >= self.first)

    def candidates(self) -> pl.DataFrame:
        """Candidates of the days before to learn from: as of each of them, with what was liked on the next.

        The log's first day has minutes: as of its end nothing is known.
        """
        parts: list[pl.DataFrame] = []
        for day in self.past["day"].unique().sort()[2:]:
            gained = self.past.filter("is_good", pl.col("day") == day).select("user_id", "ping_id", "gain")
            pairs = candidates_as_of(self.log, day - timedelta(days=1), gained.select("user_id").unique())
            sampled = sampled_candidates(pairs, gained, per_user=CANDIDATES, seed=SEED)
            parts.append(sampled.with_columns(day=pl.lit(day)))
        return in_company(_known(pl.concat(parts), self.past, self.log), self.past)


def candidates_as_of(log: Log, as_of: date, users: pl.DataFrame) -> pl.DataFrame:
    """What `users` may be shown after `as_of`: what many liked lately."""
    end = _midnight_after(as_of)
    scored_events, _ = split_at(log.scored, end)
    hits = recent_hits(scored_events, until=end).sort("global_engagement", "ping_id", descending=True)
    seen = log.history.filter(pl.col("day") <= as_of).select("user_id", "ping_id").unique()
    return candidates(users, hits.head(CANDIDATES), seen).with_columns(as_of=pl.lit(as_of))


def plain_scores(fold: Fold) -> dict[str, pl.DataFrame]:
    """Orders of the catalogue that know nothing of the user, by what was known before the first day."""
    end, catalogue = _midnight_after(fold.as_of), _frame(fold.log.pings)
    past = to_polars(split_at(fold.log.scored, end)[0])
    events = _frame(past)
    return {
        "popularity": _engagement(past, fold.log),
        "recent_popularity": recent_popularity(events, until=end),
        "recent_hits": recent_hits(events, until=end),
        "hit_rate": hit_rates(events, graded_gains(events), catalogue),
        "shortest": shortest_first(catalogue),
    }


def reranked_impressions(fold: Fold, ranker: Ranker, judged: pl.DataFrame) -> dict[str, Reranking]:
    """The first table: the ranker's order of what was shown, and plain ones."""
    refuse_days_that_are_counted(fold.past.with_columns(as_of=pl.col("day").dt.offset_by("-1d")), judged)
    plain = plain_scores(fold)
    rows = judged.with_columns(ranker.scores(judged).alias("ranker"), constant=pl.lit(0.0))
    for name, score in plain.items():
        score = score.select("ping_id", pl.col("global_engagement").alias(name))
        rows = rows.join(score, on="ping_id", how="left", maintain_order="left").with_columns(pl.col(name).fill_null(0))
    rows = rows.with_columns(random=pl.Series(np.random.default_rng(SEED).random(rows.height)))
    names = ("ranker", *plain, "heuristic", "random", "constant")
    return {name: reranking(rows, name, seed=SEED) for name in names}


def catalogue_lists(fold: Fold, ranker: Ranker) -> dict[str, pl.DataFrame]:
    """The second table's lists of users who liked anything: of the whole catalogue, but for what they had seen."""
    log, end = fold.log, _midnight_after(fold.as_of)
    past = to_polars(split_at(log.scored, end)[0])
    catalogue, own = _frame(log.pings), past.join(fold.users, on="user_id", how="semi")
    plain = plain_scores(fold)
    found = {
        name: lists_by_score(_frame(own), catalogue, _frame(fold.users), score, WEIGHTS, until=end)
        for name, score in plain.items()
    }
    found["heuristic"] = _heuristic(log, own, fold.users, plain["popularity"], end, PLACES)
    seen = own.select("user_id", "ping_id").unique()
    found["random"] = random_lists(fold.users["user_id"], log.pings, seen, k=PLACES, seed=SEED)
    found["ranker"] = ranker_lists(fold, ranker, fold.as_of, fold.users)
    return {name: lists.select("user_id", "rank", "ping_id") for name, lists in found.items()}


def ranker_lists(fold: Fold, ranker: Ranker, as_of: date, users: pl.DataFrame) -> pl.DataFrame:
    """The ranker's ten of each user as of a day."""
    known = fold.log.history.filter(pl.col("day") <= as_of)
    rows = scored(ranker, candidates_as_of(fold.log, as_of, users), known, fold.log.pings, WEIGHTS.score)
    order = ordered_candidates(rows, fold.log.pings, per_creator=WEIGHTS.lists.per_creator)
    return order.filter(pl.col("rank") <= PLACES)


def _engagement(past: pl.DataFrame, log: Log) -> pl.DataFrame:
    return to_polars(ping_engagement(user_ping_engagement(_frame(past)), _frame(log.pings)))


def refreshed_nightly(fold: Fold, ranker: Ranker, once: pl.DataFrame) -> Interval:
    """NDCG@10 of lists of the day before less that of lists `once` made, before the first day; over users and days."""
    differences: list[pl.DataFrame] = []
    for day in fold.test["day"].unique().sort():
        gains = fold.test.filter("is_good", pl.col("day") == day).select("user_id", "ping_id", "gain")
        users = gains.select(pl.col("user_id").unique().sort())
        nightly = ranker_lists(fold, ranker, day - timedelta(days=1), users)
        found, before = (list_measures(lists, gains, k=PLACES).table for lists in (nightly, once))
        differences.append(found.select("user_id", difference=found["ndcg"] - before["ndcg"]))
    means = pl.concat(differences).group_by("user_id").agg(pl.col("difference").sum(), days=pl.len()).sort("user_id")
    return mean_interval(means["difference"], weights=means["days"], seed=SEED)


def kuairand(folder: Path, size: Size, *, reference: str) -> Figures:
    """Both tables of both folds; `size.users` of the log's users, all where it is 0."""
    started = time.perf_counter()
    log = Log(Path(reference) / "short_video", size.users or None)
    folds = {name: Fold(log, *days) for name, days in FOLDS.items()}
    figures: Figures = {"users": log.history["user_id"].n_unique(), "impressions": log.history.height}
    chosen = {}
    training, judged = folds["earlier"].impressions()
    chosen["impressions"] = choose_objective(training, judged, seed=SEED)
    for name, fold in folds.items():
        if name != "earlier":
            training, judged = fold.impressions()
        ranker = train(training, chosen["impressions"].objective)
        table = reranked_impressions(fold, ranker, judged)
        first = ranked(judged.with_columns(ranker.scores(judged)).unique(["user_id", "ping_id"]), "score", seed=SEED)
        figures[f"{name}_reranking"] = {
            "table": {row: _measured(measured) for row, measured in table.items()},
            "ranker_less": {
                row: _differences(table["ranker"], other) for row, other in table.items() if row != "ranker"
            },
            "excluded_users": table["ranker"].excluded_count,
            "median_seconds_first": first.filter(pl.col("rank") == 1)["duration_sec"].median(),
            "median_seconds": judged["duration_sec"].median(),
        }
    chosen["candidates"] = _objective_of_lists(folds["earlier"])
    for name, fold in folds.items():
        ranker = train(fold.candidates(), chosen["candidates"].objective, features=CANDIDATE_FEATURES)
        lists = catalogue_lists(fold, ranker)
        figures[f"{name}_catalogue"] = _catalogue_table(fold, lists)
        if name == "test":
            figures["refreshed_nightly"] = {"ndcg": asdict(refreshed_nightly(fold, ranker, lists["ranker"]))}
    figures["objectives"] = {name: asdict(choice) for name, choice in chosen.items()}
    return figures | {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time()}


def _objective_of_lists(fold: Fold) -> Choice:
    """The objective whose lists of the whole catalogue are best in the days of `fold`."""
    rows = fold.candidates()
    ndcg = {}
    for objective in OBJECTIVES:
        lists = ranker_lists(fold, train(rows, objective, features=CANDIDATE_FEATURES), fold.as_of, fold.users)
        ndcg[objective] = float(list_measures(lists, fold.gains, k=PLACES).table["ndcg"].to_numpy().mean())
    return Choice(max(OBJECTIVES, key=lambda objective: ndcg[objective]), ndcg)


def _catalogue_table(fold: Fold, lists: dict[str, pl.DataFrame]) -> Figures:
    judged = {name: list_measures(rows, fold.gains, k=PLACES) for name, rows in lists.items()}
    past = to_polars(split_at(fold.log.scored, _midnight_after(fold.as_of))[0])
    engagement = _engagement(past, fold.log)
    pings, seen = fold.log.pings, past.select("user_id", "ping_id").unique()
    table = {
        name: {
            **{of: asdict(judged[name].interval(of, seed=SEED)) for of in ("hit_rate", "ndcg", "reciprocal_rank")},
            "coverage": coverage(rows, pings),
            "novelty": novelty(rows, seen, seed=SEED).value,
            "creator_gini": creator_gini(rows, pings),
            "popularity_bias": popularity_bias(rows, pings, engagement, seed=SEED).value,
            "overlap": mean_overlap(rows),
        }
        for name, rows in lists.items()
    }
    others = {name: found for name, found in judged.items() if name != "ranker"}
    less = {name: {"ndcg": asdict(judged["ranker"].less(found, "ndcg", seed=SEED))} for name, found in others.items()}
    return {"table": table, "ranker_less": less, "users": fold.users.height}


def _measured(found: Reranking) -> dict[str, Any]:
    return {"ndcg": asdict(found.ndcg.interval("ndcg", seed=SEED)), "auc": asdict(found.auc.interval("auc", seed=SEED))}


def _differences(ours: Reranking, theirs: Reranking) -> dict[str, Any]:
    return {
        "ndcg": asdict(ours.ndcg.less(theirs.ndcg, "ndcg", seed=SEED)),
        "auc": asdict(ours.auc.less(theirs.auc, "auc", seed=SEED)),
    }


def _heuristic(
    log: Log, own: pl.DataFrame, users: pl.DataFrame, engagement: pl.DataFrame, until: datetime, length: int
) -> pl.DataFrame:
    weights = WEIGHTS.model_copy(update={"lists": WEIGHTS.lists.model_copy(update={"length": length})})
    events, catalogue, people = _frame(own), _frame(log.pings), _frame(users)
    return recommendations(events, catalogue, people, _frame(engagement), weights, until=until, now=until)


def _known(rows: pl.DataFrame, history: pl.DataFrame, log: Log) -> pl.DataFrame:
    return known_as_of(rows, history, log.pings, WEIGHTS.score)


def _midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time())


def _events(rows: pl.DataFrame, kind: str, seconds: pl.Expr) -> pl.DataFrame:
    return rows.select("user_id", "ping_id", event_type=pl.lit(kind), watch_time_sec=seconds, event_at="event_at")


def _frame(table: pl.DataFrame) -> Frame:
    return nw.from_native(table.lazy())
