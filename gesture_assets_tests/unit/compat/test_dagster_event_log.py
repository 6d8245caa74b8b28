"""A log written a step at a time tells what Dagster's own tells: to its own process, to others, and of bad ends."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.event_log import SqliteEventLogStorage

from gesture_assets.cli.dagster_home import DAGSTER_YAML
from gesture_assets.compat.dagster_event_log import StepwiseEventLog

DAYS = dg.DailyPartitionsDefinition("2026-03-01")
DAY, NEXT = "2026-03-09", "2026-03-10"
ODD, EVEN = (dg.AssetCheckSpec(name, asset="visits", partitions_def=DAYS) for name in ("odd", "even"))
STORED = "event_log_storage:\n  module: gesture_assets.compat.dagster_event_log\n  class: StepwiseEventLog\n"


@dg.multi_asset(
    specs=[dg.AssetSpec("visits"), dg.AssetSpec("pages")],
    check_specs=[ODD, EVEN],
    partitions_def=DAYS,
    can_subset=False,
)
def counted(context: dg.AssetExecutionContext) -> Iterator[Any]:
    for spec, passed in ((ODD, True), (EVEN, False)):
        yield dg.AssetCheckEvaluation(
            asset_key=spec.asset_key, check_name=spec.name, passed=passed, partition=context.partition_keys[0]
        )
        yield dg.Output(None, spec.get_python_identifier())
    if context.run.tags.get("broken"):
        raise ValueError("broken off")
    yield dg.MaterializeResult(
        asset_key="visits", metadata={"rows": 3, "sql": "select 1"}, data_version=dg.DataVersion("a")
    )
    yield dg.MaterializeResult(asset_key="pages", metadata={"rows": 5}, data_version=dg.DataVersion("b"))


@pytest.fixture(params=["ours", "Dagster's"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with our log, or with Dagster's own."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert STORED in DAGSTER_YAML
    (tmp_path / "dagster.yaml").write_text(
        DAGSTER_YAML if request.param == "ours" else DAGSTER_YAML.replace(STORED, "")
    )
    return tmp_path


def run(instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(assets=[counted], jobs=[dg.define_asset_job("nightly")], executor=dg.in_process_executor)
    loggers = {"console": {"config": {"log_level": "CRITICAL"}}}
    return job.resolve_job_def("nightly").execute_in_process(
        instance=instance, partition_key=None if "dagster/asset_partition_range_start" in tags else DAY,
        tags=tags, run_config={"loggers": loggers}, raise_on_error=False,
    )  # fmt: skip


def told(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The kinds of a run's events, in order; the log's own lines aside."""
    records = instance.get_records_for_run(run_id).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event.event_type_value for event in events if event]


def checks(instance: dg.DagsterInstance, name: str) -> list[tuple[str | None, Status, bool]]:
    """Day, status and whether there is an evaluation to look at, the newest first."""
    key = dg.AssetCheckKey(dg.AssetKey("visits"), name)
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    return [
        (record.partition, record.status, record.status is not Status.PLANNED and bool(record.event))
        for record in found
    ]


