"""What a run leaves in Dagster: metadata, check results, materialised partitions, and no second try of a defect."""

import json

import dagster as dg
import duckdb
import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.monitoring.tables import WATCHED
from gesture_assets.settings import load_settings
from gesture_assets_tests.running import failures, run_night, warehouse

pytestmark = pytest.mark.slow

HEADER = "event_id,user_id,event_type,event_at,received_at\n"
# Made of a file, a model, or statistics of counts.
MADE_IN_MEMORY = {"rule_sets", "score_reasons", *(contract.name for contract in WATCHED)}
TABLES = {contract.name for contract in catalogue(load_settings({}).tags).nightly}
LANDED = ("raw_events", "quarantined_events", "landing_reconciliation", "identity_links")


def land(data_dir, day: str, *, bad: int = 0, good: int = 6) -> None:
    folder = data_dir / "landing" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{day}-{n},{'ada' if n % 2 else 'bob'},page_view,{day}T1{n}:00:00Z,{day}T1{n}:00:00Z" for n in range(good)]
    rows += [f"{day}-bad-{n},,page_view,{day}T12:00:00Z,{day}T12:00:00Z" for n in range(bad)]
    (folder / f"events-{day}.csv").write_text(HEADER + "\n".join(rows) + "\n")


def test_a_publication_shows_reliability_the_state_of_the_model_and_leaves_a_page(data_dir) -> None:
    for day in ("2026-03-09", "2026-03-10"):  # by the second night the first day was due
        land(data_dir, day)
        result = run_night(day)
        assert result.success, failures(result)
    (shown,) = [
        event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == "published_warehouse"
    ]
    assert "| is_available | false |" in str(shown["model_status"].value)
    assert "| all tables |" in str(shown["reliability"].value)
    assert (data_dir / "reports" / str(shown["page"].value)).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert shown["page"].value == "night-2026-03-10.html"


