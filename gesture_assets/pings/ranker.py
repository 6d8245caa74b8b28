"""The second stage: XGBoost puts candidates in order by what was known of them.

Belongs here: training and its gates, the choice of an objective, candidates, how an order of impressions is judged.
Does not belong here: what is known (`impressions.py`), the first stage (`recommend.py`), what is shown of an order
(`exploration.py`), measures (`evaluation.py`).

Rows to learn from are impressions, or candidates, each with the features as of the day before; a group to rank is one
user and day. A group of several as-of days would teach the model the user's luck: a rate that is constant per user
ranks nothing within a day, and a good deal over a week.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.compat.lean_imports import UNUSED_BY_XGBOOST, absent
from gesture_assets.errors import TrainingRefused
from gesture_assets.models.training import outcomes, refuse_too_few_outcomes
from gesture_assets.pings.company import COMPANY, in_company
from gesture_assets.pings.evaluation import (
    AUC_OF_NOTHING,
    AUC_TOLERANCE,
    PerUser,
    auc_per_user,
    list_measures,
    ranked,
    refuse_a_ranking_by_user,
)
from gesture_assets.pings.impressions import CONSTANT_PER_USER, FEATURES, known_as_of
from gesture_assets.pings.weights import ScoreWeights

if TYPE_CHECKING:
    import xgboost

Objective = Literal["binary:logistic", "rank:ndcg"]
OBJECTIVES: tuple[Objective, ...] = ("binary:logistic", "rank:ndcg")
# Of candidates: what all are liked by is known of few days, and more of it than this is learned by heart, ping by ping.
CANDIDATE_FEATURES = (
    *("ping_hits_lately", "ping_exposures_lately", "duration_sec", "user_exposures"),
    *("user_category_hit_rate", "user_band_hit_rate"),
    *COMPANY,
)
GROUP = ("user_id", "day")
PLACES = 10
ROWS_AT_ONCE = 500_000  # whose features are held while they are scored: 200 MB


@dataclass(frozen=True)
class Settings:
    """What XGBoost is told: shallow trees and slow steps, as most features are rates of few impressions."""

    max_depth: int = 3
    eta: float = 0.05
    rounds: int = 250
    min_child_weight: float = 20.0
    subsample: float = 0.8
    colsample_bytree: float = 0.5
    reg_lambda: float = 10.0
    seed: int = 1


USUAL = Settings()


@dataclass(frozen=True, eq=False)
class Ranker:
    """A trained second stage; of its scores only the order means anything."""

    booster: "xgboost.Booster"
    objective: Objective
    settings: Settings
    features: tuple[str, ...]
    row_count: int

    def scores(self, frame: pl.DataFrame) -> pl.Series:
        """A score for each row of `frame`, which has the features; it depends on that row only."""
        return pl.Series("score", self.booster.inplace_predict(_matrix(frame, self.features)), pl.Float32)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides a score: equal for equal rows, whatever their order."""
        return hashlib.sha256(bytes(self.booster.save_raw("json"))).hexdigest()


def train(
    rows: pl.DataFrame,
    objective: Objective,
    *,
    settings: Settings = USUAL,
    features: Sequence[str] = FEATURES,
    group: Sequence[str] = GROUP,
) -> Ranker:
    """A ranker of `rows` (`user_id`, `ping_id`, `day`, `as_of`, `is_good`, `features`) within each `group`.

    Equal rows in any order give the same bytes. Raises `TrainingRefused` for too few rows, a single outcome, a row that
    knows its own day, and groups in which what is constant per user seems to rank.
    """
    outcome = outcomes(rows, "is_good", features)
    refuse_too_few_outcomes(outcome, "is_good")
    refuse_days_that_are_counted(rows, rows)
    refuse_groups_that_flatter(rows, features, group)
    with absent(UNUSED_BY_XGBOOST):
        import xgboost

    ordered = rows.sort(*group, "ping_id", *features)
    label = outcomes(ordered, "is_good", features)
    groups = ordered.select(pl.struct(group).rle_id()).to_series().to_numpy()
    told: dict[str, Any] = {**asdict(settings), "objective": objective, "tree_method": "hist", "nthread": 1}
    rounds = told.pop("rounds")
    of_groups = {"qid": groups} if objective.startswith("rank:") else {}
    # One thread: as fast as two on a few million numbers, and sums of gradients have one order.
    matrix = xgboost.QuantileDMatrix(_matrix(ordered, features), label, nthread=1, **of_groups)
    return Ranker(xgboost.train(told, matrix, rounds), objective, settings, tuple(features), rows.height)


