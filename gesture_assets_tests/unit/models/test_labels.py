"""Who could still buy, and what became of them: labels know the future, features and exclusions do not."""

from datetime import date, timedelta
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest

from gesture_assets.models.labels import exclusions, labels

D = date(2026, 3, 1)
MATURE = D + timedelta(days=30)

FEATURES = [
    ("buys", None, 0, None, 5), ("never", None, 0, None, 5), ("too_late", None, 0, None, 5),
    ("bought_before", None, 1, None, 5), ("crm_buyer", 7, 0, 1, 5), ("buys_in_crm", 8, 0, 0, 5),
    ("subscriber:9", 9, 0, 0, 0), ("anon:x", None, 0, None, 2), ("heard_of_late", None, 0, None, 5),
]  # fmt: skip
PURCHASES = {
    "buys": D + timedelta(days=1), "too_late": D + timedelta(days=31), "bought_before": D - timedelta(days=9),
    "known_x": D + timedelta(days=30), "heard_of_late": D,
}  # fmt: skip


def frames(engine: str) -> dict[str, nw.LazyFrame[Any]]:
    names = ["user_id", "mailchimp_id", "purchase_count", "made_purchase", "event_count"]
    found = {
        "features": pl.DataFrame(FEATURES, schema=names, orient="row").with_columns(
            pl.lit(D).alias("as_of_date"), pl.col("mailchimp_id", "made_purchase").cast(pl.Int64)
        ),
        "activity": pl.DataFrame(
            {"user_id": [*PURCHASES, "never"], "activity_date": [*PURCHASES.values(), D],
             "purchase_count": [1] * len(PURCHASES) + [0]}
        ),
        "links": pl.DataFrame(
            {"as_of_date": [D + timedelta(days=3)], "linked_at": [D + timedelta(days=3)],
             "anonymous_user_id": ["anon:x"], "user_id": ["known_x"]}
        ),
        "buyers": pl.DataFrame(
            {"as_of_date": [MATURE] * 3, "mailchimp_id": [7, 8, 9], "made_purchase": [1, 1, 0]}
        ),
    }  # fmt: skip
    if engine == "polars":
        return {name: nw.from_native(frame.lazy()) for name, frame in found.items()}
    con = duckdb.connect()
    for name, frame in found.items():
        con.register(name, frame.to_arrow())
    return {name: nw.from_native(con.table(name)) for name in found}


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_label_is_a_first_purchase_after_the_day_and_within_the_horizon(engine: str) -> None:
    found = labels(**frames(engine), known_until=MATURE).collect().sort("user_id").rows(named=True)
    assert {row["user_id"]: (row["label"], row["reason"]) for row in found} == {
        "buys": (1, None),
        "never": (0, None),
        "too_late": (0, None),
        "bought_before": (None, "already_converted"),
        "crm_buyer": (None, "already_converted"),
        "buys_in_crm": (1, None),
        "subscriber:9": (None, "no_activity"),
        "anon:x": (1, None),  # turned out to be somebody who bought on the last day of the horizon
        "heard_of_late": (None, "already_converted"),  # a purchase of the day itself that became known later
    }
    assert {row["matures_on"] for row in found} == {MATURE}


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_an_outcome_that_is_not_known_yet_is_no_outcome(engine: str) -> None:
    found = labels(**frames(engine), known_until=MATURE - timedelta(days=1)).collect()
    assert found["label"].null_count() == len(FEATURES)
    assert labels(**frames(engine), known_until=MATURE, horizon_days=31).collect()["label"].null_count() == len(
        FEATURES
    )


def test_what_excludes_is_known_on_the_day() -> None:
    found = exclusions(frames("polars")["features"]).collect()
    reasons = dict(zip(found["user_id"].to_list(), found["reason"].to_list(), strict=True))
    assert reasons["heard_of_late"] is None
    assert reasons["bought_before"] == reasons["crm_buyer"] == "already_converted"
    assert reasons["subscriber:9"] == "no_activity"
