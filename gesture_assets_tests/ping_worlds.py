"""Small worlds of pings, by hand and by chance, on either engine.

Belongs here: rows as the landed tables have them. Does not belong here: expectations.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import duckdb
import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets.frames import Frame

START = datetime(2026, 3, 1)
EVENT_TYPES = ("view", "like", "comment", "share", "follow_creator", "impression", "tap")
INTERACTIONS = {
    "user_id": pl.String,
    "ping_id": pl.String,
    "event_type": pl.String,
    "watch_time_sec": pl.Float64,
    "event_at": pl.Datetime("us"),
}
PINGS = {
    "ping_id": pl.String,
    "creator_id": pl.String,
    "main_hashtag": pl.String,
    "category": pl.String,
    "duration_sec": pl.Float64,
    "created_at": pl.Datetime("us"),
    "catalogue_row": pl.Int64,
}
USERS = {"user_id": pl.String, "country": pl.String, "signup_date": pl.Date, "age": pl.Float64}


@dataclass(frozen=True)
class World:
    """Rows of the three landed tables."""

    interactions: pl.DataFrame
    pings: pl.DataFrame
    users: pl.DataFrame

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        return {"interactions": self.interactions, "pings": self.pings, "users": self.users}

    def frames(self) -> tuple[Frame, Frame, Frame]:
        """The three as lazy frames of Polars."""
        interactions, pings, users = (nw.from_native(table.lazy()) for table in self.tables.values())
        return interactions, pings, users

    @contextmanager
    def in_duckdb(self) -> Iterator[tuple[Frame, Frame, Frame]]:
        """The three as lazy frames of DuckDB."""
        with duckdb.connect() as con:
            for name, table in self.tables.items():
                con.register(name, table.to_arrow())
            interactions, pings, users = (nw.from_native(con.table(name)) for name in self.tables)
            yield interactions, pings, users

    def shuffled(self, seed: int) -> "World":
        """The same rows in another order."""
        return replace(
            self,
            interactions=self.interactions.sample(fraction=1, shuffle=True, seed=seed),
            pings=self.pings.sample(fraction=1, shuffle=True, seed=seed),
            users=self.users.sample(fraction=1, shuffle=True, seed=seed),
        )


def interactions(*rows: tuple[str, str, str, float | None, int]) -> pl.DataFrame:
    """Rows of user, ping, type, seconds watched, hours since `START`."""
    return pl.DataFrame(
        [(*row[:4], START + timedelta(hours=row[4])) for row in rows], schema=INTERACTIONS, orient="row"
    )


def pings(*rows: tuple[str, str | None, str | None, float | None, int | None]) -> pl.DataFrame:
    """Rows of ping, creator, category, duration, days of age at `START`, in the catalogue's order."""
    table = [
        (ping, creator, "tag", category, seconds, None if age is None else START - timedelta(days=age), number)
        for number, (ping, creator, category, seconds, age) in enumerate(rows)
    ]
    return pl.DataFrame(table, schema=PINGS, orient="row")


def users(*rows: tuple[str, int | None]) -> pl.DataFrame:
    """Rows of user and days since signup at `START`."""
    table = [(user, "NG", None if age is None else (START - timedelta(days=age)).date(), None) for user, age in rows]
    return pl.DataFrame(table, schema=USERS, orient="row")


def by_chance(
    seed: int,
    *,
    n_users: int,
    n_pings: int,
    n_events: int,
    n_creators: int = 4,
    n_categories: int = 3,
    skew: float = 1.0,
    ties: bool = False,
) -> World:
    """A world by chance; popular pings by Zipf's law. Some have no category, creator, duration or day.

    Some events are of pings that the catalogue does not have. `ties`: few ages, and only halves watched, make many.
    """
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, n_pings + 1) ** skew
    chosen = rng.permutation(n_pings)[rng.choice(n_pings, n_events, p=weight / weight.sum())]
    is_known = rng.random(n_events) < 0.98
    watched = rng.integers(0, 3, n_events) * 15.0 if ties else rng.uniform(0, 60, n_events).round(1)
    kinds = rng.choice(EVENT_TYPES, n_events, p=(0.35, 0.12, 0.05, 0.03, 0.03, 0.4, 0.02))
    at = [START + timedelta(minutes=int(minute)) for minute in rng.integers(0, 40_000, n_events)]
    durations = [30.0] * n_pings if ties else list(rng.uniform(5, 60, n_pings).round(1))
    some = rng.random(n_pings) < 0.9
    catalogue = pl.DataFrame(
        {
            "ping_id": [f"p{number}" for number in range(n_pings)],
            "creator_id": [f"c{number}" if number else None for number in rng.integers(0, n_creators + 1, n_pings)],
            "main_hashtag": ["tag"] * n_pings,
            "category": [f"k{number}" if number else None for number in rng.integers(0, n_categories + 1, n_pings)],
            "duration_sec": [seconds if known else None for seconds, known in zip(durations, some, strict=True)],
            "created_at": [
                START - timedelta(days=int(age)) if known else None
                for age, known in zip(rng.integers(0, 3 if ties else 90, n_pings), some[::-1], strict=True)
            ],
            "catalogue_row": rng.permutation(n_pings),
        },
        schema=PINGS,
    )
    events = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in rng.integers(0, n_users, n_events)],
            "ping_id": [f"p{number}" if known else "unknown" for number, known in zip(chosen, is_known, strict=True)],
            "event_type": list(kinds),
            "watch_time_sec": [value if kind == "view" else None for value, kind in zip(watched, kinds, strict=True)],
            "event_at": at,
        },
        schema=INTERACTIONS,
    )
    people = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(n_users)],
            "country": ["NG"] * n_users,
            "signup_date": [date(2026, 2, 1) + timedelta(days=int(day)) for day in rng.integers(0, 28, n_users)],
            "age": [None] * n_users,
        },
        schema=USERS,
    )
    return World(events, catalogue, people)


def rows_of(frame: Frame, *order: str) -> pl.DataFrame:
    """The rows in memory, sorted."""
    return pl.DataFrame(frame.collect().to_arrow()).sort(*order) if order else pl.DataFrame(frame.collect().to_arrow())


def on_both(world: World, function: Callable[[Frame, Frame, Frame], pl.DataFrame]) -> pl.DataFrame:
    """What `function` makes of the world on Polars, once DuckDB, with the rows in another order, made the same."""
    found = function(*world.frames())
    with world.shuffled(7).in_duckdb() as frames:
        other = function(*frames)
    assert found.schema == other.schema
    assert found.equals(other), f"Polars:\n{found}\nDuckDB:\n{other}"
    return found
