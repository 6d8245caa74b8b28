"""A publication that fails says why, in Dagster's check as well, and the file for readers stays."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from gesture_assets.errors import DiskFull
from gesture_assets.publication import publish
from gesture_assets.publication.checks import HOLDS_WHAT_PASSED
from gesture_assets_tests.running import failures, run_in_dagster, run_night
from gesture_assets_tests.small_world import DAYS
from gesture_assets_tests.worlds import SMALL_MOMENT

pytestmark = pytest.mark.slow


def test_a_file_that_does_not_hold_what_passed_fails_its_check_and_is_not_flipped_in(
    copied_world: Callable[[str], Path],
) -> None:
    data_dir = copied_world("small")
    before = (data_dir / "gesture.duckdb").resolve()
    with duckdb.connect(str(data_dir / "warehouse.duckdb")) as con:
        con.execute(
            "delete from rule_scores where as_of_date = ? and user_id = "
            "(select min(user_id) from rule_scores where as_of_date = ?)",
            [DAYS[0], DAYS[0]],
        )
    result = run_in_dagster(DAYS[3], now=SMALL_MOMENT, select="published_warehouse")
    assert "NotWhatPassed: The published file was not changed." in failures(result)
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == HOLDS_WHAT_PASSED]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert f"rule_scores@{DAYS[0]}" in str(check.metadata["differences"].value)
    assert (data_dir / "gesture.duckdb").resolve() == before
    assert json.loads((data_dir / "validation_results.json").read_text())["results"]


def test_a_disk_that_fills_up_while_the_copy_is_dressed_is_said_as_such(
    copied_world: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = copied_world("small")
    before = (data_dir / "gesture.duckdb").resolve()

    def no_room(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "dress", no_room)
        result = run_night(DAYS[3], now=SMALL_MOMENT, select="published_warehouse")
    assert isinstance(result.failures["published_warehouse"], DiskFull)
    assert (data_dir / "gesture.duckdb").resolve() == before
    assert run_night(DAYS[3], now=SMALL_MOMENT, select="published_warehouse").success
