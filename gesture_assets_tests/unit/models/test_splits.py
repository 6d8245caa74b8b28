"""Parts of a training set: tests lie after training, nobody is in two parts, and nobody ever changes part."""

import hashlib
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.errors import TrainingRefused
from gesture_assets.models.splits import feature_days, places, split

FIRST = date(2026, 1, 1)


def rows(users: int, days: int, positive: float = 0.1) -> pl.DataFrame:
    who = [f"u{n}" for n in range(users) for _ in range(days)]
    when = [FIRST + timedelta(days=14 * n) for _ in range(users) for n in range(days)]
    label = (np.random.default_rng(3).random(users * days) < positive).astype(np.int16)
    return pl.DataFrame({"user_id": who, "feature_date": when, "label": label})


@given(st.integers(3, 6), st.integers(50, 400), st.floats(0.02, 0.5))
def test_tests_lie_after_training_and_nobody_is_in_two_parts(days: int, users: int, positive: float) -> None:
    found = split(rows(users, days, positive))
    parts = found.filter(pl.col("split") != "left_out")
    assert parts.group_by("user_id").agg(pl.col("split").n_unique())["split"].max() == 1
    last = {part: parts.filter(pl.col("split") == part)["feature_date"] for part in ("train", "validation", "test")}
    assert last["train"].max() < last["validation"].min() <= last["validation"].max() < last["test"].min()
    assert found.group_by("user_id").agg(pl.col("random_split").n_unique())["random_split"].max() == 1
    assert found["feature_date"].is_sorted()


def test_the_random_parts_have_the_same_share_of_buyers() -> None:
    found = split(rows(5000, 1).vstack(rows(5000, 3)).unique(["user_id", "feature_date"]))
    users = found.group_by("user_id").agg(pl.col("label").max(), pl.col("random_split").first())
    shares = users.group_by("random_split").agg(pl.col("label").mean(), pl.len())
    assert shares["label"].max() - shares["label"].min() < 0.01  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    sizes = dict(zip(shares["random_split"], shares["len"], strict=True))
    assert sizes == {"train": 3000, "validation": 1000, "test": 1000}


def test_a_user_keeps_the_part_whoever_else_is_there() -> None:
    many = pl.Series([f"u{n}" for n in range(1000)])
    assert np.array_equal(places(many)[::-1], places(many.reverse()))
    assert places(pl.Series(["u7"]))[0] == places(many)[7]
    assert places(pl.Series(["u7", "a much longer id than all others"]))[0] == places(many)[7]
    assert not np.array_equal(places(many), places(many, salt="another "))


def test_places_are_spread_evenly_and_pinned() -> None:
    ids = pl.Series([hashlib.sha256(str(n).encode()).hexdigest() for n in range(20_000)])
    counts = np.histogram(places(ids), bins=10, range=(0, 1))[0]
    assert counts.min() > 1850
    assert counts.max() < 2150
    # A later version must not move anybody to another part: these were computed once.
    assert places(pl.Series(["", "ü", "user_1"])).round(12).tolist() == PINNED


PINNED = [0.957673425242, 0.465536117027, 0.893037667244]


def test_feature_days_are_the_newest_whose_outcomes_are_known() -> None:
    live = [FIRST + timedelta(days=n) for n in range(90)]
    chosen = feature_days(live, FIRST + timedelta(days=89), horizon_days=30)
    assert chosen == [FIRST + timedelta(days=n) for n in (3, 17, 31, 45, 59)]
    gap = [day for day in live if day != FIRST + timedelta(days=45)]
    assert feature_days(gap, FIRST + timedelta(days=89), horizon_days=30, at_most=3)[-2:] == [
        FIRST + timedelta(days=44),
        FIRST + timedelta(days=59),
    ]


def test_too_short_a_history_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(TrainingRefused, match=r"3 days with features.*\n.*2 of them") as refused:
        feature_days([FIRST + timedelta(days=n) for n in range(58)], FIRST + timedelta(days=57), horizon_days=30)
    assert refused.value.next_step.startswith("gesture run --from 2025-12-31 --to 2026-01-28")
