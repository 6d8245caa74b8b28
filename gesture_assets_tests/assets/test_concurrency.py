"""Runs that are started together: they all succeed, the nightly first, and readers read right answers throughout."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from gesture_assets.cli import app
from gesture_assets.nights.steps import Step
from gesture_assets_tests import small_world
from gesture_assets_tests.assets.test_crashes import dagster_runs, hashes, in_child, whole
from gesture_assets_tests.forks import (
    end_of,
    environment,
    fork,
    gesture,
    import_everything,
    in_a_process,
    run,
    wait_until_said,
    write_world,
    yesterday,
)

HERE = "gesture_assets_tests.assets.test_concurrency"
DAYS = 31


def day(number: int, *, days: int = DAYS) -> str:
    """Day `number` of a world of `days` days, from 1; the last is yesterday."""
    return str(yesterday() - timedelta(days=days - number))


def reader(link: Path, stop: Path, answers: Path) -> Callable[[], None]:
    """Reads one published file that stays open, and whatever is published at the moment, until `stop` is there."""

    def read() -> None:
        import duckdb

        query = "select count(*), sum(score)::decimal(18, 6) from rule_scores where as_of_date = ?"
        kept = duckdb.connect(str(link.resolve()), read_only=True)
        own = kept.execute("select max(as_of_date), any_value(snapshot_id) from manifest").fetchone()
        assert own
        right, looks, snapshots = kept.execute(query, [own[0]]).fetchone(), 0, set()
        while not stop.exists() or looks < 3:
            assert kept.execute(query, [own[0]]).fetchone() == right
            assert kept.execute("select any_value(snapshot_id) from manifest").fetchone() == (own[1],)
            with duckdb.connect(str(link.resolve()), read_only=True) as now:
                assert now.execute(query, [own[0]]).fetchone() == right
                snapshots |= set(now.execute("select distinct snapshot_id from manifest").fetchall())
            looks += 1
            time.sleep(1)
        kept.close()
        answers.write_text(f"{looks} {len(snapshots)}")

    return read


def two_together(root: str) -> dict[str, Any]:
    """A backfill of the second of three days and the nightly that needs it, started together while somebody reads."""
    import_everything()
    folder, log = Path(root), Path(root) / "log"
    data_dir, undisturbed = folder / "data", folder / "undisturbed"
    first, second, third = (day(number, days=3) for number in (1, 2, 3))
    os.environ["GESTURE_DATA_DIR"] = str(data_dir)
    assert run(lambda: write_world(data_dir, days=3), log) == 0, log.read_text()
    assert run(gesture("run", "--date", first), log) == 0, log.read_text()
    shutil.copytree(data_dir, undisturbed, symlinks=True)
    stop, answer, logs = folder / "stop", folder / "answer", [folder / "backfill.log", folder / "nightly.log"]
    reading = fork(reader(data_dir / "gesture.duckdb", stop, answer), log)
    pids = [fork(gesture("run", "--date", second), logs[0]), fork(gesture("run", "--date", third), logs[1])]
    found: dict[str, Any] = {"ended": [end_of(pid) for pid in pids], "said": [own.read_text() for own in logs]}
    stop.touch()
    found["reader"] = end_of(reading)
    found["snapshots"] = int(answer.read_text().split()[1])
    found["published"] = in_child(lambda: whole(data_dir), log)
    found["hashes"] = in_child(lambda: hashes(data_dir), log)
    os.environ["GESTURE_DATA_DIR"] = str(undisturbed)
    assert run(gesture("run"), log) == 0, log.read_text()
    found["undisturbed"] = in_child(lambda: hashes(undisturbed), log)
    found["log"] = log.read_text()[-3000:]
    return found


@pytest.mark.slow
def test_a_backfill_and_the_nightly_that_needs_it_both_succeed_and_a_reader_never_notices(tmp_path: Path) -> None:
    found = in_a_process(HERE, "two_together", tmp_path, environment=environment(tmp_path))
    assert found["ended"] == [0, 0], found["said"]
    assert any(re.search(r"waits for .*held by PID \d+ \(", said) for said in found["said"]), found["said"]
    assert found["reader"] == 0, found["log"]
    assert found["snapshots"] >= 2
    assert found["published"] == day(3, days=3)
    assert found["hashes"] == found["undisturbed"]


def started_together(root: str) -> dict[str, Any]:
    """Eight nights at once; a nightly with a backfill that it needs; a nightly into a backfill that is under way."""
    import_everything()
    folder, log = Path(root), Path(root) / "log"
    data_dir, undisturbed = folder / "data", folder / "undisturbed"
    os.environ["GESTURE_DATA_DIR"] = str(data_dir)
    assert run(lambda: write_world(data_dir, days=DAYS), log) == 0, log.read_text()
    shutil.copytree(data_dir, undisturbed)
    found: dict[str, Any] = {}

    # The latest day first: each needs all days before it, which others are only about to build.
    logs = {number: folder / f"night-{number}.log" for number in range(8, 0, -1)}
    pids = {number: fork(gesture("run", "--date", day(number)), own) for number, own in logs.items()}
    found["eight"] = [end_of(pid) for pid in pids.values()]
    found["eight said"] = "".join(own.read_text() for own in logs.values())
    found["eight pids"] = list(pids.values())
    found["eight published"] = in_child(lambda: whole(data_dir), log)

    stop = folder / "stop"
    answers = [folder / f"answer-{number}" for number in range(3)]
    readers = [fork(reader(data_dir / "gesture.duckdb", stop, answer), log) for answer in answers]

    nightly, backfill = folder / "nightly.log", folder / "backfill.log"
    one = fork(gesture("run", "--from", day(1), "--to", day(DAYS - 1)), backfill)
    two = fork(gesture("run", "--date", day(DAYS)), nightly)
    found["together"] = [end_of(one), end_of(two)]
    found["together said"] = [backfill.read_text(), nightly.read_text()]
    found["together published"] = in_child(lambda: whole(data_dir), log)

    one = fork(gesture("run", "--from", day(1), "--to", day(DAYS - 1), "--rebuild"), folder / "again.log")
    wait_until_said(folder / "again.log", "staged", one)  # it is in its first step
    two = fork(gesture("run", "--date", day(DAYS), "--rebuild"), folder / "first.log")
    found["first"] = end_of(two)
    found["backfill was still under way"] = os.waitpid(one, os.WNOHANG) == (0, 0)
    found["again"] = end_of(one) if found["backfill was still under way"] else None
    found["again said"] = (folder / "again.log").read_text()

    stop.touch()
    found["readers"] = [end_of(pid) for pid in readers]
    found["answers"] = [answer.read_text().split() for answer in answers if answer.exists()]
    found["hashes"] = in_child(lambda: hashes(data_dir), log)
    found["runs"] = in_child(dagster_runs, log)
    found["turns"] = [path.name for path in (data_dir / "warehouse.runs").iterdir()]
    os.environ["GESTURE_DATA_DIR"] = str(undisturbed)
    assert run(gesture("run"), log) == 0, log.read_text()
    found["undisturbed"] = in_child(lambda: hashes(undisturbed), log)
    found["log"] = log.read_text()[-3000:]
    return found


@pytest.mark.proof
def test_runs_that_are_started_together_all_succeed_and_readers_never_notice(tmp_path: Path) -> None:
    found = in_a_process(HERE, "started_together", tmp_path, environment=environment(tmp_path))
    assert found["eight"] == [0] * 8, found["eight said"][-4000:]
    assert found["eight published"] == day(8)
    said = found["eight said"]
    assert any(f"waits for the warehouse, held by PID {pid} (" in said for pid in found["eight pids"]), said[-4000:]

    assert found["together"] == [0, 0], found["together said"]
    assert found["together published"] == day(DAYS)
    # The nightly needs the days of the backfill, and waits for them; it does not fail for a gate about to open.
    waits = r"sessions for \S+ waits for \S+ and \d+ days more, held by PID \d+ \("
    assert re.search(waits, found["together said"][1]), found["together said"][1]

    assert (found["first"], found["again"]) == (0, 0), found["again said"]
    assert found["backfill was still under way"]  # all its days are live: the nightly got in between its steps
    assert f"(nightly of {day(DAYS)}, run " in found["again said"]
    assert "which goes first" in found["again said"]

    assert found["readers"] == [0, 0, 0], found["log"]
    assert [int(snapshots) >= 2 for _, snapshots in found["answers"]] == [True] * 3, found["answers"]
    assert found["hashes"] == found["undisturbed"]
    assert (set(found["runs"]), found["turns"]) == ({"SUCCESS"}, [])


def interrupted(root: str) -> dict[str, Any]:
    """A nightly that is asked to end (SIGTERM) in its first step, and the next one."""
    import_everything()
    log, own = Path(root) / "log", Path(root) / "interrupted.log"
    os.environ["GESTURE_DATA_DIR"] = str(Path(root) / "data")
    assert run(lambda: write_world(Path(root) / "data", days=1), log) == 0, log.read_text()
    pid = fork(gesture("run"), own)
    wait_until_said(own, "days live", pid)
    started, ended = time.monotonic(), None
    while ended is None and time.monotonic() - started < 60:  # one that hits a library's cleaning up is lost
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.5)
        done, status = os.waitpid(pid, os.WNOHANG)
        ended = os.waitstatus_to_exitcode(status) if done else None
    if ended is None:
        ended = end_of(pid, kill_after=0)
    return {"interrupted": ended, "next": run(gesture("run"), log), "said": own.read_text()[-2000:]}


@pytest.mark.slow
def test_an_interrupted_run_ends_and_does_not_wait_for_itself(tmp_path: Path) -> None:
    found = in_a_process(HERE, "interrupted", tmp_path, environment=environment(tmp_path))
    assert found["interrupted"] in (130, -signal.SIGTERM), found["said"]
    assert found["next"] == 0, found["said"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in a query", "between two"])
def test_an_interrupted_step_is_not_tried_again_and_none_is_begun_after_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    begun: list[str] = []

    def interrupted(step: Step, *_: object, **__: object) -> None:
        begun.append(step.name)
        if how == "in a query":  # as DuckDB hands on what a signal raises
            raise RuntimeError("Query interrupted") from KeyboardInterrupt()
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr("gesture_assets.defs.resource.run_step", interrupted)
    small_world.land(data_dir, days=small_world.DAYS[:1])
    done = CliRunner().invoke(app, ["run", "--date", str(small_world.DAYS[0])])
    assert (done.exit_code, len(begun)) == (130, 1), done.output
