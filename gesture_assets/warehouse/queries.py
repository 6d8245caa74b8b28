"""Queries that are written once: the SQL of a function of frames, for every call with frames of the same columns.

A function that only puts expressions together writes the same SQL whenever its frames have the same columns and its
other arguments the same text (`repr`). To write it takes longer than to run it on a small night, so it is kept as long
as the process lives, and beside the warehouse for the next one. A function that looks at rows is refused: it is given
none.

Belongs here: writing such SQL, keeping it. Does not belong here: what a function asks, the steps themselves
(`named_steps.py`).
"""

import inspect
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import duckdb
import narwhals as nw

from gesture_assets.frames import Frame
from gesture_assets.warehouse import query_shelf
from gesture_assets.warehouse.named_steps import NamedSteps, columns_of
from gesture_assets.warehouse.schemas import STEPS

NAME_STEP = "name_step"  # an argument that names parts of the query: no part of what is asked
OURS = "gesture_assets."  # functions whose code is that of the product
NAMELESS = (" at 0x", "<locals>")  # in the text of what another process cannot know by its text
DRAWN = re.compile(r"\b(?:unnamed_relation|row_index)_[0-9a-f]{8,}\b")  # names that are others each time

Columns = Mapping[str, str]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Query:
    """The SQL of each frame that a function returns, over `input_1`, `input_2`, …, and its columns with their types.

    `again` writes it anew.
    """

    sql: tuple[str, ...]
    columns: tuple[Columns, ...]
    again: Callable[[], "Query"] = field(compare=False)


kept: dict[tuple[object, ...], Query] = {}
_writing = threading.Lock()


def query(steps: NamedSteps, shelf: Path | None, build: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `build` returns of its frames, as named steps of `steps`; `shelf`: where queries are kept on disk."""
    given = inspect.signature(build).bind(*args, **kwargs).arguments
    frames = {name: value for name, value in given.items() if isinstance(value, nw.LazyFrame)}
    found = _query_of(shelf, build, frames, {name: value for name, value in given.items() if name not in frames})
    inputs = ", ".join(
        f"input_{place} as not materialized ({frame.to_native().sql_query()})"
        for place, frame in enumerate(frames.values(), 1)
    )
    results = [
        steps.add(build.__name__, columns, f"with {inputs} select * from ({sql})")
        for sql, columns in zip(found.sql, found.columns, strict=True)
    ]
    return tuple(results) if len(results) > 1 else results[0]  # pyright: ignore[reportReturnType]


def _query_of(
    shelf: Path | None, build: Callable[..., Any], frames: Mapping[str, Frame], others: Mapping[str, Any]
) -> Query:
    """The query that `build(**frames, **others)` writes."""
    columns = {name: columns_of(frame) for name, frame in frames.items()}
    listed = [(name, *of_frame.items()) for name, of_frame in columns.items()]
    asked = [*listed, *((name, repr(value)) for name, value in others.items() if name != NAME_STEP)]
    key = (build, *asked)
    with _writing:
        if key not in kept:
            what = json.dumps([build.__module__, build.__qualname__, asked])
            if not build.__module__.startswith(OURS) or any(sign in what for sign in NAMELESS):
                shelf = None
            write = partial(_write, build, columns, others)
            written = query_shelf.find(shelf, what) if shelf else None
            kept[key] = found = Query(*written, write) if written else write()
            if shelf and not written:
                query_shelf.put(shelf, what, (found.sql, tuple(map(dict, found.columns))))
        return kept[key]


def _write(build: Callable[..., Any], columns: Mapping[str, Columns], others: Mapping[str, Any]) -> Query:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("attach ':memory:' as scratch")
        connection.execute(f"create schema {STEPS}")
        steps = NamedSteps(connection)
        inputs = {name: steps.unread(f"input_{place}", kinds) for place, (name, kinds) in enumerate(columns.items(), 1)}
        named = {NAME_STEP: steps.name_step} if NAME_STEP in others else {}
        result: Any = build(**inputs, **{**others, **named})
        frames = result if isinstance(result, tuple) else (result,)
        texts = [_renamed(steps.with_steps(frame.to_native().sql_query())) for frame in frames]
        return Query(tuple(texts), tuple(map(columns_of, frames)), partial(_write, build, columns, others))


def _renamed(sql: str) -> str:
    """`sql` with names in place of those that are drawn anew each time."""
    names = {name: f"part_{place}" for place, name in enumerate(dict.fromkeys(DRAWN.findall(sql)), 1)}
    return DRAWN.sub(lambda found: names[found.group()], sql)
