"""What Dagster loads: the shape of the graph, the face of every asset, its gates, the job and its schedule."""

import itertools
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import PROVENANCE
from gesture_assets.definitions import build_definitions
from gesture_assets.defs.assets import daily
from gesture_assets.nights.all_steps import all_steps, training_steps
from gesture_assets.settings import load_settings
from gesture_assets.vocabulary.severity import WARN_ONLY, Severity

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = load_settings({})
DAILY = daily(SETTINGS)
defs = build_definitions(SETTINGS)
CONTRACTS = {contract.name: contract for contract in catalogue(SETTINGS.tags).tables}
JOBS = ("nightly", "train", "explain_changes", "train_ranker")
PUBLICATION, REPORT = "published_warehouse", "validation_results"
LAST = {PUBLICATION, REPORT}
NIGHTLY_TABLES = {name for name, contract in CONTRACTS.items() if contract.is_nightly}
LEARNT = {table.name for step in training_steps() for table in step.tables}
RANKED = {"ping_rankers", "ping_ranker_evaluation"}
ON_DEMAND = set(CONTRACTS) - NIGHTLY_TABLES - LEARNT - RANKED

# What the contracts declare is drawn (`test_gate_coverage.py`). These edges are meant, whatever they declare: what
# people score by, what they learn from, and what an alarm may be about.
MEANT = {
    "sessions": {"raw_events"},
    "user_features": {"daily_activity", "activity_to_date", "identity_links", "validated_subscribers"},
    "top_users": {"rule_scores"},
    "intent_scores": {"rule_scores", "model_scores"},
    "training_set": {"user_features", "daily_activity", "validated_subscribers"},
    "alerts": {"drift_reports", "performance_report"},
}
SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
ASSETS = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
CHECKS: list[dg.AssetCheckSpec] = [check for asset in ASSETS for check in asset.check_specs]
NIGHTLY = defs.resolve_job_def("nightly")
SCHEDULE = defs.resolve_schedule_def("nightly_schedule")


def upstream(name: str) -> set[str]:
    return {dep.asset_key.to_user_string() for dep in SPECS[name].deps}


def ancestors(name: str) -> set[str]:
    parents = upstream(name)
    return parents.union(*(ancestors(parent) for parent in parents)) if parents else set()


def tick(moment: str) -> list[Any]:
    at = datetime.fromisoformat(moment).astimezone(UTC)
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    return list(SCHEDULE.evaluate_tick(context).run_requests or ())


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)
    assert set(SPECS) == {*CONTRACTS, *LAST}


@pytest.mark.slow
def test_dagster_validates_the_workspace(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"DAGSTER_HOME": str(tmp_path), "PATH": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gesture_assets" in done.stdout + done.stderr


@pytest.mark.slow
def test_dagster_refuses_a_workspace_whose_module_is_not_there(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace.yaml"
    text = (ROOT / "workspace.yaml").read_text()
    workspace.write_text(text.replace("gesture_assets.definitions", "gesture_assets.nowhere"))
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(workspace)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"DAGSTER_HOME": str(tmp_path), "PATH": ""}
    )
    assert done.returncode != 0


def test_workspace_and_pyproject_name_one_location_and_module() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dagster"]
    assert workspace == {
        "load_from": [
            {"python_module": {"module_name": project["module_name"], "location_name": project["code_location_name"]}}
        ]
    }
    assert project == {"module_name": "gesture_assets.definitions", "code_location_name": "gesture_assets"}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_asset_says_what_it_is_and_whose(name: str) -> None:
    spec = SPECS[name]
    assert len(spec.description or "") > 40
    assert spec.group_name not in (None, "default")
    assert all("@" in owner for owner in spec.owners)
    assert spec.owners
    assert "duckdb" in spec.kinds
    assert spec.tags["layer"] == spec.group_name
    assert spec.partitions_def == DAILY