def test_a_home_of_ours_has_this_log_and_its_files_where_dagster_has_them(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run(instance)
        is_ours = "event_log_storage" in (home / "dagster.yaml").read_text()
        assert isinstance(instance.event_log_storage, StepwiseEventLog if is_ours else SqliteEventLogStorage)
    assert len(list((home / "history" / "runs").glob("*.db"))) == 2, "the run's and the index of all runs"


def test_a_run_is_told_in_order_with_all_its_events(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        result = run(instance)
        kinds = told(instance, result.run_id)
    assert result.success
    planned = [dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED]
    assert sorted(kinds[:4]) == sorted(2 * [kind.value for kind in planned])
    between = kinds[kinds.index("STEP_START") + 1 : kinds.index("STEP_SUCCESS")]
    assert [kind for kind in between if kind != "STEP_OUTPUT"] == [
        "ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION", "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION"
    ]  # fmt: skip
    assert between.count("STEP_OUTPUT") == 4


def test_checks_and_materialisations_are_found_by_whoever_looks_them_up(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        result = run(instance)
        assert checks(instance, "odd") == [(DAY, Status.SUCCEEDED, True)]
        assert checks(instance, "even") == [(DAY, Status.FAILED, True)]
    with dg.DagsterInstance.get() as another:
        assert checks(another, "odd") == [(DAY, Status.SUCCEEDED, True)]
        record = another.get_latest_materialization_event(dg.AssetKey("pages"))
        assert record
        assert record.asset_materialization
        assert record.asset_materialization.metadata["rows"].value == 5
        assert record.asset_materialization.tags is not None
        assert record.asset_materialization.tags["dagster/data_version"] == "b"
        (asset,) = another.get_asset_records([dg.AssetKey("visits")])
        assert asset.asset_entry.last_run_id == result.run_id
        assert another.get_materialized_partitions(dg.AssetKey("visits")) == {DAY}


def test_the_newest_version_of_each_day_is_found_until_the_asset_is_wiped(home: Path) -> None:
    visits, version = dg.AssetKey("visits"), "dagster/data_version"

    def versions(instance: dg.DagsterInstance, *days: str) -> dict[str, dict[str, str]]:
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        found = instance.event_log_storage.get_latest_tags_by_partition(visits, kind, [version], asset_partitions=days)
        return {day: dict(tags) for day, tags in found.items()}

    def materialise(instance: dg.DagsterInstance, day: str, digest: str) -> None:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(visits, partition=day, tags={version: digest, "another": "tag"})
        )

    with dg.DagsterInstance.get() as instance:
        assert versions(instance, DAY, NEXT) == {}
        materialise(instance, DAY, "a")
        materialise(instance, NEXT, "b")
        materialise(instance, DAY, "c")
        assert versions(instance, DAY, NEXT) == {DAY: {version: "c"}, NEXT: {version: "b"}}
        assert versions(instance, NEXT) == {NEXT: {version: "b"}}
        assert versions(instance) == {}
        instance.wipe_assets([visits])
        assert versions(instance, DAY, NEXT) == {}
        materialise(instance, NEXT, "d")
        assert versions(instance, DAY, NEXT) == {NEXT: {version: "d"}}


def test_what_a_range_has_planned_stands_at_each_of_its_days(home: Path) -> None:
    span = {"dagster/asset_partition_range_start": DAY, "dagster/asset_partition_range_end": NEXT}
    with dg.DagsterInstance.get() as instance:
        assert run(instance, **span).success
        assert sorted(checks(instance, "odd")) == [(DAY, Status.SUCCEEDED, True), (NEXT, Status.PLANNED, False)]
        assert instance.get_materialized_partitions(dg.AssetKey("pages")) == {DAY, NEXT}


def test_a_check_that_was_evaluated_before_its_step_broke_keeps_its_verdict(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        result = run(instance, broken="yes")
        assert not result.success
        assert checks(instance, "even") == [(DAY, Status.FAILED, True)]
        kinds = told(instance, result.run_id)
        assert kinds.index("ASSET_CHECK_EVALUATION") < kinds.index("STEP_FAILURE") < kinds.index("PIPELINE_FAILURE")


def test_an_evaluation_that_nobody_planned_is_kept(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        result = run(instance)
        with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
            connection.exec_driver_sql("delete from asset_check_executions")
        records = instance.get_records_for_run(result.run_id).records
        entries = [record.event_log_entry for record in records]
        for entry in entries:
            if entry.dagster_event and entry.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION":
                instance.event_log_storage.store_event(entry)
        assert checks(instance, "odd") == [(DAY, Status.SUCCEEDED, True)]


def test_what_is_the_same_for_all_days_of_a_range_is_kept_once(home: Path) -> None:
    span = {"dagster/asset_partition_range_start": DAY, "dagster/asset_partition_range_end": NEXT}
    with dg.DagsterInstance.get() as instance:
        run(instance, **span)
        found = {}
        for day in (DAY, NEXT):
            (record,) = instance.fetch_materializations(
                dg.AssetRecordsFilter(dg.AssetKey("visits"), asset_partitions=[day]), limit=1
            ).records
            assert record.asset_materialization
            found[day] = {name: value.value for name, value in record.asset_materialization.metadata.items()}
        is_ours = isinstance(instance.event_log_storage, StepwiseEventLog)
    assert found[NEXT] == {"rows": 3, "sql": "select 1"}
    assert found[DAY] == ({"rows": 3} if is_ours else found[NEXT])


def test_a_run_has_a_file_as_dagster_makes_it(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        result = run(instance)
    made = home / "history" / "runs" / f"{result.run_id}.db"
    theirs = SqliteEventLogStorage(str(home / "theirs"))
    with theirs.run_connection("a run"):
        pass
    files = [made, home / "theirs" / "a run.db"]
    assert schema(files[0]) == schema(files[1])


def schema(file: Path) -> tuple[list[tuple[Any, ...]], ...]:
    """What a file of Dagster's log is made of: its tables, indices and columns, its version, how it is written."""
    made = "sqlite_master made, pragma_table_info(made.name) column"
    questions = (
        "select type, name, tbl_name from sqlite_master order by 1, 2, 3",
        f"select made.name, column.name, lower(column.type), column.pk from {made} where made.type = 'table'",
        "select * from alembic_version",
        "pragma journal_mode",
    )
    with closing(sqlite3.connect(file)) as connection:
        return tuple(connection.execute(question).fetchall() for question in questions)


@pytest.mark.parametrize("home", ["ours"], indirect=True)
def test_what_could_not_be_written_is_held_and_written_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = ["the index is locked"]
    index = StepwiseEventLog._index

    def refuse_once(self: StepwiseEventLog, *told: Any) -> None:
        if refusals:
            raise TimeoutError(refusals.pop())
        index(self, *told)

    with dg.DagsterInstance.get() as instance:
        monkeypatch.setattr(StepwiseEventLog, "_index", refuse_once)
        with pytest.raises(TimeoutError, match="the index is locked"):
            run(instance)
        (record,) = instance.get_run_records()
        kinds = told(instance, record.dagster_run.run_id)
        (row,) = checks(instance, "odd")
    assert kinds == 2 * ["ASSET_MATERIALIZATION_PLANNED"] + 2 * ["ASSET_CHECK_EVALUATION_PLANNED"]
    assert row == (DAY, Status.PLANNED, False)
