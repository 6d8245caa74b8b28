"""Engagement by hand, and the same bytes whatever the engine and the order of rows."""

from datetime import timedelta

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.frames import Frame
from gesture_assets.pings.engagement import (
    event_scores,
    new_vs_existing_users,
    ping_engagement,
    points,
    to_date,
    top_pings,
    user_affinities,
    user_ping_engagement,
    watch_time_stats,
    within,
)
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, World, by_chance, interactions, on_both, pings, rows_of, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")
KEYS = ("user_id", "ping_id")

SMALL = World(
    interactions(
        ("a", "p1", "view", 15, 1),
        ("a", "p1", "like", None, 2),
        ("a", "p1", "share", None, 3),
        ("a", "p1", "impression", None, 0),
        ("a", "p2", "comment", None, 30),
        ("b", "p2", "view", 5, 4),
        ("b", "p3", "view", None, 5),
        ("b", "p3", "tap", None, 6),
        ("b", "p4", "follow_creator", None, 7),
        ("c", "nowhere", "view", 15, 8),
    ),
    pings(
        ("p1", "x", "cats", 30, 0), ("p2", "x", "dogs", 10, 5), ("p3", "y", None, None, 5), ("p4", None, "cats", 0, 5)
    ),
    users(("a", 0), ("b", 7), ("c", 8), ("d", None)),
)


def scored(events: Frame, catalogue: Frame) -> Frame:
    return event_scores(events, catalogue, SCRIPT.events)