def test_partitions_are_days_in_utc_from_the_configured_start() -> None:
    assert DAILY.timezone == "UTC"
    assert DAILY.cron_schedule == "0 0 * * *"
    assert DAILY.get_first_partition_key() == str(SETTINGS.partitions_start)
    window = DAILY.time_window_for_partition_key("2026-03-29")  # a day of 23 hours in half of Europe
    assert (window.end - window.start).total_seconds() == 24 * 3600


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_column_schema_of_an_asset_is_its_contract_with_the_provenance(name: str) -> None:
    schema = SPECS[name].metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    columns = [(column.name, column.type) for column in schema.columns]
    assert columns[: -len(PROVENANCE)] == [(column.name, column.type) for column in CONTRACTS[name].columns]
    assert [column for column, _ in columns[-len(PROVENANCE) :]] == list(PROVENANCE)
    assert not [column.name for column in schema.columns if not column.description]


def test_the_publication_is_a_file_and_says_where() -> None:
    assert SPECS[PUBLICATION].metadata["path"] == "data/gesture.duckdb"


def test_a_backfill_is_one_run_and_failures_of_the_machine_are_tried_again() -> None:
    for asset in ASSETS:
        assert asset.backfill_policy == dg.BackfillPolicy.single_run(), asset.node_def.name
        jobs = [defs.resolve_job_def(name) for name in JOBS]
        job = next(job for job in jobs if asset.node_def.name in {node.name for node in job.nodes})
        policy = job.get_node_named(asset.node_def.name).definition.retry_policy  # pyright: ignore
        assert policy is not None, asset.node_def.name
        assert policy.max_retries == SETTINGS.retry_count, asset.node_def.name


def test_every_asset_has_a_check_that_blocks() -> None:
    blocking = {check.asset_key.to_user_string() for check in CHECKS if check.blocking}
    assert blocking == set(SPECS)


def test_every_expectation_is_one_check_of_its_asset_and_only_warnings_let_a_night_pass() -> None:
    expected = {
        (contract.name, check.name): check.severity is Severity.ERROR
        for contract in CONTRACTS.values()
        for check in contract.checks
    }
    found = {(check.asset_key.to_user_string(), check.name): check.blocking for check in CHECKS}
    assert len(found) == len(CHECKS)
    own = {key: blocking for key, blocking in found.items() if key[0] not in LAST}
    assert own == expected
    assert {name for (_, name), blocking in found.items() if not blocking} == {
        *WARN_ONLY,
        "the_newest_day_is_the_last_complete_day",
    }
    assert found[(PUBLICATION, "the_published_file_holds_what_passed")]
    assert found[(REPORT, "success_is_what_the_checks_say")]


def test_every_check_says_what_to_do_when_it_fails() -> None:
    silent = [
        check.name
        for check in CHECKS
        if check.asset_key.path[-1] not in LAST and "When it fails: " not in (check.description or "")
    ]
    assert silent == []


@pytest.mark.parametrize("name", MEANT)
def test_the_graph_has_the_edges_that_are_meant(name: str) -> None:
    assert MEANT[name] <= upstream(name)


def test_tables_that_are_built_together_wait_for_the_same() -> None:
    # Dagster refuses to backfill a step in part, which is what differing dependencies come to.
    for step in all_steps():
        assert len({frozenset(table.upstream) for table in step.tables}) <= 1, step.name


def test_nothing_of_a_night_waits_for_what_is_asked_for() -> None:
    assert [name for name in NIGHTLY_TABLES if ancestors(name) - NIGHTLY_TABLES] == []


def test_a_night_collects_validates_builds_features_scores_and_publishes_in_this_order() -> None:
    order = ["raw_events", "sessions", "daily_activity", "user_features", "rule_scores", "top_users", PUBLICATION]
    for earlier, later in itertools.pairwise(order):
        assert earlier in ancestors(later), f"{later} does not wait for {earlier}"
        assert later not in ancestors(earlier)
    assert "validated_subscribers" in ancestors("user_features")