def refuse_days_that_are_counted(rows: pl.DataFrame, judged: pl.DataFrame) -> None:
    """Raise `TrainingRefused` where anything that `rows` know, or learn from, may be of a day that is judged.

    `judged` is known as of before its own first day, and `rows` are of days before that; given as its own `judged`,
    each row has to be known as of a day before its own.
    """
    if judged.is_empty() or rows.is_empty():
        return
    first = judged["day"].min()
    late = rows.filter(pl.col("as_of") >= pl.col("day"))
    if judged is not rows:
        late = pl.concat([rows.filter(pl.col("day") >= first), judged.filter(pl.col("as_of") >= first)], how="diagonal")
    if late.height:
        raise TrainingRefused(
            "A ranker cannot be trained, nor judged.",
            expected="nothing counted on the days that it is trained or judged by",
            found=f"{late.height} rows of {late['day'].min()} and later, known as of {late['as_of'].max()} at most",
            where="the as-of days of impressions",
            next_step="count up to the day before the first that is judged:  known_as_of",
        )


def refuse_groups_that_flatter(
    rows: pl.DataFrame, features: Sequence[str] = FEATURES, group: Sequence[str] = GROUP
) -> None:
    """Raise `TrainingRefused` where a feature that is constant per user and as-of day has an AUC beyond 0.50 ± 0.01.

    Such a feature says which user or when, and never which ping: groups of several users or as-of days let it rank.
    """
    refuse_a_ranking_by_user(rows, by=group)
    for name in set(CONSTANT_PER_USER) & set(features):
        judged = auc_per_user(rows, name, by=group).table["auc"]
        found = float(judged.to_numpy().mean()) if len(judged) else AUC_OF_NOTHING
        if abs(found - AUC_OF_NOTHING) > AUC_TOLERANCE:
            raise TrainingRefused(
                "A ranker cannot be trained.",
                expected=f"AUC {AUC_OF_NOTHING:.2f} ± {AUC_TOLERANCE:.2f} of a feature that is constant per user",
                found=f"AUC {found:.3f} of {name} within groups of {', '.join(group)}",
                where="the groups that impressions are ranked in",
                next_step="rank within one user and day, as of one day",
            )


@dataclass(frozen=True)
class Reranking:
    """How impressions were put in order: NDCG@10 by graded gains and AUC of each user who liked some and not others.

    Of others any order is as good as any: `excluded_count`.
    """

    ndcg: PerUser
    auc: PerUser
    excluded_count: int


def reranking(rows: pl.DataFrame, score: str, *, seed: int) -> Reranking:
    """What `score` makes of logged impressions (`rows`: `user_id`, `ping_id`, `day`, `gain`), all days together.

    Of a ping that a user was shown on several days the best gain and the first day's score count.
    """
    pairs = (
        rows.sort("user_id", "ping_id", "day")
        .group_by("user_id", "ping_id", maintain_order=True)
        .agg(pl.col("gain").max(), pl.col(score).first())
        .with_columns(is_good=pl.col("gain") > 0)
    )
    differs = pl.col("is_good").any() & ~pl.col("is_good").all()
    judged = pairs.filter(differs.over("user_id"))
    gains = judged.filter("is_good").select("user_id", "ping_id", "gain")
    measures = list_measures(ranked(judged, score, seed=seed), gains, k=PLACES)
    excluded = pairs["user_id"].n_unique() - judged["user_id"].n_unique()
    return Reranking(measures, auc_per_user(judged, score), excluded)


@dataclass(frozen=True)
class Choice:
    """An objective, and the mean NDCG@10 of each that it was chosen among."""

    objective: Objective
    ndcg: Mapping[str, float]


def choose_objective(
    training: pl.DataFrame,
    validation: pl.DataFrame,
    *,
    settings: Settings = USUAL,
    seed: int,
) -> Choice:
    """The objective whose ranker, trained on `training`, orders the later `validation` best; the first of equal ones.

    `validation` has `gain`, and features as of before its first day. Raises `TrainingRefused` as `train` does.
    """
    refuse_days_that_are_counted(training, validation)
    ndcg: dict[str, float] = {}
    for objective in OBJECTIVES:
        score = train(training, objective, settings=settings).scores(validation)
        judged = reranking(validation.with_columns(score), "score", seed=seed)
        ndcg[objective] = judged.ndcg.interval("ndcg", seed=seed, samples=1).value
    return Choice(max(OBJECTIVES, key=lambda objective: ndcg[objective]), ndcg)


