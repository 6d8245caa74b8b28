"""Which rows teach, which calibrate, and which judge: by time and by person, and by chance beside it.

Belongs here: placing rows into train, validation and test, the hash that places persons. Does not belong here: which
days there are (`training_set.py`), what is done with the parts.

Persons are drawn by arithmetic on the characters of their id, which every engine does alike; `draw` is the same in
Python. It is a hash for placing, not for hiding: ids are told apart by their last 24 characters and by nothing else.
"""

import string
from collections.abc import Sequence
from datetime import date, timedelta
from functools import reduce
from operator import add
from typing import NamedTuple

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError, TrainingRefused, listing
from gesture_assets.frames import Frame

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
LEFT_OUT = "left_out"
PERSON = "person_id"

PRIME = 2**31 - 1  # products of two smaller numbers fit in 64 bits, so no engine rounds or overflows
LETTERS = string.digits + string.ascii_letters + "-_:.@"  # any other character counts as one and the same
LENGTH = 24
MULTIPLIER = 48_271  # a primitive root of the prime: the weights of the places never repeat
ROUNDS = (1_043_618_065, 700_001_191)  # between them the number is squared, so that neighbouring ids part


class Shares(NamedTuple):
    """Per cent of the persons in each part."""

    train: int = 60
    validation: int = 20
    test: int = 20


SHARES = Shares()


def time_split(
    rows: Frame,
    days: Sequence[date],
    *,
    shares: Shares = SHARES,
    embargo: int | None = None,
    validation_days: int = 1,
    person: str = PERSON,
    seed: int = 42,
    drawn: Frame | None = None,
) -> Frame:
    """`rows` with `split`: the split that decides. Train days come before validation days, these before the test day.

    `days` are the as-of days of the rows: the last one tests, the `validation_days` before it calibrate, the rest
    trains. Nobody is in two parts: persons are drawn into parts by `shares` and give rows on the days of their own part
    only; their other rows are `left_out`. Left out are thus, with five days and 60/20/20, 1 - (3 × 60 + 20 + 20) / 500
    = 56 % of the rows (`left_out_share`): the price of a test that knows neither the day nor the person.

    `embargo` (the horizon, in days) also leaves out train and validation days whose outcomes were not known by the end
    of the test day's features. The split then is what a training on the test day could have had; without it some train
    labels look into the days that the test is about, but through other persons only: a market that moves as a whole
    seems a little more predictable. It costs as many days as fit into the horizon, two of 14 days in 30.
    `drawn` (`persons` of the rows) spares drawing them again. Raises `ConfigError` for shares that are no split,
    `TrainingRefused` when no day is left to train on.
    """
    _refuse_shares(shares)
    parts = day_parts(days, embargo=embargo, validation_days=validation_days)
    part = nw.lit(LEFT_OUT)
    for name in PARTS:
        of_part = [day for day, part_of_day in parts.items() if part_of_day == name]
        is_day = reduce(lambda left, right: left | right, (nw.col(PARTITION) == _day(day) for day in of_part))
        part = nw.when(is_day & (nw.col("person_part") == name)).then(nw.lit(name)).otherwise(part)
    drawn = persons(rows, person=person, seed=seed) if drawn is None else drawn
    placed = drawn.select(person, person_part=_part(shares))
    return rows.join(placed, on=person, how="left").with_columns(split=part).drop("person_part")


def day_parts(days: Sequence[date], *, embargo: int | None = None, validation_days: int = 1) -> dict[date, str]:
    """What each of `days` is for, in order; days under embargo are `left_out`. Raises `TrainingRefused`."""
    ordered = sorted(set(days))
    parts = dict.fromkeys(ordered, LEFT_OUT)
    if ordered:
        last = ordered[-1]
        mature = [day for day in ordered[:-1] if embargo is None or day + timedelta(days=embargo) <= last]
        parts |= dict.fromkeys(mature[:-validation_days], TRAIN) | dict.fromkeys(mature[-validation_days:], VALIDATION)
        parts[last] = TEST
    if TRAIN not in parts.values() or validation_days < 1:
        raise TrainingRefused(
            "The training set cannot be split by time.",
            expected=f"a day to train on before {max(validation_days, 1)} to calibrate on and one to test on"
            + (f", with outcomes known {embargo} days later" if embargo is not None else ""),
            found=f"{len(ordered)} days: {listing(ordered)}",
            where="the as-of days of the training set",
            next_step="build features of more days:  gesture run --from DAY --to DAY",
        )
    return parts


def left_out_share(days: Sequence[date], *, shares: Shares = SHARES, embargo: int | None = None) -> float:
    """The share of rows that `time_split` leaves out, where every day has equally many."""
    parts = list(day_parts(days, embargo=embargo).values())
    return 1 - sum(getattr(shares, name) * parts.count(name) for name in PARTS) / (100 * len(parts))


