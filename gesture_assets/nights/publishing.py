"""The last steps of a night: the published file, and the report on its checks.

Belongs here: what leaves the warehouse, behind every gate. Does not belong here: how a file is published
(`publication/publish.py`), what the report says (`publication/validation_results.py`).
"""

import logging
from pathlib import Path

import duckdb

from gesture_assets.contracts.shared import DATA_ENGINEERING
from gesture_assets.errors import NotWritable
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.monitoring.alerts import NIGHT_FAILED
from gesture_assets.nights.alerts import end_failures, rewrite_file
from gesture_assets.nights.night import Days, Night
from gesture_assets.nights.steps import Built, Check, Markdown, Step
from gesture_assets.publication import validation_results
from gesture_assets.publication.checks import HOLDS_WHAT_PASSED, IS_UP_TO_DATE, as_an_analyst, is_up_to_date
from gesture_assets.publication.publish import NotWhatPassed, Published, publish, require_night
from gesture_assets.publication.reading import require_no_rollback
from gesture_assets.reports.night_report import keep_page, night_report
from gesture_assets.reports.page import ask, markdown_table
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.run_info import window_of

log = logging.getLogger(__name__)

# What the run page shows of the nights themselves.
HEALTH = {
    "reliability": """select window_days, coalesce(table_name, 'all tables') as tables, day_count, on_time_count,
        round(100 * on_time_share, 2) as percent, round(100 * target, 2) as target, newest_late_date
        from pipeline_reliability where table_name is null or not is_met order by window_days, tables""",
    "model_status": "select * from (unpivot (select columns(*)::varchar from model_status) on columns(*))",
}


def published_warehouse(night: Night, days: Days) -> Built:
    """Copy the audited warehouse, verify the copy, and flip it in."""
    settings, run = night.settings, night.session.run
    if not run.force_reason:
        require_no_rollback(settings)
    # Before the copy, so that it says so too. Should the publication fail, its own alert takes it back.
    is_mended = end_failures(night.session, NIGHT_FAILED, days[-1])
    try:
        published = publish(
            night.session,
            contracts=night.tables.tables,
            features=feature_registry(settings.tags),
            folder=settings.published_files,
            link=settings.published,
            warehouse=settings.warehouse,
            keep=settings.published_keep,
            deadline=settings.freshness_deadline,
            memory_limit=settings.duckdb_memory_limit,
            days=days,
        )
    except NotWhatPassed as refusal:
        return Built(checks=(refusal.check,), failure=refusal)
    if is_mended:
        rewrite_file(night.session, settings, days[-1])
    with as_an_analyst(published.path) as connection:
        page, health = _page(connection, settings, published), _health(connection)
    return Built(
        notes={
            "page": page,
            "snapshot_id": published.snapshot_id,
            "file": f"{published.snapshot_id}/{published.path.name}",
            "size_mb": round(published.byte_count / 1e6, 1),
            "newest_day": str(published.newest_day),
            "window": window_of(days),
            **health,
        },
        checks=(published.holds, is_up_to_date(published.newest_day, run.now)),
    )


def _page(connection: duckdb.DuckDBPyConnection, settings: Settings, published: Published) -> str:
    """Write the page about the newest night: its name, or why there is none. The published file is out already."""
    try:
        page = night_report(connection, settings.models, published.newest_day)
        return keep_page(page, settings.data_dir / "reports", published.newest_day).name
    except Exception as error:
        log.warning("The page of the night was not written: %r. Next: gesture report night", error)
        return f"none: {error!r}"


def _health(connection: duckdb.DuckDBPyConnection) -> dict[str, Markdown]:
    """Reliability and the state of the model as tables; nothing of what has no rows."""
    answers = {name: ask(connection, sql) for name, sql in HEALTH.items()}
    return {name: Markdown(markdown_table(rows)) for name, rows in answers.items() if rows}


def written_results(night: Night, days: Days) -> Built:
    """Write the report on the checks of the day."""
    session, path = night.session, night.settings.validation_results
    require_night(session, night.tables.nightly, days=days, reader="validation_results")
    try:
        written = validation_results.write(session.connection, path, session.run, days)
    except OSError as error:  # to try again would keep the run from ending
        raise unwritable_report(path, error) from error
    checks = [check for result in written["results"] for check in result["checks"]]
    failed = [check for check in checks if not check["passed"]]
    return Built(
        notes={
            "file": path.name,
            "success": written["success"],
            "audits": len(written["results"]),
            "checks": len(checks),
            "checks_that_only_warned": sum(check["severity"] == Severity.WARN.value for check in failed),
            "window": window_of(days),
        },
        checks=(validation_results.says_what_checks_say(session.connection, path, session.run, days),),
    )


def unwritable_report(path: Path, error: OSError) -> NotWritable:
    """The error for a report that cannot be put at `path`."""
    return NotWritable(
        "The report on the checks could not be written; what was published stays published.",
        expected="a file that this user may write, or none",
        found=error.strerror or str(error),
        where=str(path),
        next_step=f"look what it is ( ls -ld {path} ), move it away, then  gesture publish",
    )


STEPS = (
    Step(
        "published_warehouse",
        published_warehouse,
        group="publication",
        owner=DATA_ENGINEERING,
        about="The DuckDB file for everybody else.\n\nPublished only when every table of the day has passed; verified, "
        "then flipped in by one step. A reader who has the old file open keeps it.",
        path="data/gesture.duckdb",
        checks=(
            Check(
                HOLDS_WHAT_PASSED,
                "The copy opens read-only in plain DuckDB, and each of its days has the rows that passed their audit.",
            ),
            Check(
                IS_UP_TO_DATE,
                "The file ends with the day before the run. When it does not, a night was missed, or the newest day "
                "waits: gesture run.",
                Severity.WARN,
            ),
        ),
    ),
    Step(
        "validation_results",
        written_results,
        group="publication",
        owner=DATA_ENGINEERING,
        about="Every check of the day with what it observed, as JSON.\n\nEach run writes the file when it ends, "
        "also one that fails; this is its state once every table has passed.",
        path="data/validation_results.json",
        kinds={"validation_results": ("json",)},
        checks=(
            Check(
                validation_results.SAYS_WHAT_CHECKS_SAY,
                "The file's flag is true exactly when none of its checks that block has failed.",
            ),
        ),
    ),
)
