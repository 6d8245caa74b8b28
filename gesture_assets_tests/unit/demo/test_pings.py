"""Short videos of the synthetic world: what lands is as promised, and who learns from it does better than chance."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.demo.pings import MOST_DAYS, DemoPings, write_demo_pings
from gesture_assets.pings.baselines import lists_by_score, random_lists
from gesture_assets.pings.engagement import event_scores, ping_engagement, user_ping_engagement
from gesture_assets.pings.recommend import recommendations, seen_pings
from gesture_assets.pings.weights import load_ping_weights
from gesture_assets_tests.ping_worlds import World

END, UNTIL = date(2026, 3, 31), datetime(2026, 4, 1)
WEIGHTS = load_ping_weights("recent", user_folder=Path("none"))


@dataclass(frozen=True)
class Written:
    files: DemoPings
    world: World
    truth: pl.DataFrame


def write(folder: Path, *, users: int, days: int, seed: int = 7) -> DemoPings:
    return write_demo_pings(
        landing=folder / "landing", truth=folder / "truth.parquet", users=users, days=days, seed=seed, end=END
    )


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    files = write(tmp_path_factory.mktemp("pings"), users=2_000, days=60)
    interactions = pl.concat([pl.read_csv(path, try_parse_dates=True) for path in files.interaction_files])
    catalogue = pl.read_csv(files.catalogue, try_parse_dates=True).with_row_index("catalogue_row")
    people = pl.read_csv(files.users, try_parse_dates=True)
    world = World(
        interactions.rename({"event_timestamp": "event_at"}), catalogue.cast({"catalogue_row": pl.Int64}), people
    )
    return Written(files, world, pl.read_parquet(files.truth))


def test_the_counts_are_those_of_the_files_and_a_world_of_a_day_is_one(written: Written, tmp_path: Path) -> None:
    files = written.files
    assert len(files.interaction_files) == MOST_DAYS
    tables = (written.world.interactions, written.world.pings, written.world.users)
    assert (files.interaction_count, files.ping_count, files.user_count) == tuple(table.height for table in tables)
    assert written.truth.height == files.ping_count * files.user_count
    assert write(tmp_path, users=3, days=1).interaction_count > 0


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write(tmp_path / name, users=20, days=3, seed=seed)
    first, same, other = (digests(tmp_path / name) for name in "abc")
    assert first == same
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_nobody_does_anything_before_they_and_the_ping_are_there_and_a_ping_is_shown_once(written: Written) -> None:
    done = written.world.interactions.join(written.world.pings, on="ping_id").join(written.world.users, on="user_id")
    assert done.height == written.world.interactions.height
    assert done.filter(pl.col("event_at") < pl.max_horizontal("created_at", "signup_date")).is_empty()
    shown = done.filter(event_type="impression")
    assert not shown.select("user_id", "ping_id").is_duplicated().any()
    days = pl.concat([pl.read_csv(path).select(day=pl.lit(path.stem[-10:]), at="event_timestamp")
                      for path in written.files.interaction_files])  # fmt: skip
    assert days.filter(pl.col("at").str.slice(0, 10) != pl.col("day")).is_empty()


def test_people_do_what_the_truth_says_on_average(written: Written) -> None:
    """Of what was shown on the last day: the truth is that of the day after, which fades by a twentieth of a logit."""
    shown = written.world.interactions.filter(pl.col("event_at") >= datetime(2026, 3, 31))
    pairs = shown.filter(event_type="impression").join(written.truth, on=["user_id", "ping_id"])
    scored = event_scores(nw.from_native(shown.lazy()), written.world.frames()[1], WEIGHTS.events)
    points = scored.filter(nw.col("event_type") != "impression").select(nw.col("event_score").sum()).collect()
    assert pairs.height > 2_000
    assert points.item() / pairs["expected_points"].sum() == pytest.approx(1.02, abs=0.06)


def test_lists_bring_clearly_more_than_popular_pings_and_those_more_than_chance(written: Written) -> None:
    interactions, pings, users = written.world.frames()
    scored = event_scores(interactions, pings, WEIGHTS.events)
    engagement = ping_engagement(user_ping_engagement(scored), pings)
    popular = pl.DataFrame(engagement.select("ping_id", "global_engagement").collect().to_arrow())
    seen = pl.DataFrame(seen_pings(interactions, WEIGHTS, until=UNTIL).collect().to_arrow())
    ids = written.world.users["user_id"]
    lists = {
        "served": recommendations(interactions, pings, users, engagement, WEIGHTS, until=UNTIL, now=UNTIL),
        "popularity": lists_by_score(interactions, pings, users, popular, WEIGHTS, until=UNTIL),
        "random": random_lists(ids, written.world.pings, seen, k=10, seed=1),
        "best": written.truth.join(seen, on=["user_id", "ping_id"], how="anti")
        .sort("expected_points", descending=True)
        .group_by("user_id")
        .head(10),
    }
    brings = {
        name: rows.join(written.truth, on=["user_id", "ping_id"])["expected_points"].mean()
        for name, rows in lists.items()
    }
    assert brings["popularity"] > 1.2 * brings["random"], brings
    assert brings["served"] > 1.2 * brings["popularity"], brings
    assert brings["best"] > 2 * brings["served"], brings  # there is something left for a better policy to find
