"""The only room that knows Dagster: one module per small family of tables. Each reads, calls one room, and commits."""
