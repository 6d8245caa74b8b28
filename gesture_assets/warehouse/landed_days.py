"""On which days something landed: a night asks no gate of a day without.

Belongs here: the table and the question. Does not belong here: filling it (`sources/landing_index.py`).
"""

from datetime import date

import duckdb

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.warehouse.relations import create_table, has_table
from gesture_assets.warehouse.schemas import LIVE

LANDED_DAYS = f"{LIVE}.landing_days"
INTERACTION_DAYS = f"{LIVE}.interaction_landing_days"  # of short videos

# Column, type, meaning.
HAS_WANTED_ROWS = "row_count > coalesce(ignored_count, 0)"
LANDED_DAYS_COLUMNS = (
    ("content_hash", "VARCHAR not null", "File, by its bytes."),
    (PARTITION, "DATE not null", "Day of some of its rows."),
    ("row_count", "BIGINT not null", "How many."),
    ("ignored_count", "BIGINT", "Of these, of types that the source's description leaves out."),
)


def create_landed_days(connection: duckdb.DuckDBPyConnection, table: str = LANDED_DAYS) -> None:
    """Create the table where there is none; another `table` is of files of another kind, which no night asks for."""
    create_table(connection, table, LANDED_DAYS_COLUMNS)
    connection.execute(f"alter table {table} add column if not exists ignored_count bigint")


def landed_days(connection: duckdb.DuckDBPyConnection) -> frozenset[date]:
    """Every day on which something landed that is not left out on purpose, as far as the index knows.

    Of events; of interactions with short videos where no events ever landed.
    """
    return _days_of(connection, LANDED_DAYS) or interaction_days(connection)


def interaction_days(connection: duckdb.DuckDBPyConnection) -> frozenset[date]:
    """Every day on which interactions with short videos landed."""
    return _days_of(connection, INTERACTION_DAYS) if has_table(connection, INTERACTION_DAYS) else frozenset()


def _days_of(connection: duckdb.DuckDBPyConnection, table: str) -> frozenset[date]:
    query = f"select distinct {PARTITION} from {table} where {HAS_WANTED_ROWS}"
    return frozenset(day for (day,) in connection.execute(query).fetchall())
