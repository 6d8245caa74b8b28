"""What a night of a small company costs: CPU seconds of whole commands, beside what Dagster and the libraries take.

Belongs here: the runs of the part `cost` and the stub job that is its floor. Does not belong here: the limits
(`suite.py`). The world is the demo's, for it has all that a night can have, and ends yesterday, for commands go by the
clock.
"""

import os
import shutil
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.world import Size
from gesture_assets_tests.forks import yesterday

Figures = dict[str, Any]
SMALL = Size(0, 60, 4)
MORE_TABLES = 10  # one alone costs less than a night varies
REPEATED = 3  # warm nights, of which the fastest counts


def _spent(work: Callable[[], object]) -> Figures:
    """Seconds and CPU seconds of `work`."""
    started, processor = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - processor}


def _whole_process(work: Callable[[], object]) -> Figures:
    """As `_spent`, but the CPU seconds of the process from its start, imports included."""
    return _spent(work) | {"processor_seconds": time.process_time()}


def _world(folder: Path, size: Size) -> Path:
    """The demo world of `size`, written where it is not there yet."""
    from gesture_assets.demo.world import write_demo_world

    data_dir = folder / f"demo-{size.users}-{size.days}-{yesterday()}"
    if not data_dir.exists():
        write_demo_world(
            landing=data_dir / "landing",
            crm=data_dir / "crm_database.sqlite",
            truth=data_dir / "demo_truth.parquet",
            users=size.users,
            days=size.days,
            seed=7,
            end=yesterday(),
        )
    product.use(data_dir)
    return data_dir


def _gesture(*arguments: str) -> None:
    """The command, in this process."""
    from gesture_assets.cli import main

    sys.argv = ["gesture", *arguments]
    try:
        main()
    except SystemExit as leaving:
        if leaving.code:
            raise RuntimeError(f"gesture {' '.join(arguments)} ended with {leaving.code}") from leaving


def nights_in_one_run(folder: Path, size: Size) -> Figures:
    """All nights of a new warehouse by one `gesture run`, and what Dagster keeps of them."""
    data_dir = _world(folder, size)
    for made in (data_dir / "dagster_home", data_dir / "published", *data_dir.glob("warehouse*")):
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)
    first, last = yesterday() - timedelta(days=size.days - 1), yesterday()
    found = _whole_process(lambda: _gesture("run", "--from", str(first), "--to", str(last)))
    return found | {"run_storage_bytes": _kept(data_dir / "dagster_home")}


def _kept(home: Path) -> int:
    """Bytes of Dagster's files as this process leaves them: SQLite's write-ahead logs end with it."""
    for path in home.rglob("*.db"):
        with closing(sqlite3.connect(path)) as file:
            file.execute("pragma wal_checkpoint(truncate)")
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


def cold_night(folder: Path, size: Size) -> Figures:
    """The last night once more, everything in it built anew, by a command of its own."""
    _world(folder, size)
    return _whole_process(lambda: _gesture("run", "--date", str(yesterday()), "--rebuild"))


def cold_night_of_new_code(folder: Path, size: Size) -> Figures:
    """The same by the first command after an upgrade, which finds no SQL that one before it has written."""
    shutil.rmtree(_world(folder, size) / "warehouse.queries", ignore_errors=True)
    return cold_night(folder, size)


def a_training(folder: Path, size: Size) -> Figures:
    """`gesture train` on the last day that has an outcome."""
    _world(folder, size)
    return _whole_process(lambda: _gesture("train"))


def warm_nights(folder: Path, size: Size) -> Figures:
    """A night in a process that has run one already: built anew, and with nothing changed."""
    return _warm_nights(folder)


def warm_nights_of_more_tables(folder: Path, size: Size) -> Figures:
    """The same where the product has `MORE_TABLES` further tables, each with a step of its own."""
    from gesture_assets.events import tables
    from gesture_assets.nights import events

    own = [_hours_step(number) for number in range(MORE_TABLES)]
    tables.TABLES = (*tables.TABLES, *(table for step in own for table in step.tables))  # pyright: ignore
    events.STEPS = (*events.STEPS, *own)  # before anybody asks for the catalogue, as if they stood there
    return _warm_nights(folder / "more_tables")


