"""Lazy frames, whichever engine they are of.

Belongs here: what every room does with a frame. Does not belong here: anything that knows a column.
"""

from typing import Any

import narwhals as nw
import polars as pl

Frame = nw.LazyFrame[Any]


def to_polars(frame: Frame) -> pl.DataFrame:
    """The rows of `frame`, in memory, through Arrow."""
    return pl.DataFrame(frame.collect().to_arrow())
