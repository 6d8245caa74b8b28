"""Splits: everybody is judged by others and earlier days, parts of the random split are alike."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError, TrainingRefused
from gesture_assets.models import splits
from gesture_assets.models.splits import (
    FOLDS,
    PARTS,
    Shares,
    crossed_split,
    draw,
    draws,
    random_split,
    summary,
)
from gesture_assets_tests.events_by_hand import collected, lazy

FIRST = date(2026, 1, 5)
divisions = (
    st.tuples(st.integers(1, 98), st.integers(0, 98))
    .filter(lambda pair: sum(pair) < 100)
    .map(lambda pair: Shares(pair[0], pair[1], 100 - sum(pair)))
)


def days(count: int, apart: int = 14) -> list[date]:
    return [FIRST + timedelta(days=apart * place) for place in range(count)]


def rows(people: int, on: list[date], *, positive: float = 0.1, gone: float = 0.0, seed: int = 3) -> pl.DataFrame:
    """A row a person and day; some persons are not there on some days."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({"person_id": [f"u{n:05}" for n in range(people)]}).join(
        pl.DataFrame({"as_of_date": on}, schema={"as_of_date": pl.Date}), how="cross"
    )
    frame = frame.with_columns(label=pl.Series((random.random(frame.height) < positive).astype(np.int16)))
    return frame.filter(pl.Series(random.random(frame.height) >= gone))


def crossed(frame: pl.DataFrame, on: list[date], **arguments: Any) -> pl.DataFrame:
    return crossed_split(frame, on, **arguments)


@given(st.integers(3, 7), st.integers(60, 200), st.integers(0, 99), st.integers(0, 200))
def test_everybody_is_judged_by_earlier_days_of_others(count: int, people: int, seed: int, fewest: int) -> None:
    on = days(count)
    split = crossed(rows(people, on, positive=0.3, gone=0.2), on, seed=seed, fewest=fewest)
    assert split.group_by("person_id").agg(pl.col("fold").n_unique())["fold"].max() == 1
    assert set(split["fold"]) <= set(range(1, FOLDS + 1))
    by_day = {day: set(part["split"]) for (day,), part in split.partition_by(PARTITION, as_dict=True).items()}
    assert all(len(parts) == 1 for parts in by_day.values())
    in_order = [parts.pop() for _, parts in sorted(by_day.items())]
    assert in_order[-1] == "test"
    assert in_order[0] == "train"
    assert in_order == sorted(in_order, key=["train", "both", "test"].index)


def test_days_are_pooled_until_enough_buyers_judge() -> None:
    on = days(5)
    frame = rows(200, on, positive=0.1)  # about twenty buyers a day
    for fewest, judging in ((1, 1), (30, 2), (50, 3), (10_000, 4)):
        split = crossed(frame, on, fewest=fewest).filter(pl.col("split") != "train")
        assert split[PARTITION].n_unique() == judging
        buyers = split.filter(pl.col("label") == 1)["person_id"].n_unique()
        assert buyers >= fewest or judging == 4  # the first day cannot be judged: nothing comes before


def test_one_purchase_within_the_horizon_of_two_days_is_one_buyer() -> None:
    on = days(5)
    last = rows(200, on[-1:], positive=0.1)  # the same twenty buy within the horizon of every day
    frame = pl.concat([last.with_columns(pl.lit(day).alias(PARTITION)) for day in on])
    assert crossed(frame, on, fewest=30).filter(pl.col("split") != "train")[PARTITION].n_unique() == 4


def test_who_is_in_a_fold_does_not_depend_on_who_else_is_there() -> None:
    on = days(4)
    everybody = rows(300, on)
    later_ids = everybody.filter(pl.col("person_id") > "u00200")
    key = ["person_id", "as_of_date"]
    both = crossed(everybody, on).join(crossed(later_ids, on), on=key)
    assert both.height == later_ids.height
    assert both["fold"].equals(both["fold_right"], check_names=False)


def test_folds_are_a_fifth_of_the_persons_each() -> None:
    on = days(3)
    shares = crossed(rows(20_000, on), on)["fold"].value_counts()["count"] / 60_000
    assert shares.to_list() == pytest.approx([0.2] * FOLDS, abs=0.01)


@pytest.mark.parametrize("positive", [0.0, 1.0])
def test_where_one_outcome_is_all_that_is_known_nothing_is_trained(positive: float) -> None:
    with pytest.raises(TrainingRefused, match="too little to learn from yet") as refused:
        crossed(rows(50, days(3), positive=positive), days(3), again_on=date(2026, 3, 16))
    assert refused.value.next_step.startswith("gesture train --date 2026-03-16, when that day is live")
    assert "gesture rank" in refused.value.next_step


