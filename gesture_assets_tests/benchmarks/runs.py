"""What is measured, one function a measurement, each called in a process of its own.

Belongs here: single runs and their figures. Does not belong here: comparing them (`suite.py`), the data (`world.py`,
`history.py`). Called as `python -m gesture_assets_tests.benchmarks.runs <name> <arguments as JSON>`; the figures are
printed as JSON in the last line. Times are in seconds; imports are paid for before anything is timed.
"""

import json
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw

from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import load_settings
from gesture_assets.sources.description import load_descriptions
from gesture_assets.sources.landing import find_files
from gesture_assets.sources.landing_index import LandingIndex
from gesture_assets.sources.personal import pseudonym_key
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.by_hand import landed_sql
from gesture_assets_tests.benchmarks.cost import (
    a_training,
    cold_night,
    cold_night_of_new_code,
    floor,
    nights_in_one_run,
    warm_nights,
    warm_nights_of_more_tables,
)
from gesture_assets_tests.benchmarks.demo_model import demo_model
from gesture_assets_tests.benchmarks.drift import drift_report
from gesture_assets_tests.benchmarks.history import built, copied, let_a_champion_serve, warm_up
from gesture_assets_tests.benchmarks.kuairand import kuairand
from gesture_assets_tests.benchmarks.models import model_reasons, model_scoring, model_training
from gesture_assets_tests.benchmarks.pings import ping_lists, ping_lists_by_loop, ping_world
from gesture_assets_tests.benchmarks.world import LAST, Size, write_world

Figures = dict[str, Any]
SHOWN_STATEMENTS = 25


def history(folder: Path, size: Size) -> Figures:
    """Build the world and all its nights but the last."""
    started = time.perf_counter()
    data_dir = built(size, folder)
    return {"seconds": time.perf_counter() - started, "bytes": (data_dir / "warehouse.duckdb").stat().st_size}


def night(folder: Path, size: Size, *, statements: bool = False) -> Figures:
    """The last night, by the product, with a model that scores."""
    past = built(size, folder)
    warm_up()
    with copied(past, folder) as data_dir:
        product.use(data_dir)
        let_a_champion_serve()
        with product.timed(statements=statements) as watch:
            processor = time.process_time()
            steps = product.run(LAST)
            processor = time.process_time() - processor
        seconds = steps.pop("whole")
        published = (data_dir / "gesture.duckdb").resolve().stat().st_size
        contents = product.contents(data_dir / "warehouse.duckdb", LAST)
    parts = dict(watch.parts.most_common())
    parts["building tables"] = seconds - sum(parts.values())
    longest = sorted(watch.statements, reverse=True)[:SHOWN_STATEMENTS]
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "steps": steps,
        "parts": parts,
        "published_bytes": published,
        "contents": contents,
        "statements": [{"seconds": s, "part": part, "sql": sql[:200]} for s, part, sql in longest],
    }


def night_by_hand(folder: Path, size: Size) -> Figures:
    """The last night, by the hand-written script, on the same history."""
    from gesture_assets_tests.benchmarks.by_hand import Script

    with copied(built(size, folder), folder) as data_dir:
        product.use(data_dir)
        script = Script.of(data_dir, LAST)
        processor = time.process_time()
        steps = script.run()
        processor = time.process_time() - processor
        contents = product.contents(data_dir / "warehouse.duckdb", LAST)
    return {"seconds": steps.pop("whole"), "processor_seconds": processor, "steps": steps, "contents": contents}


def from_files(folder: Path, size: Size, *, form: str) -> Figures:
    """All events land on one day and are scored by one night, gates included."""
    warm_up()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        write_world(size, data_dir, form=form)
        product.use(data_dir)
        with product.timed() as watch:
            processor = time.process_time()
            steps = product.run(LAST)
            processor = time.process_time() - processor
    seconds = steps.pop("whole")
    parts = dict(watch.parts.most_common())
    parts["building tables"] = seconds - sum(parts.values())
    return {"seconds": seconds, "processor_seconds": processor, "steps": steps, "parts": parts}


