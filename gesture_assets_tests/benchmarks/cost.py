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

    for before in range(SMALL.days, 0, -1):
        night(yesterday() - timedelta(days=before - 1), rebuild=True)
    anew = _spent(lambda: night(yesterday(), rebuild=True))
    return anew | {"nothing_changed": _spent(lambda: night(yesterday(), rebuild=False))}


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