def test_a_shop_of_half_a_year_is_judged_by_fifty_buyers() -> None:
    on = days(8)  # of 3,751 people 653 buy in 182 days, each day some within the 30 that follow
    random = np.random.default_rng(5)
    buyers = pl.DataFrame({"bought": FIRST + pl.Series(random.integers(0, 182, 653)) * timedelta(days=1)})
    people = pl.concat([buyers, pl.DataFrame({"bought": [None] * (3751 - 653)}, schema={"bought": pl.Date})])
    frame = people.with_row_index("n").select("bought", person_id=pl.format("u{}", "n"))
    frame = frame.join(pl.DataFrame({PARTITION: on}), how="cross")
    within = pl.col("bought").is_between(pl.col(PARTITION), pl.col(PARTITION) + timedelta(days=30), closed="right")
    frame = frame.filter(pl.col("bought").is_null() | (pl.col("bought") > pl.col(PARTITION)))
    split = crossed(frame.with_columns(label=within.fill_null(False).cast(pl.Int16)), on)
    judging = split.filter((pl.col("split") != "train") & (pl.col("label") == 1))
    assert judging["person_id"].n_unique() >= splits.FEWEST_JUDGED


@pytest.mark.parametrize("shares", [Shares(60, 20, 10), Shares(0, 50, 50), Shares(80, 20, 0), Shares(120, -40, 20)])
def test_shares_that_are_no_split_are_refused(shares: Shares) -> None:
    with pytest.raises(ConfigError, match="sum to 100"):
        random_split(lazy(rows(3, days(3))), shares=shares)


@given(st.integers(1_000, 2_500), st.floats(0.02, 0.5), st.floats(0, 0.6), divisions, st.integers(0, 99))
def test_parts_of_the_random_split_have_the_same_share_of_positives(
    people: int, positive: float, gone: float, shares: Shares, seed: int
) -> None:
    frame = rows(people, days(3), positive=positive, gone=gone)
    split = collected(random_split(lazy(frame), shares=shares, seed=seed))
    assert split.height == frame.height
    assert split.group_by("person_id").agg(pl.col("random_split").n_unique())["random_split"].max() == 1
    whole = float(frame["label"].mean())  # type: ignore[arg-type]
    for part in summary(split, "random_split").iter_rows(named=True):
        # a person or two of three rows more or fewer, whatever the size of the part
        assert abs(part["class_share"] - whole) <= max(0.01, 6 / part["row_count"])
        assert abs(part["person_count"] - getattr(shares, part["part"]) / 100 * frame["person_id"].n_unique()) <= 2


def test_the_class_share_of_60_20_20_differs_by_less_than_a_hundredth() -> None:
    split = collected(random_split(lazy(rows(2_000, days(4), positive=0.06, gone=0.3))))
    parts = summary(split, "random_split")
    assert parts["part"].to_list() == list(PARTS)
    assert parts["class_share"].max() - parts["class_share"].min() < 0.003  # type: ignore[operator]
    assert parts["row_share"].to_list() == pytest.approx([0.6, 0.2, 0.2], abs=0.005)


def test_another_seed_draws_others() -> None:
    frame = rows(500, days(3))
    first, second = (collected(random_split(lazy(frame), seed=seed)) for seed in (1, 2))
    assert not first["random_split"].equals(second["random_split"])


@pytest.mark.parametrize("prefix", ["u", "user_", "subscriber:", "anon:visitor-"])
def test_neighbouring_ids_are_drawn_evenly_and_independently(prefix: str) -> None:
    frame = pl.DataFrame({"person_id": [f"{prefix}{n:06}" for n in range(30_000)]})
    drawn = collected(draws(lazy(frame))).sort("person_id")["draw"]
    tenths = (drawn * 10 // splits.PRIME).value_counts()["count"]
    assert tenths.len() == 10
    assert 2_800 < tenths.min() <= tenths.max() < 3_200  # type: ignore[operator]
    values = drawn.to_numpy().astype(float)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(values, np.arange(len(values)))[0, 1]) < 0.02


def test_a_later_release_moves_nobody_to_another_part() -> None:
    assert [draw(who) for who in ("", "ü", "user_1", "u000007")] == PINNED


PINNED = [1509965675, 1509965675, 553108285, 748948595]
