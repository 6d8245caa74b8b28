"""Lazy frames, whichever engine they are of.

Belongs here: what every room does with a frame. Does not belong here: anything that knows a column by name.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl

Frame = nw.LazyFrame[Any]


def concat(frames: Sequence[Frame]) -> Frame:
    """The rows of `frames`, one after the other.

    Two and two: an engine binds both sides of a union again, which for many frames in a row takes the longest of all.
    """
    while len(frames) > 1:
        frames = [nw.concat(frames[n : n + 2]) for n in range(0, len(frames), 2)]
    return frames[0]


def whole_days(earlier: str, later: str) -> nw.Expr:
    """Days from one date column to another; through minutes, as engines disagree on what a difference of dates is."""
    span = nw.col(later).cast(nw.Datetime("us")) - nw.col(earlier).cast(nw.Datetime("us"))
    return (span.dt.total_minutes().cast(nw.Float64) * (1 / 1440)).round(0).cast(nw.Int32)


def to_polars(frame: Frame) -> pl.DataFrame:
    """The rows of `frame`, in memory, through Arrow."""
    return pl.DataFrame(frame.collect().to_arrow())
