"""Files of a synthetic world, each whole or not at all.

Belongs here: putting a file in its place, a fresh SQLite database. Does not belong here: what stands in them.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import polars as pl


def write_sqlite(path: Path, tables: dict[str, pl.DataFrame]) -> None:
    """A fresh database in one transaction: tables and rows in their order, so the pages come out the same."""
    path.unlink(missing_ok=True)
    sql_types = {pl.String: "text", pl.Float64: "real"}
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        with connection:
            for table, frame in tables.items():
                columns = ", ".join(f"{name} {sql_types.get(kind, 'integer')}" for name, kind in frame.schema.items())
                connection.execute(f"CREATE TABLE {table}({columns})")
                marks = ", ".join("?" * frame.width)
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", frame.iter_rows())
    finally:
        connection.close()


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file beside `path`, and put it in its place once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    write(temporary)
    temporary.replace(path)