def _hours_step(number: int) -> Any:
    """A step that fills a table of ten columns and eleven checks: what happened in each hour of the day."""
    import narwhals as nw

    from gesture_assets.contracts.contract import PARTITION, Column, Contract, between
    from gesture_assets.contracts.shared import DATA_ENGINEERING
    from gesture_assets.events.tables import RAW_EVENTS
    from gesture_assets.nights.steps import Built, Step

    types = ("page_view", "search", "email_open", "email_click", "signup", "purchase", "product_view")
    contract = Contract(
        name=f"busy_hours_{number}",
        grain="One row per hour in which somebody did something.",
        description="How many events fell into each hour of the day (UTC).",
        group="events",
        owner=DATA_ENGINEERING,
        upstream=(RAW_EVENTS.name,),
        key=("hour_of_day",),
        columns=(
            Column(PARTITION, "DATE", "The day at whose end this was known."),
            Column("hour_of_day", "SMALLINT", "Hour of the day (UTC), 0 to 23."),
            Column("event_count", "BIGINT", "Events in it.", unit="count"),
            *(Column(f"{name}_count", "BIGINT", f"Of the type {name}.", unit="count") for name in types),
        ),
        expectations=(
            between("hours_lie_between_0_and_23", "hour_of_day", 0, 23, recovery="mend it"),
            between("an_hour_has_events", "event_count", 1, None, recovery="mend it"),
            between("an_hour_has_no_more_than_a_crowd", "event_count", None, 10**9, recovery="mend it"),
        ),
    )
    assert (len(contract.columns), len(contract.checks)) == (10, 11)

    def count(night: Any, days: Any) -> Built:
        hour = nw.col("event_at").dt.hour().cast(nw.Int16).alias("hour_of_day")
        kinds = (nw.col("event_type") == name for name in types)
        flags = [kind.cast(nw.Int64).alias(f"{name}_count") for name, kind in zip(types, kinds, strict=True)]
        events = night.read_window(RAW_EVENTS).select(PARTITION, hour, *flags)
        sums = [nw.col(f"{name}_count").sum().cast(nw.Int64) for name in types]
        counted = events.group_by(PARTITION, "hour_of_day").agg(nw.len().cast(nw.Int64).alias("event_count"), *sums)
        return Built({contract: counted})

    return Step(contract.name, count, (contract,))


def _warm_nights(folder: Path) -> Figures:
    from gesture_assets.definitions import load_definitions
    from gesture_assets.settings import load_settings
    from gesture_assets_tests.running import definitions, failures, run_in_dagster

    _world(folder, SMALL)
    from gesture_assets.cli.dagster_home import prepare

    prepare(load_settings())
    load_definitions(load_settings())
    definitions()
    import dagster as dg

    def night(day: date, *, rebuild: bool) -> None:
        result = run_in_dagster(day, instance=dg.DagsterInstance.get(), rebuild=rebuild)
        if not result.success:
            raise RuntimeError(failures(result))

    def fastest(*, rebuild: bool) -> Figures:
        nights = [_spent(lambda: night(yesterday(), rebuild=rebuild)) for _ in range(REPEATED)]
        return min(nights, key=lambda spent: spent["processor_seconds"])

    for before in range(SMALL.days, 0, -1):
        night(yesterday() - timedelta(days=before - 1), rebuild=True)
    return fastest(rebuild=True) | {"nothing_changed": fastest(rebuild=False)}


def floor(folder: Path, size: Size) -> Figures:
    """A job of as many steps, assets and checks with empty bodies, and what a night imports of libraries."""
    _world(folder, size)
    os.environ["DAGSTER_HOME"] = str(folder / "floor")
    shutil.rmtree(folder / "floor", ignore_errors=True)
    (folder / "floor").mkdir()
    return _whole_process(_run_stub)


def _run_stub() -> None:
    import dagster as dg
    import polars

    from gesture_assets.compat.lean_imports import UNUSED_BY_GX, deferred
    from gesture_assets.definitions import load_definitions
    from gesture_assets.settings import load_settings

    with deferred(*UNUSED_BY_GX):
        import great_expectations

    del great_expectations, polars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = load_definitions(load_settings())
        nightly = whole.resolve_job_def("nightly").asset_layer.executable_asset_keys
        assets = [asset for asset in whole.assets or () if isinstance(asset, dg.AssetsDefinition)]
        stubs = [_stub(asset) for asset in assets if set(asset.keys) <= set(nightly)]
        job = dg.Definitions(assets=stubs, jobs=[dg.define_asset_job("stub")], executor=dg.in_process_executor)
        loggers = {"console": {"config": {"log_level": "CRITICAL"}}}
        result = job.resolve_job_def("stub").execute_in_process(
            instance=dg.DagsterInstance.get(), partition_key=str(yesterday()), run_config={"loggers": loggers}
        )
    assert result.success


def _stub(asset: Any) -> Any:
    """The assets and checks of `asset`, made by a step that does nothing."""
    import dagster as dg

    specs, checks = list(asset.specs), list(asset.check_specs)

    @dg.multi_asset(name=asset.op.name, specs=specs, check_specs=checks, partitions_def=asset.partitions_def)
    def nothing() -> Iterator[Any]:
        for spec in specs:
            yield dg.MaterializeResult(asset_key=spec.key)
        for check in checks:
            yield dg.AssetCheckResult(asset_key=check.asset_key, check_name=check.name, passed=True)

    return nothing
