"""What a daily cap counts: each day of events once, whoever sent it and whenever it became known."""

from datetime import date, timedelta
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest

from gesture_assets.features.day_caps import DayCap, day_capped_counts

DAY = date(2026, 3, 9)
EVER = DayCap("page_view_count", "page_view", None, 20)
WEEK = DayCap("page_view_count_7d", "page_view", 7, 20)
FIVE = DayCap("search_count_1d", "search", 1, 5)

# as-of day, user, activity day, bot, page views, searches
ACTIVITY = [
    (DAY, "ada", DAY, False, 100, 7),
    (DAY, "ada", DAY - timedelta(days=6), False, 15, 0),  # 30 on that day: 15 were late
    (DAY - timedelta(days=6), "ada", DAY - timedelta(days=6), False, 15, 9),
    (DAY - timedelta(days=7), "ada", DAY - timedelta(days=7), False, 3, 0),  # before the week
    (DAY - timedelta(days=7), "visitor", DAY - timedelta(days=7), False, 40, 0),
    (DAY, "bob", DAY, True, 50, 0),
]
LINKS = [(DAY, "visitor", "cyd", DAY, None)]


def frames() -> dict[str, pl.DataFrame]:
    names = ["as_of_date", "user_id", "activity_date", "is_bot", "page_view_count", "search_count"]
    of_links = ["as_of_date", "anonymous_user_id", "user_id", "linked_at", "email_key"]
    days = [DAY - timedelta(days=1), DAY]
    return {
        "activity": pl.DataFrame(ACTIVITY, schema=names, orient="row"),
        "links": pl.DataFrame(LINKS, schema=of_links, orient="row"),
        "moments": pl.DataFrame({"as_of_date": days, "as_of": [day + timedelta(days=1) for day in days]}),
    }


def counted(caps: tuple[DayCap, ...], **options: Any) -> dict[tuple[date, str], tuple[int, ...]]:
    lazy = {name: nw.from_native(frame.lazy()) for name, frame in frames().items()}
    on_polars = day_capped_counts(**lazy, caps=caps, **options).collect().to_native()
    with duckdb.connect() as con:
        for name, frame in frames().items():
            con.register(f"{name}_rows", frame)
            con.execute(f"create table {name} as select * from {name}_rows")
        tables = {name: nw.from_native(con.table(name)) for name in frames()}
        on_duckdb = day_capped_counts(**tables, caps=caps, **options).to_native().pl()
    key = ["as_of_date", "user_id"]
    assert on_duckdb.sort(key).rows() == on_polars.sort(key).rows()
    return {row[:2]: row[2:] for row in on_polars.rows()}


def test_a_hundred_views_in_a_day_count_20() -> None:
    assert counted((EVER, WEEK, FIVE))[DAY, "ada"] == (20 + 20 + 3, 20 + 20, 5)


def test_only_what_was_known_by_the_moment_counts() -> None:
    assert counted((EVER,))[DAY - timedelta(days=1), "ada"] == (15 + 3,)


def test_a_visitor_is_the_user_who_signed_up_from_then_on() -> None:
    counts = counted((EVER,))
    assert counts[DAY, "cyd"] == (20,)
    assert counts[DAY - timedelta(days=1), "visitor"] == (20,)
    assert (DAY, "visitor") not in counts


@pytest.mark.parametrize(("options", "expected"), [({}, None), ({"include_bots": True}, (20,))])
def test_bots_count_where_features_count_them(options: dict[str, bool], expected: tuple[int] | None) -> None:
    assert counted((EVER,), **options).get((DAY, "bob")) == expected