def random_split(
    rows: Frame,
    *,
    label: str = "label",
    shares: Shares = SHARES,
    person: str = PERSON,
    seed: int = 42,
    drawn: Frame | None = None,
) -> Frame:
    """`rows` with `random_split`: 80/20, and of the 80 a quarter to calibrate on; reported beside `time_split`.

    Stratified: persons are ordered by how many of their rows are positive, then by how many rows they have, then by
    lot, and dealt out like cards, so that parts have the same share of positives up to a person or two. Nobody is in
    two parts, and no row is left out; but days are mixed, and what was learnt on a later day judges an earlier one.
    """
    _refuse_shares(shares)
    drawn = persons(rows, person=person, seed=seed) if drawn is None else drawn
    counts = rows.group_by(person).agg(
        nw.len().cast(nw.Int64).alias("row_count"), nw.col(label).cast(nw.Int64).sum().alias("positives")
    )
    # Each deal is a running total of shares: whoever takes it past the next hundred is dealt out.
    order = ("positives", "row_count", "draw", person)
    dealt = drawn.join(counts, on=person, how="left").with_columns(
        place=nw.col(person).cum_count().over(order_by=order).cast(nw.Int64)
    )
    is_test = (nw.col("place") * shares.test) % 100 >= 100 - shares.test
    dealt = dealt.with_columns(is_test=is_test & nw.lit(shares.test > 0))
    dealt = dealt.with_columns(nw.col(person).cum_count().over("is_test", order_by=order).cast(nw.Int64).alias("place"))
    rest = shares.train + shares.validation
    is_validation = (nw.col("place") * shares.validation) % rest >= rest - shares.validation
    part = nw.when(is_validation & nw.lit(shares.validation > 0)).then(nw.lit(VALIDATION)).otherwise(nw.lit(TRAIN))
    part = nw.when(nw.col("is_test")).then(nw.lit(TEST)).otherwise(part)
    return rows.join(dealt.select(person, random_split=part), on=person, how="left")


def not_tested(
    rows: pl.DataFrame,
    day: date,
    *,
    day_column: str = PARTITION,
    person: str = PERSON,
    shares: Shares = SHARES,
    seed: int = 42,
) -> pl.DataFrame:
    """The `rows` of `day` of everybody but those drawn into the test: what may be known about the level on that day.

    Four times as many as the validation part holds: those who train have rows on that day too, which `time_split`
    leaves out.
    """
    of_day = nw.from_native(rows.filter(pl.col(day_column) == day).lazy())
    drawn = persons(of_day, person=person, seed=seed).with_columns(part=_part(shares))
    untested = of_day.join(drawn.filter(nw.col("part") != TEST), on=person, how="semi")
    return pl.DataFrame(untested.collect().to_native()).sort("user_id")


def summary(rows: pl.DataFrame, split: str, *, label: str = "label", person: str = PERSON) -> pl.DataFrame:
    """What lies in each part of the column `split`: rows and their share, persons, positives, first and last day."""
    return (
        rows.group_by(pl.col(split).alias("part"))
        .agg(
            pl.len().alias("row_count"),
            (pl.len() / max(rows.height, 1)).alias("row_share"),
            pl.col(person).n_unique().alias("person_count"),
            pl.col(label).cast(pl.Int64).sum().alias("positives"),
            pl.col(label).mean().alias("class_share"),
            pl.col(PARTITION).min().alias("first_day"),
            pl.col(PARTITION).max().alias("last_day"),
        )
        .sort(pl.col("part").replace_strict([*PARTS, LEFT_OUT], range(len(PARTS) + 1), default=None))
    )


def persons(rows: Frame, *, person: str = PERSON, seed: int = 42) -> Frame:
    """Everybody in `rows` once, with their `draw`."""
    return draws(rows.select(person).unique(subset=[person], keep="any"), column=person, seed=seed)


def draws(rows: Frame, *, column: str = PERSON, seed: int = 42) -> Frame:
    """`rows` with `draw`: a number from 0 to 2³¹ - 2 that follows from the text in `column` and the seed."""
    text = nw.col(column).str.pad_start(LENGTH, " ").str.tail(LENGTH)
    numbers = list(range(1, len(LETTERS) + 1))
    terms = (
        text.str.slice(place, 1).replace_strict(list(LETTERS), numbers, default=0, return_dtype=nw.Int64) * weight
        for place, weight in enumerate(_weights())
    )
    rows = rows.with_columns(draw=reduce(add, terms) % PRIME)
    for shift in _shifts(seed):  # a column each time: squared in one expression it would be worked out again and again
        rows = rows.with_columns(draw=(nw.col("draw") + shift) % PRIME)
        rows = rows.with_columns(draw=(nw.col("draw") * nw.col("draw")) % PRIME)
    return rows


def draw(text: str, *, seed: int = 42) -> int:
    """What `draws` gives for a single text."""
    padded = text.rjust(LENGTH)[-LENGTH:]
    number = sum((LETTERS.find(letter) + 1) * weight for letter, weight in zip(padded, _weights(), strict=True)) % PRIME
    for shift in _shifts(seed):
        number = (number + shift) % PRIME
        number = number * number % PRIME
    return number


def _weights() -> list[int]:
    return [pow(MULTIPLIER, place + 1, PRIME) for place in range(LENGTH)]


def _shifts(seed: int) -> list[int]:
    return [(shift + (seed + 1) * MULTIPLIER) % PRIME for shift in ROUNDS]


def _part(shares: Shares) -> nw.Expr:
    """The part that `draw` falls into."""
    hundredth = nw.col("draw") * 100
    late = nw.when(hundredth >= (100 - shares.test) * PRIME).then(nw.lit(TEST)).otherwise(nw.lit(VALIDATION))
    return nw.when(hundredth < shares.train * PRIME).then(nw.lit(TRAIN)).otherwise(late)


def _day(day: date) -> nw.Expr:
    return nw.lit(day).cast(nw.Date)


def _refuse_shares(shares: Shares) -> None:
    if min(shares) < 0 or min(shares.train, shares.test) == 0 or sum(shares) != 100:
        raise ConfigError.bad_value(
            "The shares of the split",
            expected="whole per cents that sum to 100, with something to train on and to test on",
            found="/".join(map(str, shares)),
            where="the arguments of the split",
            next_step="choose shares such as 60/20/20",
        )