def test_a_materialisation_says_what_a_human_wants_to_know(data_dir) -> None:
    land(data_dir, "2026-03-09")
    result = run_night("2026-03-09")
    assert result.success, failures(result)
    found = {
        event.asset_key.path[-1]: event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    assert set(found) == TABLES | {"published_warehouse", "validation_results"}
    raw = found["raw_events"]
    assert raw.partition == "2026-03-09"
    metadata = {name: value.value for name, value in raw.metadata.items()}
    assert metadata["dagster/row_count"] == 6
    assert metadata["window"] == "2026-03-09"
    assert metadata["is_backfill"] is False
    assert "select" in metadata["sql"].lower()
    assert "of" in metadata["checks"]
    assert (metadata["landed"], metadata["quarantined"], metadata["duplicates"], metadata["late_events"]) == (
        6,
        0,
        0,
        0,
    )
    # Tables of a source that is not configured are noted as absent.
    absent = {name for name, one in found.items() if "absent" in one.metadata}
    assert absent == {"crm_snapshot", "validated_subscribers", "quarantined_subscribers"}
    for name in TABLES - absent:
        metadata = found[name].metadata
        made_by_sql = set() if name in MADE_IN_MEMORY else {"sql"}
        assert {"dagster/row_count", "content_hash", "window", "days", "column_count", *made_by_sql} <= set(metadata), (
            name
        )
        assert (found[name].tags or {})["dagster/data_version"] == metadata["content_hash"].value, name
    assert "rule_set_version" in found["rule_scores"].metadata
    assert "snapshot_id" in found["published_warehouse"].metadata
    report = json.loads((data_dir / "validation_results.json").read_text())
    assert (report["success"], report["run_id"]) == (True, result.run_id)
    assert {one["table"] for one in report["results"]} == TABLES
    assert found["validation_results"].metadata["success"].value is True


def test_every_check_reports_once_with_what_it_observed(data_dir) -> None:
    land(data_dir, "2026-03-09")
    result = run_night("2026-03-09")
    checks = result.get_asset_check_evaluations()
    reported = [(check.asset_key.path[-1], check.check_name) for check in checks]
    expected = {(c.name, check.name) for c in catalogue(load_settings().tags).nightly for check in c.checks}
    assert set(reported) == expected | {
        ("published_warehouse", "the_published_file_holds_what_passed"),
        ("published_warehouse", "the_newest_day_is_the_last_complete_day"),
        ("validation_results", "success_is_what_the_checks_say"),
    }
    assert len(reported) == len(set(reported))
    silent = [
        check.check_name for check in checks if check.asset_key.path[-1] in TABLES and "observed" not in check.metadata
    ]
    assert silent == []
    assert not [
        check.check_name for check in checks if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]


def test_a_failed_check_shows_the_rows_and_what_to_do(data_dir) -> None:
    land(data_dir, "2026-03-09", bad=3)
    result = run_night("2026-03-09")
    assert not result.success
    [check] = [
        c for c in result.get_asset_check_evaluations() if not c.passed and c.severity is dg.AssetCheckSeverity.ERROR
    ]
    assert (check.asset_key.path[-1], check.check_name) == (
        "landing_reconciliation",
        "at_most_5_percent_of_rows_are_quarantined",
    )
    metadata = {name: value.value for name, value in check.metadata.items()}
    assert metadata["found"] == 1
    assert "missing_user_id 3" in metadata["sample"]
    assert "rejected.quarantined_events" in metadata["recovery"]
    assert not [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == "raw_events"
    ]


def test_good_days_of_a_range_are_live_and_materialised_and_the_bad_one_is_neither(data_dir) -> None:
    for day in ("2026-03-06", "2026-03-08"):
        land(data_dir, day)
    land(data_dir, "2026-03-07", bad=3)
    instance = dg.DagsterInstance.ephemeral()
    result = run_night("2026-03-06", "2026-03-08", instance=instance)
    assert not result.success
    assert "2026-03-07" in failures(result)
    assert "2026-03-06" not in failures(result)
    con = warehouse(data_dir)
    live = con.execute("select as_of_date::varchar, count(*) from raw_events group by all order by all").fetchall()
    verdicts = con.execute(
        "select partition::varchar, verdict from gate_ledger where table_name = 'raw_events' order by all"
    ).fetchall()
    kept = con.execute("select count(*) from rejected.quarantined_events").fetchone()
    con.close()
    assert live == [("2026-03-06", 6), ("2026-03-08", 6)]
    assert verdicts == [("2026-03-06", "PASS"), ("2026-03-07", "FAIL"), ("2026-03-08", "PASS")]
    assert kept == (3,)
    # The report is written by the step that failed.
    report = json.loads((data_dir / "validation_results.json").read_text())
    assert (report["success"], report["run_id"]) == (False, result.run_id)
    failed = {(one["table"], one["day"]) for one in report["results"] if not one["success"]}
    assert failed == {(table, "2026-03-07") for table in LANDED}
    checks = [check for one in report["results"] for check in one["checks"]]
    assert {c["name"] for c in checks if not c["passed"] and c["severity"] == "ERROR"} == {
        "at_most_5_percent_of_rows_are_quarantined"
    }
    for table in LANDED:
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == {"2026-03-06", "2026-03-08"}, table
    for table in ("sessions", "user_features", "published_warehouse"):  # nothing is built on a night with a hole
        assert instance.get_materialized_partitions(dg.AssetKey(table)) == set(), table
    assert not (data_dir / "gesture.duckdb").exists()


def test_a_closed_gate_and_a_defect_are_not_tried_again(data_dir) -> None:
    land(data_dir, "2026-03-09")
    closed = run_night("2026-03-09", select="user_features")
    assert "GateClosed" in failures(closed)
    assert run_night("2026-03-09").success
    con = duckdb.connect(str(data_dir / "warehouse.duckdb"))
    con.execute("update gate_ledger set verdict = 'FAIL', checks = 'no json' where table_name = 'daily_activity'")
    con.close()
    broken = run_night("2026-03-09", select="user_features")
    assert "JSONDecodeError" in failures(broken)
    for result in (closed, broken):
        kinds = {event.event_type_value for event in result.all_events}
        assert "STEP_FAILURE" in kinds
        assert not {"STEP_UP_FOR_RETRY", "STEP_RESTARTED"} & kinds
