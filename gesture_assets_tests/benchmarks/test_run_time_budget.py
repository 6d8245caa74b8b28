"""A guard against the night growing slow unnoticed; figures that mean more come from measured comparisons."""

from datetime import date
from pathlib import Path
from time import process_time

import pytest

from gesture_assets.demo.world import write_demo_world
from gesture_assets_tests.running import failures, run_night, warehouse

NIGHT = date(2026, 3, 9)
# Row O21, of the processor's time: other work on the machine adds none, and on a quiet one a night takes no longer.
BUDGET_SECONDS = 60


@pytest.mark.proof
def test_a_night_of_100_000_events_stays_within_a_minute(data_dir: Path) -> None:
    write_demo_world(
        landing=data_dir / "landing",
        crm=data_dir / "crm_database.sqlite",
        truth=data_dir / "truth.parquet",
        users=75_000,
        days=1,
        seed=5,
        end=NIGHT,
    )
    started = process_time()
    result = run_night(NIGHT)
    seconds = process_time() - started
    assert result.success, failures(result)
    counted = warehouse(data_dir).execute("select count(*) from raw_events").fetchone()
    assert counted is not None
    assert counted[0] >= 90_000
    assert seconds < BUDGET_SECONDS
