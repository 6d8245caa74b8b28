"""The asset graph is what the contracts declare; a night reads what is behind each edge, or is known only to ask."""

from pathlib import Path

import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.definitions import build_definitions
from gesture_assets.publication.coverage import READERS_OF_ALL, Evidence, edges, look
from gesture_assets.settings import Settings, load_settings
from gesture_assets.warehouse import ledger
from gesture_assets_tests.running import failures, run_night
from gesture_assets_tests.small_world import DAYS, land

SETTINGS = load_settings({})
CATALOGUE = catalogue(SETTINGS.tags)

# Reader -> what stands before it though a night without a model, a CRM and the end of a month reads nothing of it.
ASKED_ONLY = {
    ("sessions",): ("identity_links", "landing_reconciliation", "quarantined_events"),
    ("activity_to_date",): ("daily_activity",),
    ("user_features",): ("activity_to_date", "crm_snapshot", "quarantined_subscribers"),
    ("rule_scores", "rule_contributions", "rule_sets"): (
        "daily_activity",
        "identity_links",
    ),  # rules with a daily cap read them
    ("model_scores", "model_exclusions", "score_reasons"): ("rule_contributions",),
    ("top_users",): ("rule_sets",),  # its check looks at them
    ("drift_reports", "event_mix_drift", "feature_profiles", "feature_statistics"): (
        "identity_links",
        "model_scores",
        "rule_scores",
        "user_features",
        "validated_subscribers",
    ),
    ("performance_report", "retrain_decision", "score_backtest"): (
        "daily_activity",
        "drift_reports",
        "identity_links",
        "model_exclusions",
        "rule_scores",
        "user_features",
        "validated_subscribers",
    ),
}


def test_the_graph_shows_the_edges_that_the_contracts_declare_and_no_others() -> None:
    drawn = {
        (parent.to_user_string(), node.key.to_user_string())
        for node in build_definitions(SETTINGS).resolve_asset_graph().asset_nodes
        for parent in node.parent_keys
    }
    declared = {(table, contract.name) for contract in CATALOGUE.tables for table in contract.upstream}
    to_all = {(contract.name, reader) for contract in CATALOGUE.nightly for reader in READERS_OF_ALL}
    assert drawn == declared | to_all


@pytest.mark.slow
def test_a_night_reads_what_is_declared_and_asks_for_every_table_before_it_publishes(
    data_dir: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(data_dir, days=DAYS[:1])
    asked: set[tuple[str, str]] = set()
    require = ledger.require

    def noted(connection: object, *, table: str, reader: str, **rest: object) -> str:
        asked.add((table, reader))
        return require(connection, table=table, reader=reader, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "require", noted)
    result = run_night(DAYS[0])
    assert result.success, failures(result)
    found = edges(look(settings), CATALOGUE.tables)
    assert [edge for edge in found if edge.gap] == []
    asked_only: dict[str, set[str]] = {}
    for edge in found:
        if edge.evidence is Evidence.ASKED:
            asked_only.setdefault(edge.reader, set()).add(edge.table)
    assert asked_only == {reader: set(tables) for readers, tables in ASKED_ONLY.items() for reader in readers}
    # What a training reads is seen where one is run: nights/test_models.py.
    made_on_occasion = {contract.name for contract in CATALOGUE.tables if not contract.is_nightly}
    absent = {table.name for done in result.results.values() if "absent" in done.notes for table in done.step.tables}
    assert {edge.reader for edge in found if edge.evidence is Evidence.NEVER_AUDITED} <= made_on_occasion | absent
    assert {(edge.table, edge.reader) for edge in found if edge.evidence is Evidence.ASKS_FOR_ALL} <= asked