def pairs(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
    return rows_of(user_ping_engagement(scored(events, catalogue)), *KEYS)


def totals(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
    return rows_of(ping_engagement(user_ping_engagement(scored(events, catalogue)), catalogue))


def groups(events: Frame, catalogue: Frame, people: Frame) -> pl.DataFrame:
    return rows_of(new_vs_existing_users(scored(events, catalogue), people, new_days=7))


def affinities(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
    return rows_of(user_affinities(events, catalogue), "user_id", "kind", "value")


def test_a_half_watched_view_a_like_a_share_and_an_impression_make_6_6() -> None:
    found = on_both(SMALL, pairs).row(by_predicate=(pl.col("user_id") == "a") & (pl.col("ping_id") == "p1"), named=True)
    assert found["engagement_score"] == 6.6
    assert found["engagement_units"] == 6_600_000_000_000
    assert found["event_count"] == 4
    assert found["last_event_at"] == START + timedelta(hours=3)


def test_a_missing_duration_is_the_median_and_an_unknown_ping_lasts_30_s() -> None:
    def ratios(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return rows_of(
            scored(events, catalogue).select(*KEYS, "event_type", "duration_sec", "watch_time_ratio"),
            *KEYS,
            "event_type",
        )

    found = on_both(SMALL, ratios).filter(event_type="view")
    assert found.select("ping_id", "duration_sec", "watch_time_ratio").rows() == [
        ("p1", 30, 0.5),
        ("p2", 10, 0.5),
        ("p3", 20, 0.0),  # the median of 30 and 10; p4's 0 is no duration
        ("nowhere", 30, 0.5),
    ]
    nothing = World(SMALL.interactions, SMALL.pings.with_columns(duration_sec=pl.lit(None, pl.Float64)), SMALL.users)
    assert set(on_both(nothing, ratios)["duration_sec"]) == {30}


def test_an_event_of_another_type_counts_and_scores_nothing() -> None:
    found = on_both(SMALL, pairs).row(by_predicate=(pl.col("user_id") == "b") & (pl.col("ping_id") == "p3"), named=True)
    assert (found["engagement_score"], found["event_count"]) == (0, 2)


def test_pings_are_ordered_by_engagement_and_then_by_the_catalogue() -> None:
    found = on_both(SMALL, totals)
    assert found.select("ping_id", "global_engagement", "user_count", "rank").rows() == [
        ("p1", 6.6, 1, 1),
        ("p2", 3.5, 2, 2),
        ("p4", 2.0, 1, 3),
        ("nowhere", 0.5, 1, 4),
        ("p3", 0.0, 1, 5),
    ]
    tied = World(
        interactions(("a", "p1", "like", None, 0), ("a", "nowhere", "like", None, 0), ("a", "p0", "like", None, 0)),
        pings(("p1", "x", "cats", 30, 0), ("p0", "x", "cats", 30, 0)),
        SMALL.users,
    )
    assert on_both(tied, totals)["ping_id"].to_list() == ["p1", "p0", "nowhere"]


def test_equal_points_tie_whatever_they_are_made_of() -> None:
    # In binary, in this order: 5.3, 5.299999999999999 and 5.300000000000001.
    rows = [("p1", ["comment", "like", *["impression"] * 3]), ("p2", [*["impression"] * 53])]
    world = World(
        interactions(*[("a", ping, kind, None, 0) for ping, kinds in rows for kind in kinds]),
        pings(("p2", "x", "cats", 30, 0), ("p1", "x", "cats", 30, 0)),
        SMALL.users,
    )
    found = on_both(world, totals)
    assert found.select("ping_id", "global_engagement").rows() == [("p2", 5.3), ("p1", 5.3)]
    assert sum([0.1] * 53) != 5.3


def test_the_top_pings_come_with_what_the_catalogue_says() -> None:
    def best(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return rows_of(
            top_pings(ping_engagement(user_ping_engagement(scored(events, catalogue)), catalogue), catalogue, 2)
        )

    assert on_both(SMALL, best).select("ping_id", "creator_id", "category").rows() == [
        ("p1", "x", "cats"),
        ("p2", "x", "dogs"),
    ]


def test_new_users_are_those_of_seven_days_and_users_without_events_count() -> None:
    # a and b signed up 0 and 7 days before the newest; c 8; d nobody knows when.
    assert on_both(SMALL, groups).rows() == [(False, 2, 0.5, 1, 0.5), (True, 2, 2.0, 3, pytest.approx(1 / 3))]


def test_affinities_are_shares_of_all_events_of_a_user() -> None:
    assert on_both(SMALL, affinities).rows() == [
        ("a", "category", "cats", 4, 0.8),
        ("a", "category", "dogs", 1, 0.2),
        ("a", "creator", "x", 5, 1.0),
        ("b", "category", "cats", 1, 0.25),
        ("b", "category", "dogs", 1, 0.25),
        ("b", "creator", "x", 1, 0.25),
        ("b", "creator", "y", 2, 0.5),
    ]


def test_a_window_leaves_out_what_is_older_and_what_is_later() -> None:
    def hours(**bounds: object) -> list[int]:
        frame = within(SMALL.frames()[0], **bounds)  # type: ignore[arg-type]
        return [int((at - START).total_seconds() // 3600) for at in rows_of(frame, "event_at")["event_at"]]

    assert hours(until=None) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 30]
    assert hours(until=START + timedelta(hours=30)) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert hours(until=START + timedelta(hours=31), days=1) == [7, 8, 30]
    assert hours(until=START + timedelta(hours=3), days=5) == [0, 1, 2]


# Up to the largest sum that a BIGINT holds, and those about which a product with 1e-12 is wrong.
@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 500).map(lambda n: n * 10**11), min_size=1, max_size=40))
def test_points_are_the_double_nearest_to_their_units_on_either_engine(units: list[int]) -> None:
    table = pl.DataFrame({"units": units}, schema={"units": pl.Int64})
    nearest = [value / 10**12 for value in units]  # Python rounds a quotient of whole numbers once
    with duckdb.connect() as con:
        con.register("rows", table.to_arrow())
        for frame in (nw.from_native(table.lazy()), nw.from_native(con.table("rows"))):
            assert rows_of(frame.select(points=points("units")))["points"].to_list() == nearest


def test_sums_of_tenths_are_shown_as_people_write_them() -> None:
    tenths = [("u", f"p{count}", 10**11, START, 1) for count in range(1, 60) for _ in range(count)]
    columns = ("user_id", "ping_id", "engagement_units", "last_event_at", "event_count")
    daily = nw.from_native(pl.DataFrame(tenths, schema=columns, orient="row").lazy())
    shown = dict(rows_of(to_date(daily)).select("ping_id", "engagement_score").iter_rows())
    assert shown == {f"p{count}": float(f"{count // 10}.{count % 10}") for count in range(1, 60)}


@given(st.integers(0, 10_000), st.booleans())
def test_every_engine_and_order_of_rows_gives_the_same_bytes(seed: int, ties: bool) -> None:
    world = by_chance(seed, n_users=6, n_pings=12, n_events=400, ties=ties)
    for function in (pairs, totals, groups, affinities):
        on_both(world, function)
    shares = on_both(world, affinities)
    assert shares["affinity"].is_between(0, 1, closed="right").all()
    assert (shares.group_by("user_id", "kind").agg(pl.col("affinity").sum())["affinity"] < 1 + 1e-12).all()

    def stats(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return watch_time_stats(scored(events, catalogue))

    found = on_both(world, stats)
    ratios = rows_of(scored(*world.frames()[:2]))["watch_time_ratio"].drop_nulls().to_pandas()
    expected = ratios.describe(percentiles=[0.25, 0.5, 0.75, 0.9])
    assert found["statistic"].to_list() == list(expected.index)
    assert found["watch_time_ratio"].to_list() == pytest.approx(list(expected), abs=1e-12)


def test_without_views_there_are_no_statistics() -> None:
    likes = World(interactions(("a", "p1", "like", None, 0)), SMALL.pings, SMALL.users)
    found = watch_time_stats(scored(*likes.frames()[:2]))
    assert found["watch_time_ratio"].to_list() == [0, *[None] * 8]
    one = World(interactions(("a", "p1", "view", 15, 0)), SMALL.pings, SMALL.users)
    assert watch_time_stats(scored(*one.frames()[:2]))["watch_time_ratio"].to_list() == [1, 0.5, None, *[0.5] * 6]
