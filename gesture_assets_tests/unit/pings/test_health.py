"""The dashboard's figures: document 004's own SQL where it has some, by hand where it only says what is meant."""

from datetime import timedelta

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.frames import Frame
from gesture_assets.pings.engagement import event_scores
from gesture_assets.pings.evaluation import split_at
from gesture_assets.pings.health import recsys_health, retention
from gesture_assets.pings.weights import SHIPPED, parse_ping_weights
from gesture_assets_tests.ping_worlds import START, World, by_chance, interactions, on_both, pings, rows_of, users

SCRIPT = parse_ping_weights((SHIPPED / "script.toml").read_text(encoding="utf-8"), name="script", where="")
# Document 004's, with the duration that its `interactions` does not have joined on.
SQL = {
    "watch_through_rate": """
        select sum(case when event_type = 'view' and (watch_time_sec / duration_sec) >= 0.8 then 1 else 0 end) * 1.0 /
            sum(case when event_type = 'view' then 1 else 0 end) from interactions""",
    "engagement_per_impression": """
        select sum(case when event_type in ('view', 'like', 'comment', 'share') then 1 else 0 end) * 1.0 /
            sum(case when event_type = 'impression' then 1 else 0 end) from interactions""",
    "hit_rate_at_10": """
        select avg(case when hit_count > 0 then 1 else 0 end) from (
            select r.user_id, count(*) filter (where t.event_type in ('share', 'comment')
                or (t.event_type = 'view' and t.watch_time_sec / t.duration_sec >= 0.5)) as hit_count
            from recs r left join test_interactions t on r.user_id = t.user_id and r.ping_id = t.ping_id
            where r.rank <= 10 group by r.user_id) s""",
    "coverage": """
        select count(distinct ping_id) filter (where recommended_flag = 1) * 1.0 / count(distinct ping_id)
        from item_table""",
    # What the document only describes, as a join of every impression with every view.
    "median_seconds_to_first_engagement": """
        select median(waited) from (
            select min(epoch(e.event_at) - epoch(i.event_at)) as waited
            from (select user_id, ping_id, min(event_at) as event_at from interactions
                where event_type = 'impression' group by all) i
            join interactions e on e.user_id = i.user_id and e.ping_id = i.ping_id
                and e.event_type in ('view', 'like') and e.event_at >= i.event_at
            group by i.user_id, i.ping_id)""",
    "impressions_without_view": """
        select avg(case when exists (from interactions v where v.user_id = i.user_id and v.ping_id = i.ping_id
            and v.event_type = 'view' and v.event_at between i.event_at and i.event_at + interval 24 hours)
            then 0 else 1 end) from interactions i where event_type = 'impression'""",
}


def world_of(seed: int) -> tuple[World, pl.DataFrame]:
    """Users who come back to a handful of pings, and lists of a few of them, longer than ten."""
    world = by_chance(seed, n_users=5, n_pings=14, n_events=240, ties=True)
    by_user = world.users.head(4).join(world.pings.head(12), how="cross")
    lists = by_user.select("user_id", "ping_id", rank=pl.int_range(1, pl.len() + 1).over("user_id"))
    return world, lists


def figures(events: Frame, catalogue: Frame, lists: pl.DataFrame) -> pl.DataFrame:
    before, after = split_at(events, START + timedelta(days=14))
    scored = [event_scores(rows, catalogue, SCRIPT.events) for rows in (before, after)]
    return recsys_health(scored[0], catalogue, nw.from_native(lists.lazy()), scored[1])


@given(st.integers(0, 10_000))
def test_figures_are_those_of_the_document_s_own_sql(seed: int) -> None:
    world, lists = world_of(seed)
    found = on_both(world, lambda events, catalogue, _: figures(events, catalogue, lists))
    events, catalogue, _ = world.frames()
    before, after = split_at(events, START + timedelta(days=14))
    tables = {
        "interactions": rows_of(event_scores(before, catalogue, SCRIPT.events)),
        "test_interactions": rows_of(event_scores(after, catalogue, SCRIPT.events)),
        "recs": lists,
        "item_table": world.pings.select(
            "ping_id", recommended_flag=pl.col("ping_id").is_in(lists["ping_id"].implode()).cast(pl.Int32)
        ),
    }
    with duckdb.connect() as con:
        for name, table in tables.items():
            con.register(name, table.to_arrow())
        expected = {metric: con.sql(statement).fetchone()[0] for metric, statement in SQL.items()}
    assert dict(found.select("metric", "value").rows()) == pytest.approx(expected, abs=1e-12)
    assert (found["counted"] > 0).all()


def test_without_anything_there_are_no_figures() -> None:
    world = World(interactions(), pings(), users())
    found = figures(*world.frames()[:2], world_of(1)[1].clear())
    assert found["value"].to_list() == [None] * 6
    assert found["counted"].to_list() == [0] * 6


def test_the_last_day_s_impressions_are_not_asked_for_a_view() -> None:
    rows = [("a", "p1", "impression", None, 0), ("a", "p1", "impression", None, 30), ("b", "p1", "impression", None, 5)]
    world = World(interactions(*rows, ("b", "p1", "view", 9, 29)), pings(("p1", "x", "cats", 30, 0)), users())
    events, catalogue, _ = world.frames()
    scored, lists = event_scores(events, catalogue, SCRIPT.events), nw.from_native(world_of(1)[1].clear().lazy())
    found = recsys_health(scored, catalogue, lists, scored, until=START + timedelta(hours=40))
    row = found.row(by_predicate=pl.col("metric") == "impressions_without_view", named=True)
    assert (row["value"], row["counted"]) == (0.5, 2)  # b's view came exactly 24 hours later


def test_who_comes_back_and_for_how_long() -> None:
    day = 24
    world = World(
        interactions(
            ("a", "p1", "view", 5, 0),
            ("a", "p1", "view", 5, 7 * day),
            ("a", "p2", "view", 5, 7 * day),
            ("a", "p1", "view", 5, 8 * day),
            ("b", "p1", "view", 5, 6 * day),
            ("c", "p1", "view", 5, 13 * day),
            ("d", "p1", "view", 5, 14 * day),
        ),
        pings(("p1", "x", "cats", 30, -1), ("p2", "y", "cats", 30, -2), ("p3", "x", "cats", 30, -9)),
        users(),
    )
    world = World(
        pl.concat(
            [world.interactions, world.interactions[3:4].with_columns(pl.col("event_at") + timedelta(minutes=30))]
        ),
        world.pings,
        world.users,
    )

    def found(events: Frame, catalogue: Frame, _: Frame) -> pl.DataFrame:
        return retention(events, catalogue, until=START + timedelta(days=14))

    assert on_both(world, found).rows() == [
        ("user_retention", 0.5, 2),
        ("creator_retention", 0.5, 2),
        ("mean_session_seconds", 600.0, 3),  # 1800 of one, 0 of two
        ("mean_session_events", pytest.approx(5 / 3), 3),
    ]
