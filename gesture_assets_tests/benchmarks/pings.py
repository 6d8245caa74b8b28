"""Lists of pings for everybody, from raw events, beside document 004's loop over users.

Belongs here: a world of pings at size, and both runs. Does not belong here: their limits (`suite.py`), whether lists
are right (`unit/pings`).

Ours is everything from a file of events to the lists: engagement of pairs and pings, popularity, affinities, what was
seen, scores, reasons. Theirs is the loop's body alone, of a few users, on what is ready beforehand: popularity and
freshness of each ping, and of these users only the events and affinities, so that looking them up costs little.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets.frames import to_polars
from gesture_assets.pings.engagement import event_scores, ping_engagement, user_ping_engagement
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import load_ping_weights
from gesture_assets_tests.benchmarks.world import Size

Figures = dict[str, Any]
WEIGHTS = load_ping_weights("script", user_folder=Path("none"))
START = datetime(2026, 2, 1)
EVENT_TYPES = {"view": 0.4, "like": 0.1, "comment": 0.03, "share": 0.02, "follow_creator": 0.02, "impression": 0.43}
CATEGORIES, CREATORS = 25, 10  # in all, and pings of one on average
MEMORY_LIMIT, THREADS = "1GB", 2
LOOPED_USERS = 30


def ping_world(folder: Path, size: Size) -> Figures:
    """Write the three tables: popular pings and busy users by power laws, half as many pings as users."""
    rng = np.random.default_rng(1)
    n_pings = max(size.users // 2, 20)
    popularity = 1 / np.arange(1, n_pings + 1) ** 0.8
    drawn = np.searchsorted(np.cumsum(popularity / popularity.sum()), rng.random(size.events)).clip(0, n_pings - 1)
    busy = np.cumsum(rng.pareto(1.5, size.users) + 0.2)
    user = np.searchsorted(busy / busy[-1], rng.random(size.events)).clip(0, size.users - 1)
    kind = pl.Series(list(EVENT_TYPES))[rng.choice(len(EVENT_TYPES), size.events, p=list(EVENT_TYPES.values()))]
    events = pl.DataFrame(
        {
            "user_id": user,
            "ping_id": rng.permutation(n_pings)[drawn],
            "event_type": kind,
            "watch_time_sec": rng.uniform(0, 60, size.events).round(1),
            "second": rng.integers(0, 28 * 86_400, size.events),
        }
    )
    events.select(
        pl.format("user_{}", "user_id").alias("user_id"),
        pl.format("ping_{}", "ping_id").alias("ping_id"),
        "event_type",
        pl.when(pl.col("event_type") == "view").then("watch_time_sec"),
        event_at=pl.lit(START, pl.Datetime("us")) + pl.duration(seconds="second"),
    ).write_parquet(folder / "interactions.parquet")
    creators = (rng.pareto(1.2, n_pings) * 200).astype(int) % max(n_pings // CREATORS, 1)
    pl.DataFrame(
        {
            "ping_id": [f"ping_{number}" for number in range(n_pings)],
            "creator_id": [f"creator_{number}" for number in creators],
            "main_hashtag": ["tag"] * n_pings,
            "category": [f"category_{number}" for number in rng.integers(0, CATEGORIES, n_pings)],
            "duration_sec": rng.uniform(5, 60, n_pings).round(1),
            "created_at": [START + timedelta(days=28 - int(age)) for age in rng.integers(0, 180, n_pings)],
            "catalogue_row": range(n_pings),
        }
    ).write_parquet(folder / "pings.parquet")
    pl.DataFrame({"user_id": [f"user_{number}" for number in range(size.users)]}).write_parquet(
        folder / "ping_users.parquet"
    )
    return {"pings": n_pings}


@contextmanager
def _tables(folder: Path) -> Iterator[list[nw.LazyFrame[Any]]]:
    """The three tables as DuckDB reads them from their files."""
    with duckdb.connect() as con:
        con.execute(
            f"set threads = {THREADS}; set memory_limit = '{MEMORY_LIMIT}'; set preserve_insertion_order = false"
        )
        con.execute(f"set temp_directory = '{folder / 'spilled'}'")
        names = ("interactions", "pings", "ping_users")
        yield [nw.from_native(con.read_parquet(str(folder / f"{name}.parquet"))) for name in names]


def ping_lists(folder: Path, size: Size) -> Figures:
    """Everybody's ten, from raw events."""
    started, processor = time.perf_counter(), time.process_time()
    with _tables(folder) as (interactions, pings, users):
        pairs = user_ping_engagement(event_scores(interactions, pings, WEIGHTS.events))
        engagement = to_polars(ping_engagement(pairs, pings))
        engaged = time.perf_counter() - started
        lists = recommendations(interactions, pings, users, nw.from_native(engagement.lazy()), WEIGHTS)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    engagement.write_parquet(folder / "engagement.parquet")
    lists.filter(pl.col("user_id").is_in(_looped(lists))).write_parquet(folder / "lists.parquet")
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "users": lists["user_id"].n_unique(),
        "rows": lists.height,
        "parts": {"engagement": engaged, "lists": seconds - engaged},
    }


