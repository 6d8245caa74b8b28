"""Who buys: Pareto shares that end at 1, quantiles that are Polars' own, and a verdict on the data."""

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from gesture_assets.subscribers import exploration
from gesture_assets.subscribers.tables import (
    DATA_SUFFICIENCY,
    NEEDED,
    PURCHASE_QUANTILES,
    QUANTILE_METRICS,
    QUANTILES,
    SEGMENT_CONVERSION,
)
from gesture_assets_tests.properties.test_engines_agree import on_both

DAY = date(2026, 3, 9)
KINDS = {
    "as_of_date": pl.Date,
    "country": pl.String,
    "member_rating": pl.Int16,
    "tag_count": pl.Int32,
    "optin_date": pl.Date,
    "made_purchase": pl.Int16,
}
USUAL = {"as_of_date": DAY, "country": "GB", "member_rating": 3, "tag_count": 0, "optin_date": DAY, "made_purchase": 0}


def people(*who: dict[str, Any]) -> pl.DataFrame:
    """Validated subscribers; what is not given is usual."""
    return pl.DataFrame([USUAL | values for values in who], schema=KINDS)


def crowd(seed: int) -> pl.DataFrame:
    dice = random.Random(seed)
    return people(
        *(
            {
                "as_of_date": DAY - timedelta(days=dice.randint(0, 1)),
                "country": dice.choice(["GB", "DE", "FR", "IN", None]),
                "member_rating": dice.choice([1, 2, 3, 4, 5, None]),
                "tag_count": dice.choice([None, *range(9)]),
                "optin_date": dice.choice([None, DAY - timedelta(days=dice.randint(2, 900))]),
                "made_purchase": int(dice.random() < 0.2),
            }
            for _ in range(dice.randint(40, 300))
        )
    )


def segments(table: pl.DataFrame, dimension: str) -> list[dict[str, Any]]:
    frame = on_both(exploration.segment_conversion, table, contract=SEGMENT_CONVERSION)
    return frame.filter(pl.col("dimension") == dimension).sort("as_of_date", "place").to_dicts()


def test_countries_come_in_the_order_of_their_buyers_with_shares_up_to_1() -> None:
    buyer = {"made_purchase": 1}
    table = people(
        *[{"country": "DE"}] * 4, *[{"country": "GB"} | buyer] * 3, {"country": None}, {"country": "FR"} | buyer, {}
    )
    rows = segments(table, "country")
    assert [(row["segment"], row["place"], row["subscriber_count"], row["buyer_count"]) for row in rows] == [
        ("GB", 1, 4, 3),
        ("FR", 2, 1, 1),
        ("DE", 3, 4, 0),
        ("unknown", 4, 1, 0),
    ]
    assert [row["conversion_rate"] for row in rows] == [0.75, 1.0, 0.0, 0.0]
    assert [row["cumulative_buyer_share"] for row in rows] == [0.75, 1.0, 1.0, 1.0]
    assert [row["cumulative_subscriber_share"] for row in rows] == [0.4, 0.5, 0.9, 1.0]
    assert [(row["subscriber_share"], row["buyer_share"]) for row in rows][:2] == [(0.4, 0.75), (0.1, 0.25)]


def test_ratings_tags_and_their_pairs_are_segments() -> None:
    table = people(
        {"member_rating": 5, "tag_count": 7, "made_purchase": 1},
        {"member_rating": 5, "tag_count": 4},
        {"member_rating": None, "tag_count": None},
        {"tag_count": 2},
        {"tag_count": 0},
    )
    by_rating = {row["segment"]: row["conversion_rate"] for row in segments(table, "member_rating")}
    assert by_rating == {"5": 0.5, "3": 0.0, "unknown": 0.0}
    assert {row["segment"] for row in segments(table, "tag_count")} == {"6 or more", "3 to 5", "unknown", "2", "0"}
    pairs = {row["segment"]: row["buyer_count"] for row in segments(table, "member_rating × tag_count")}
    assert pairs == {"5 × 6 or more": 1, "5 × 3 to 5": 0, "unknown × unknown": 0, "3 × 2": 0, "3 × 0": 0}


def test_where_nobody_bought_there_is_no_share_of_buyers() -> None:
    (row,) = segments(people({}, {}), "country")
    assert (row["conversion_rate"], row["buyer_share"], row["cumulative_buyer_share"]) == (0.0, None, None)


