"""Days and moments of a synthetic world, as numbers.

Belongs here: what counts days and microseconds. Does not belong here: any clock; a world is told when it ends.
"""

from datetime import date

import polars as pl

EPOCH = date(1970, 1, 1)
NEVER = 1_000_000  # a day index after every world
SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000  # in microseconds


def iso_dates(column: str, start: date) -> pl.Expr:
    """The column of day indices from `start` on as texts such as 2026-03-04."""
    days = pl.col(column) + (start - EPOCH).days
    return days.cast(pl.Int32).cast(pl.Date).dt.strftime("%Y-%m-%d")


def microseconds(day: date) -> int:
    """The beginning of `day` in microseconds since 1970."""
    return (day - EPOCH).days * DAY
