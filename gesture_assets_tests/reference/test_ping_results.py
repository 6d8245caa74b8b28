"""Document 004's own data: every file that its script wrote, to 1e-9 and in its order."""

from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gesture_assets.pings.engagement import (
    event_scores,
    new_vs_existing_users,
    ping_engagement,
    top_pings,
    user_ping_engagement,
    watch_time_stats,
)
from gesture_assets.pings.recommend import recommendations
from gesture_assets.pings.weights import load_ping_weights
from gesture_assets_tests.ping_worlds import World, rows_of

WEIGHTS = load_ping_weights("script", user_folder=Path("none"))


@pytest.fixture(scope="module")
def folder(reference: Path) -> Path:
    return reference / "pings"


@pytest.fixture(scope="module")
def world(folder: Path) -> World:
    at = pl.col("event_timestamp").str.to_datetime(time_unit="us")
    interactions = pl.read_csv(folder / "interactions.csv").select(
        "user_id", "ping_id", "event_type", pl.col("watch_time_sec").cast(pl.Float64), event_at=at
    )
    pings = pl.read_csv(folder / "pings.csv").with_columns(
        pl.col("duration_sec").cast(pl.Float64), pl.col("created_at").str.to_datetime(time_unit="us")
    )
    users = pl.read_csv(folder / "users.csv", schema_overrides={"age": pl.Float64}, try_parse_dates=True)
    return World(interactions, pings.with_row_index("catalogue_row").cast({"catalogue_row": pl.Int64}), users)


def equal(found: pl.DataFrame, path: Path) -> None:
    """`found` has the rows of the file, in its order."""
    expected = pl.read_csv(path)
    found = found.rename(dict(zip(found.columns, expected.columns, strict=True)))
    assert_frame_equal(found, expected, abs_tol=1e-9, rel_tol=0, check_dtypes=False)


@pytest.fixture(scope="module", params=["polars", "duckdb"])
def tables(request: pytest.FixtureRequest, world: World) -> dict[str, pl.DataFrame]:
    """Everything that document 004 writes, by either engine; the rows of the second in another order."""

    def made(interactions: nw.LazyFrame, pings: nw.LazyFrame, users: nw.LazyFrame) -> dict[str, pl.DataFrame]:
        scored = event_scores(interactions, pings, WEIGHTS.events)
        pairs = user_ping_engagement(scored)
        engagement = ping_engagement(pairs, pings)
        return {
            "user_ping": rows_of(pairs.drop("engagement_units"), "user_id", "ping_id"),
            "ping_global": rows_of(engagement.drop("rank")),
            "top10_pings": rows_of(top_pings(engagement, pings).drop("rank", "catalogue_row")),
            "watch_time_ratio_stats": watch_time_stats(scored),
            "groups": rows_of(new_vs_existing_users(scored, users, new_days=WEIGHTS.windows.new_user)),
            "recs": recommendations(interactions, pings, users, engagement, WEIGHTS),
        }

    if request.param == "polars":
        return made(*world.frames())
    with world.shuffled(3).in_duckdb() as frames:
        return made(*frames)


def test_the_engagement_of_users_and_pings_is_the_script_s(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    at = pl.col("last_event_at").dt.to_string("%Y-%m-%d %H:%M:%S")
    equal(tables["user_ping"].with_columns(at), folder / "expected_user_ping.csv")
    equal(tables["ping_global"], folder / "expected_ping_global.csv")
    created = pl.col("created_at").dt.to_string("%Y-%m-%d")
    equal(tables["top10_pings"].with_columns(created), folder / "expected_top10_pings.csv")
    assert tables["ping_global"].filter(global_engagement=5.3)["ping_id"].to_list() == ["p3", "p14", "p21"]


def test_the_watch_times_are_the_script_s(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    expected = pl.read_csv(folder / "expected_watch_time_ratio_stats.csv")
    assert tables["watch_time_ratio_stats"]["statistic"].to_list() == expected[""].to_list()
    equal(tables["watch_time_ratio_stats"], folder / "expected_watch_time_ratio_stats.csv")


def test_new_and_existing_users_are_the_script_s(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    named = tables["groups"].with_columns(is_new=pl.col("is_new").replace_strict({False: "False", True: "True"}))
    for name, columns in (
        ("avg_pings_by_group", ["is_new", "avg_pings", "user_count"]),
        ("avg_watch_by_group", ["is_new", "avg_watch_time_ratio", "view_count"]),
    ):
        expected = pl.read_csv(folder / f"expected_{name}.csv", schema_overrides={"is_new": pl.String})
        assert_frame_equal(named.select(columns), expected.select(columns), abs_tol=1e-9, rel_tol=0)


@pytest.mark.parametrize("user", ["u1", "u2", "u3"])
def test_the_lists_are_the_script_s(tables: dict[str, pl.DataFrame], folder: Path, user: str) -> None:
    columns = ["ping_id", "score", "category", "main_hashtag", "creator_id", "reason"]
    equal(tables["recs"].filter(user_id=user).select(columns), folder / f"expected_recs_{user}.csv")
