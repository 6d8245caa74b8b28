"""The call list by hand: who is on it, in which order, why; and who is not."""

from datetime import date, datetime

import duckdb
import narwhals as nw
import polars as pl
import pytest

from gesture_assets.models.call_list import call_list, left_out

DAY = date(2026, 3, 9)
LATE, EARLY = datetime(2026, 3, 9, 20), datetime(2026, 3, 9, 8)
INTENT = pl.DataFrame(
    [
        ("first", 40.0, 0.394, "model", None),
        ("close", 40.0, 0.391, "model", None),
        ("later", 10.0, 0.09, "rules_fallback", "no_activity"),
        ("early", 10.0, 0.09, "rules_fallback", "no_activity"),
        ("bought", 90.0, 0.9, "rules_fallback", "already_converted"),
        ("some_day", 80.0, 0.8, "rules_fallback", "undated_purchase"),
        ("kept_out", None, None, "suppressed", None),
    ],
    schema=["user_id", "score", "probability", "source", "fallback_reason"],
    orient="row",
).with_columns(as_of_date=pl.lit(DAY))
RULES = INTENT.select(
    "as_of_date",
    "user_id",
    band=pl.lit("low"),
    explanation=pl.format("the rules of {}", "user_id"),
    last_event_at=pl.when(pl.col("user_id") == "early").then(pl.lit(EARLY)).otherwise(pl.lit(LATE)),
)
REASONS = pl.DataFrame(
    [("first", "up", n, f"reason {n}") for n in (1, 2, 3, 4)]
    + [("first", "down", 1, "against"), ("first", "rest", 0, "rest"), ("close", "up", 1, "only one")],
    schema=["user_id", "direction", "place", "sentence"],
    orient="row",
).with_columns(as_of_date=pl.lit(DAY))


@pytest.fixture(params=["polars", "duckdb"])
def tables(request: pytest.FixtureRequest, connection: duckdb.DuckDBPyConnection) -> list[nw.LazyFrame]:
    def lazy(frame: pl.DataFrame) -> nw.LazyFrame:
        return nw.from_native(frame.lazy() if request.param == "polars" else connection.from_arrow(frame.to_arrow()))

    return [lazy(frame) for frame in (INTENT, RULES, REASONS)]


def test_who_can_still_buy_is_listed_by_score_probability_and_activity_with_the_reasons_of_the_score(
    tables: list[nw.LazyFrame],
) -> None:
    listed = call_list(*tables, 10, lists_everybody=False).select("rank", "user_id", "explanation")
    assert listed.sort("rank").collect("polars").rows() == [
        (1, "first", "reason 1; reason 2; reason 3"),
        (2, "close", "only one"),
        (3, "later", "the rules of later"),
        (4, "early", "the rules of early"),
    ]
    assert len(call_list(*tables, 2, lists_everybody=False).collect("polars")) == 2


def test_a_rule_set_may_list_everybody_who_has_a_score(tables: list[nw.LazyFrame]) -> None:
    listed = call_list(*tables, 10, lists_everybody=True).sort("rank").collect("polars")
    assert listed["user_id"].to_list() == ["bought", "some_day", "first", "close", "later", "early"]


def test_who_is_left_out_is_counted_by_reason(tables: list[nw.LazyFrame]) -> None:
    assert left_out(tables[0]).collect("polars").rows() == [
        (DAY, "already_converted", 1),
        (DAY, "undated_purchase", 1),
    ]
