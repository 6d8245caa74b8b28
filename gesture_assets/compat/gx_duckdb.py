"""Great Expectations over a DuckDB connection that is already open.

Why: its data source is bound to one connection, while every run has its own, and wants to begin and end transactions
of a warehouse that is in the middle of one. Versions: great_expectations 1.24 with duckdb_engine 0.17. Upstream:
great_expectations #10738. Goes: when a batch can be given its connection.

Belongs here: the connection that GX is given. Does not belong here: what it is asked (`warehouse/suites.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import duckdb

_CURSOR: ContextVar[duckdb.DuckDBPyConnection] = ContextVar("cursor")


@contextmanager
def answered_by(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Meanwhile what GX asks goes to a cursor of `connection`, which this yields."""
    with connection.cursor() as cursor:
        before = _CURSOR.set(cursor)
        try:
            yield cursor
        finally:
            _CURSOR.reset(before)


def add_source(context: Any, name: str) -> Any:
    """A data source of the GX `context` whose statements go where `answered_by` says."""
    from sqlalchemy.pool import StaticPool

    return context.data_sources.add_sql(
        name=name,
        connection_string="duckdb:///:memory:",
        create_temp_table=False,
        kwargs={"creator": _connection_factory(), "poolclass": StaticPool},
    )


def _connection_factory() -> Any:
    """What SQLAlchemy calls for a connection."""
    import duckdb_engine

    class AuditedConnection(duckdb_engine.ConnectionWrapper):
        """One for the process: every cursor is of the warehouse that is under audit by then."""

        def cursor(self) -> Any:
            return duckdb_engine.CursorWrapper(_CURSOR.get(), self)

        def begin(self) -> None:
            """Nothing: an audit only reads."""

        commit = rollback = begin

    return lambda: AuditedConnection(duckdb.connect())