def from_files_by_hand(folder: Path, size: Size, *, form: str) -> Figures:
    """The same events by the hand-written script, in the warehouse of a tiny night before."""
    from gesture_assets_tests.benchmarks.by_hand import Script

    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        before = Size(2_000, 100, 2)
        write_world(before, data_dir)
        product.use(data_dir)
        product.run(before.dates[0])
        shutil.rmtree(data_dir / "landing")
        write_world(size, data_dir, form=form)
        script = Script.of(data_dir, LAST)
        processor = time.process_time()
        steps = script.run()
        processor = time.process_time() - processor
    return {"seconds": steps.pop("whole"), "processor_seconds": processor, "steps": steps}


def landing(folder: Path, size: Size) -> Figures:
    """A CSV file a day to canonical rows, counted: by the index and the load of one step, and by one statement.

    By hand no row has its line, and times are taken as the reader takes them.
    """
    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        write_world(size, data_dir, form="csv")
        product.use(data_dir)
        settings = load_settings()
        run = RunInfo("benchmark", datetime.combine(LAST, time_of_day(23)), tuple(size.dates), "landed_events")
        with warehouse_of(settings).open(run) as session:
            started, processor = time.perf_counter(), time.process_time()
            files = list(find_files(settings.landing, load_descriptions(settings.user_sources), settings.user_sources))
            key = pseudonym_key(settings)
            index = LandingIndex(session, key)
            index.refresh(files)
            rows = index.load(files, size.dates).select(nw.len()).collect().item()
            ours = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - processor}
        con = duckdb.connect()
        started, processor = time.perf_counter(), time.process_time()
        csv = f"read_csv({[str(file.path) for file in files]})"
        headers = [row[0] for row in con.execute(f"describe from {csv}").fetchall()]
        query = landed_sql(f"(select *, 0 as file_row_number from {csv})", headers, LAST, key)
        con.execute(f"create table landed as {query}")
        by_hand = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - processor}
        con.close()
    return {"landing": {**ours, "rows": rows}, "by_hand": by_hand}


def by_pandas(folder: Path, size: Size) -> Figures:
    """The same events, from the CSV file to scores by plain pandas."""
    import pandas as pd  # paid for before the clock starts

    from gesture_assets_tests.benchmarks.plain_pandas import score_file

    with tempfile.TemporaryDirectory(dir=folder) as own:
        write_world(size, Path(own), form="csv")
        steps = score_file(Path(own) / "landing" / "native" / f"events-{LAST}.csv", Path(own))
    return {"seconds": steps.pop("whole"), "users": steps.pop("users"), "steps": steps, "pandas": pd.__version__}


def backfill(folder: Path, size: Size) -> Figures:
    """All days but the last as one range, then the last day alone."""
    warm_up()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        write_world(size, data_dir)
        waiting = Path(own) / "last.parquet"
        landed = data_dir / "landing" / "native" / f"events-{LAST}.parquet"
        landed.replace(waiting)
        product.use(data_dir)
        days = size.dates[:-1]
        with product.timed() as watch:
            processor = time.process_time()
            steps = product.run(days[0], days[-1])
            processor = time.process_time() - processor
        waiting.replace(landed)
        single = product.run(LAST)
    seconds = steps.pop("whole")
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "days": len(days),
        "per_day": seconds / len(days),
        "single_day": single["whole"],
        "steps": steps,
        "parts": dict(watch.parts.most_common()),
    }


RUNS: dict[str, Callable[..., Figures]] = {
    run.__name__: run
    for run in (
        history,
        night,
        night_by_hand,
        from_files,
        from_files_by_hand,
        landing,
        by_pandas,
        backfill,
        model_training,
        model_scoring,
        model_reasons,
        demo_model,
        drift_report,
        ping_world,
        ping_lists,
        ping_lists_by_loop,
        kuairand,
        nights_in_one_run,
        cold_night,
        cold_night_of_new_code,
        a_training,
        warm_nights,
        warm_nights_of_more_tables,
        floor,
    )
}


def main() -> None:
    """Run the function that is named, and print its figures."""
    warnings.simplefilter("ignore")  # Dagster announces beta and preview features that we use on purpose
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    folder, size = Path(arguments.pop("folder")), Size(**arguments.pop("size"))
    print(json.dumps(RUNS[name](folder, size, **arguments)))


if __name__ == "__main__":
    main()
