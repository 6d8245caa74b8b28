"""The drift report beside Evidently's preset and SciPy's own functions, on one frame of sixty features.

Belongs here: the two samples, and the three runs. Does not belong here: their limits (`suite.py`), whether the figures
are right (`unit/monitoring`).

Evidently is no dependency of ours: it runs in whatever Python has it (`python`), and its figure is absent without one.
Ours starts from a table in DuckDB, theirs from pandas frames that are ready; reading them is not counted.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import polars as pl

from gesture_assets.monitoring.drift import feature_drift, judge
from gesture_assets.monitoring.reference import count, freeze
from gesture_assets_tests.benchmarks.models import FEATURES, TRAINED, frame_of
from gesture_assets_tests.benchmarks.world import Size

Figures = dict[str, Any]
TONIGHT = date(2026, 3, 9)
TRAINED_ON = TONIGHT - timedelta(days=60)
THREADS = 2

EVIDENTLY = """
import sys, time
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
texts = [name for name in reference.columns if name.startswith(("city", "is_"))]
definition = DataDefinition(
    numerical_columns=[name for name in reference.columns if name not in texts], categorical_columns=texts
)
started = time.perf_counter()
report = Report([DataDriftPreset(**({"num_method": "ks", "cat_method": "psi"} if sys.argv[3] == "ks" else {}))])
report.run(
    Dataset.from_pandas(current, data_definition=definition),
    Dataset.from_pandas(reference, data_definition=definition),
).dict()
print(time.perf_counter() - started)
"""


def drift_report(folder: Path, size: Size, python: str = sys.executable) -> Figures:
    """Every statistic and verdict of sixty features of `size.users` against what a model was trained on."""
    import scipy.stats  # noqa: F401  # Evidently's imports are not counted either

    then = frame_of(min(size.users, TRAINED), seed=1).select(FEATURES)
    now = frame_of(size.users, seed=2).select(FEATURES)
    reference = freeze({TRAINED_ON: nw.from_native(then.lazy())}, FEATURES)
    stored = folder / "reference.parquet"
    reference.to_frame().write_parquet(stored)
    with duckdb.connect(config={"threads": THREADS}) as con:
        con.register("frame", now.to_arrow())
        con.execute("create table user_features as from frame")
        con.unregister("frame")
        tonight = nw.from_native(con.table("user_features"))
        cpu = time.process_time()
        ours, report = _timed(
            lambda: judge(feature_drift(reference, count(tonight, reference), TONIGHT), importance={})
        )
        cpu = time.process_time() - cpu
    paths = folder / "reference_rows.parquet", folder / "current_rows.parquet"
    for path, frame in zip(paths, (then, now), strict=True):
        frame.write_parquet(path)
    by_scipy, _ = _timed(lambda: _by_scipy(then, now))
    return {
        "seconds": ours,
        "cpu_seconds": cpu,
        "scipy_seconds": by_scipy,
        "rows": len(now),
        "reference_rows": len(then),
        "features": len(report),
        "reference_megabytes": stored.stat().st_size / 1e6,
        "evidently_seconds": _evidently(python, *paths, "preset"),
        "evidently_ks_seconds": _evidently(python, *paths, "ks"),
    }


def _by_scipy(then: pl.DataFrame, now: pl.DataFrame) -> None:
    """KS and Wasserstein's distance as SciPy works them out of the rows: the least that a library does."""
    from scipy.stats import ks_2samp, wasserstein_distance

    for name in FEATURES:
        if then.schema[name].is_numeric():
            one, other = (frame[name].drop_nulls().to_numpy() for frame in (then, now))
            ks_2samp(one, other, method="asymp")
            wasserstein_distance(one, other)


def _evidently(python: str, *arguments: object) -> float | None:
    command = [python, "-c", EVIDENTLY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found
