"""Every edge of the asset graph is guarded: by checks that block, and by a reader that asks the ledger."""

from pathlib import Path

import dagster as dg
import pytest
from gesture_assets.defs.common import SETTINGS
from gesture_assets.defs.coverage import edges

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.definitions import defs
from gesture_assets.warehouse import ledger
from gesture_assets_tests.running import failures, run_night
from gesture_assets_tests.small_world import DAYS, land

CONTRACTS = catalogue(SETTINGS.tags).tables


def gaps(*more: dg.AssetsDefinition) -> dict[tuple[str, str], str]:
    found = edges(dg.Definitions.merge(defs, dg.Definitions(assets=list(more))), CONTRACTS)
    return {(edge.table, edge.reader): edge.gap for edge in found if edge.gap}


def test_no_edge_is_unguarded() -> None:
    found = edges(defs, CONTRACTS)
    assert [edge for edge in found if edge.gap] == []
    assert all(edge.checks for edge in found)
    tables = [contract.name for contract in CONTRACTS if contract.is_nightly]
    assert {(edge.table, edge.reader) for edge in found} >= {
        *((table, contract.name) for contract in catalogue().tables for table in contract.upstream),
        *((table, "published_warehouse") for table in tables),
    }


def test_a_table_without_blocking_checks_is_a_gap() -> None:
    @dg.asset
    def shoes() -> None: ...

    @dg.asset(deps=["shoes"])
    def laces() -> None: ...

    assert gaps(shoes, laces) == {("shoes", "laces"): "the table has no contract, so nothing audits it"}


def test_an_asset_that_does_not_ask_the_ledger_is_a_gap() -> None:
    @dg.asset(deps=["user_features"])
    def shortcut() -> None: ...

    (gap,) = gaps(shortcut).items()
    assert gap[0] == ("user_features", "shortcut")
    assert "does not ask the ledger" in gap[1]


@pytest.fixture
def asked(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """(table, reader) of every question that a night puts to the ledger."""
    land(data_dir, days=DAYS[:1])
    questions: set[tuple[str, str]] = set()
    require = ledger.require

    def noted(connection: object, *, table: str, reader: str, **rest: object) -> str:
        questions.add((table, reader))
        return require(connection, table=table, reader=reader, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "require", noted)
    result = run_night(DAYS[0])
    assert result.success, failures(result)
    return questions


@pytest.mark.slow
def test_every_reader_asks_the_ledger_about_everything_it_is_built_from(asked: set[tuple[str, str]]) -> None:
    step_of = {
        key.to_user_string(): asset.op.name
        for asset in defs.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
        for key in asset.keys
    }
    nightly = defs.resolve_job_def("nightly").asset_layer.executable_asset_keys
    readers = {key.to_user_string() for key in nightly}
    # What a training asks is seen where one is run: nights/test_models.py.
    expected = {(edge.table, step_of[edge.reader]) for edge in edges(defs, CONTRACTS) if edge.reader in readers}
    assert expected <= asked
