"""Whole nights in process: the real steps, the real warehouse of the test's data folder.

Belongs here: running a night by the plain runner or by Dagster, and asking what it left. Does not belong here:
expectations, worlds (`worlds.py`).
"""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.definitions import build_definitions
from gesture_assets.defs.resource import NOW_TAG
from gesture_assets.errors import GestureError
from gesture_assets.nights import runner
from gesture_assets.nights.all_steps import nightly_steps
from gesture_assets.nights.runner import NightResult
from gesture_assets.settings import load_settings
from gesture_assets.warehouse.audit import CheckOutcome

DEFINITIONS: dict[str, dg.Definitions] = {}


def definitions() -> dg.Definitions:
    """The definitions of the settings that are in force; made once for the same ones."""
    settings = load_settings()
    key = settings.model_dump_json()
    if key not in DEFINITIONS:
        DEFINITIONS[key] = build_definitions(settings)
    return DEFINITIONS[key]


def _days(first: date | str, last: date | str | None) -> list[date]:
    start, end = date.fromisoformat(str(first)), date.fromisoformat(str(last or first))
    return [date.fromordinal(number) for number in range(start.toordinal(), end.toordinal() + 1)]


def _moment(days: list[date]) -> datetime:
    """02:00 after the last day."""
    return datetime.combine(date.fromordinal(days[-1].toordinal() + 1), datetime.min.time()).replace(hour=2)


def run_night(
    first: date | str,
    last: date | str | None = None,
    *,
    select: str | None = None,
    now: datetime | None = None,
    rebuild: bool = True,
    **exceptions: Any,
) -> NightResult:
    """Run the nightly steps for one day or a range, without Dagster; `now` defaults to 02:00 after the last day.

    What a test runs twice is built twice, unless it asks for less. `exceptions`: see `RunInfo`.
    """
    days = _days(first, last)
    return runner.run_night(
        load_settings(),
        days,
        now=now or _moment(days),
        tables=selected(select) if select else None,
        rebuild=rebuild,
        **{name: value or None if name.endswith("reason") else value for name, value in exceptions.items()},
    )


def run_training(day: date, *, at: str, **options: Any) -> NightResult:
    """Run a training at the end of `day`, at the moment `at` (ISO, UTC), without Dagster."""
    return runner.run_training(load_settings(), day, now=datetime.fromisoformat(at), options=options)


def selected(select: str) -> set[str]:
    """The tables and files of a selection such as `key:a or b+` or `*c`: + and * take what stands after or before."""
    before = {table.name: set(table.upstream) for table in catalogue().tables}
    before |= {step.name: set(step.upstream) for step in nightly_steps() if not step.tables}
    after = {name: {other for other, upstream in before.items() if name in upstream} for name in before}
    chosen: set[str] = set()
    for term in select.split(" or "):
        name = term.strip("+* ").removeprefix("key:")
        assert name in before, f"{name} is no table"
        chosen.add(name)
        if term.strip()[0] in "+*":
            chosen |= reached(name, before)
        if term.strip().endswith("+"):
            chosen |= reached(name, after)
    return chosen


def reached(name: str, edges: Mapping[str, set[str]]) -> set[str]:
    """Everything that `edges` lead to from `name`."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = edges[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def run_in_dagster(
    first: date | str,
    last: date | str | None = None,
    *,
    select: str | None = None,
    now: datetime | None = None,
    job: str = "nightly",
    rebuild: bool = True,
    instance: dg.DagsterInstance | None = None,
    options: Mapping[str, Any] | None = None,
    **exceptions: Any,
) -> dg.ExecuteInProcessResult:
    """The same as `run_night` by Dagster's job; `options`: step -> its configuration."""
    days = _days(first, last)
    tags = {NOW_TAG: (now or _moment(days)).isoformat()}
    if len(days) > 1:
        tags |= {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    loaded = definitions()
    keys = None
    if select:
        graph = loaded.resolve_asset_graph()
        keys = sorted(dg.AssetSelection.from_string(select).required_multi_asset_neighbors().resolve(graph))
    return loaded.resolve_job_def(job).execute_in_process(
        partition_key=str(first) if len(days) == 1 else None,
        tags=tags,
        asset_selection=keys,
        raise_on_error=False,
        instance=instance,
        run_config={
            "resources": {"warehouse": {"config": {"rebuild": rebuild, **exceptions}}},
            "ops": {step: {"config": values} for step, values in (options or {}).items()},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
    )


def outcomes(result: NightResult) -> dict[tuple[str, str], CheckOutcome]:
    """(table, check) -> what the check found."""
    commits = [commit for done in result.results.values() for commit in done.commits]
    return {(commit.contract.name, outcome.name): outcome for commit in commits for outcome in commit.outcomes}


def failures(result: NightResult | dg.ExecuteInProcessResult) -> str:
    """The messages of the failed steps, as the run page shows them."""
    if isinstance(result, NightResult):
        return "\n".join(
            error.report if isinstance(error, GestureError) else repr(error) for error in result.failures.values()
        )
    texts: list[str] = []
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
