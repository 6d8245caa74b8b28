"""Whether the nights keep their promise: days live in time, data of the usual quality, a model that can score.

Belongs here: the gate ledger and counts by day to tables of freshness, reliability, quality and training. Does not
belong here: verdicts on a night (`warehouse/audit.py`), drift of values (`drift.py`), telling people (`records/`).

Every day has its own deadline. What counts is when a day first went live, so an old day that is built today makes no
table fresh, and a day that was late stays late.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.frames import Frame

WINDOWS = (30, 90)
TARGET = 0.995  # document 002: pipeline reliability
USUAL_DAYS, FEWEST_USUAL_DAYS = 7, 3  # what is usual is a week's median, and of fewer than three days nothing is
PROMOTED, KEPT, REFUSED, UNFINISHED = "promoted", "kept", "refused", "unfinished"
TRAIN, TRAINING_REFUSED = "train", "training refused"  # actions of the audit log

# A row of `checks` in the gate ledger.
CHECK = pl.Struct({"name": pl.String, "passed": pl.Boolean, "severity": pl.String, "observed": pl.String})


def freshness(
    ledger: pl.DataFrame,
    tables: Collection[str],
    *,
    now: datetime,
    deadline: int,
    days: int = max(WINDOWS),
    quiet_days: Collection[date] = (),
) -> pl.DataFrame:
    """One row per table and day that is due: table_name, as_of_date, due_at, first_live_at, is_live, is_on_time.

    `ledger`: rows of `gate_ledger` (table_name, partition, verdict, recorded_at). A day is due at the hour `deadline`
    (UTC) of the next one; the last `days` days that are due at `now` are asked for, without `quiet_days`, on which a
    later night has shown that nothing landed. `first_live_at`: the first verdict on the whole day that is no FAIL, null
    for none.
    A table answers for the days that were due after its first audit: history that was built when the product was
    installed was never late. One that has none while others have answers for the nights since the ledger's last entry.
    """
    newest = (now - timedelta(days=1, hours=deadline)).date()
    due = [day for ago in range(days) if (day := newest - timedelta(days=ago)) not in quiet_days]
    first_audit = ledger.group_by("table_name").agg(since=pl.col("recorded_at").min())
    live = (
        ledger.filter((pl.col("verdict") != "FAIL") & (pl.col("recorded_at") >= pl.col("partition").dt.offset_by("1d")))
        .group_by("table_name", as_of_date="partition")
        .agg(first_live_at=pl.col("recorded_at").min())
    )
    due_at = pl.col(PARTITION).cast(pl.Datetime("us")) + pl.duration(days=1, hours=deadline)
    return (
        pl.DataFrame({"table_name": sorted(tables)}, schema={"table_name": pl.String})
        .join(first_audit, on="table_name", how="left")
        .with_columns(pl.col("since").fill_null(pl.lit(ledger["recorded_at"].max())))
        .join(pl.DataFrame({PARTITION: sorted(due)}, schema={PARTITION: pl.Date}), how="cross")
        .with_columns(due_at=due_at)
        .filter(pl.col("due_at") >= pl.col("since"))
        .join(live, on=["table_name", PARTITION], how="left")
        .with_columns(
            is_live=pl.col("first_live_at").is_not_null(),
            is_on_time=(pl.col("first_live_at") <= pl.col("due_at")).fill_null(False),
        )
        .select("table_name", PARTITION, "due_at", "first_live_at", "is_live", "is_on_time")
        .sort("table_name", PARTITION)
    )


def reliability(fresh: pl.DataFrame, *, windows: Sequence[int] = WINDOWS, target: float = TARGET) -> pl.DataFrame:
    """One row per window and table of rows of `freshness`, and one per window for all (table_name null).

    Columns: window_days, table_name, day_count, on_time_count, on_time_share, target, is_met, newest_late_date. A
    window ends with the newest day that is due; there is no row where no day of it was.
    """
    counts: list[pl.DataFrame] = []
    for window in windows:
        newest = pl.col(PARTITION).max() - pl.duration(days=window)
        inside = fresh.filter(pl.col(PARTITION) > newest)
        for rows in (inside.with_columns(table_name=pl.lit(None, pl.String)), inside):
            late = pl.col(PARTITION).filter(~pl.col("is_on_time")).max()
            counts.append(
                rows.group_by("table_name").agg(
                    window_days=pl.lit(window, pl.Int32),
                    day_count=pl.len().cast(pl.Int64),
                    on_time_count=pl.col("is_on_time").sum().cast(pl.Int64),
                    on_time_share=pl.col("is_on_time").mean(),
                    target=pl.lit(target),
                    newest_late_date=late,
                )
            )
    rows = pl.concat(counts).with_columns(is_met=pl.col("on_time_share") >= pl.col("target"))
    return rows.select(
        "window_days",
        "table_name",
        "day_count",
        "on_time_count",
        "on_time_share",
        "target",
        "is_met",
        "newest_late_date",
    ).sort("window_days", "table_name")


def missing(rows: Frame, table: str, columns: Sequence[str]) -> pl.DataFrame:
    """Missing values by day and column of `rows` (of the table `table`), for `quality_trend`."""
    counts = rows.group_by(PARTITION).agg(
        nw.len().cast(nw.Int64).alias("total_count"),
        *(nw.col(name).is_null().cast(nw.Int64).sum().alias(name) for name in columns),
    )
    wide = pl.DataFrame(counts.collect("polars").to_native())
    long = wide.unpivot(index=[PARTITION, "total_count"], variable_name="subject", value_name="affected_count")
    return _trend_rows(long.with_columns(subject=pl.format("{}.{}", pl.lit(table), "subject")), "missing")


def outliers(fences: pl.DataFrame) -> pl.DataFrame:
    """Outliers by day and metric, from rows of `engagement_fences`, for `quality_trend`."""
    return _trend_rows(
        fences.select(PARTITION, subject="metric", affected_count="outlier_count", total_count="user_count"), "outliers"
    )


def quarantined(landing: pl.DataFrame) -> pl.DataFrame:
    """Rows set aside by day and source, from rows of `landing_reconciliation`, for `quality_trend`."""
    counts = landing.group_by(PARTITION, subject="source").agg(
        affected_count=pl.col("quarantined_count").sum(), total_count=pl.col("landed_count").sum()
    )
    return _trend_rows(counts, "quarantined")


def failing_checks(ledger: pl.DataFrame) -> pl.DataFrame:
    """Checks that did not pass by day and table, in the latest audit of each (rows of `gate_ledger`), as above."""
    latest = ledger.filter(pl.col("attempt") == pl.col("attempt").max().over("table_name", "partition"))
    counts = (
        _checks(latest)
        .group_by("subject", PARTITION)
        .agg(affected_count=(~pl.col("passed")).sum(), total_count=pl.len())
    )
    return _trend_rows(counts, "failing_checks")


def quality_trend(*measured: pl.DataFrame) -> pl.DataFrame:
    """One row per day, measure and subject of what `missing`, `outliers`, `quarantined` and `failing_checks` give.

    Columns: as_of_date, measure, subject (column, metric, source or table), affected_count, total_count, share,
    usual_share (median of the seven days before it; null with fewer than three), change (share less usual_share). A
    share of nothing is null.
    """
    keys = ["measure", "subject"]
    rows = pl.concat(measured).sort(*keys, PARTITION)
    share = pl.when(pl.col("total_count") > 0).then(pl.col("affected_count") / pl.col("total_count"))
    usual = pl.col("share").shift(1).rolling_median(USUAL_DAYS, min_samples=FEWEST_USUAL_DAYS).over(keys)
    return (
        rows.with_columns(share=share)
        .with_columns(usual_share=usual)
        .with_columns(change=pl.col("share") - pl.col("usual_share"))
    )


def training_attempts(
    ledger: pl.DataFrame, candidates: pl.DataFrame, audit_log: pl.DataFrame, *, tables: Collection[str]
) -> pl.DataFrame:
    """One row per training that was tried: run_id, attempted_at, as_of_date, outcome, model_version, because.

    `ledger`: rows of `gate_ledger`; `tables`: those that a training fills. `candidates`: live and superseded rows of
    `candidate_model` (model_version, decision, because, run_id). `audit_log`: rows of `audit_log` (recorded_at, action,
    run_id, first_date, reason). `outcome`: promoted or kept (`because` is the decision's); refused, by checks or by
    the training itself (action "training refused"); unfinished, where the run left no verdict.
    """
    audits = ledger.filter(pl.col("table_name").is_in(tables))
    failed = _checks(audits).filter(~pl.col("passed"), pl.col("severity") == "ERROR").sort("subject", "name")
    checks = failed.group_by("run_id").agg(failed=pl.format("{}: {}", "name", "observed").str.join("; "))
    trainings = audit_log.filter(pl.col("action").is_in((TRAIN, TRAINING_REFUSED)), pl.col("run_id").is_not_null())
    refusals = trainings.filter(action=TRAINING_REFUSED).group_by("run_id").agg(refusal=pl.col("reason").last())
    moments = pl.concat(
        [
            audits.select("run_id", "recorded_at", as_of_date="partition"),
            trainings.select("run_id", "recorded_at", as_of_date="first_date"),
        ]
    )
    attempts = moments.group_by("run_id").agg(
        attempted_at=pl.col("recorded_at").min(), as_of_date=pl.col(PARTITION).max()
    )
    decisions = candidates.select("run_id", "model_version", "decision", "because").unique("run_id", keep="last")
    for columns in (decisions, checks, refusals):
        attempts = attempts.join(columns, on="run_id", how="left")
    refused_because = pl.coalesce("refusal", "failed")
    return attempts.select(
        "run_id",
        "attempted_at",
        PARTITION,
        outcome=pl.coalesce(
            "decision", pl.when(refused_because.is_not_null()).then(pl.lit(REFUSED)), pl.lit(UNFINISHED)
        ),
        model_version="model_version",
        because=pl.coalesce("because", refused_because, pl.format("run {} left no verdict", "run_id")),
    ).sort("attempted_at", "run_id")


def training_status(
    attempts: pl.DataFrame, *, champion: str | None, unavailable_because: str | None, now: datetime
) -> Mapping[str, Any]:
    """The state of models at `now`: whether the champion can score, and how trainings have gone.

    `attempts`: rows of `training_attempts`. `unavailable_because`: why the champion's files cannot be used, None where
    they can. Keys: champion, is_available, unavailable_because, attempt_count, last_attempt_at, last_outcome,
    last_success_at, last_success_version, days_since_success, last_refusal_at, last_refusal_because. A training
    succeeds when it makes a model, also one that does not serve.
    """
    attempts = attempts.sort("attempted_at", "run_id")
    by_outcome = {
        "attempt": attempts,
        "success": attempts.filter(pl.col("outcome").is_in((PROMOTED, KEPT))),
        "refusal": attempts.filter(pl.col("outcome") == REFUSED),
    }
    last = {
        name: rows.row(-1, named=True) if rows.height else dict.fromkeys(rows.columns)
        for name, rows in by_outcome.items()
    }
    succeeded = last["success"]["attempted_at"]
    return {
        "champion": champion,
        "is_available": champion is not None and unavailable_because is None,
        "unavailable_because": "no model was ever activated" if champion is None else unavailable_because,
        "attempt_count": attempts.height,
        "last_attempt_at": last["attempt"]["attempted_at"],
        "last_outcome": last["attempt"]["outcome"],
        "last_success_at": succeeded,
        "last_success_version": last["success"]["model_version"],
        "days_since_success": (now - succeeded) / timedelta(days=1) if succeeded else None,
        "last_refusal_at": last["refusal"]["attempted_at"],
        "last_refusal_because": last["refusal"]["because"],
    }


def _checks(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row per check of the audits in `ledger`: subject (the table), as_of_date, run_id, and the check's own."""
    return (
        ledger.select(
            "run_id", pl.col("checks").str.json_decode(pl.List(CHECK)), subject="table_name", as_of_date="partition"
        )
        .explode("checks")
        .drop_nulls("checks")
        .unnest("checks")
    )


def _trend_rows(counts: pl.DataFrame, measure: str) -> pl.DataFrame:
    return counts.select(
        PARTITION,
        pl.lit(measure).alias("measure"),
        pl.col("subject").cast(pl.String),
        pl.col("affected_count", "total_count").cast(pl.Int64),
    )
