"""What leaves the warehouse at the end of a night: the published file and the report on its checks.

Belongs here: the last steps of a night, behind every gate. Does not belong here: how a file is published
(`publication/publish.py`), what the report says (`publication/validation_results.py`).
"""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import dagster as dg
import duckdb

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.defs.alerting import end_failures, rewrite_file
from gesture_assets.defs.common import DAILY, ONE_RUN, RETRIES, SETTINGS, WarehouseResource, markdown
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.monitoring.alerts import NIGHT_FAILED
from gesture_assets.publication import validation_results as report
from gesture_assets.publication.publish import Published, publish, require_night
from gesture_assets.reports.night_report import keep_page, night_report
from gesture_assets.reports.page import ask
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.run_info import window_of

PUBLISHED = catalogue(SETTINGS.tags).nightly


@dg.asset(
    name="published_warehouse",
    deps=[contract.name for contract in PUBLISHED],
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
    retry_policy=RETRIES,
    group_name="publication",
    owners=["data-engineering@gesture.example"],
    kinds={"duckdb"},
    tags={"layer": "publication"},
    check_specs=[
        dg.AssetCheckSpec(
            "the_published_file_holds_what_passed",
            asset="published_warehouse",
            description="The copy opens read-only in plain DuckDB, and each of its days has the rows "
            "that passed their audit.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "the_newest_day_is_the_last_complete_day",
            asset="published_warehouse",
            description="The file ends with the day before the run. When it does not, a night was missed, or the "
            "newest day waits: gesture run.",
            metadata={"severity": Severity.WARN.value},
        ),
    ],
    description="The DuckDB file for everybody else.\n\nPublished only when every table of the day has passed; "
    "verified, then flipped in by one step. A reader who has the old file open keeps it.",
    metadata={"path": "data/gesture.duckdb"},
)
def published_warehouse(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Copy the audited warehouse, verify the copy, and flip it in."""
    with warehouse.open(context) as night:
        settings = night.settings
        last_complete = night.session.run.now.date() - timedelta(days=1)
        # Before the copy, so that it says so too. Should the publication fail, its own alert takes it back.
        is_mended = end_failures(night.session, NIGHT_FAILED, night.days[-1])
        published = publish(
            night.session,
            contracts=catalogue(settings.tags).tables,
            features=feature_registry(settings.tags),
            folder=settings.data_dir / "published",
            link=settings.published,
            warehouse=settings.warehouse,
            keep=settings.published_keep,
            deadline=settings.freshness_deadline,
            days=night.days,
        )
        if is_mended:
            rewrite_file(night.session, settings, night.days[-1])
    return dg.MaterializeResult(
        metadata={
            "page": _page(context, settings, published),
            "snapshot_id": published.snapshot_id,
            "file": published.path.name,
            "size_mb": round(published.byte_count / 1e6, 1),
            "newest_day": str(published.newest_day),
            "window": window_of(night.days),
            **_health(published.path),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="the_published_file_holds_what_passed",
                passed=True,
                metadata={"snapshot_id": published.snapshot_id, "tables": len(PUBLISHED)},
            ),
            dg.AssetCheckResult(
                check_name="the_newest_day_is_the_last_complete_day",
                passed=published.newest_day >= last_complete,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"newest_day": str(published.newest_day), "last_complete_day": str(last_complete)},
            ),
        ],
    )


# What the run page shows of the nights themselves.
HEALTH = {
    "reliability": """select window_days, coalesce(table_name, 'all tables') as tables, day_count, on_time_count,
        round(100 * on_time_share, 2) as percent, round(100 * target, 2) as target, newest_late_date
        from pipeline_reliability where table_name is null or not is_met order by window_days, tables""",
    "model_status": "select * from (unpivot (select columns(*)::varchar from model_status) on columns(*))",
}


def _page(context: dg.AssetExecutionContext, settings: Settings, published: Published) -> str:
    """Write the page about the newest night: its name, or why there is none. The published file is out already."""
    try:
        with closing(duckdb.connect(str(published.path), read_only=True)) as con:
            page = night_report(con, settings.models, published.newest_day)
        return keep_page(page, settings.data_dir / "reports", published.newest_day).name
    except Exception as error:
        context.log.warning(f"The page of the night was not written: {error!r}. Next: gesture report night")
        return f"none: {error!r}"


def _health(path: Path) -> dict[str, dg.MarkdownMetadataValue]:
    """Reliability and the state of the model as tables; nothing of what has no rows."""
    with closing(duckdb.connect(str(path), read_only=True)) as con:
        asked = {name: ask(con, sql) for name, sql in HEALTH.items()}
    return {name: dg.MetadataValue.md(markdown(rows)) for name, rows in asked.items() if rows}


@dg.asset(
    deps=[contract.name for contract in PUBLISHED],
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
    retry_policy=RETRIES,
    group_name="publication",
    owners=["data-engineering@gesture.example"],
    kinds={"duckdb", "json"},
    tags={"layer": "publication"},
    check_specs=[
        dg.AssetCheckSpec(
            "success_is_what_the_checks_say",
            asset="validation_results",
            description="The file's flag is true exactly when none of its checks that block has failed.",
            blocking=True,
        )
    ],
    description="Every check of the day with what it observed, as JSON.\n\nEach step of a night writes the file, also "
    "one that fails; this is its last state, once every table has passed.",
    metadata={"path": "data/validation_results.json"},
)
def validation_results(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Write the report on the checks of the day."""
    with warehouse.open(context) as night:
        require_night(
            night.session, catalogue(night.settings.tags).nightly, days=night.days, reader="validation_results"
        )
        path = night.settings.validation_results
        written = report.write(night.session.connection, path, night.session.run, night.days)
    checks = [check for result in written["results"] for check in result["checks"]]
    failed = [check for check in checks if not check["passed"]]
    blocked = [check for check in failed if check["severity"] == Severity.ERROR.value]
    return dg.MaterializeResult(
        metadata={
            "file": path.name,
            "success": written["success"],
            "audits": len(written["results"]),
            "checks": len(checks),
            "checks_that_only_warned": len(failed) - len(blocked),
            "window": window_of(night.days),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="success_is_what_the_checks_say",
                passed=written["success"] == (not blocked),
                metadata={"success": written["success"], "failed_checks_that_block": len(blocked)},
            )
        ],
    )
