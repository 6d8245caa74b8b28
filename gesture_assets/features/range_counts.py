"""The counts of many days in a row: sums that go on from one day to the next.

A query puts every row of activity beside every day that knows it (`user_features.activity_counts`); for a range of days
that is most of what it does. Here a row is added once, on the first day that knows it, and taken off once, when it
leaves a window or when the anonymous user that it was of turns out to be somebody.

Belongs here: what `activity_counts` returns, by that other way. Does not belong here: what a column means
(`feature_registry.py`), what follows from counts (`user_features.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ContractBreach
from gesture_assets.events.roll_up import COUNTS, whole_milliseconds
from gesture_assets.events.tables import ATTRIBUTES
from gesture_assets.features.feature_registry import WINDOWS
from gesture_assets.features.user_features import DWELL_DAYS, TREND_DAYS, WINDOWED, visitors
from gesture_assets.frames import Frame, to_polars
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES

Numbers = npt.NDArray[Any]
Kind = type[np.int32] | type[np.int64]

LAST_DATES = tuple(f"last_{name}_date" for name in EVENT_TYPE_NAMES)
NEVER = np.iinfo(np.int64).min  # less than any moment


class RangeCounts:
    """What `activity_counts` returns for the ends of `days`, in order; asked for some of them at a time."""

    def __init__(self, activity: Frame, links: Frame, added: Frame, days: Sequence[date]) -> None:
        """The arguments are those of `activity_counts`; nothing that is known after the last of `days` matters."""
        oldest = nw.lit(days[0] - timedelta(days=max(WINDOWS) - 1)).cast(nw.Date)
        recent = activity.filter(nw.col("activity_date") >= oldest).select(
            PARTITION, "user_id", "activity_date", *WINDOWED, milliseconds=whole_milliseconds(nw.col("dwell_seconds"))
        )
        visits = activity.filter(nw.col("event_count") > 0).group_by("user_id", "activity_date")
        visits = visits.agg(nw.col(PARTITION).min())
        first_links = _first_links(links)
        added = added.with_columns(milliseconds=whole_milliseconds(nw.col("session_dwell_seconds")))
        ever, recent, visits = (_stints(to_polars(frame), first_links, days) for frame in (added, recent, visits))
        visits = _apart(visits, first_links, len(days))

        self._place = {day: place for place, day in enumerate(days)}
        self._names = ever["user_id"].unique().sort()  # whoever did anything is in what was added up
        self._attributes = {name: ever[name].drop_nulls().unique().sort() for name in ATTRIBUTES}
        user = pl.col("user_id").cast(pl.Enum(self._names)).to_physical().cast(pl.Int64)
        ever, recent, visits = (rows.with_columns(user=user) for rows in (ever, recent, visits))
        size = len(self._names)
        rows = _Sums(("rows",), _Amounts(ever.with_columns(row=pl.lit(1)), ("row",), size), ever, len(days))
        self._known = [np.flatnonzero(rows.at(place)) for place in range(len(days))]
        self._states = (
            *_lifetimes(ever, self._attributes, size, len(days)),
            *_windows(recent, size, days),
            *_active_days(visits, size, days),
        )

    def of(self, days: Sequence[date]) -> pl.DataFrame:
        """The rows of `days`, by day and user, in memory; least work where they follow on those asked for before."""
        known = [self._known[self._place[day]] for day in days]
        blocks = [np.empty((len(state.names), sum(map(len, known))), state.kind) for state in self._states]
        filled = 0
        for day, users in zip(days, known, strict=True):
            for state, block in zip(self._states, blocks, strict=True):
                values = state.at(self._place[day])
                np.take(values, users, axis=1, out=block[:, filled : filled + len(users)], mode="clip")
            filled += len(users)
        return pl.DataFrame(
            {
                PARTITION: pl.Series(days, dtype=pl.Date).gather(
                    np.repeat(np.arange(len(days)), list(map(len, known)))
                ),
                "user_id": self._names.gather(np.concatenate(known)),
                **{
                    name: values
                    for state, block in zip(self._states, blocks, strict=True)
                    for name, values in zip(state.names, block, strict=True)
                },
            }
        ).with_columns(*self._read_again())

    def _read_again(self) -> Iterator[pl.Expr]:
        """What is no count, as it was before it became a whole number."""
        for name in ("session_dwell_seconds", f"dwell_seconds_{DWELL_DAYS}d"):
            yield pl.col(name).cast(pl.Float64) * 0.001
        yield (-pl.col("first_event_at").replace(NEVER, None)).cast(pl.Datetime("us"))
        yield pl.col("last_event_at").replace(NEVER, None).cast(pl.Datetime("us"))
        yield pl.col(*LAST_DATES).replace(NEVER, None).cast(pl.Int32).cast(pl.Date)
        for name, values in self._attributes.items():
            place = pl.col(name).replace(NEVER, None) % max(1, len(values))
            yield pl.lit(values).gather(place).alias(name)


# ---- who has a row, and when ---------------------------------------------------------------------------------------


def _first_links(links: Frame) -> pl.DataFrame:
    """`anonymous_user_id`, `known_user_id` and `linked_date`, the day on which the first link of each was known."""
    in_order = to_polars(visitors(links)).sort(PARTITION, "linked_at", "user_id")
    first = in_order.unique("anonymous_user_id", keep="first", maintain_order=True)
    return first.select("anonymous_user_id", known_user_id="user_id", linked_date=PARTITION)


def _stints(rows: pl.DataFrame, first_links: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """`rows` for each user that they are of in turn, from the place `start` in `days` to the one before `stop`.

    A row of an anonymous user is theirs until a link is known, and then of the user that it names.
    """
    linked = rows.join(first_links, left_on="user_id", right_on="anonymous_user_id", how="left", maintain_order="left")
    own = linked.with_columns(start=PARTITION, stop="linked_date")
    renamed = linked.filter(pl.col("known_user_id").is_not_null()).with_columns(
        user_id="known_user_id", start=pl.max_horizontal(PARTITION, "linked_date"), stop=pl.lit(None, pl.Date)
    )
    both = pl.concat([own, renamed]).drop("known_user_id", "linked_date")
    placed = both.with_columns(start=_place(pl.col("start"), days), stop=_place(pl.col("stop"), days))
    return placed.filter(pl.col("start") < pl.col("stop"))


def _place(when: pl.Expr, days: Sequence[date]) -> pl.Expr:
    """The place in `days` of the first that is not before `when`; their number where there is none."""
    return pl.lit(pl.Series(days)).search_sorted(when.fill_null(date.max)).cast(pl.Int64)


def _apart(visits: pl.DataFrame, first_links: pl.DataFrame, day_count: int) -> pl.DataFrame:
    """Stints of users' dates, none of which overlap: a date on which two ids of one person were active is one."""
    key = ("user_id", "activity_date")
    has_other_ids = pl.col("user_id").is_in(first_links["known_user_id"].unique().implode())
    alone, several = visits.filter(~has_other_ids), visits.filter(has_other_ids)
    begun = several.select(*key, at="start", change=pl.lit(1))
    ended = several.select(*key, at="stop", change=pl.lit(-1))
    held = pl.concat([begun, ended]).group_by(*key, "at").agg(pl.col("change").sum()).sort(*key, "at")
    held = held.with_columns(is_held=(pl.col("change").cum_sum() > 0).over(*key))
    turns = held.filter(pl.col("is_held") != pl.col("is_held").shift(1, fill_value=False).over(*key))
    turns = turns.with_columns(start="at", stop=pl.col("at").shift(-1).over(*key).fill_null(day_count))
    columns = (*key, "start", "stop")
    return pl.concat([alone.select(columns), turns.filter("is_held").select(columns)])


