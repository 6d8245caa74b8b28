"""Who is about to buy, why, and whether tonight's answer can be trusted: a Dagster code location over DuckDB."""
