"""Visitor-days in whole numbers: what each user did on each day, by segment, as a night looks at it.

Belongs here: events counted by day, user, segment and type, the codes they are held in, persons and their visits. Does
not belong here: what is compared and how (`event_mix.py`).

A visitor-day is a user on a day. Nights of a range share the codes; each looks at its own weeks, and at what it knew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame, to_polars
from gesture_assets.models.splits import draws

UNKNOWN = "unknown"  # the segment of events that name none
EPOCH = date(1970, 1, 1)
NEVER = (date.max - EPOCH).days

Numbers = npt.NDArray[Any]

# Input: a row per day, user, segment and event type, from `of_events`.
COUNTED = ("day", "user_id", "segment", "event_type", "event_count")


def of_events(
    events: Frame, *, event_type: str = "event_name", segment: str = "device", keep: Sequence[str] = ()
) -> Frame:
    """The columns `COUNTED` of rows like those of `raw_events`, for each value of the columns `keep` before them."""
    named = events.select(
        *keep, "user_id", day=nw.col("event_at").cast(nw.Date), segment=nw.col(segment), event_type=nw.col(event_type)
    )
    counted = named.group_by(*keep, *COUNTED[:-1]).agg(nw.len().cast(nw.Int64).alias("event_count"))
    return counted.select(*keep, *COUNTED)


@dataclass(frozen=True)
class Rows:
    """Counts as whole numbers, by segment, user, day and type; days are counted from 1970."""

    segment: Numbers
    user: Numbers
    day: Numbers
    event_type: Numbers
    events: Numbers
    known: Numbers

    @classmethod
    def of(cls, codes: pl.DataFrame) -> "Rows":
        """The rows of `codes`, sorted."""
        columns = codes.sort("segment", "user", "day", "event_type").select(field.name for field in fields(cls))
        return cls(*(column.to_numpy() for column in columns))

    def where(self, chosen: Numbers) -> "Rows":
        """The rows that are `chosen`, in their order."""
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def by_segment(self) -> Iterator[tuple[int, "Rows"]]:
        """Each segment with its rows."""
        starts = starts_of(self.segment)
        for start, end in pairwise([*starts.tolist(), len(self.segment)]):
            yield int(self.segment[start]), self.where(np.arange(start, end))


@dataclass(frozen=True)
class Counted:
    """The columns `COUNTED` of all nights that are asked for, as whole numbers: each night looks at its own weeks."""

    rows: Rows
    everybody: Rows  # the same, of one segment
    users: pl.Series
    segments: Sequence[str]
    types: Sequence[str]
    first_days: tuple[Numbers, Numbers, Numbers]  # user, when it was known, the day

    @classmethod
    def of(cls, counts: Frame, first_days: Frame | None = None) -> "Counted":
        """Of `counts` and `first_days` (user_id, first_day: when each user was first seen).

        Where they have a column `as_of_date`, a night knows the rows up to its own. Without `first_days`, `counts`
        holds everything ever seen.
        """
        seen = counts if first_days is None else first_days
        known = (PARTITION,) if PARTITION in seen.collect_schema() else ()
        if first_days is None:
            seen = counts.group_by(*known, "user_id").agg(nw.col("day").min().alias("first_day"))
        counted, firsts = (_with_known(to_polars(frame)) for frame in (counts, seen))
        counted = counted.with_columns(pl.col("segment").fill_null(UNKNOWN))
        users = pl.concat([counted["user_id"], firsts["user_id"]]).unique().sort()
        segments, types = (counted[name].unique().sort().to_list() for name in ("segment", "event_type"))
        codes = counted.select(
            "known",
            user=_code("user_id", users),
            segment=_code("segment", segments),
            event_type=_code("event_type", types),
            day=pl.col("day").cast(pl.Int32),
            events=pl.col("event_count"),
        )
        firsts = firsts.select(_code("user_id", users), "known", pl.col("first_day").cast(pl.Int32))
        return cls(
            Rows.of(codes),
            Rows.of(codes.with_columns(segment=pl.lit(0, pl.Int32))),
            users,
            segments,
            types,
            tuple(column.to_numpy() for column in firsts),  # pyright: ignore[reportArgumentType]  # of three columns
        )

    @cached_property
    def draws(self) -> Numbers:
        """By user: the number by which some of very many are drawn."""
        drawn = to_polars(draws(nw.from_native(self.users.alias("user_id").to_frame().lazy()), column="user_id"))
        return drawn["draw"].to_numpy()

    def first_day(self, night: int) -> Numbers:
        """By user: the first day that `night` knows of; that of nobody lies after all."""
        user, known, day = self.first_days
        first = np.full(len(self.users), NEVER, np.int32)
        np.minimum.at(first, user[known <= night], day[known <= night])
        return first


def _with_known(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the day, `known`, from which on a night knows them."""
    return rows.with_columns(known=pl.col(PARTITION).cast(pl.Int32) if PARTITION in rows.columns else pl.lit(0))


def _code(column: str, values: Sequence[str] | pl.Series) -> pl.Expr:
    """The place of each value of `column` in `values`."""
    return pl.col(column).cast(pl.Enum(values)).to_physical().cast(pl.Int32)


def starts_of(*columns: Numbers) -> Numbers:
    """Where a row differs from the one before it in any of `columns`; the first does."""
    differs = np.ones(len(columns[0]), np.bool_)
    differs[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(differs)


def numbered(starts: Numbers, length: int) -> Numbers:
    """By row: which of the groups that begin at `starts` it is in."""
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=length))


@dataclass(frozen=True)
class Visits:
    """The visitor-days of a segment: what was done on each, and whose of which window it is.

    A person is a user in a window, the reference or the current one.
    """

    did: Numbers  # by visit: its event types, as bits
    is_current: Numbers  # by visit
    person: Numbers  # by visit
    is_current_person: Numbers  # by person
    days: Numbers  # by person: visits
    new: Numbers  # by person: visits on the day they were first seen
    days_with: Numbers  # by person and type
    events_with: Numbers  # by person and type

    @classmethod
    def of(cls, rows: Rows, codes: Numbers, first_days: Numbers, end: int) -> "Visits":
        """Of the `rows` of one segment; `codes` are the types of theirs, the days after `end` are current."""
        width = int(codes.max(initial=0)) + 1
        types = codes[rows.event_type]
        visits = starts_of(rows.user, rows.day)
        did = np.bitwise_or.reduceat(np.int64(1) << types, visits) if len(visits) else np.zeros(0, np.int64)
        user, day = rows.user[visits], rows.day[visits]
        is_current = day > end
        persons = starts_of(user, is_current)
        person = numbered(persons, len(visits))
        cells = person[numbered(visits, len(rows.day))] * width + types
        days_with = np.zeros((len(persons), width))
        for place in range(width):
            days_with[:, place] = np.bincount(person, did >> place & 1, minlength=len(persons))
        return cls(
            did,
            is_current,
            person,
            is_current[persons],
            np.bincount(person).astype(np.float64),
            np.bincount(person, day == first_days[user]),
            days_with,
            np.bincount(cells, rows.events, minlength=len(persons) * width).reshape(len(persons), width),
        )

    def taken(self, before: int, after: int) -> Numbers:
        """By person: visits on which both types were done."""
        return np.bincount(self.person, self.did >> before & self.did >> after & 1, minlength=len(self.days))
