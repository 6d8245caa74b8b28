"""What the columns of views mean: what the columns that they are taken from mean.

Belongs here: comments on the columns of views, and the dictionary of all columns. Does not belong here: the comments
of what a view works out itself (`views.sql`, beside the view), comments on tables (`dressing.py`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from gesture_assets.contracts.contract import Contract
from gesture_assets.vocabulary.sql import literal

RELATION = re.compile(r"\b(main|superseded|analytics)\.(\w+)")
HISTORY = "superseded"


@dataclass(frozen=True)
class Column:
    """A column of a table or view of the file, and the one that it is taken from: its own, of a table's."""

    relation: str  # schema.name
    position: int
    name: str
    type: str
    is_nullable: bool
    comment: str | None
    origin: tuple[str, str]
    is_commented: bool


def explained_columns(con: duckdb.DuckDBPyConnection) -> list[Column]:
    """Every column of the file that `con` has in use; of a view's without a comment that of its origin.

    The origin is the column of that name in the first relation that the view reads and that explains it; where the view
    explains it otherwise, it is its own.
    """
    rows = con.execute(
        """select schema_name || '.' || table_name, row_number() over (
            partition by schema_name, table_name order by column_index), column_name, data_type, is_nullable, comment
        from duckdb_columns() where database_name = current_database() and not internal
        order by schema_name = 'analytics', schema_name, table_name, column_index"""
    ).fetchall()
    views = con.execute(
        """select schema_name || '.' || view_name, sql from duckdb_views()
        where database_name = current_database() and not internal"""
    ).fetchall()
    reads = {view: [name for name in _relations(sql) if name != view] for view, sql in views}
    columns = {(row[0], row[2]): Column(*row, origin=(row[0], row[2]), is_commented=row[5] is not None) for row in rows}
    for key in columns:
        columns[key] = _explained(key, columns, reads)
    return list(columns.values())


def _relations(sql: str) -> list[str]:
    return list(dict.fromkeys(f"{schema}.{name}" for schema, name in RELATION.findall(sql)))


def _explained(
    key: tuple[str, str], columns: Mapping[tuple[str, str], Column], reads: Mapping[str, Sequence[str]]
) -> Column:
    """The column `key` with its comment and its origin, as far as they are known."""
    column = columns[key]
    for relation in reads.get(key[0], ()):
        if (relation, key[1]) in columns:
            source = _explained((relation, key[1]), columns, reads)
            if source.comment and column.comment in (None, source.comment):
                return replace(column, comment=source.comment, origin=source.origin)
    return column


def comment_view_columns(con: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> None:
    """`COMMENT ON` for the columns of views that have the comment of their origin, and not yet."""
    for column in columns:
        if column.comment and not column.is_commented:
            con.execute(f"comment on column {column.relation}.{column.name} is {literal(column.comment)}")


def dictionary(columns: Sequence[Column], contracts: Sequence[Contract]) -> list[tuple[object, ...]]:
    """The rows of `dim_column`: every column of every table and view, those of contracts with unit and sensitivity."""
    declared = {
        (f"{schema}.{contract.name}", column.name): column
        for contract in contracts
        for schema in ("main", HISTORY)
        for column in contract.columns
    }
    rows = list[tuple[object, ...]]()
    for column in columns:
        place = (column.relation.removeprefix("main."), column.position, column.name, column.type)
        if origin := declared.get(column.origin):
            rows.append((*place, origin.description, origin.unit, column.is_nullable, origin.personal))
        else:
            rows.append((*place, column.comment or "", None, column.is_nullable, "none"))
    return rows
