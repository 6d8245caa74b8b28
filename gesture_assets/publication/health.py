"""How nights have gone, as tables of the published file: reliability, quality of the data, trainings, the model.

Belongs here: reading the copy, writing the tables, their meanings. Does not belong here: how any of it is worked out
(`monitoring/pipeline_health.py`).
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.models.tables import TRAINED, UNAVAILABLE
from gesture_assets.monitoring.pipeline_health import (
    USUAL_DAYS,
    failing_checks,
    freshness,
    missing,
    outliers,
    quality_trend,
    quarantined,
    reliability,
    training_attempts,
    training_status,
)
from gesture_assets.warehouse.landed_days import HAS_WANTED_ROWS
from gesture_assets.warehouse.ledger import IS_WHOLE

TREND_DAYS = 30
Columns = tuple[tuple[str, str, str], ...]

RELIABILITY_COLUMNS: Columns = (
    ("window_days", "INTEGER not null", "Days that are looked at, up to the newest that is due."),
    ("table_name", "VARCHAR", "Table; null: all of them."),
    ("day_count", "BIGINT not null", "Days that were due, times tables."),
    ("on_time_count", "BIGINT not null", "Of them, live by the deadline (GESTURE_FRESHNESS_DEADLINE)."),
    ("on_time_share", "DOUBLE not null", "Their share."),
    ("target", "DOUBLE not null", "Share that is promised."),
    ("is_met", "BOOLEAN not null", "Whether the promise is kept."),
    ("newest_late_date", "DATE", "Newest day that was late, or is missing; null: none."),
)
TREND_COLUMNS: Columns = (
    ("as_of_date", "DATE not null", "Day."),
    ("measure", "VARCHAR not null", "missing, outliers, quarantined or failing_checks."),
    ("subject", "VARCHAR not null", "Column, metric, source or table."),
    ("affected_count", "BIGINT not null", "Rows, users or checks concerned."),
    ("total_count", "BIGINT not null", "Of how many."),
    ("share", "DOUBLE", "Their share; null of nothing."),
    ("usual_share", "DOUBLE", "Median of the seven days before; null with fewer than three."),
    ("change", "DOUBLE", "The share less the usual one."),
)
ATTEMPT_COLUMNS: Columns = (
    ("run_id", "VARCHAR not null", "Dagster run."),
    ("attempted_at", "TIMESTAMP not null", "When (UTC)."),
    ("as_of_date", "DATE", "Day of the training."),
    ("outcome", "VARCHAR not null", "promoted, kept (another serves), refused or unfinished."),
    ("model_version", "VARCHAR", "Version that it made; null for none."),
    ("because", "VARCHAR not null", "Why it ended so."),
)
STATUS_COLUMNS: Columns = (
    ("champion", "VARCHAR", "Version that serves the newest day; null: the rules do."),
    ("is_available", "BOOLEAN not null", "Whether it could score that day."),
    ("unavailable_because", "VARCHAR", "Why not."),
    ("attempt_count", "BIGINT not null", "Trainings that were tried."),
    ("last_attempt_at", "TIMESTAMP", "When the last was (UTC)."),
    ("last_outcome", "VARCHAR", "How it ended: see training_attempts."),
    ("last_success_at", "TIMESTAMP", "When one last made a model (UTC), also one that does not serve."),
    ("last_success_version", "VARCHAR", "Which."),
    ("days_since_success", "DOUBLE", "Days from then to the publication."),
    ("last_refusal_at", "TIMESTAMP", "When a training was last refused (UTC)."),
    ("last_refusal_because", "VARCHAR", "Why."),
)
# Table -> what a row is, and its columns.
HEALTH: dict[str, tuple[str, Columns]] = {
    "pipeline_reliability": (
        "One row per window and table: the share of days that were live in time.",
        RELIABILITY_COLUMNS,
    ),
    "data_quality_trend": (
        "One row per day, measure and subject of the last 30 days: how clean the data came.",
        TREND_COLUMNS,
    ),
    "training_attempts": ("One row per training that was tried.", ATTEMPT_COLUMNS),
    "model_status": ("One row: which model serves, whether it can score, how trainings have gone.", STATUS_COLUMNS),
}


def write(con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract], *, now: datetime, deadline: int) -> None:
    """Add the tables of `HEALTH` to the copy that `con` has open, as things stand at `now`.

    `deadline`: hour (UTC) of the next day by which a day is due. Needs `landing_days` of the private file.
    """
    nightly = [contract.name for contract in contracts if contract.is_nightly]
    verdicts = _ask(con, "select table_name, partition, verdict, run_id, recorded_at from gate_ledger")
    fresh = freshness(verdicts, nightly, now=now, deadline=deadline, quiet_days=_quiet_days(con))
    attempts = _attempts(con)
    rows = {
        "pipeline_reliability": reliability(fresh),
        "data_quality_trend": _trend(con, contracts),
        "training_attempts": attempts,
        "model_status": pl.DataFrame([_status(con, attempts, now)], infer_schema_length=None),
    }
    for table, (_, columns) in HEALTH.items():
        con.execute(f"create or replace table {table} ({', '.join(f'{name} {kind}' for name, kind, _ in columns)})")
        insert(con, table, rows[table])


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    """Add `rows` to `table`, column by column of the same name, in one statement."""
    con.register("written", rows.to_arrow())
    con.execute(f"insert into {table} by name select * from written")
    con.unregister("written")


def _quiet_days(con: duckdb.DuckDBPyConnection) -> set[date]:
    """Days without anything that landed, between days with."""
    query = f"select distinct {PARTITION} from landing_days where {HAS_WANTED_ROWS}"
    landed = {day for (day,) in con.execute(query).fetchall()}
    if not landed:
        return set()
    first, last = min(landed), max(landed)
    return {first + timedelta(days=n) for n in range((last - first).days)} - landed


def _trend(con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> pl.DataFrame:
    """The last 30 days, each against the week before it."""
    ((newest,),) = con.execute(f"select max(partition) from gate_ledger where {IS_WHOLE}").fetchall()
    since = f"date '{newest}' - {TREND_DAYS + USUAL_DAYS}"
    (subscribers,) = (contract for contract in contracts if contract.name == "validated_subscribers")
    known = nw.from_native(con.sql(f"select * from {subscribers.name} where {PARTITION} > {since}"))
    trend = quality_trend(
        missing(known, subscribers.name, [column.name for column in subscribers.columns if column.nullable]),
        outliers(_ask(con, f"select * from engagement_fences where {PARTITION} > {since}")),
        quarantined(_ask(con, f"select * from landing_reconciliation where {PARTITION} > {since}")),
        failing_checks(
            _ask(
                con, f"select table_name, partition, attempt, run_id, checks from gate_ledger where partition > {since}"
            )
        ),
    )
    return trend.filter(pl.col(PARTITION) > newest - timedelta(days=TREND_DAYS))


def _attempts(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    tables = tuple(contract.name for contract in TRAINED)
    audits = "select table_name, partition, run_id, recorded_at, checks from gate_ledger"
    return training_attempts(
        _ask(con, f"{audits} where table_name in {tables}"),
        _ask(
            con,
            "select model_version, decision, because, run_id from candidate_model union all "
            "select model_version, decision, because, run_id from superseded.candidate_model",
        ),
        _ask(con, "select recorded_at, action, run_id, first_date, reason from audit_log order by recorded_at"),
        tables=tables,
    )


def _status(con: duckdb.DuckDBPyConnection, attempts: pl.DataFrame, now: datetime) -> dict[str, Any]:
    newest = f"(select max({PARTITION}) from rule_scores)"
    serving = con.execute(
        f"select model_version from model_activations where effective_from <= {newest} order by activation desc limit 1"
    ).fetchone()
    left = con.execute(
        f"select any_value({PARTITION}), count(*) from model_exclusions where {PARTITION} = {newest} "
        f"and reason = '{UNAVAILABLE}'"
    ).fetchone()
    gone = (
        f"its files could not be used on {left[0]}: {left[1]} users have the rules' score" if left and left[1] else None
    )
    champion = serving[0] if serving else None
    return dict(training_status(attempts, champion=champion, unavailable_because=gone, now=now))


def _ask(con: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    return pl.DataFrame(con.sql(sql).to_arrow_table())
