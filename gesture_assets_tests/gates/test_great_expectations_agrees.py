"""A check of a column is what its expectation says: Great Expectations' own judgement of the same rows is the same."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from gesture_assets.contracts.contract import Expectation
from gesture_assets_tests.gates.collected import GOOD
from gesture_assets_tests.gates.night import GoodNight
from gesture_assets_tests.gates.test_every_check_is_proven import FAULTS
from gesture_assets_tests.good_night import CONTRACTS

pytestmark = pytest.mark.slow

OF_COLUMNS = [
    (name, check) for name, contract in CONTRACTS.items() for check in contract.checks if "column" in check.arguments
]


@pytest.fixture(scope="module")
def frames() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("rows")
        yield asset.add_batch_definition_whole_dataframe("all")


def judged(batches: Any, rows: Any, check: Expectation) -> bool:
    """What GX itself says of `rows`, a data frame of pandas."""
    import great_expectations as gx

    own = getattr(gx.expectations, "".join(part.capitalize() for part in check.type.split("_")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = batches.get_batch({"dataframe": rows}).validate(own(**check.arguments))
    assert not (result.exception_info or {}).get("raised_exception"), result.exception_info
    return bool(result.success)


@pytest.mark.parametrize(("name", "check"), OF_COLUMNS, ids=lambda value: getattr(value, "name", value))
def test_great_expectations_judges_good_rows_and_a_planted_fault_alike(
    night: GoodNight,
    frames: Any,
    name: str,
    check: Expectation,
) -> None:
    assert GOOD[name]
    columns = f"select {check.arguments['column']} from"
    assert judged(frames, night.con.execute(f"{columns} memory.good.{name}").df(), check)
    night.con.execute(FAULTS[name, check.name].sql)
    spoilt = night.con.execute(f"{columns} scratch.stage.{name}").df()
    assert not judged(frames, spoilt, check)
    night.audit(name)  # puts the good rows back
