"""Tables of the warehouse as DuckDB has them: made, widened, explained, counted, hashed.

Belongs here: DDL that follows from a contract, and what is asked of a table whichever it is. Does not belong here: what
a table means (`contracts/`, the domains), putting rows into one (`staging.py`, `promotion.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import duckdb

from gesture_assets.contracts.contract import PARTITION, PROVENANCE, Contract
from gesture_assets.errors import ConfigError
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.schemas import LIVE, SUPERSEDED
from gesture_assets.warehouse.transaction import transaction

EMPTY_HASH = "0" * 32
NARROW = ("SMALLINT", "INTEGER")  # a type that a later version has made the other: a day may hold more

ColumnMeanings = Sequence[tuple[str, str, str]]  # column, type, meaning


def create_table(connection: duckdb.DuckDBPyConnection, table: str, columns: ColumnMeanings) -> None:
    """Create `table` where there is none."""
    listed = ", ".join(f"{name} {kind}" for name, kind, _ in columns)
    connection.execute(f"create table if not exists {table} ({listed})")


def has_table(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether there is a `table` (database.schema.name)."""
    try:
        # The catalogue takes five times as long to answer.
        connection.execute(f"from {table} limit 0")
    except duckdb.CatalogException:
        return False
    return True


def ensure(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Create the live table, or add the columns that its contract has gained; a changed type is refused.

    The table and the one of its replaced versions change together: a process killed in between leaves neither.
    """
    with transaction(connection):
        try:
            described = connection.execute(f"describe {LIVE}.{contract.name}").fetchall()
        except duckdb.CatalogException:
            _create(connection, contract)
        else:
            _widen(connection, contract, described)


def _create(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    connection.execute(contract.ddl(LIVE))
    for statement in comments(contract, LIVE):
        connection.execute(statement)
    if contract.keeps_history:
        connection.execute(
            f"create table if not exists {SUPERSEDED}.{contract.name} as "
            f"select *, null::timestamp as superseded_at from {LIVE}.{contract.name} limit 0"
        )


def _widen(connection: duckdb.DuckDBPyConnection, contract: Contract, described: Sequence[Sequence[str]]) -> None:
    """Bring the live table, which DuckDB has as `described`, to its contract, as far as that loses nothing."""
    table, history = f"{LIVE}.{contract.name}", f"{SUPERSEDED}.{contract.name}"
    types = {row[0]: row[1] for row in described}
    required = {row[0] for row in described if row[2] == "NO"}
    for column in contract.columns:
        if column.nullable and column.name in required:  # may be unknown since a later version
            connection.execute(f"alter table {table} alter column {column.name} drop not null")
        if (types.get(column.name), column.type) == NARROW:  # the same numbers, and so the same hashes
            connection.execute(f"alter table {table} alter column {column.name} type {column.type}")
            if has_table(connection, history):
                connection.execute(f"alter table {history} alter column {column.name} type {column.type}")
        elif column.name not in types and column.nullable:
            connection.execute(f"alter table {table} add column {column.name} {column.type}")
            connection.execute(f"comment on column {table}.{column.name} is {literal(column.meaning)}")
            if has_table(connection, history):
                connection.execute(f"alter table {history} add column {column.name} {column.type}")
        elif types.get(column.name) != column.type:
            raise ConfigError.bad_value(
                f"The warehouse's table {contract.name}",
                expected=f"{column.name} {column.type}",
                found=f"{column.name} {types.get(column.name, 'missing')}",
                where="data/warehouse.duckdb",
                next_step="it was written by another version: move data/warehouse.duckdb away, then  gesture run",
            )


def comments(contract: Contract, schema: str) -> Iterator[str]:
    """`COMMENT ON` for the table and each of its columns: the data dictionary travels inside the file."""
    columns = {column.name: column.meaning for column in contract.columns}
    columns |= {name: meaning for name, (_, meaning) in PROVENANCE.items()}
    yield from comments_on(f"{schema}.{contract.name}", f"{contract.grain} {contract.description}", columns)


def comments_on(table: str, description: str, columns: Mapping[str, str]) -> Iterator[str]:
    """`COMMENT ON` for `table` and for `columns` (name -> meaning)."""
    yield f"comment on table {table} is {literal(description)}"
    for name, meaning in columns.items():
        yield f"comment on column {table}.{name} is {literal(meaning)}"


def days_sql(days: Sequence[date]) -> str:
    """`days` as a list of SQL: `date '2026-03-08', date '2026-03-09'`."""
    return ", ".join(f"date '{day}'" for day in days)


def count_rows(connection: duckdb.DuckDBPyConnection, table: str, days: Sequence[date]) -> dict[date, int]:
    """Day -> rows of `table`, for the span of `days`; none of a table that is not there."""
    if not days:
        return {}
    counted = f"select {PARTITION}, count(*) from {table} where {PARTITION} between ? and ? group by all"
    try:
        return dict(connection.execute(counted, [min(days), max(days)]).fetchall())
    except duckdb.CatalogException:
        return {}


def hashes(connection: duckdb.DuckDBPyConnection, table: str, days: Sequence[date]) -> dict[date, tuple[int, str]]:
    """Day -> (row count, content hash) of `table` for the span of `days`, the same whatever the order of rows."""
    rows = connection.execute(
        f"""select {PARTITION}, count(*), printf('%016x', bit_xor(hash(t))),
            printf('%016x', (sum(hash(t)::hugeint) % 18446744073709551616::hugeint)::ubigint)
        from {table} as t where {PARTITION} between ? and ? group by all""",
        [min(days), max(days)],
    ).fetchall()
    return {day: (count, xor + total) for day, count, xor, total in rows}


def content(contract: Contract) -> str:
    """The live rows of `contract` as a subquery without provenance, as they were hashed when they were staged."""
    return f"(select {', '.join(contract.column_names)} from {LIVE}.{contract.name})"