def test_who_bought_on_an_unknown_day_is_neither_buyer_nor_other() -> None:
    unknown = {"made_purchase": None}
    table = people({"made_purchase": 1}, {}, {}, unknown, {"country": "DE"} | unknown)
    found = {row["segment"]: (row["subscriber_count"], row["buyer_count"]) for row in segments(table, "country")}
    assert found == {"GB": (4, 1), "DE": (1, 0)}
    assert [row["conversion_rate"] for row in segments(table, "country")] == [1 / 3, None]
    quantiles = on_both(exploration.purchase_quantiles, table, contract=PURCHASE_QUANTILES)
    assert set(quantiles["made_purchase"]) == {0, 1}
    criteria = verdict(table)
    assert (criteria["subscribers"][0], criteria["buyers"][0], criteria["others"][0]) == (5, 1, 2)


@pytest.mark.parametrize("seed", range(5))
def test_shares_end_at_1_and_everybody_is_in_one_segment_of_each_dimension(seed: int) -> None:
    table = crowd(seed)
    frame = on_both(exploration.segment_conversion, table, contract=SEGMENT_CONVERSION)
    ends = frame.group_by("as_of_date", "dimension").agg(
        pl.col("cumulative_subscriber_share", "cumulative_buyer_share").max(), pl.col("subscriber_count").sum()
    )
    assert ends.n_unique(["dimension"]) == 7
    assert set(ends["cumulative_subscriber_share"]) == set(ends["cumulative_buyer_share"]) == {1.0}
    sizes = dict(table.group_by("as_of_date").len().rows())
    assert all(sizes[day] == count for day, count in ends.select("as_of_date", "subscriber_count").rows())


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_by_purchase_are_polars_own(seed: int) -> None:
    table = crowd(seed).with_columns(optin_days=(pl.col("as_of_date") - pl.col("optin_date")).dt.total_days())
    frame = on_both(exploration.purchase_quantiles, table.drop("optin_days"), contract=PURCHASE_QUANTILES)
    expected = {
        (day, metric, outcome, quantile): (round(values.quantile(quantile, "linear") or 0.0, 6), len(values))
        for (day, outcome), group in table.group_by("as_of_date", "made_purchase")
        for metric in QUANTILE_METRICS
        if len(values := group[metric].drop_nulls().cast(pl.Float64))
        for quantile in QUANTILES
    }
    key = ("as_of_date", "metric", "made_purchase", "quantile")
    assert {row[:4]: row[4:] for row in frame.select(*key, "value", "subscriber_count").rows()} == expected


def verdict(table: pl.DataFrame) -> dict[str, tuple[float, bool]]:
    frame = on_both(exploration.data_sufficiency, table, contract=DATA_SUFFICIENCY)
    return {row["criterion"]: (row["found"], row["is_met"]) for row in frame.to_dicts()}


@pytest.mark.parametrize(
    ("buyers", "others", "change", "missed"),
    [
        (100, 900, {}, set()),
        (99, 901, {}, {"buyers"}),
        (100, 899, {}, {"subscribers"}),
        (950, 50, {}, {"others"}),
        (100, 900, {"member_rating": None}, {"rated_share"}),
        (100, 900, {"tag_count": None}, {"tagged_share"}),
    ],
)
def test_the_verdict_is_met_when_every_criterion_is(
    buyers: int, others: int, change: dict[str, Any], missed: set[str]
) -> None:
    table = people(*[{"made_purchase": 1} | change] * buyers, *[change] * others)
    criteria = verdict(table)
    assert {name for name, (_, is_met) in criteria.items() if not is_met} == missed | ({"verdict"} if missed else set())
    assert criteria["verdict"][0] == len(NEEDED) - len(missed)
    assert (criteria["subscribers"][0], criteria["buyers"][0], criteria["others"][0]) == (
        buyers + others,
        buyers,
        others,
    )


@pytest.mark.parametrize(
    "room", [exploration.segment_conversion, exploration.purchase_quantiles, exploration.data_sufficiency]
)
def test_without_a_crm_there_is_nothing_to_explore(room: Callable) -> None:
    assert on_both(room, people()).height == 0
