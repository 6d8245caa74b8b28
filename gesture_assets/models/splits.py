"""Which rows teach and which judge: by time and by person, and by chance beside it.

Belongs here: placing rows into parts and folds, the hash that places persons. Does not belong here: which
days there are (`training_set.py`), what is done with the parts.

Persons are drawn by arithmetic on the characters of their id, which every engine does alike; `draw` is the same in
Python. It is a hash for placing, not for hiding: ids are told apart by their last 24 characters and by nothing else.
"""

import string
from collections.abc import Sequence
from datetime import date
from functools import reduce
from operator import add
from typing import NamedTuple

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError, TrainingRefused, listing
from gesture_assets.frames import Frame

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
BOTH = "both"
FOLDS = 5
FEWEST_JUDGED = 50  # persons with a positive: of fewer the ROC AUC is not known to a tenth
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

    @classmethod
    def with_validation(cls, share: float) -> "Shares":
        """A fifth to test on, `share` of all to calibrate on, and the rest to train on."""
        test, validation = cls().test, round(100 * share)
        return cls(100 - test - validation, validation, test)


SHARES = Shares()


def crossed_split(
    rows: pl.DataFrame,
    days: Sequence[date],
    *,
    label: str = "label",
    person: str = PERSON,
    seed: int = 42,
    fewest: int = FEWEST_JUDGED,
    again_on: date | None = None,
) -> pl.DataFrame:
    """`rows` with `split` and `fold`: the split that decides. Everybody is judged by what others did on earlier days.

    Persons are dealt into `FOLDS` folds (from 1). A row is judged by a model of the other folds' rows of earlier days,
    so that a judgement knows neither the day nor the person, and still asks everybody. The last of `days` judges
    (`test`); where it holds fewer than `fewest` persons with a positive, days before it judge as well, and teach the
    later ones (`both`), as long as there is enough before them to learn from; the rest teaches (`train`). Raises
    `TrainingRefused` where the days before the last cannot teach every fold both outcomes; it says to try `again_on`
    that day.
    """
    draws_of = pl.DataFrame(persons(nw.from_native(rows.lazy()), person=person, seed=seed).collect().to_native())
    fold = (pl.col("draw") * FOLDS // PRIME + 1).cast(pl.Int16)
    rows = rows.join(draws_of.select(person, fold=fold), on=person, how="left", maintain_order="left")
    ordered = sorted(set(days))
    judged = ordered[-1:]
    _refuse_unteachable(rows, ordered, label, again_on)
    buyers = rows.filter(pl.col(label) == 1).select(PARTITION, person)
    # Somebody whose purchase lies within the horizon of two days is one buyer: their two rows say nearly the same.
    while buyers.filter(pl.col(PARTITION).is_in(judged))[person].n_unique() < fewest:
        earlier = ordered[: -len(judged) - 1]
        if not _teaches(rows.filter(pl.col(PARTITION).is_in(earlier)), label):
            break
        judged = ordered[-len(judged) - 1 :]
    day = pl.col(PARTITION)
    split = pl.when(day == ordered[-1]).then(pl.lit(TEST)).when(day.is_in(judged)).then(pl.lit(BOTH))
    return rows.with_columns(split=split.otherwise(pl.lit(TRAIN)))


def _teaches(rows: pl.DataFrame, label: str) -> bool:
    """Whether every fold can be judged by the others' `rows`: each outcome occurs in two folds at least."""
    folds = [rows.filter(pl.col(label) == outcome)["fold"].n_unique() for outcome in (0, 1)]
    return min(folds) >= 2


def _refuse_unteachable(rows: pl.DataFrame, ordered: Sequence[date], label: str, again_on: date | None) -> None:
    earlier = rows.filter(pl.col(PARTITION).is_in(ordered[:-1]))
    if _teaches(earlier, label):
        return
    raise TrainingRefused(
        "There is too little to learn from yet.",
        expected=f"buyers and others of at least two of {FOLDS} groups of persons before the last day",
        found=f"{earlier[label].sum()} buyers among {len(earlier)} rows on {listing(ordered[:-1])}",
        where="the training set",
        next_step=f"gesture train --date {again_on or 'DAY'}, when that day is live and more outcomes are known; the "
        "rules serve until then:  gesture rank",
    )


def random_split(
    rows: Frame,
    *,
    label: str = "label",
    shares: Shares = SHARES,
    person: str = PERSON,
    seed: int = 42,
    drawn: Frame | None = None,
) -> Frame:
    """`rows` with `random_split`: 80/20, and of the 80 a quarter to calibrate on; reported beside `crossed_split`.

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
        .sort(pl.col("part").replace_strict(PARTS, range(len(PARTS)), default=None))
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


def _refuse_shares(shares: Shares) -> None:
    if min(shares) < 0 or min(shares.train, shares.test) == 0 or sum(shares) != 100:
        raise ConfigError.bad_value(
            "The shares of the split",
            expected="whole per cents that sum to 100, with something to train on and to test on",
            found="/".join(map(str, shares)),
            where="the arguments of the split",
            next_step="choose shares such as 60/20/20",
        )
