"""On which days something landed: a night asks no gate of a day without.

Belongs here: the table and the question. Does not belong here: filling it (`sources/landing_index.py`).
"""

from datetime import date

import duckdb

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.warehouse.relations import create_table
from gesture_assets.warehouse.schemas import LIVE

LANDED_DAYS = f"{LIVE}.landing_days"

# Column, type, meaning.
LANDED_DAYS_COLUMNS = (
    ("content_hash", "VARCHAR not null", "File, by its bytes."),
    (PARTITION, "DATE not null", "Day of some of its rows."),
    ("row_count", "BIGINT not null", "How many."),
)


def create_landed_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table where there is none."""
    create_table(connection, LANDED_DAYS, LANDED_DAYS_COLUMNS)


def landed_days(connection: duckdb.DuckDBPyConnection) -> frozenset[date]:
    """Every day on which something landed, as far as the index knows."""
    return frozenset(day for (day,) in connection.execute(f"select distinct {PARTITION} from {LANDED_DAYS}").fetchall())
