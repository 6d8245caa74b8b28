"""The training set: mature days far enough apart, eligible users, what was known then and what came of it."""

from datetime import date, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesture_assets.errors import TrainingRefused
from gesture_assets.models.training_set import training_days, training_set, with_rule_score
from gesture_assets_tests.events_by_hand import lazy

FIRST = date(2026, 1, 1)
LIVE = [FIRST + timedelta(days=n) for n in range(90)]
KNOWN_UNTIL = LIVE[-1]
quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def test_the_newest_mature_day_comes_first_and_the_others_a_fortnight_apart() -> None:
    chosen = training_days(LIVE, known_until=KNOWN_UNTIL)
    assert chosen == tuple(FIRST + timedelta(days=n) for n in (3, 17, 31, 45, 59))
    assert training_days(LIVE, known_until=KNOWN_UNTIL, at_most=3) == chosen[-3:]


def test_where_a_day_is_missing_the_next_older_one_stands_in() -> None:
    gap = [day for day in LIVE if day != FIRST + timedelta(days=45)]
    chosen = training_days(gap, known_until=KNOWN_UNTIL, at_most=3)
    assert chosen == tuple(FIRST + timedelta(days=n) for n in (30, 44, 59))


@quick
@given(
    st.sets(st.integers(0, 200), max_size=120),
    st.integers(0, 220),
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(1, 9),
)
def test_days_are_live_mature_in_order_and_far_enough_apart(
    live: set[int], until: int, horizon: int, apart: int, at_most: int
) -> None:
    days = {FIRST + timedelta(days=n) for n in live}
    known_until = FIRST + timedelta(days=until)
    chosen = training_days(days, known_until=known_until, horizon=horizon, apart=apart, at_most=at_most, at_least=0)
    assert set(chosen) <= days
    assert all(day + timedelta(days=horizon) <= known_until for day in chosen)
    assert all((later - earlier).days >= apart for earlier, later in pairwise(chosen))
    assert len(chosen) <= at_most
    if chosen:
        assert chosen[-1] == max(day for day in days if day + timedelta(days=horizon) <= known_until)
        earlier = [day for day in days if (chosen[0] - day).days >= apart]
        assert len(chosen) == at_most or not earlier


def test_too_short_a_history_is_refused_with_the_command_that_builds_the_missing_days() -> None:
    with pytest.raises(TrainingRefused, match="too few days") as refused:
        training_days(LIVE[:58], known_until=LIVE[57])
    assert refused.value.expected.startswith("3 days with features, 14 or more apart, up to 2026-01-28")
    assert refused.value.found == "2026-01-14, 2026-01-28"
    assert refused.value.next_step.startswith("gesture run --from 2025-12-31 --to 2026-01-28")
    assert training_days(LIVE[:58], known_until=LIVE[57], at_least=2) == (date(2026, 1, 14), date(2026, 1, 28))


DAYS = [FIRST + timedelta(days=14 * n) for n in range(4)]


def known() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Features, labels and rule scores of 60 users on four days; every third row is not eligible."""
    keys = pl.DataFrame({"as_of_date": DAYS}).join(pl.DataFrame({"user_id": [f"u{n}" for n in range(60)]}), how="cross")
    keys = keys.sample(fraction=1, shuffle=True, seed=1).with_row_index("row")
    features = keys.select("as_of_date", "user_id", visit_count="row")
    labels = keys.select(
        "as_of_date",
        "user_id",
        person_id="user_id",
        label=(pl.col("row") % 10 == 0).cast(pl.Int16),
        matures_on=pl.col("as_of_date") + timedelta(days=30),
        is_eligible=pl.col("row") % 3 > 0,
    )
    scores = keys.filter(pl.col("row") != 4).select("as_of_date", "user_id", score=pl.col("row") * 0.5)
    return features, labels, scores


def test_eligible_rows_have_their_features_rule_score_label_and_parts_in_order() -> None:
    features, labels, scores = known()
    rows = training_set(lazy(features), lazy(labels), DAYS, rule_scores=lazy(scores)).collect("polars").to_native()
    assert isinstance(rows, pl.DataFrame)
    expected = features.join(labels.filter("is_eligible"), on=["as_of_date", "user_id"]).join(
        scores, on=["as_of_date", "user_id"], how="left"
    )
    expected = expected.sort("as_of_date", "user_id")
    assert rows["user_id"].to_list() == expected["user_id"].to_list()
    assert rows["as_of_date"].to_list() == expected["as_of_date"].to_list()
    assert rows["label"].to_list() == expected["label"].to_list()
    assert rows["visit_count"].to_list() == expected["visit_count"].to_list()
    assert rows["rule_score"].to_list() == expected["score"].to_list()
    assert rows["rule_score"].null_count() == 1
    assert set(rows["split"]) == {"train", "validation", "test", "left_out"}
    assert set(rows["random_split"]) == {"train", "validation", "test"}
    assert rows.filter(pl.col("split") == "train")["as_of_date"].n_unique() == 2


def test_ids_of_one_person_are_in_one_part() -> None:
    features, labels, _ = known()
    labels = labels.with_columns(
        person_id=pl.lit("p") + (pl.col("user_id").str.slice(1).cast(pl.Int64) // 2).cast(pl.String)
    )
    rows = training_set(lazy(features), lazy(labels), DAYS).collect("polars").to_native()
    assert isinstance(rows, pl.DataFrame)
    assert (
        rows.filter(pl.col("split") != "left_out").group_by("person_id").agg(pl.col("split").n_unique())["split"].max()
        == 1
    )
    assert rows.group_by("person_id").agg(pl.col("random_split").n_unique())["random_split"].max() == 1
    assert "rule_score" not in rows.columns


def test_the_rule_score_of_a_night_is_joined_as_in_training() -> None:
    features, _, scores = known()
    night = with_rule_score(lazy(features), lazy(scores)).collect("polars").to_native()
    assert isinstance(night, pl.DataFrame)
    assert night.height == features.height
    row = night.filter(pl.col("visit_count") == 7)
    assert row["rule_score"].to_list() == [3.5]
