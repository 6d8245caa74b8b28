"""Great Expectations over a DuckDB connection that is already open.

Why: GX closes a connection before it reads the result, which DuckDB answers with nothing; it asks for a query's rows
and then wraps the query to count them, which takes as long again; and its data source is bound to one connection, while
every audit has its own. Versions: great_expectations 1.24 with duckdb_engine 0.17. Upstream: great_expectations #10738.
Goes: when a result outlives its connection there; then a creator that returns the open connection is enough.

Belongs here: the connection that GX is given. Does not belong here: what it is asked (`warehouse/audit.py`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import duckdb

# More failing rows than this teach nobody anything; counts are exact whatever the cap.
FETCHED_ROWS = 1_000
# One look answers both the rows and their count, unless there are very many rows.
COUNTED = re.compile(r"\s*SELECT COUNT\(\*\) as unexpected_row_count FROM \((.*)\) AS \w+\s*", re.DOTALL)


@dataclass(frozen=True)
class _Asked:
    """The connection that GX's statements go to, and what they were answered."""

    connection: duckdb.DuckDBPyConnection
    answers: dict[str, tuple[Any, list[tuple[Any, ...]]]] = field(default_factory=dict)  # query -> description, rows


_ASKED: ContextVar[_Asked] = ContextVar("asked")


@contextmanager
def answered_by(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Meanwhile what GX asks goes to a cursor of `connection`, which this yields; each query is asked once."""
    with connection.cursor() as cursor:
        before = _ASKED.set(_Asked(cursor))
        try:
            yield cursor
        finally:
            _ASKED.reset(before)


def add_source(context: Any, name: str) -> Any:
    """A data source of the GX `context` whose statements go where `answered_by` says."""
    from sqlalchemy.pool import StaticPool

    source = context.data_sources.add_sql(
        name=name,
        connection_string="duckdb:///:memory:",
        create_temp_table=False,
        kwargs={"creator": _connection_factory(), "poolclass": StaticPool},
    )
    # Staged tables have no keys, which takes DuckDB longer to say than what columns they have.
    source.get_execution_engine().engine.dialect.get_pk_constraint = lambda *_, **__: {"constrained_columns": []}
    return source


def _connection_factory() -> Any:
    """What SQLAlchemy calls for a connection: its cursors have fetched their rows before GX closes anything."""
    import duckdb_engine

    class EagerCursor(duckdb_engine.CursorWrapper):
        def __init__(self, raw: duckdb.DuckDBPyConnection, wrapper: Any) -> None:
            super().__init__(raw, wrapper)
            self.raw = raw
            self.rows: Iterator[tuple[Any, ...]] = iter(())
            self.description: Any = None
            self.rowcount = -1

        def execute(self, statement: str, parameters: Any = None, context: Any = None) -> None:
            counted, answers = COUNTED.fullmatch(statement), _ASKED.get().answers
            query = counted[1] if counted else statement
            if query not in answers:
                super().execute(query, parameters, context)
                description = self.raw.description
                answers[query] = description, self.raw.fetchmany(FETCHED_ROWS) if description else []
            self.description, rows = answers[query]
            if counted and len(rows) == FETCHED_ROWS:
                super().execute(statement, parameters, context)
                rows = self.raw.fetchall()
            elif counted:
                rows = [(len(rows),)]
            if counted:
                self.description = [("unexpected_row_count", "NUMBER", None, None, None, None, None)]
            self.rows = iter(rows)

        def fetchone(self) -> tuple[Any, ...] | None:
            return next(self.rows, None)

        def fetchall(self) -> list[tuple[Any, ...]]:
            return list(self.rows)

        def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
            return [row for _, row in zip(range(size or 1), self.rows, strict=False)]

    class EagerConnection(duckdb_engine.ConnectionWrapper):
        """One for the process: every cursor is of the warehouse that is under audit by then."""

        def cursor(self) -> EagerCursor:
            return EagerCursor(_ASKED.get().connection, self)

        def begin(self) -> None:
            """Nothing: an audit only reads."""

        commit = rollback = begin

    return lambda: EagerConnection(duckdb.connect())
