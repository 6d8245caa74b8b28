"""Ranges and failures by Dagster: good days are materialised, bad ones are not, and no defect is tried again."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.nights import night as open_night
from gesture_assets.nights.all_steps import nightly_steps
from gesture_assets.sources import landing_index
from gesture_assets_tests.running import definitions, failures, run_in_dagster, warehouse
from gesture_assets_tests.small_world import DAYS
from gesture_assets_tests.worlds import SMALL_MOMENT

pytestmark = pytest.mark.slow

LANDED = ("raw_events", "quarantined_events", "landing_reconciliation", "identity_links")
TOO_MANY = "at_most_5_percent_of_rows_are_quarantined"
MOMENT = datetime(2026, 3, 5, 2)


def land(data_dir: Path, *, bad: int = 0) -> None:
    """Four files of a day and two events each; two of three on the day `bad` are nobody's."""
    folder = data_dir / "landing" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    for day in (1, 2, 3, 4):
        user = "" if day == bad else "ada"
        another = f"c{day},,page_view,2026-03-0{day}T12:00:00Z\n" if day == bad else ""
        (folder / f"day-{day}.csv").write_text(
            "event_id,user_id,event_type,event_at\n"
            f"a{day},{user},page_view,2026-03-0{day}T10:00:00Z\nb{day},bob,page_view,2026-03-0{day}T11:00:00Z\n{another}"
        )


def remember_little(patch: pytest.MonkeyPatch) -> None:
    """As if each day held as many values as may be looked at at once."""
    patch.setattr(open_night, "CELLS_AT_ONCE", 1)
    patch.setattr(landing_index, "KEPT_ROWS", 0)


def four_days(instance: dg.DagsterInstance, *, select: str | None = None) -> dg.ExecuteInProcessResult:
    return run_in_dagster("2026-03-01", "2026-03-04", select=select, now=MOMENT, instance=instance)


def ask(data_dir: Path, query: str) -> list[tuple]:
    with warehouse(data_dir) as con:
        return con.execute(query).fetchall()


def materialised(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
) -> dict[str | None, Mapping[str, dg.MetadataValue]]:
    """The days of raw_events that the run told Dagster to be live, and their metadata."""
    logs = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    events = [log.asset_materialization for log in logs if log.asset_materialization]
    return {event.partition: event.metadata for event in events if event.asset_key.path == ["raw_events"]}


def statuses(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, *tables: str) -> dict[str, set[str]]:
    """Day -> the colours of the checks of `tables` in Dagster."""
    by_day: dict[str, set[str]] = {}
    for key in definitions().resolve_asset_graph().asset_check_keys:
        if key.asset_key.path[-1] in tables:
            for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=99):
                if record.run_id == result.run_id:
                    by_day.setdefault(str(record.partition), set()).add(record.status.value)
    return by_day


def test_each_day_of_a_range_has_its_own_colour_and_none_stays_planned(data_dir: Path) -> None:
    land(data_dir, bad=2)
    green = {"SUCCEEDED"}
    with dg.DagsterInstance.ephemeral() as instance:
        spoilt = four_days(instance)
        colours = statuses(instance, spoilt, "landing_reconciliation")
        assert colours.pop("2026-03-02") == {"SUCCEEDED", "FAILED"}
        assert colours == {"2026-03-01": green, "2026-03-03": green, "2026-03-04": green}
        land(data_dir)
        mended = four_days(instance)
        assert statuses(instance, mended, "landing_reconciliation") == dict.fromkeys(
            ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"), green
        )
        every = statuses(instance, mended, *(step.name for step in nightly_steps()), *catalogue().by_name)
        assert set(every) == {"2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"}
        assert set.union(*every.values()) <= {"SUCCEEDED", "FAILED"}
        told = mended.get_asset_check_evaluations()
        kept = [
            (record.key, record.partition)
            for key in {check.asset_check_key for check in told}
            for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=99)
            if record.run_id == mended.run_id
        ]
        nightly = [check for step in nightly_steps() for table in step.tables for check in table.checks]
        assert len(kept) == len(set(kept)) >= 4 * len(nightly)
        assert mended.success, failures(mended)
        # A day of its own changes nothing of the others, nor of one that failed.
        alone = run_in_dagster("2026-03-03", now=MOMENT, instance=instance)
        assert set(statuses(instance, alone, *catalogue().by_name)) == {"2026-03-03"}
        for check in mended.get_asset_check_evaluations():
            history = instance.event_log_storage.get_asset_check_execution_history(check.asset_check_key, limit=99)
            assert next(record.run_id for record in history if record.partition == "2026-03-01") == mended.run_id
        land(data_dir, bad=4)
        poisoned = run_in_dagster("2026-03-04", now=MOMENT, instance=instance)
        backfilled = run_in_dagster("2026-03-02", now=MOMENT, instance=instance)
        assert not poisoned.success
        assert backfilled.success, failures(backfilled)
        newest: dict[tuple[str, str], dict[str, str]] = {}
        for key in definitions().resolve_asset_graph().asset_check_keys:
            records = instance.event_log_storage.get_asset_check_execution_history(key, limit=99)
            newest[key.asset_key.path[-1], key.name] = {str(one.partition): one.status.value for one in records[::-1]}
        of_check = newest["landing_reconciliation", TOO_MANY]
        assert of_check == dict.fromkeys(("2026-03-01", "2026-03-02", "2026-03-03"), "SUCCEEDED") | {
            "2026-03-04": "FAILED"
        }
        behind = [colours for (table, _), colours in newest.items() if table in ("sessions", "rule_scores")]
        assert behind
        assert {colour for colours in behind for colour in colours.values()} == {"SUCCEEDED"}


