"""The score to act on, by hand: percentiles with ties, and rules beside the model on both engines."""

from datetime import date

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest

from gesture_assets.models.scoring import differing, intent_scores, percentiles

DAY = date(2026, 3, 9)


def day(**columns: list[object]) -> pl.DataFrame:
    rows = max(len(values) for values in columns.values())
    return pl.DataFrame({"as_of_date": [DAY] * rows, **columns}, strict=False)


def test_a_percentile_is_the_share_below_and_half_of_the_equals() -> None:
    scored = day(user_id=["a", "b", "c", "d"], probability=[0.1, 0.2, 0.2, 0.9])
    ranked = percentiles(nw.from_native(scored.lazy())).collect().to_native().sort("user_id")
    assert ranked["percentile"].to_list() == [0.125, 0.5, 0.5, 0.875]
    assert ranked["percentile"].mean() == 0.5


def test_days_are_ranked_by_themselves() -> None:
    today = day(user_id=["a", "b"], probability=[0.1, 0.2])
    both = pl.concat([today, today.with_columns(as_of_date=pl.lit(date(2026, 3, 10)), probability=pl.lit(0.05))])
    ranked = percentiles(nw.from_native(both.lazy())).collect().to_native().sort("as_of_date", "user_id")
    assert ranked["percentile"].to_list() == [0.25, 0.75, 0.5, 0.5]


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_the_model_is_acted_on_where_there_is_one_and_the_rules_say_why_where_there_is_none(
    engine: str, connection: duckdb.DuckDBPyConnection
) -> None:
    rules = day(user_id=["both", "far", "new", "out"], score=[50.0, 90.0, 20.0, None]).with_columns(
        rule_set_version=pl.lit("intent r1")
    )
    model = day(
        user_id=["both", "far", "out"],
        score=[60.0, 5.0, 70.0],
        probability=[0.6, 0.04, 0.7],
        percentile=[0.5, 0.1, 0.9],
        model_version=["v1"] * 3,
    )
    excluded = day(user_id=["new"], reason=["already_converted"])
    curves = pl.DataFrame({"as_of_date": [DAY], "slope": [2.0], "intercept": [-8.0]})

    def lazy(frame: pl.DataFrame) -> nw.LazyFrame:
        return nw.from_native(frame.lazy() if engine == "polars" else connection.from_arrow(frame.to_arrow()))

    by_user = {
        row["user_id"]: row
        for row in intent_scores(lazy(rules), lazy(model), lazy(excluded), lazy(curves))
        .collect("polars")
        .to_native()
        .to_dicts()
    }
    assert {who: (row["source"], row["score"], row["scale"]) for who, row in by_user.items()} == {
        "both": ("model", 60.0, "probability"),
        "far": ("model", 5.0, "probability"),
        "new": ("rules_fallback", 14.0, "probability"),  # 21² × e⁻⁸ are odds of 0.148
        "out": ("suppressed", None, "probability"),
    }
    assert by_user["new"]["probability"] == pytest.approx(441 * np.exp(-8) / (1 + 441 * np.exp(-8)))
    assert {who: row["fallback_reason"] for who, row in by_user.items() if row["fallback_reason"]} == {
        "new": "already_converted"
    }
    assert {who for who, row in by_user.items() if row["is_disagreement"]} == {"far"}
    # A suppressed user has no score of any kind, although the model has one.
    assert (by_user["out"]["model_score"], by_user["out"]["probability"], by_user["out"]["model_version"]) == (
        None,
    ) * 3


def test_who_is_first_by_rules_and_by_model_is_no_disagreement_however_far_points_and_probability_are_apart() -> None:
    users = [f"u{place}" for place in range(10)]
    points, odds = [90.0, 12.0, 11.0, *range(1, 8)], [0.35, 0.001, 0.25, *(n / 100 for n in range(1, 8))]
    rules = day(user_id=[*users, "out", "bought"], score=[*points, None, 95.0], rule_set_version=["r1"] * 12)
    model = day(user_id=users, probability=odds, score=[1 + round(99 * p) for p in odds], model_version=["v1"] * 10)
    model = percentiles(nw.from_native(model.lazy()))
    excluded = day(user_id=["bought"], reason=["already_converted"])
    curves = pl.DataFrame({"as_of_date": [DAY], "slope": [2.0], "intercept": [-8.0]})
    lazy = [nw.from_native(frame.lazy()) for frame in (rules, excluded, curves)]
    scores = intent_scores(lazy[0], model, *lazy[1:]).collect("polars").to_native()
    assert isinstance(scores, pl.DataFrame)
    apart = {
        user: round(apart) if apart is not None else None for user, apart in scores["user_id", "rank_difference"].rows()
    }
    # By rules u0, u1, u2 are the first; by the model u1 is the last. Nobody else may be a place in the comparison.
    assert (apart["u0"], apart["u1"], apart["u2"]) == (0, 80, 10)
    assert (apart["out"], apart["bought"]) == (None, None)
    assert scores.filter("is_disagreement")["user_id"].to_list() == ["u1"]


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_without_a_model_every_score_is_the_points(engine: str, connection: duckdb.DuckDBPyConnection) -> None:
    rules = day(user_id=["a", "b"], score=[50.0, None], rule_set_version=["r1", "r1"])
    nobody = {"user_id": pl.String, "as_of_date": pl.Date}
    model = pl.DataFrame(schema=nobody | {"score": pl.Float64, "probability": pl.Float64, "percentile": pl.Float64})
    model = model.with_columns(model_version=pl.lit("v1"))
    excluded = pl.DataFrame(schema=nobody | {"reason": pl.String})
    curves = pl.DataFrame(schema={"as_of_date": pl.Date, "slope": pl.Float64, "intercept": pl.Float64})

    def lazy(frame: pl.DataFrame) -> nw.LazyFrame:
        return nw.from_native(frame.lazy() if engine == "polars" else connection.from_arrow(frame.to_arrow()))

    scores = intent_scores(lazy(rules), lazy(model), lazy(excluded), lazy(curves)).collect("polars").to_native()
    assert isinstance(scores, pl.DataFrame)
    assert scores.sort("user_id").select("score", "scale", "probability").rows() == [
        (50.0, "points", None),
        (None, "points", None),
    ]


def test_scores_that_do_not_come_out_again_are_named_with_why() -> None:
    said = pl.DataFrame(
        {
            "user_id": ["a", "b", "c", "d"],
            "feature_hash": ["1", "2", "3", "4"],
            "probability": [0.1, 0.2, 0.3, 0.4],
        }
    )
    assert differing(said, said.reverse()).is_empty()
    again = pl.DataFrame(
        {"user_id": ["a", "b", "c"], "feature_hash": ["1", "2!", "3"], "probability": [0.1, 0.2, 0.31]}
    )
    assert differing(said, again).select("user_id", "because").rows() == [
        ("b", "other features"),
        ("c", "another probability"),
        ("d", "no features"),
    ]
