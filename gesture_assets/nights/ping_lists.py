"""Steps of what short videos are worth, whom to show which, and how yesterday's lists fared.

Belongs here: reading behind the gates, calling the room, a day at a time. Does not belong here: landing
(`pings.py`), what a list is (`pings/recommend.py`).
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import GestureError
from gesture_assets.frames import Frame, to_polars
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.pings import has_landed
from gesture_assets.nights.steps import Built, Step
from gesture_assets.pings import engagement as room
from gesture_assets.pings.exploration import shown_lists
from gesture_assets.pings.health import recsys_health, retention
from gesture_assets.pings.impressions import impressions
from gesture_assets.pings.insights import insights
from gesture_assets.pings.judging import CHANCES, judged_lists
from gesture_assets.pings.ranker import candidate_scores, in_order_of
from gesture_assets.pings.ranker_files import load_ranker
from gesture_assets.pings.ranker_training import first_day
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.tables import (
    NEW_VS_EXISTING_USERS,
    PING_CANDIDATES,
    PING_ENGAGEMENT,
    PING_INSIGHTS,
    PING_INTERACTIONS,
    PING_RECOMMENDATIONS,
    PING_USERS,
    PING_WEIGHTS,
    PINGS,
    RECOMMENDATION_EVALUATION,
    RECSYS_HEALTH,
    USER_AFFINITIES,
    USER_PING_ENGAGEMENT,
    WATCH_TIME_STATS,
)
from gesture_assets.pings.weights import PingWeights, load_ping_weights
from gesture_assets.records import activations
from gesture_assets.settings import Settings

STRONGEST = 10  # affinities of a kind that a user's rows show
LIST = ("user_id", "rank", "ping_id")
SHOWN = (*LIST, *sorted(CHANCES))
Tables = tuple[Contract, ...]


def weights_of(settings: Settings) -> PingWeights:
    """The weights that lists are made by. Raises `ConfigError` where they cannot be used."""
    return load_ping_weights(settings.ping_weights, user_folder=settings.user_ping_weights)


def rankers_folder(settings: Settings) -> Path:
    """Where the files of rankers are."""
    return settings.models / "pings"


def _weights(night: Night) -> PingWeights:
    return night.once("ping weights", lambda: weights_of(night.settings))


def _code_version(settings: Settings) -> str:
    """As the code location shows it; weights that cannot be used fail their own step, not every one."""
    try:
        return weights_of(settings).version
    except GestureError:
        return "unusable"


def _made_of(night: Night) -> Mapping[date, str]:
    return dict.fromkeys(night.days, _weights(night).version)


def end_of(day: date) -> datetime:
    """The moment up to which something is known on `day`."""
    return datetime.combine(day + timedelta(days=1), time())


def _of_each_day(
    tables: Tables, build: Callable[[Night, date], Mapping[Contract, Frame]]
) -> Callable[[Night, Days], Built]:
    """What builds `tables`, a day at a time."""

    def built(night: Night, days: Days) -> Built:
        frames: dict[Contract, list[Frame]] = {table: [] for table in tables}
        for day in days:
            for table, rows in build(night, day).items():
                frames[table].append(rows.with_columns(nw.lit(day).alias(PARTITION)).select(*table.column_names))
        return Built(frames, version=_weights(night).version)

    return built


def _history(night: Night, day: date) -> Frame:
    """Interactions that count for popularity on `day`."""
    window = _weights(night).windows.popularity
    since = None if window is None else day - timedelta(days=window - 1)
    return night.read(PING_INTERACTIONS, since=since, through=day)


def _published(night: Night, day: date) -> Frame:
    """The catalogue of `day` without pings that are dated after it."""
    at = nw.col("created_at")
    is_later = (at >= nw.lit(end_of(day)).cast(nw.Datetime("us"))).fill_null(False)
    return night.read(PINGS, on=day).filter(~is_later)


def _signed_up(night: Night, day: date) -> Frame:
    at = nw.col("signup_date")
    return night.read(PING_USERS, on=day).filter(~(at > nw.lit(day).cast(nw.Date)).fill_null(False))


def _in_memory(rows: pl.DataFrame) -> Frame:
    return nw.from_native(rows.lazy())


# ---- what interactions are worth -------------------------------------------------------------------------------------


def _points(night: Night, day: date) -> Mapping[Contract, Frame]:
    weights = _weights(night)
    scored = room.event_scores(night.read(PING_INTERACTIONS, on=day), night.read(PINGS, on=day), weights.events)
    row = {
        "weights": weights.name,
        "weights_version": weights.version,
        "list_length": weights.lists.length,
        "seen": weights.lists.seen,
        "seen_days": weights.windows.seen,
        "per_creator": weights.lists.per_creator,
        "exploration": weights.lists.exploration,
        "content": weights.content,
    }
    return {
        USER_PING_ENGAGEMENT: room.user_ping_engagement(scored),
        PING_WEIGHTS: night.table(PING_WEIGHTS, pl.DataFrame([row])),
    }


def _engagement(night: Night, day: date) -> Mapping[Contract, Frame]:
    weights, pings = _weights(night), night.read(PINGS, on=day)
    window = weights.windows.popularity
    since = None if window is None else day - timedelta(days=window - 1)
    daily = night.read(USER_PING_ENGAGEMENT, since=since, through=day)
    history = _history(night, day)
    scored = room.event_scores(history, pings, weights.events)
    groups = room.new_vs_existing_users(scored, _signed_up(night, day), new_days=weights.windows.new_user, as_of=day)
    recent = room.within(night.read(PING_INTERACTIONS, through=day), until=end_of(day), days=weights.windows.affinity)
    place = nw.col("value").cum_count().over("user_id", "kind", order_by=("down", "value"))
    affinities = room.user_affinities(recent, pings).with_columns(down=-nw.col("affinity"))
    return {
        PING_ENGAGEMENT: room.ping_engagement(room.to_date(daily), pings),
        WATCH_TIME_STATS: _in_memory(room.watch_time_stats(scored)),
        NEW_VS_EXISTING_USERS: groups,
        USER_AFFINITIES: affinities.with_columns(place=place).filter(nw.col("place") <= STRONGEST),
    }


# ---- whom to show which ----------------------------------------------------------------------------------------------


def known_events(night: Night, day: date) -> Frame:
    """`event_scores` of what a ranker knows of on `day`: the interactions of the days that count for it."""
    since, weights = first_day(day), _weights(night)
    interactions = night.read(PING_INTERACTIONS, since=since, through=day)
    happened = nw.col("event_at") >= nw.lit(datetime.combine(since, time())).cast(nw.Datetime("us"))
    return room.event_scores(interactions.filter(happened), night.read(PINGS, on=day), weights.events)


def _ranker_of(night: Night, day: date) -> str | None:
    return activations.champion(night.session.connection, day, activations.RANKERS)


def _lists_made_of(night: Night) -> Mapping[date, str]:
    return {day: f"{version} {_ranker_of(night, day)}" for day, version in _made_of(night).items()}


def _lists(night: Night, day: date) -> Mapping[Contract, Frame]:
    weights, version = _weights(night), _ranker_of(night, day)
    goes_further = version or weights.lists.exploration or weights.lists.candidates
    longer = weights.lists.model_copy(update={"length": weights.lists.candidate_count})
    candidates = recommendations(
        night.read(PING_INTERACTIONS, through=day),
        _published(night, day),
        _signed_up(night, day),
        night.read(PING_ENGAGEMENT, on=day),
        weights.model_copy(update={"lists": longer}) if goes_further else weights,
        until=end_of(day),
        now=end_of(day),
    )
    order = candidates.with_columns(ranker_version=pl.lit(None, pl.String), ranker_score=pl.lit(None, pl.Float64))
    if version:
        ranker = night.once(("ranker", version), lambda: load_ranker(rankers_folder(night.settings), version))
        history = impressions(known_events(night, day))
        scores = candidate_scores(ranker, candidates, history, to_polars(night.read(PINGS, on=day)), weights.score, day)
        order = in_order_of(candidates, scores, version)
    seed = (day.toordinal(), int(weights.version[1:], 16))
    shown = shown_lists(order, weights.lists, seed=seed)
    tried_out = pl.when("is_explored").then(pl.format("tried out; {}", "reason")).otherwise("reason")
    kept = candidates.select("user_id", "ping_id", "score", place="rank")
    return {
        PING_RECOMMENDATIONS: _in_memory(shown.with_columns(reason=tried_out, weights_version=pl.lit(weights.version))),
        PING_CANDIDATES: _in_memory(kept if goes_further else kept.clear()),
    }


# ---- how they fare ---------------------------------------------------------------------------------------------------


def _judged(night: Night, day: date) -> Mapping[Contract, Frame]:
    weights, pings = _weights(night), night.read(PINGS, on=day)
    scored = room.event_scores(_history(night, day), pings, weights.events)
    done, served = night.read(PING_INTERACTIONS, on=day), _lists_of(night, day - timedelta(days=1))
    shown = night.read(PING_RECOMMENDATIONS, on=day)
    later = room.event_scores(done, pings, weights.events)
    until = end_of(day)
    health = [
        recsys_health(scored, pings, served, later, shown=shown, until=until),
        retention(night.read(PING_INTERACTIONS, through=day), pings, until=until),
    ]
    stats = to_polars(night.read(WATCH_TIME_STATS, on=day).select("statistic", "watch_time_ratio"))
    groups = to_polars(night.read(NEW_VS_EXISTING_USERS, on=day))
    said = insights(scored, pings, stats, groups)
    return {
        RECOMMENDATION_EVALUATION: _in_memory(_evaluation(night, day, served, done)),
        RECSYS_HEALTH: _in_memory(pl.concat(health)),
        PING_INSIGHTS: night.table(
            PING_INSIGHTS,
            pl.DataFrame(
                {
                    "place": range(1, len(said) + 1),
                    "insight": [one.name for one in said],
                    "sentence": [one.sentence for one in said],
                    "numbers": [json.dumps(one.numbers) for one in said],
                    "counted": [one.counted for one in said],
                }
            ),
        ),
    }


def _evaluation(night: Night, day: date, served: Frame, done: Frame) -> pl.DataFrame:
    before = day - timedelta(days=1)
    if not _has_lists(night, before):
        return to_polars(night.select(RECOMMENDATION_EVALUATION, "false"))
    return judged_lists(
        served,
        _lists_of(night, before - timedelta(days=1)),
        night.read(PING_INTERACTIONS, through=before),
        done,
        _published(night, before),
        _weights(night),
        until=end_of(before),
        seed=before.toordinal(),
        served_length=next(iter(to_polars(night.read(PING_WEIGHTS, on=before))["list_length"]), None),
    )


def _has_lists(night: Night, day: date) -> bool:
    made = night.session.latest(PING_RECOMMENDATIONS.name).get(day)
    return day in night.session.landed_days() or (made is not None and made.live_hash is not None)


def _lists_of(night: Night, day: date) -> Frame:
    """The lists that were made at the end of `day`; none where it had no night."""
    if not _has_lists(night, day):
        return night.select(PING_RECOMMENDATIONS, "false").select(*SHOWN)
    return night.read(PING_RECOMMENDATIONS, on=day).select(*SHOWN)


def _step(
    name: str,
    build: Callable[[Night, date], Mapping[Contract, Frame]],
    *tables: Contract,
    sources: Callable[[Night], Mapping[date, str]] = _made_of,
) -> Step:
    built = _of_each_day(tables, build)
    return Step(name, built, tables, sources=sources, code_version=_code_version, has_source=has_landed)


STEPS = (
    _step("ping_points", _points, PING_WEIGHTS, USER_PING_ENGAGEMENT),
    _step("ping_engagement", _engagement, PING_ENGAGEMENT, WATCH_TIME_STATS, NEW_VS_EXISTING_USERS, USER_AFFINITIES),
    _step("ping_recommendations", _lists, PING_RECOMMENDATIONS, PING_CANDIDATES, sources=_lists_made_of),
    _step("recommendation_evaluation", _judged, RECOMMENDATION_EVALUATION, RECSYS_HEALTH, PING_INSIGHTS),
)
