"""Commits as Dagster events: check results, materialisations, what the run page shows of them.

Belongs here: the translation. Does not belong here: any verdict (the audits gave them).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from gesture_assets.compat.dagster_storage import copy_evaluations
from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import listing
from gesture_assets.nights.steps import ColumnSources, Markdown, StepResult
from gesture_assets.reports.page import markdown_table
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.commits import TableCommit
from gesture_assets.warehouse.run_info import RunInfo

Event = dg.MaterializeResult | dg.AssetCheckEvaluation | dg.Output[None]

MOST_DAYS = 31  # of a range, that a materialisation lists
MOST_SQL = 20_000  # letters of it


def events_of(
    context: dg.AssetExecutionContext, result: StepResult, run: RunInfo, sources: Mapping[str, ColumnSources]
) -> Iterator[Event]:
    """The checks of `result`, then what was materialised; nothing of a step that failed.

    `sources`: table -> column -> the columns (table, column) that it is made of, for Dagster's column lineage.
    """
    yield from _checks(context, result)
    if result.failure:
        return
    if not result.step.tables:
        yield dg.MaterializeResult(asset_key=result.step.name, metadata=_notes(result.notes))
    for position, commit in enumerate(result.commits):
        is_told = position == 0 or result.is_unchanged
        metadata = metadata_of(commit, run) | _notes(result.notes if is_told else {})
        if commit.contract.name in sources and not result.is_unchanged:
            metadata["dagster/column_lineage"] = _lineage(sources[commit.contract.name])
        for day, of_day in _by_day(context, commit, run).items():
            context.add_asset_metadata(of_day, commit.contract.name, day)
        yield dg.MaterializeResult(
            asset_key=commit.contract.name, metadata=metadata, data_version=dg.DataVersion(commit.content_hash)
        )


def log_good_days(
    context: dg.AssetExecutionContext,
    commits: Sequence[TableCommit],
    run: RunInfo,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Good days of a range are live although the step fails; `notes` stand at the first table, as ever."""
    for position, commit in enumerate(commits):
        metadata = metadata_of(commit, run) | _notes(notes or {} if position == 0 else {})
        by_day = _by_day(context, commit, run)
        for verdict in commit.days:
            if verdict.passed:
                day = str(verdict.day)
                own = metadata | by_day.get(day, {})
                context.log_event(dg.AssetMaterialization(commit.contract.name, partition=day, metadata=own))


def _by_day(context: dg.AssetExecutionContext, commit: TableCommit, run: RunInfo) -> dict[str, dict[str, Any]]:
    """Day of a range -> what is its own; days on which nothing landed have no rows."""
    keys = context.partition_keys
    if len(keys) < 2:
        return {}
    verdicts = {str(verdict.day): verdict for verdict in commit.days}
    return {
        key: {
            "dagster/row_count": dg.MetadataValue.int(verdicts[key].row_count if key in verdicts else 0),
            "content_hash": verdicts[key].content_hash if key in verdicts else "",
            "is_backfill": run.is_backfill(date.fromisoformat(key)),
        }
        for key in keys
    }


def metadata_of(commit: TableCommit, run: RunInfo) -> dict[str, Any]:
    """What a human wants to know of a commit: window, rows, days, hashes, checks, the SQL that ran."""
    days = [
        {
            "day": verdict.day,
            "rows": f"{verdict.row_count:,}",
            "attempt": verdict.attempt,
            "verdict": "PASS" if verdict.passed else "FAIL",
            "changed": "yes" if verdict.is_changed else "no",
            "content hash": verdict.content_hash[:12],
        }
        for verdict in commit.days[-MOST_DAYS:]
    ]
    failed = [outcome.name for outcome in commit.outcomes if not outcome.passed]
    metadata: dict[str, Any] = {
        "dagster/row_count": dg.MetadataValue.int(commit.row_count),
        "column_count": dg.MetadataValue.int(len(commit.contract.columns)),
        "window": run.window,
        "content_hash": commit.content_hash,
        "is_backfill": all(run.is_backfill(verdict.day) for verdict in commit.days),
        "checks": f"{len(commit.outcomes) - len(failed)} of {len(commit.outcomes)} passed"
        + (f"; not: {listing(failed)}" if failed else ""),
        "days": dg.MetadataValue.md(markdown_table(days)),
    }
    if commit.bad_days:
        metadata["rejected_rows"] = dg.MetadataValue.int(sum(verdict.row_count for verdict in commit.bad_days))
    if commit.sql:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{commit.sql[:MOST_SQL]}\n```")
    return metadata


def _checks(
    context: dg.AssetExecutionContext, result: StepResult
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """What the checks found on each day: one evaluation for all days on which a check passed with the same words.

    Not as Dagster's check results: these know of no day in a range, and each asks the storage for the newest
    materialisation. The outputs that Dagster waits for are empty.
    """
    found: dict[tuple[Any, ...], tuple[dg.AssetCheckEvaluation, list[date]]] = {}
    for commit in result.commits:
        for verdict in commit.days:
            for outcome in verdict.outcomes:
                # What failed shows rows of its own day.
                key = (commit.contract.name, outcome.name, outcome.observed, outcome.passed or verdict.day)
                if key not in found:
                    found[key] = _evaluation(commit.contract, outcome, verdict.day), []
                else:
                    found[key][1].append(verdict.day)
    evaluations = list(found.values()) or [(check, result.days[1:]) for check in _own_checks(result)]
    for evaluation, _ in evaluations:
        yield evaluation
    copy_evaluations(context.instance, context.run.run_id, evaluations)
    for spec in context.assets_def.check_specs:
        yield dg.Output(None, spec.get_python_identifier())


def _evaluation(contract: Contract, outcome: CheckOutcome, day: date) -> dg.AssetCheckEvaluation:
    metadata: dict[str, Any] = {"observed": outcome.observed}
    if not outcome.passed:  # the check's description has it too
        metadata["recovery"] = outcome.recovery
    if outcome.found:
        metadata["found"] = dg.MetadataValue.int(outcome.found)
    if outcome.sample:
        metadata["sample"] = dg.MetadataValue.md(markdown_table(outcome.sample))
        metadata["sample_is_cut"] = outcome.found > len(outcome.sample)
    if outcome.sql and not outcome.passed:  # the SQL of every check and day would be half of what Dagster keeps
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{outcome.sql}\n```")
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(contract.name),
        check_name=outcome.name,
        passed=outcome.passed,
        severity=_severity(outcome.severity),
        metadata=metadata,
        description=None if outcome.passed else f"{outcome.observed}; {outcome.recovery}",
        partition=str(day),
    )


def _own_checks(result: StepResult) -> Iterator[dg.AssetCheckEvaluation]:
    """The checks of a step that makes a file."""
    severities = {check.name: check.severity for check in result.step.checks}
    for check in result.checks:
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(result.step.name),
            check_name=check.name,
            passed=check.passed,
            severity=_severity(severities[check.name]),
            metadata=dict(check.metadata),
            partition=str(result.days[0]),
        )


def _severity(severity: Severity) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if severity is Severity.ERROR else dg.AssetCheckSeverity.WARN


def _notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Notes as Dagster's metadata."""
    return {
        name: dg.MetadataValue.md(note)
        if isinstance(note, Markdown)
        else dg.MetadataValue.json(note)
        if isinstance(note, dict)
        else note
        for name, note in notes.items()
    }


def _lineage(sources: ColumnSources) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(dg.AssetKey(table), column) for table, column in of] for name, of in sources.items()}
    )
