"""What the proofs of checks share: a good night that faults can be planted in.

Belongs here: fixtures. Does not belong here: rows, faults, expectations.
"""

from collections.abc import Iterator

import pytest

from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.gates.collected import GOOD
from gesture_assets_tests.gates.night import GoodNight
from gesture_assets_tests.gates.world import DAY, NIGHT
from gesture_assets_tests.good_night import CONTRACTS


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoodNight]:
    path = tmp_path_factory.mktemp("proof") / "warehouse.duckdb"
    with Warehouse(path, 10, create=RECORDS).open(RunInfo("run-0001", NIGHT, (DAY,), "a_proof")) as session:
        yield GoodNight(session, CONTRACTS, GOOD)
