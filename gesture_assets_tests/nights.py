"""Whole nights in process: the real definitions, the real warehouse of the test's data folder.

Belongs here: running the nightly job and asking what it left. Used by `assets/`, `gates/`, `graph/` and `reference/`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from gesture_assets.definitions import defs
from gesture_assets.defs.common import NOW_TAG


def run_night(
    first: date | str,
    last: date | str | None = None,
    *,
    select: str | None = None,
    now: datetime | None = None,
    force_reason: str = "",
    restate_reason: str = "",
    restate_crm: bool = False,
    rebuild: bool = True,
    instance: dg.DagsterInstance | None = None,
) -> dg.ExecuteInProcessResult:
    """Run the nightly for one day, or for a range in one run; `now` defaults to 02:00 after the last day.

    What a test runs twice is built twice, unless it asks for less.
    """
    last = last or first
    end = date.fromisoformat(str(last))
    moment = now or datetime.combine(date.fromordinal(end.toordinal() + 1), datetime.min.time()).replace(hour=2)
    tags = {NOW_TAG: moment.isoformat()}
    if first != last:
        tags |= {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    keys: Sequence[dg.AssetKey] | None = None
    if select:
        keys = sorted(
            dg.AssetSelection.from_string(select).required_multi_asset_neighbors().resolve(defs.resolve_asset_graph())
        )
    return defs.resolve_job_def("nightly").execute_in_process(
        partition_key=str(first) if first == last else None,
        tags=tags,
        asset_selection=keys,
        raise_on_error=False,
        instance=instance,
        run_config={
            "resources": {
                "warehouse": {
                    "config": {
                        "force_reason": force_reason,
                        "restate_reason": restate_reason,
                        "restate_crm": restate_crm,
                        "rebuild": rebuild,
                    }
                }
            },
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
    )


def failures(result: dg.ExecuteInProcessResult) -> str:
    """The messages of the failed steps, as the run page shows them."""
    texts = []
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            data: Any = event.event_specific_data
            failure = getattr(data, "user_failure_data", None)
            texts.append(failure.description if failure else data.error_display_string)
    return "\n".join(texts)


def published(data_dir: Path) -> duckdb.DuckDBPyConnection:
    """The published file as an analyst opens it."""
    return duckdb.connect(str((data_dir / "gesture.duckdb").resolve()), read_only=True)


def warehouse(data_dir: Path) -> duckdb.DuckDBPyConnection:
    """The private file, read-only."""
    return duckdb.connect(str(data_dir / "warehouse.duckdb"), read_only=True)


def content_hashes(data_dir: Path) -> dict[tuple[str, date], str]:
    """(table, day) -> content hash of the newest PASS."""
    con = warehouse(data_dir)
    rows = con.execute(
        "select table_name, partition, arg_max(content_hash, attempt) from gate_ledger "
        "where verdict = 'PASS' group by all"
    ).fetchall()
    con.close()
    return {(table, day): digest for table, day, digest in rows}
