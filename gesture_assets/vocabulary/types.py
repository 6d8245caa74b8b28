"""Column types: how a contract's type is spelt in memory.

Belongs here: the map. Does not belong here: which column has which type (the tables of the domains).
"""

import polars as pl

POLARS_TYPES = {
    "DATE": pl.Date,
    "TIMESTAMP": pl.Datetime("us"),
    "VARCHAR": pl.String,
    "BOOLEAN": pl.Boolean,
    "SMALLINT": pl.Int16,
    "INTEGER": pl.Int32,
    "BIGINT": pl.Int64,
    "DOUBLE": pl.Float64,
    "DECIMAL(18,2)": pl.Decimal(18, 2),
    "VARCHAR[]": pl.List(pl.String),
    "BIGINT[]": pl.List(pl.Int64),
    "DOUBLE[]": pl.List(pl.Float64),
}
