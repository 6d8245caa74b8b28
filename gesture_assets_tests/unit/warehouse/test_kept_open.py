"""The warehouse of a run stays open between its steps, until a step is broken off or somebody waits for it."""

import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest

from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.schemas import STAGE, STEPS
from gesture_assets.warehouse.warehouse import Warehouse, kept_open
from gesture_assets_tests.forks import ROOT
from gesture_assets_tests.unit.warehouse.test_run_queue import under_way

DAY = date(2026, 3, 9)


def step(name: str) -> RunInfo:
    return RunInfo("run-0001", datetime(2026, 3, 10, 2), (DAY,), name)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", 10, create=RECORDS)


def is_free(warehouse: Warehouse) -> bool:
    """Whether another process can have the lock at once, and the file with it."""
    code = (
        "import sys, duckdb; from pathlib import Path; from gesture_assets.warehouse.lock import writer_lock\n"
        "with writer_lock(Path(sys.argv[1]).with_suffix('.lock'), holder='x', timeout_seconds=0):\n"
        "    duckdb.connect(sys.argv[1]).close()"
    )
    return not subprocess.run(
        [sys.executable, "-c", code, str(warehouse.path)], cwd=ROOT, capture_output=True
    ).returncode


def test_steps_of_a_run_have_one_connection_and_each_its_own_session(warehouse: Warehouse) -> None:
    with kept_open(warehouse.path):
        with warehouse.open(step("first")) as first:
            first.connection.execute(f"create table {STAGE}.sessions as select 1")
            first.connection.execute(f"create table {STEPS}.a_step as select 1")
        assert not is_free(warehouse)
        with warehouse.open(step("second")) as second:
            assert second.connection is first.connection
            assert second.run.step == "second"
            assert '"holder": "second' in warehouse.path.with_suffix(".lock").read_text()
            left = second.connection.execute("from duckdb_tables() where database_name = 'scratch'").fetchall()
            assert left == []
    assert is_free(warehouse)
    with pytest.raises(duckdb.ConnectionException):
        first.connection.execute("select 1")


def test_without_a_run_it_is_closed_after_each_use(warehouse: Warehouse) -> None:
    with warehouse.open(step("first")):
        pass
    assert is_free(warehouse)


def test_once_a_step_is_broken_off_it_is_closed_after_each(warehouse: Warehouse) -> None:
    with kept_open(warehouse.path):
        with pytest.raises(ZeroDivisionError), warehouse.open(step("first")):
            raise ZeroDivisionError
        assert is_free(warehouse)
        with warehouse.open(step("second")) as second:
            assert second.connection.execute("select 1").fetchone() == (1,)
        assert is_free(warehouse)  # the run may wait half a minute before it tries the first again
    with kept_open(warehouse.path):
        with warehouse.open(step("first")):
            pass
        assert not is_free(warehouse)


@pytest.mark.slow
def test_a_backfill_that_keeps_it_lets_the_nightly_pass(warehouse: Warehouse) -> None:
    backfill = replace(step("user_features"), days=(date(2026, 3, 1),))
    assert backfill.is_only_backfill
    with kept_open(warehouse.path), ExitStack() as stack:
        with warehouse.open(backfill):
            pass
        assert not is_free(warehouse)
        began = time.monotonic()
        stack.enter_context(under_way(RunQueue.beside(warehouse.path), "run-0002", "nightly", DAY, seconds=1))
        with warehouse.open(backfill):
            assert time.monotonic() - began > 0.9


def test_what_a_step_had_in_memory_or_attached_is_gone_for_the_next(warehouse: Warehouse, tmp_path: Path) -> None:
    with kept_open(warehouse.path):
        with warehouse.open(step("first")) as first:
            in_memory = nw.from_native(pl.DataFrame({"a": [1]}).lazy())
            first.set_aside("a_table", in_memory)
            first.connection.execute(f"attach '{tmp_path / 'published.duckdb'}' as published")
        with warehouse.open(step("second")) as second:
            for name in ("frame_in_memory", "scratch.main.a_table"):
                with pytest.raises(duckdb.CatalogException):
                    second.connection.execute(f"from {name}")
            attached = second.connection.execute("select database_name from duckdb_databases()").fetchall()
            assert ("published",) not in attached


def test_what_is_known_of_the_ledger_lasts_while_it_stays_open(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    latest = ledger.latest

    def noted(connection: duckdb.DuckDBPyConnection, *tables: str) -> dict[str, ledger.Verdicts]:
        asked.append(tables)
        return latest(connection, *tables) | {"shoes": {}}

    monkeypatch.setattr(ledger, "latest", noted)
    with kept_open(warehouse.path):
        for name in ("first", "second"):
            with warehouse.open(step(name)) as session:
                assert session.latest("shoes") == {}
        assert asked == [()]
    with warehouse.open(step("third")) as session:
        assert session.latest("shoes") == {}
    assert asked == [(), ()]


def test_whoever_waits_has_it_between_two_steps(warehouse: Warehouse) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gesture_assets.warehouse.lock import writer_lock\n"
        "print('here', flush=True)\n"
        "with writer_lock(Path(sys.argv[1]), holder='waiting', timeout_seconds=20):\n"
        "    print('has it', flush=True)\n"
    )
    lock = warehouse.path.with_suffix(".lock")
    command = [sys.executable, "-c", code, str(lock)]
    with ExitStack() as stack:
        stack.enter_context(kept_open(warehouse.path))
        with warehouse.open(step("first")):
            waiting = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            assert waiting.stdout
            assert waiting.stdout.readline() == "here\n"
            while "waiting" not in lock.with_name(lock.name + ".next").read_text():
                assert waiting.poll() is None
        assert waiting.stdout.readline() == "has it\n"  # and the run goes on
        with warehouse.open(step("second")) as second:
            assert second.connection.execute("select 1").fetchone() == (1,)


def test_a_failed_night_is_told_by_the_process_that_has_it_open(warehouse: Warehouse) -> None:
    with kept_open(warehouse.path):
        with warehouse.open(step("first")):
            pass
        patient = Warehouse(warehouse.path, 0, create=RECORDS)  # as the hook opens it, with a patience of its own
        with patient.open(step("alert")) as session:
            assert session.run.step == "alert"