def test_each_bad_day_shows_its_own_rows(data_dir: Path) -> None:
    land(data_dir, bad=2)
    file = data_dir / "landing" / "native" / "day-3.csv"
    file.write_text(file.read_text().replace(",ada,", ",,").replace(",bob,", ",,"))
    key = dg.AssetCheckKey(dg.AssetKey("landing_reconciliation"), TOO_MANY)
    with dg.DagsterInstance.ephemeral() as instance:
        spoilt = four_days(instance, select="raw_events")
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=99)
        shown = {
            record.partition: str(record.event.dagster_event.asset_check_evaluation_data.metadata["sample"].value)
            for record in history
            if record.run_id == spoilt.run_id and record.status.value == "FAILED" and record.event.dagster_event
        }
    assert set(shown) == {"2026-03-02", "2026-03-03"}
    for day, sample in shown.items():
        assert f"day-{day[-1]}.csv" in sample
        assert day in sample


def test_what_stands_behind_a_failure_was_not_asked_and_keeps_its_colour(data_dir: Path) -> None:
    behind = ("sessions", "user_features", "rule_scores", "published_warehouse")
    with dg.DagsterInstance.ephemeral() as instance:
        land(data_dir)
        good = run_in_dagster("2026-03-02", now=MOMENT, instance=instance)
        before = statuses(instance, good, *behind)
        land(data_dir, bad=2)
        spoilt = run_in_dagster("2026-03-02", now=MOMENT, instance=instance)
        assert not spoilt.success
        assert statuses(instance, spoilt, *behind) == {}
        assert statuses(instance, good, *behind) == before
        assert statuses(instance, spoilt, "landing_reconciliation") == {"2026-03-02": {"SUCCEEDED", "FAILED"}}
        every = statuses(instance, spoilt, *(step.name for step in nightly_steps()), *catalogue().by_name)
        assert set.union(*every.values()) == {"SUCCEEDED", "FAILED"}


def test_good_days_of_a_range_are_live_and_materialised_and_the_bad_one_is_neither(data_dir: Path) -> None:
    land(data_dir, bad=2)
    good = {"2026-03-01", "2026-03-03", "2026-03-04"}
    with dg.DagsterInstance.ephemeral() as instance:
        result = four_days(instance)
        for table in LANDED:
            assert instance.get_materialized_partitions(dg.AssetKey(table)) == good, table
        told = materialised(instance, result)
        assert {day: metadata["dagster/row_count"].value for day, metadata in told.items()} == dict.fromkeys(good, 2)
        for table in ("sessions", "user_features", "published_warehouse"):  # nothing is built on a night with a hole
            assert instance.get_materialized_partitions(dg.AssetKey(table)) == set(), table
    assert not result.success
    assert "2026-03-02" in failures(result)
    assert "2026-03-01" not in failures(result)
    live = ask(data_dir, "select as_of_date::varchar, count(*) from raw_events group by all order by all")
    assert live == [(day, 2) for day in sorted(good)]
    verdicts = ask(data_dir, "select partition::varchar, verdict from gate_ledger where table_name = 'raw_events'")
    assert dict(verdicts) == {**dict.fromkeys(good, "PASS"), "2026-03-02": "FAIL"}
    assert ask(data_dir, "select count(*) from rejected.quarantined_events") == [(2,)]
    assert not (data_dir / "gesture.duckdb").exists()
    # The report is written by the step that failed.
    report = json.loads((data_dir / "validation_results.json").read_text())
    assert (report["success"], report["run_id"]) == (False, result.run_id)
    failed = {(one["table"], one["day"]) for one in report["results"] if not one["success"]}
    assert failed == {(table, "2026-03-02") for table in LANDED}
    checks = [check for one in report["results"] for check in one["checks"]]
    assert {check["name"] for check in checks if not check["passed"] and check["severity"] == "ERROR"} == {TOO_MANY}
    # And the check shows the rows and what to do.
    errors = [
        check
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]
    (check,) = errors
    assert (check.asset_key.path[-1], check.check_name) == ("landing_reconciliation", TOO_MANY)
    metadata = {name: value.value for name, value in check.metadata.items()}
    assert metadata["found"] == 1
    assert "missing_user_id 2" in metadata["sample"]
    assert "gesture quarantine show --date DAY" in metadata["recovery"]