# ---- states --------------------------------------------------------------------------------------------------------


class _Amounts:
    """What stints add to columns: their numbers that are not 0, each with the cell (column by user) it belongs to."""

    def __init__(self, stints: pl.DataFrame, columns: Sequence[str], size: int, kind: Kind = np.int32) -> None:
        """`size`: how many users there are."""
        matrix = np.column_stack([stints[column].to_numpy().astype(kind) for column in columns])
        row, place = np.nonzero(matrix)
        self.shape, self.kind = (len(columns), size), kind
        self.number, self.cell = matrix[row, place], place * size + stints["user"].to_numpy()[row]
        _refuse_overflow(self.number, self.cell, columns, size)
        self._bounds = np.searchsorted(row, np.arange(len(matrix) + 1))

    def of(self, rows: Numbers) -> Numbers:
        """The places of the numbers of `rows`."""
        first = self._bounds[rows]
        count = self._bounds[rows + 1] - first
        return np.arange(int(count.sum())) + np.repeat(first - np.cumsum(count) + count, count)


def _refuse_overflow(number: Numbers, cell: Numbers, columns: Sequence[str], size: int) -> None:
    """Raise `ContractBreach` where the sum of a user could be more than the kind of `number` holds."""
    most = np.iinfo(number.dtype).max
    if np.abs(number, dtype=np.float64).sum() < most:
        return
    sums = np.bincount(cell, np.abs(number, dtype=np.float64))
    if sums.max() >= most:
        column = columns[int(sums.argmax()) // size]
        raise ContractBreach(
            "What a user did cannot be added up.",
            expected=f"{column} of a user to be less than {most:,} in all",
            found=f"{sums.max():,.0f}",
            where="daily_activity",
            next_step="find the value that cannot be true:  select * from daily_activity order by dwell_seconds desc",
        )


class _ByDay:
    """Rows by the day of a place."""

    def __init__(self, places: Numbers, day_count: int) -> None:
        self._order = np.argsort(places, kind="stable")
        self._bounds = np.searchsorted(places[self._order], np.arange(day_count + 1))

    def at(self, place: int) -> Numbers:
        """The rows of the day of `place`."""
        return self._order[self._bounds[place] : self._bounds[place + 1]]


class _State(ABC):
    """Numbers, a row for each of `names` and a column for each user, as they are at the end of a day."""

    def __init__(self, names: Iterable[str], shape: tuple[int, int], kind: Kind, before: int) -> None:
        """`before`: what each of them is before the first day."""
        self.names, self.kind = tuple(names), kind
        self._before, self._values, self._next = before, np.full(shape, before, kind), 0

    def at(self, place: int) -> Numbers:
        """The numbers at the end of the day of `place`; days before the last one asked for are counted anew."""
        if place < self._next - 1:
            self._values[:], self._next = self._before, 0
        for day in range(self._next, place + 1):
            self._advance(day)
        self._next = max(self._next, place + 1)
        return self._values

    @abstractmethod
    def _advance(self, day: int) -> None:
        """Bring the numbers from the day before to that of the place `day`."""


class _Sums(_State):
    """Sums over the stints of each user."""

    def __init__(self, names: Iterable[str], amounts: _Amounts, places: pl.DataFrame, day_count: int) -> None:
        """`places`: from `start` to before `stop` each row of the amounts counts."""
        super().__init__(names, amounts.shape, amounts.kind, 0)
        self._amounts = amounts
        start, stop = (places[column].to_numpy() for column in ("start", "stop"))
        is_in = start < stop
        self._begun, self._ended = (_ByDay(np.where(is_in, place, day_count), day_count) for place in (start, stop))

    def _advance(self, day: int) -> None:
        cells = self._values.reshape(-1)
        for rows, change in ((self._begun.at(day), np.add), (self._ended.at(day), np.subtract)):
            found = self._amounts.of(rows)
            change.at(cells, self._amounts.cell[found], self._amounts.number[found])


class _Greatest(_State):
    """The greatest number over the stints of each user, `NEVER` where there is none."""

    def __init__(self, stints: pl.DataFrame, columns: Sequence[str], size: int, day_count: int) -> None:
        """`columns` of whole numbers or nulls; `size`: how many users there are."""
        super().__init__(columns, (len(columns), size), np.int64, NEVER)
        self._columns = [stints[column].fill_null(NEVER).to_numpy() for column in columns]
        self._user, self._start, self._stop = (stints[name].to_numpy() for name in ("user", "start", "stop"))
        self._begun, self._ended = (_ByDay(place, day_count) for place in (self._start, self._stop))

    def _advance(self, day: int) -> None:
        rows = self._begun.at(day)
        left = self._user[self._ended.at(day)]
        if len(left):  # the greatest of what is left to them is not known any more
            again = np.zeros(self._values.shape[1], np.bool_)
            again[left] = True
            self._values[:, again] = NEVER
            lasting = (self._start < day) & (self._stop > day) & again[self._user]
            rows = np.concatenate([rows, np.flatnonzero(lasting)])
        for values, column in zip(self._values, self._columns, strict=True):
            np.maximum.at(values, self._user[rows], column[rows])


# ---- columns -------------------------------------------------------------------------------------------------------


def _lifetimes(ever: pl.DataFrame, attributes: Mapping[str, pl.Series], size: int, day_count: int) -> list[_State]:
    """Counts, first and last moments, and each attribute where it was seen last; ties go to the greatest."""
    dwell = _Amounts(ever, ("milliseconds",), size, np.int64)
    moments = ever.with_columns(
        -pl.col("first_event_at").cast(pl.Int64),
        pl.col("last_event_at", *LAST_DATES).cast(pl.Int64),
        *(
            pl.col(name).replace_strict(values, range(len(values)), default=None, return_dtype=pl.Int64)
            + pl.col(f"{name}_at").rank("dense").cast(pl.Int64) * len(values)
            for name, values in attributes.items()
        ),
    )
    return [
        _Sums(COUNTS, _Amounts(ever, COUNTS, size), ever, day_count),
        _Sums(("session_dwell_seconds",), dwell, ever, day_count),
        _Greatest(moments, ("first_event_at", "last_event_at", *LAST_DATES, *attributes), size, day_count),
    ]


def _windows(recent: pl.DataFrame, size: int, days: Sequence[date]) -> Iterator[_State]:
    """The counts of each window: from the day of a row on, for so many days."""

    def within(span: int) -> pl.DataFrame:
        begun, gone = (_place(pl.col("activity_date").dt.offset_by(f"{age}d"), days) for age in (0, span))
        return recent.select(start=pl.max_horizontal("start", begun), stop=pl.min_horizontal("stop", gone))

    amounts = _Amounts(recent, WINDOWED, size)
    for span in WINDOWS:
        yield _Sums((f"{stem}_{span}d" for stem in WINDOWED), amounts, within(span), len(days))
    trend, dwell = _Amounts(recent, ("event_count",), size), _Amounts(recent, ("milliseconds",), size, np.int64)
    yield _Sums((f"event_count_{TREND_DAYS}d",), trend, within(TREND_DAYS), len(days))
    yield _Sums((f"dwell_seconds_{DWELL_DAYS}d",), dwell, within(DWELL_DAYS), len(days))


def _active_days(visits: pl.DataFrame, size: int, days: Sequence[date]) -> Iterator[_State]:
    """The dates in each window, and ever; one that is still to come counts in all of them."""
    amounts = _Amounts(visits.with_columns(date=pl.lit(1)), ("date",), size)
    for span in WINDOWS:
        gone = _place(pl.col("activity_date").dt.offset_by(f"{span}d"), days)
        places = visits.select("start", stop=pl.min_horizontal("stop", gone))
        yield _Sums((f"active_day_count_{span}d",), amounts, places, len(days))
    yield _Sums(("active_day_count",), amounts, visits, len(days))
