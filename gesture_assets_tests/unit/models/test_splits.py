"""Splits: nobody is in two parts, tests lie after training, parts of the random split are alike."""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError, TrainingRefused
from gesture_assets.models import splits
from gesture_assets.models.splits import (
    PARTS,
    PRIME,
    Shares,
    day_parts,
    draw,
    draws,
    left_out_share,
    not_tested,
    random_split,
    summary,
    time_split,
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


def split_by_time(frame: pl.DataFrame, on: list[date], **arguments: object) -> pl.DataFrame:
    return collected(time_split(lazy(frame), on, **arguments))  # pyright: ignore[reportArgumentType]


@given(st.integers(3, 7), st.integers(1, 80), divisions, st.integers(0, 99), st.integers(0, 40))
def test_train_validation_and_test_follow_each_other_and_share_nobody(
    count: int, people: int, shares: Shares, seed: int, embargo: int
) -> None:
    on = days(count, apart=20)
    split = split_by_time(
        rows(people, on, gone=0.2), on, shares=shares, seed=seed, embargo=embargo if count > 4 else None
    )
    parts = {name: split.filter(pl.col("split") == name) for name in PARTS}
    for earlier, later in pairwise(PARTS):
        if parts[earlier].height and parts[later].height:
            assert parts[earlier]["as_of_date"].max() < parts[later]["as_of_date"].min()  # type: ignore[operator]
    everybody = [set(part["person_id"]) for part in parts.values()]
    assert sum(map(len, everybody)) == len(set.union(*everybody))
    assert set(split["split"]) <= {*PARTS, "left_out"}


def test_who_is_in_a_part_does_not_depend_on_who_else_is_there() -> None:
    on = days(4)
    everybody = rows(300, on)
    later_ids = everybody.filter(pl.col("person_id") > "u00200")
    key = ["person_id", "as_of_date"]
    both = split_by_time(everybody, on).join(split_by_time(later_ids, on), on=key)
    assert both.height == later_ids.height
    assert both["split"].equals(both["split_right"], check_names=False)


def test_the_share_left_out_is_the_one_that_is_promised() -> None:
    on = days(5)
    split = split_by_time(rows(20_000, on), on)
    assert left_out_share(on) == pytest.approx(0.56)
    assert (split["split"] == "left_out").mean() == pytest.approx(0.56, abs=0.01)
    counts = dict(split["split"].value_counts().iter_rows())
    assert counts["train"] / 60_000 == pytest.approx(0.6, abs=0.015)
    assert counts["validation"] / 20_000 == pytest.approx(0.2, abs=0.015)
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.015)


def test_an_embargo_leaves_out_the_days_whose_outcomes_the_test_day_did_not_know() -> None:
    on = days(6)
    without, with_it = day_parts(on), day_parts(on, embargo=30)
    assert list(without.values()) == ["train"] * 4 + ["validation", "test"]
    assert list(with_it.values()) == ["train", "train", "validation", "left_out", "left_out", "test"]
    learnt = [day for day, part in with_it.items() if part in ("train", "validation")]
    assert max(learnt) + timedelta(days=30) <= on[-1]
    split = split_by_time(rows(50, on), on, embargo=30)
    assert set(split.filter(pl.col("as_of_date").is_in(on[3:5]))["split"]) == {"left_out"}


def test_several_days_may_calibrate() -> None:
    assert list(day_parts(days(5), validation_days=2).values()) == ["train"] * 2 + ["validation"] * 2 + ["test"]


@pytest.mark.parametrize(("count", "embargo"), [(0, None), (2, None), (4, 60)])
def test_too_few_days_are_refused(count: int, embargo: int | None) -> None:
    with pytest.raises(TrainingRefused, match="cannot be split by time") as refused:
        day_parts(days(count), embargo=embargo)
    assert "gesture run" in refused.value.next_step


@pytest.mark.parametrize("shares", [Shares(60, 20, 10), Shares(0, 50, 50), Shares(80, 20, 0), Shares(120, -40, 20)])
def test_shares_that_are_no_split_are_refused(shares: Shares) -> None:
    on = days(3)
    for split in (
        lambda: split_by_time(rows(3, on), on, shares=shares),
        lambda: collected(random_split(lazy(rows(3, on)), shares=shares)),
    ):
        with pytest.raises(ConfigError, match="sum to 100"):
            split()


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


def test_what_settles_the_level_is_everybody_of_the_day_but_those_tested() -> None:
    rows = pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(500)] * 2,
            "person_id": [f"u{n}" for n in range(500)] * 2,
            PARTITION: [date(2026, 3, 1)] * 500 + [date(2026, 3, 15)] * 500,
        }
    )
    untested = not_tested(rows, date(2026, 3, 15))
    tested = {person for person in rows["person_id"] if draw(person) * 100 >= 80 * PRIME}
    assert set(untested["person_id"]) == set(rows["person_id"]) - tested
    assert untested[PARTITION].unique().to_list() == [date(2026, 3, 15)]
    assert 0.7 < len(untested) / 500 < 0.9
