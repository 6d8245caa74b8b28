"""One night by Dagster: the rows of the plain runner, and what Dagster is told of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.monitoring.tables import TABLES as MONITORING
from gesture_assets.nights.all_steps import nightly_steps
from gesture_assets.settings import load_settings
from gesture_assets.warehouse import queries
from gesture_assets_tests.conftest import KEY
from gesture_assets_tests.running import content_hashes, definitions, failures, run_in_dagster
from gesture_assets_tests.small_world import DAYS
from gesture_assets_tests.worlds import SMALL_MOMENT, world_in_use

pytestmark = pytest.mark.slow

DAY = str(DAYS[3])
# Made of a file, a model, or statistics of counts.
MADE_IN_MEMORY = {"rule_sets", "score_reasons", *(contract.name for contract in MONITORING)}
NIGHTLY = catalogue(load_settings({}).tags).nightly
TABLES = {contract.name for contract in NIGHTLY}
# No short videos land in the small world: their tables are absent.
LANDED = {contract.name for contract in NIGHTLY if contract.group != "pings"}
FILES = {"published_warehouse", "validation_results"}


@dataclass(frozen=True)
class Night:
    folder: Path
    by_runner: dict[tuple[str, date], str]
    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    @property
    def materialised(self) -> dict[str, dg.AssetMaterialization]:
        """What Dagster was told of each asset."""
        found = [event.materialization for event in self.result.get_asset_materialization_events()]
        assert len({one.asset_key for one in found}) == len(found)
        return {one.asset_key.to_user_string(): one for one in found}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """The last day of the small world, whose days the plain runner built, built again by Dagster's job."""
    with (
        world_in_use("small", tmp_path_factory.mktemp("one_night")) as folder,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        by_runner = content_hashes(folder)
        result = run_in_dagster(DAY, now=SMALL_MOMENT, instance=instance)
        assert result.success, failures(result)
        yield Night(folder, by_runner, result, instance, definitions())


def test_what_is_written_once_is_what_its_function_writes(night: Night) -> None:
    kept = {key[0].__name__: query for key, query in queries.kept.items()}  # pyright: ignore[reportAttributeAccessIssue]
    assert len(kept) >= 7, kept.keys()
    assert [name for name, query in kept.items() if query.again() != query] == []


def test_dagster_and_the_plain_runner_build_the_same_rows(night: Night) -> None:
    assert {name for name, _ in night.by_runner} == LANDED
    assert content_hashes(night.folder) == night.by_runner


def test_every_asset_is_materialised_for_its_day_with_what_a_human_wants_to_know(night: Night) -> None:
    found = night.materialised
    assert set(found) == TABLES | FILES
    assert {one.partition for one in found.values()} == {DAY}
    raw = {name: value.value for name, value in found["raw_events"].metadata.items()}
    assert raw["dagster/row_count"] == 25
    assert raw["window"] == DAY
    assert raw["is_backfill"] is False
    assert "select" in raw["sql"].lower()
    assert "of" in raw["checks"]
    assert (raw["landed"], raw["quarantined"], raw["duplicates"], raw["late_events"]) == (26, 1, 0, 0)
    for name in LANDED:
        metadata = found[name].metadata
        made_by_sql = set() if name in MADE_IN_MEMORY else {"sql"}
        assert {"dagster/row_count", "content_hash", "window", "days", "column_count", *made_by_sql} <= set(metadata), (
            name
        )
        assert (found[name].tags or {})["dagster/data_version"] == metadata["content_hash"].value, name
    assert "rule_set_version" in found["rule_scores"].metadata


def test_nothing_that_dagster_keeps_tells_the_key_of_the_pseudonyms(night: Night) -> None:
    kept = [str(record) for record in night.instance.all_logs(night.result.run_id)]
    assert any("email_key" in record for record in kept)
    digits = [bytes(byte ^ pad for byte in KEY.encode()).hex() for pad in (0, 0x36, 0x5C)]
    assert not [record[:200] for record in kept if any(one in record for one in (KEY, *digits))]


def test_columns_have_their_lineage(night: Night) -> None:
    lineage = night.materialised["rule_scores"].metadata["dagster/column_lineage"].value
    made_of = {(dep.asset_key.to_user_string(), dep.column_name) for dep in lineage.deps_by_column["score"]}
    (step,) = [step for step in nightly_steps() if step.name == "rule_scores"]
    assert made_of == set(step.column_sources(load_settings())["rule_scores"]["score"])
    assert ("user_features", "user_id") in made_of


def test_a_publication_shows_the_state_of_the_model_and_leaves_a_page(night: Night) -> None:
    shown = night.materialised["published_warehouse"].metadata
    assert "snapshot_id" in shown
    assert "| is_available | false |" in str(shown["model_status"].value)
    page = night.folder / "reports" / str(shown["page"].value)
    assert page.name == f"night-{DAY}.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_report_of_the_checks_is_that_of_the_run(night: Night) -> None:
    report = json.loads((night.folder / "validation_results.json").read_text())
    assert (report["success"], report["run_id"]) == (True, night.result.run_id)
    assert {one["table"] for one in report["results"]} == TABLES
    assert night.materialised["validation_results"].metadata["success"].value is True


def test_every_check_is_told_once_with_what_it_observed(night: Night) -> None:
    checks = night.result.get_asset_check_evaluations()
    told = [(check.asset_key.to_user_string(), check.check_name) for check in checks]
    expected = {(contract.name, check.name) for contract in catalogue().nightly for check in contract.checks}
    assert {(table, name) for table, name in told if table not in FILES} == expected
    assert {name for table, name in told if table in FILES} == {
        "the_published_file_holds_what_passed",
        "the_newest_day_is_the_last_complete_day",
        "success_is_what_the_checks_say",
    }
    assert len(told) == len(set(told))
    silent = [
        check.check_name for check in checks if check.asset_key.path[-1] in TABLES and "observed" not in check.metadata
    ]
    assert silent == []
    assert not [
        check.check_name for check in checks if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]


def test_checks_are_kept_for_their_day_and_none_stays_planned(night: Night) -> None:
    keys = [check.asset_check_key for check in night.result.get_asset_check_evaluations()]
    kept = [
        (key, record.partition, record.status.value)
        for key in keys
        for record in night.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    ]
    assert len(kept) == len(keys)
    assert {partition for _, partition, _ in kept} == {DAY}
    assert {status for *_, status in kept} <= {"SUCCEEDED", "FAILED"}
