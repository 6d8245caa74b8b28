"""A warehouse that holds a good night, which several rooms look at: built once, and copied where it is changed."""

from pathlib import Path

import pytest

from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.good_night import DAY, NIGHT, commit_good_night
from gesture_assets_tests.once import built_once


@pytest.fixture(scope="session")
def good_night_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which every table passed on `DAY`; not to be changed."""

    def build(folder: Path) -> None:
        run = RunInfo("run-0001", NIGHT, (DAY,), "a_night")
        with Warehouse(folder / "warehouse.duckdb", 10, create=RECORDS).open(run) as session:
            commit_good_night(session)

    return built_once(tmp_path_factory, "good_night", build) / "warehouse.duckdb"
