"""Short videos of a synthetic world: who was shown which, what they did, and would think of all others.

Belongs here: the files of document 004 as its app would have dropped them, and the truth behind them. Does not belong
here: events of the shop (`activity.py`), reading any of it back.

How it works. A user has a taste for each category, strong for two of them, and a leaning towards each creator; a ping
has a quality and fades with its age. Together they are the appeal, in logits: the mean watched share is its sigmoid,
and whoever views likes, comments, shares and follows in proportion to it. What is shown, once to each user, goes by its
appeal, too: people look for what they like. `expected_points` of the truth is what showing a ping once more, after the
last day, would bring, by the weights of document 004 and without the impression.

The same arguments give byte-identical files (same library versions). Files of another world are not removed.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.demo.days import DAY, MINUTE, SECOND, iso_dates, microseconds
from gesture_assets.demo.files import replace_file
from gesture_assets.demo.people import COUNTRIES

MOST_USERS, MOST_DAYS, PINGS = 400, 14, 400
CATEGORIES = ("beauty", "comedy", "dance", "education", "food", "gaming", "sports", "travel")
HASHTAGS = ("diy", "fitness", "makeup", "music", "news", "pets", "recipes", "tips")
CREATORS = 40
OLDEST_DAYS = 14  # before the world begins, of a ping
SHOWN_PER_DAY = 12.0
JOINER_SHARE = 0.15  # who sign up during the world

# Logits. With these a list by the true appeal brings some five times what one by chance does, popularity 1.5 times.
BASE_APPEAL, FAVOURITE, TASTE_SD, LEANING_SD, QUALITY_SD, FADING = -1.2, 2.5, 0.4, 0.5, 0.6, 0.05
FAVOURITES = 2
SOUGHT = 0.8  # of the appeal, in what is shown
VIEW_AT_NO_APPEAL = 0.8
FIRMNESS = 4.0  # of the watched share around its mean: the sum of the parameters of its Beta
# What somebody who views does besides, as a share of the watched share; and the points of document 004.
DEEDS = {"like": 0.25, "comment": 0.05, "share": 0.04, "follow_creator": 0.03}
POINTS = {"view": 1.0, "like": 2.0, "comment": 3.0, "share": 4.0, "follow_creator": 2.0}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DemoPings:
    """What was written."""

    interaction_files: tuple[Path, ...]
    catalogue: Path
    users: Path
    truth: Path
    interaction_count: int
    ping_count: int
    user_count: int


@dataclass(frozen=True)
class _Videos:
    """One entry per ping; days as indices from the first day, negative before it."""

    category: NDArray[np.int64]
    creator: NDArray[np.int64]
    quality: Floats
    created_day: NDArray[np.int64]
    duration: NDArray[np.int64]


def write_demo_pings(*, landing: Path, truth: Path, users: int, days: int, seed: int, end: date) -> DemoPings:
    """Write a catalogue, its users and a file of interactions for each of the last days up to `end`, and the truth.

    `users` and `days` are those of the world around it, of which short videos take the first and the last: no more
    than `MOST_USERS` and `MOST_DAYS`.
    """
    users, days = min(users, MOST_USERS), min(days, MOST_DAYS)
    start = end - timedelta(days=days - 1)
    rng = np.random.default_rng([seed, 6])
    videos = _draw_videos(days, rng)
    joined = np.where(rng.random(users) < JOINER_SHARE, rng.integers(0, days, users), rng.integers(-90, 0, users))
    appeal = _lasting_appeal(videos, users, rng)
    shown = pl.concat([_shown_on(day, videos, joined, appeal, rng) for day in range(days)])
    shown = shown.unique(["user", "ping"], keep="first", maintain_order=True)
    events = _events_of(shown, videos, appeal, microseconds(start), rng)
    files = [_write_day(part, landing, start + timedelta(days=day)) for (day,), part in _by_day(events)]
    catalogue, people = landing / "pings" / f"pings-{end}.csv", landing / "ping_users" / f"users-{end}.csv"
    replace_file(people, _people(joined, start, rng).write_csv)
    replace_file(catalogue, _catalogue(videos, start, rng).write_csv)
    facts = _truth(videos, appeal, age=days - videos.created_day)
    replace_file(truth, lambda target: facts.write_parquet(target, compression="zstd", compression_level=1))
    return DemoPings(tuple(files), catalogue, people, truth, events.height, PINGS, users)


def _draw_videos(days: int, rng: np.random.Generator) -> _Videos:
    """A creator has a category of their own, which four of five of their pings are of."""
    creator = rng.integers(0, CREATORS, PINGS)
    at_home = rng.integers(0, len(CATEGORIES), CREATORS)[creator]
    strays = rng.integers(0, len(CATEGORIES), PINGS)
    return _Videos(
        category=np.where(rng.random(PINGS) < 0.8, at_home, strays),
        creator=creator,
        quality=rng.normal(0.0, QUALITY_SD, PINGS),
        created_day=rng.integers(-OLDEST_DAYS, days - 1, PINGS) if days > 1 else np.full(PINGS, -1),
        duration=np.clip(rng.lognormal(3.2, 0.6, PINGS), 5, 180).astype(np.int64),
    )


def _lasting_appeal(videos: _Videos, users: int, rng: np.random.Generator) -> Floats:
    """User × ping: the appeal of a ping of no age."""
    taste = rng.normal(0.0, TASTE_SD, (users, len(CATEGORIES)))
    favourites = np.argsort(rng.random(taste.shape), axis=1)[:, :FAVOURITES]
    np.put_along_axis(taste, favourites, np.take_along_axis(taste, favourites, 1) + FAVOURITE, axis=1)
    leaning = rng.normal(0.0, LEANING_SD, (users, CREATORS))
    return BASE_APPEAL + taste[:, videos.category] + leaning[:, videos.creator] + videos.quality


def _shown_on(
    day: int, videos: _Videos, joined: NDArray[np.int64], appeal: Floats, rng: np.random.Generator
) -> pl.DataFrame:
    """`day`, `user`, `ping`: what is shown on a day, of what was published before it, to those who have joined."""
    out, there = np.flatnonzero(videos.created_day < day), np.flatnonzero(joined <= day)
    felt = appeal[np.ix_(there, out)] - FADING * (day - videos.created_day[out])
    chance = np.cumsum(np.exp(SOUGHT * felt), axis=1)
    row = np.repeat(np.arange(len(there)), rng.poisson(SHOWN_PER_DAY, len(there)))
    # Rows of chances end to end, each between its number and the next: one search finds a place in each draw's own.
    ladder = (chance / chance[:, -1:] + np.arange(len(there))[:, None]).ravel()
    place = np.searchsorted(ladder, row + rng.random(len(row))) - row * len(out)
    ping = out[np.minimum(place, len(out) - 1)]
    return pl.DataFrame({"day": np.full(len(row), day), "user": there[row], "ping": ping})


def _events_of(
    shown: pl.DataFrame, videos: _Videos, appeal: Floats, midnight: int, rng: np.random.Generator
) -> pl.DataFrame:
    """What came of it: impressions, views and what followed them, by time within a day."""
    day, user, ping = (shown[name].to_numpy() for name in ("day", "user", "ping"))
    felt = appeal[user, ping] - FADING * (day - videos.created_day[ping])
    mean = _sigmoid(felt)
    share = rng.beta(FIRMNESS * mean, FIRMNESS * (1 - mean))
    # A sitting a day: it begins at any time that leaves it its evening, and pings follow each other.
    begins = rng.integers(0, DAY - 120 * MINUTE, (day.max() + 1, len(appeal)))[day, user]
    gap = rng.exponential(40.0 * SECOND, shown.height) + 2 * SECOND
    since = pl.col("gap").cum_sum().over("day", "user").clip(upper_bound=110 * MINUTE).cast(pl.Int64)
    rows = shown.with_columns(
        gap=pl.Series(gap),
        begins=pl.Series(begins + midnight + day * DAY),
        share=pl.Series(share),
        views=pl.Series(rng.random(shown.height) < _view_probability(felt)),
    ).with_columns(at=pl.col("begins") + since)
    seconds = pl.Series(videos.duration).gather(rows["ping"]).cast(pl.Float64)
    rows = rows.with_columns(watch_time_sec=(pl.col("share") * seconds).round(1))
    viewed = rows.filter("views")
    watched = (pl.col("watch_time_sec") * SECOND).cast(pl.Int64)
    kinds = [
        rows.with_columns(event_type=pl.lit("impression"), watch_time_sec=0.0),
        viewed.with_columns(event_type=pl.lit("view"), at=pl.col("at") + SECOND),
    ]
    for number, (kind, rate) in enumerate(DEEDS.items(), start=2):
        does = rng.random(viewed.height) < rate * mean[rows["views"].to_numpy()]
        done = viewed.with_columns(
            event_type=pl.lit(kind), at=pl.col("at") + watched + number * SECOND, watch_time_sec=0.0
        )
        kinds.append(done.filter(pl.Series(does)))
    return pl.concat(kinds).sort("at", "user", "ping", "event_type")


def _by_day(events: pl.DataFrame) -> "list[tuple[tuple[int], pl.DataFrame]]":
    return sorted((key, part) for key, part in events.partition_by("day", as_dict=True).items())  # pyright: ignore


def _write_day(events: pl.DataFrame, landing: Path, day: date) -> Path:
    path = landing / "ping_interactions" / f"interactions-{day}.csv"
    rows = events.select(
        _user_id("user"),
        _ping_id("ping"),
        "event_type",
        "watch_time_sec",
        event_timestamp=pl.col("at").cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S"),
    )
    replace_file(path, rows.write_csv)
    return path


def _people(joined: NDArray[np.int64], start: date, rng: np.random.Generator) -> pl.DataFrame:
    shares = [share for share, _, _ in COUNTRIES.values()]
    frame = pl.DataFrame({"user": np.arange(len(joined)), "joined": joined})
    return frame.select(
        _user_id("user"),
        country=pl.Series(list(COUNTRIES)).gather(rng.choice(len(COUNTRIES), len(joined), p=shares)),
        signup_date=iso_dates("joined", start),
        age=pl.Series(rng.integers(16, 61, len(joined))),
    )


def _catalogue(videos: _Videos, start: date, rng: np.random.Generator) -> pl.DataFrame:
    at = videos.created_day * DAY + rng.integers(0, DAY // SECOND, PINGS) * SECOND + microseconds(start)
    frame = pl.DataFrame({"ping": np.arange(PINGS), "creator": videos.creator, "at": at})
    return frame.select(
        _ping_id("ping"),
        creator_id="c" + pl.col("creator").cast(pl.String).str.zfill(3),
        main_hashtag=pl.Series(HASHTAGS).gather(rng.integers(0, len(HASHTAGS), PINGS)),
        category=pl.Series(CATEGORIES).gather(videos.category),
        duration_sec=pl.Series(videos.duration),
        created_at=pl.col("at").cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S"),
    )


def _truth(videos: _Videos, appeal: Floats, *, age: NDArray[np.int64]) -> pl.DataFrame:
    """A row per user and ping: what showing it once more, after the last day, would bring."""
    users, pings = appeal.shape
    felt = (appeal - FADING * age).ravel()
    share, view = _sigmoid(felt), _view_probability(felt)
    worth = POINTS["view"] + sum(POINTS[kind] * rate for kind, rate in DEEDS.items())
    frame = pl.DataFrame({"user": np.repeat(np.arange(users), pings), "ping": np.tile(np.arange(pings), users)})
    return frame.select(
        _user_id("user"),
        _ping_id("ping"),
        category=pl.Series(CATEGORIES).gather(np.tile(videos.category, users)),
        view_probability=pl.Series(view),
        watched_share=pl.Series(share),
        expected_points=pl.Series(view * share * worth),
    )


def _view_probability(appeal: Floats) -> Floats:
    return _sigmoid(VIEW_AT_NO_APPEAL + 0.5 * appeal)


def _sigmoid(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))


def _user_id(column: str) -> pl.Expr:
    """As the world around it has them."""
    return ("u" + pl.col(column).cast(pl.String).str.zfill(6)).alias("user_id")


def _ping_id(column: str) -> pl.Expr:
    return ("p" + pl.col(column).cast(pl.String).str.zfill(4)).alias("ping_id")
