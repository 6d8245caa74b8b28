"""Named steps of a query: parts that are written for themselves, and put into the query that reads them as CTEs.

Each further step of a frame binds everything below it again. Bound against a view of the same columns, a query of many
steps is planned in a fraction of the time, and reads like one.

Belongs here: naming steps, a query with those it reads. Does not belong here: keeping SQL for the next time
(`queries.py`), running it (`staging.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb
import narwhals as nw

from gesture_assets.frames import Frame
from gesture_assets.vocabulary.sql import identifier
from gesture_assets.warehouse.schemas import STEPS

NAMED_STEP = re.compile(rf"\b{re.escape(STEPS)}\.(\w+)")
UNREAD = "error('a named step has no rows before the query that it goes into is run')"


@dataclass(frozen=True)
class NamedSteps:
    """The steps of one open warehouse, whose schema of steps is empty at first, and the SQL of each."""

    connection: duckdb.DuckDBPyConnection
    sql: dict[str, str] = field(default_factory=dict[str, str])

    def name_step(self, name: str, frame: Frame) -> Frame:
        """`frame` as a named part of the query that it goes into."""
        return self.add(name, columns_of(frame), frame.to_native().sql_query())

    def add(self, name: str, columns: Mapping[str, str], sql: str) -> Frame:
        """The step of `sql`, whose `columns` (name -> type) are known."""
        step = f"{name}_{len(self.sql) + 1}"
        self.sql[step] = sql
        return self.unread(step, columns)

    def unread(self, name: str, columns: Mapping[str, str]) -> Frame:
        """A view of `columns` (name -> type) to bind against; who asks for its rows is told that there are none."""
        values = ", ".join(f"{UNREAD}::{kind} as {identifier(column)}" for column, kind in columns.items())
        self.connection.execute(f"create view {STEPS}.{name} as select {values} where {UNREAD}::boolean")
        return nw.from_native(self.connection.sql(f"from {STEPS}.{name}"))

    def with_steps(self, query: str) -> str:
        """`query`, and before it the named steps that it is made of."""
        used, named = [], set(NAMED_STEP.findall(query))
        for step, sql in reversed(self.sql.items()):
            if step in named:
                used.append(f"{step} as ({sql})")
                named.update(NAMED_STEP.findall(sql))
        steps = f"with {', '.join(reversed(used))} " if used else ""
        return NAMED_STEP.sub(r"\1", steps + query)


def columns_of(frame: Frame) -> dict[str, str]:
    """Column -> its type in the engine."""
    relation = frame.to_native()
    return dict(zip(relation.columns, map(str, relation.types), strict=True))