def candidates(users: pl.DataFrame, pings: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """`user_id`, `ping_id` of what each of `users` may be shown, sorted: of `pings` (`ping_id`) none of `seen`."""
    both = users.select(pl.col("user_id").unique()).join(pings.select(pl.col("ping_id").unique()), how="cross")
    return both.join(seen, on=["user_id", "ping_id"], how="anti").sort("user_id", "ping_id")


def sampled_candidates(pairs: pl.DataFrame, gained: pl.DataFrame, *, per_user: int, seed: int) -> pl.DataFrame:
    """Of candidates (`pairs`) of one as-of day those to learn from, with `gain` and `is_good`, sorted.

    Users of `gained` (`user_id`, `ping_id`, `gain` of the day after) with what they gained from, as far as it was a
    candidate, and `per_user` of their others by chance, fewer where there are not as many.
    """
    people = gained.select("user_id").unique()
    rows = pairs.join(people, on="user_id", how="semi").join(gained, on=["user_id", "ping_id"], how="left")
    rows = rows.with_columns(gain=pl.col("gain").fill_null(0.0), is_good=pl.col("gain").fill_null(0.0) > 0)
    rows = rows.sort("user_id", "ping_id")
    rows = rows.with_columns(chance=pl.Series(np.random.default_rng(seed).random(rows.height)))
    place = pl.col("chance").rank("ordinal").over("user_id", "is_good")
    kept = rows.filter(pl.col("is_good") | (place <= per_user)).drop("chance")
    return kept.filter(pl.col("is_good").any().over("user_id"))


def scored(
    ranker: Ranker, rows: pl.DataFrame, history: pl.DataFrame, pings: pl.DataFrame, weights: ScoreWeights
) -> pl.DataFrame:
    """`rows` (`user_id`, `ping_id`, `as_of`) with the `score` of each as of its day, and the `heuristic` one."""
    parts = [pl.DataFrame(schema={**rows.schema, "heuristic": pl.Float64, "score": pl.Float32})]
    # What it does not read is not worked out: company takes a matrix of all pings that were shown.
    asked = in_company(rows, history) if set(COMPANY) & set(ranker.features) else rows
    for part in asked.iter_slices(ROWS_AT_ONCE):
        known = known_as_of(part, history, pings, weights)
        parts.append(known.select(*rows.columns, "heuristic", ranker.scores(known)))
    return pl.concat(parts)


def candidate_scores(
    ranker: Ranker,
    candidates: pl.DataFrame,
    history: pl.DataFrame,
    pings: pl.DataFrame,
    weights: ScoreWeights,
    as_of: date,
) -> pl.DataFrame:
    """`user_id`, `ping_id`, `ranker_score` of `candidates` of users who have a `history` (by `impressions`)."""
    known = candidates.select("user_id", "ping_id").join(history.select("user_id"), on="user_id", how="semi")
    rows = scored(ranker, known.with_columns(as_of=pl.lit(as_of)), history, pings, weights)
    return rows.select("user_id", "ping_id", ranker_score=pl.col("score").cast(pl.Float64))


def in_order_of(candidates: pl.DataFrame, scores: pl.DataFrame, version: str) -> pl.DataFrame:
    """`candidates` (`user_id`, `rank`, `ping_id` …) with `ranker_version`, `ranker_score`, and their `rank` by it.

    Equal ones keep their order, and so do those of users whom `scores` (by `candidate_scores`) does not know.
    """
    known = candidates.join(scores, on=["user_id", "ping_id"], how="left")
    order = known.sort("user_id", "ranker_score", "rank", descending=[False, True, False], nulls_last=True)
    is_ranked = pl.col("ranker_score").is_not_null()
    return order.with_columns(
        rank=pl.int_range(1, pl.len() + 1).over("user_id").cast(candidates.schema["rank"]),
        ranker_version=pl.when(is_ranked).then(pl.lit(version)),
    )


def ordered_candidates(rows: pl.DataFrame, pings: pl.DataFrame, *, per_creator: int | None) -> pl.DataFrame:
    """`user_id`, `rank` from 1, `ping_id`, `creator_id`: each user's candidates, the highest `score` of `rows` first.

    Equal ones by the catalogue's order. A creator has at most `per_creator` pings, the best; those without a creator
    are not counted.
    """
    facts = pings.select("ping_id", "creator_id", "catalogue_row")
    scores = rows.select("user_id", "ping_id", "score").join(facts, on="ping_id")
    order = scores.sort("user_id", "score", "catalogue_row", descending=[False, True, False])
    if per_creator is not None:
        place = pl.int_range(pl.len()).over("user_id", "creator_id")
        order = order.filter(pl.col("creator_id").is_null() | (place < per_creator))
    rank = pl.int_range(1, pl.len() + 1).over("user_id")
    return order.select("user_id", rank.alias("rank"), "ping_id", "creator_id")


def _matrix(frame: pl.DataFrame, features: Sequence[str]) -> NDArray[np.float32]:
    return np.ascontiguousarray(frame.select(pl.col(list(features)).cast(pl.Float32)).to_numpy())