def test_each_day_of_a_range_is_told_with_its_own_rows_and_a_quiet_one_with_none(data_dir: Path) -> None:
    land(data_dir)
    folder = data_dir / "landing" / "native"
    (folder / "day-3.csv").unlink()
    with (folder / "day-2.csv").open("a") as stream:
        stream.write("c2,cyd,page_view,2026-03-02T12:00:00Z\n")
    with dg.DagsterInstance.ephemeral() as instance:
        result = four_days(instance)
        assert result.success, failures(result)
        told = materialised(instance, result)
    rows = {day: metadata["dagster/row_count"].value for day, metadata in told.items()}
    assert rows == {"2026-03-01": 2, "2026-03-02": 3, "2026-03-03": 0, "2026-03-04": 2}
    live = "select partition::varchar, content_hash from gate_ledger where table_name = 'raw_events'"
    hashes = {day: str(metadata["content_hash"].value) for day, metadata in told.items()}
    assert hashes == dict(ask(data_dir, live)) | {"2026-03-03": ""}


def test_a_bad_day_among_chunks_of_a_range_keeps_back_nothing_but_itself(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_little(monkeypatch)
    land(data_dir, bad=2)
    with dg.DagsterInstance.ephemeral() as instance:
        result = four_days(instance, select="raw_events")
        told = materialised(instance, result)
    assert list(told) == ["2026-03-01", "2026-03-03", "2026-03-04"]
    notes = {name: told["2026-03-01"][name].value for name in ("landed", "duplicates", "quarantined_by_reason")}
    assert notes == {"landed": 9, "duplicates": 0, "quarantined_by_reason": "missing_user_id 2"}
    assert not result.success
    assert "did not pass the audit for 2026-03-02; the last good version stays live" in failures(result)
    live = "select as_of_date::varchar, count(*) from raw_events group by all order by all"
    assert ask(data_dir, live) == [("2026-03-01", 2), ("2026-03-03", 2), ("2026-03-04", 2)]
    checks = result.get_asset_check_evaluations()
    told_once = [(check.asset_key.path[0], check.check_name, check.partition) for check in checks]
    assert len(told_once) == len(set(told_once))
    assert [(check.check_name, check.partition) for check in checks if not check.passed] == [(TOO_MANY, "2026-03-02")]


def test_chunks_before_one_that_cannot_be_read_are_live_and_dagster_knows(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_little(monkeypatch)
    land(data_dir)
    with dg.DagsterInstance.ephemeral() as instance:
        assert four_days(instance, select="raw_events").success
        (data_dir / "landing" / "native" / "day-3.csv").unlink()
        result = four_days(instance, select="raw_events")
        assert list(materialised(instance, result)) == ["2026-03-01", "2026-03-02"]
    assert not result.success
    assert "day-3.csv" in failures(result)
    attempts = "select partition::varchar, max(attempt) from gate_ledger where table_name = 'raw_events' group by all"
    assert ask(data_dir, f"{attempts} order by all") == [
        ("2026-03-01", 2),
        ("2026-03-02", 2),
        ("2026-03-03", 1),
        ("2026-03-04", 1),
    ]


def test_a_closed_gate_and_a_defect_are_not_tried_again(copied_world: Callable[[str], Path]) -> None:
    ledger = str(copied_world("small") / "warehouse.duckdb")

    def spoil(column: str, value: str) -> None:
        with duckdb.connect(ledger) as con:
            con.execute(f"update gate_ledger set {column} = ? where table_name = 'daily_activity'", [value])

    spoil("verdict", "FAIL")
    closed = run_in_dagster(DAYS[3], now=SMALL_MOMENT, select="user_features")
    assert "GateClosed" in failures(closed)
    spoil("checks", "no json")
    broken = run_in_dagster(DAYS[3], now=SMALL_MOMENT, select="user_features")
    assert "JSONDecodeError" in failures(broken)
    for result in (closed, broken):
        kinds = {event.event_type_value for event in result.all_events}
        assert "STEP_FAILURE" in kinds
        assert not {"STEP_UP_FOR_RETRY", "STEP_RESTARTED"} & kinds