@pytest.mark.parametrize("last", sorted(LAST))
def test_what_leaves_the_warehouse_waits_for_everything_and_nothing_waits_for_it(last: str) -> None:
    assert ancestors(last) == NIGHTLY_TABLES
    assert not [name for name in SPECS if last in upstream(name)]


def test_the_nightly_holds_every_asset_but_those_that_are_asked_for() -> None:
    jobs = {job.name: job.asset_layer.executable_asset_keys for job in map(defs.resolve_job_def, JOBS)}
    held = {name: {key.to_user_string() for key in keys} for name, keys in jobs.items()}
    asked_for = {"train": LEARNT, "explain_changes": ON_DEMAND, "train_ranker": RANKED}
    assert held == {"nightly": NIGHTLY_TABLES | LAST, **asked_for}
    assert "training_set" in LEARNT
    assert "score_changes" in ON_DEMAND


def test_steps_run_in_one_process_for_there_is_one_writer() -> None:
    assert defs.executor is dg.in_process_executor
    assert NIGHTLY.executor_def is dg.in_process_executor


@pytest.mark.parametrize(
    ("job", "hooks"),
    [("nightly", {"night_failed"}), ("train", {"training_failed", "training_passed"}), ("explain_changes", set())],
)
def test_a_night_and_a_training_that_fail_tell_people(job: str, hooks: set[str]) -> None:
    assert {hook.name for hook in defs.resolve_job_def(job).hook_defs} == hooks


def test_what_ends_a_failed_training_is_its_last_step() -> None:
    last = {table.name for table in training_steps()[-1].tables}
    assert {name for name in LEARNT if not [other for other in LEARNT if name in upstream(other)]} == last


def test_the_schedule_asks_for_yesterday_at_two_in_utc() -> None:
    assert (SCHEDULE.cron_schedule, SCHEDULE.execution_timezone) == ("0 2 * * *", "UTC")
    assert SCHEDULE.default_status == dg.DefaultScheduleStatus.RUNNING
    requests = tick("2026-11-20T02:00+00:00")
    assert [request.partition_key for request in requests] == ["2026-11-19"]


def test_the_refresh_is_hourly_after_the_night_and_off_until_somebody_starts_it() -> None:
    schedule = defs.resolve_schedule_def("refresh_schedule")
    assert (schedule.job_name, schedule.default_status) == ("refresh", dg.DefaultScheduleStatus.STOPPED)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("20 3-23 * * *", "UTC")


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-03-08T02:00+00:00", "2026-03-07"),  # America: 02:00 does not exist on the 8th
        ("2026-03-09T02:00+00:00", "2026-03-08"),
        ("2026-03-29T02:00+00:00", "2026-03-28"),  # Europe: 02:00 does not exist on the 29th
        ("2026-03-30T02:00+00:00", "2026-03-29"),
        ("2026-10-25T02:00+00:00", "2026-10-24"),  # Europe: 02:00 comes twice on the 25th
        ("2026-10-26T02:00+00:00", "2026-10-25"),
        ("2028-03-01T02:00+00:00", "2028-02-29"),
    ],
)
def test_a_change_of_clocks_neither_skips_nor_repeats_a_day(moment: str, day: str) -> None:
    assert [request.partition_key for request in tick(moment)] == [day]


def test_the_schedule_asks_for_nothing_before_the_first_day_is_over() -> None:
    assert tick("2024-01-01T02:00+00:00") == []


def test_every_step_is_loaded_and_nothing_else_is() -> None:
    assert {asset.op.name for asset in ASSETS} == {step.name for step in all_steps()}
    assert {job.name for job in defs.jobs or ()} == {*JOBS, "refresh"}
    assert {schedule.name for schedule in defs.schedules or ()} == {"nightly_schedule", "refresh_schedule"}
    assert {sensor.name for sensor in defs.sensors or ()} == {"killed_runs", "retrain_when_called_for"}