def _looped(lists: pl.DataFrame) -> list[str]:
    """Users from all over, for the loop."""
    ids = lists.select(pl.col("user_id").unique().sort())["user_id"]
    return ids.gather_every(max(len(ids) // LOOPED_USERS, 1))[:LOOPED_USERS].to_list()


def ping_lists_by_loop(folder: Path, size: Size) -> Figures:
    """Document 004's loop body for a few users; `unequal_users`: whose lists are not ours."""
    import pandas as pd

    ours = pl.read_parquet(folder / "lists.parquet")
    chosen = ours["user_id"].unique(maintain_order=True).to_list()
    events = pl.scan_parquet(folder / "interactions.parquet").filter(pl.col("user_id").is_in(chosen)).collect()
    inter = events.select("user_id", "ping_id").to_pandas()
    items = pl.read_parquet(folder / "pings.parquet").to_pandas()
    engagement = pl.read_parquet(folder / "engagement.parquet").to_pandas().set_index("ping_id")["global_engagement"]
    pop = items["ping_id"].map(engagement).fillna(0.0)
    items["global_pop_norm"] = (pop - pop.min()) / (pop.max() - pop.min())
    items["freshness"] = 1 / (1 + (items["created_at"].max() - items["created_at"]).dt.days)
    meta = inter.merge(items[["ping_id", "category", "creator_id"]], on="ping_id", how="left")
    total = meta.groupby("user_id").size().reset_index(name="total")
    affinities = {}
    for column in ("category", "creator_id"):
        counts = meta.groupby(["user_id", column]).size().reset_index(name="count").merge(total, on="user_id")
        counts["affinity"] = counts["count"] / counts["total"]
        affinities[column] = counts
    found: dict[str, Any] = {}
    started = time.perf_counter()
    for user in chosen:
        frame = items.copy()
        for column, counts in affinities.items():
            own = counts[counts["user_id"] == user].set_index(column)["affinity"].to_dict()
            frame[f"{column}_affinity"] = frame[column].map(own).fillna(0.0)
        frame["score"] = (
            0.5 * frame["global_pop_norm"]
            + 0.25 * frame["category_affinity"]
            + 0.15 * frame["creator_id_affinity"]
            + 0.1 * frame["freshness"]
        )
        seen = inter[inter["user_id"] == user]["ping_id"].unique().tolist()
        frame = frame[~frame["ping_id"].isin(seen)].sort_values("score", ascending=False, kind="stable").head(10)
        reasons = []
        for _, row in frame.iterrows():
            parts = [f"prefers cat={row['category']}"] if row["category_affinity"] > 0 else []
            parts += ["engaged this creator"] if row["creator_id_affinity"] > 0 else []
            parts += ["globally popular"] if row["global_pop_norm"] > 0.5 else []
            parts += ["recent"] if row["freshness"] > 0.02 else []
            reasons.append("; ".join(parts) if parts else "popular/new")
        found[user] = list(zip(frame["ping_id"], frame["score"], reasons, strict=True))
    seconds = time.perf_counter() - started
    lists = {user: rows.select("ping_id", "score", "reason").rows() for (user,), rows in _by_user(ours)}
    unequal = [user for user in chosen if found[user] != lists[user]]
    return {"seconds": seconds, "users": len(chosen), "unequal_users": len(unequal), "pandas": pd.__version__}


def _by_user(lists: pl.DataFrame) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    yield from lists.sort("user_id", "rank").partition_by("user_id", as_dict=True, maintain_order=True).items()
