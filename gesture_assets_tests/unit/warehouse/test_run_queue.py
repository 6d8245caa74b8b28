"""Runs under way, each a process of its own: who lets whom pass, who is waited for, and who was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from gesture_assets.errors import GateClosed
from gesture_assets.warehouse.run_queue import RunQueue

ROOT = Path(__file__).resolve().parents[3]
D8, D9 = date(2026, 3, 8), date(2026, 3, 9)
TAKE = """
import sys, time
from datetime import date
from pathlib import Path
from gesture_assets.warehouse.run_queue import RunQueue
days = [date.fromisoformat(day) for day in sys.argv[4].split(",")]
with RunQueue(Path(sys.argv[1])).register(sys.argv[2], sys.argv[3], days, goes_first=sys.argv[3] == "nightly"):
    print("known", flush=True)
    time.sleep(float(sys.argv[5]))
"""


@contextmanager
def under_way(queue: RunQueue, run_id: str, what: str, *days: date, seconds: float = 30) -> Iterator[int]:
    """A process with a run of `days`, known when this returns; its PID."""
    listed = ",".join(str(day) for day in days)
    command = [sys.executable, "-c", TAKE, str(queue.folder), run_id, what, listed, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "known\n"
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def queue(tmp_path: Path) -> RunQueue:
    return RunQueue.beside(tmp_path / "warehouse.duckdb")


def closed(*days: date) -> GateClosed:
    refusal = GateClosed("closed", expected="", found="", where="", next_step="")
    refusal.days = days
    return refusal


def test_nobody_is_under_way_at_first(queue: RunQueue) -> None:
    assert (queue.other_runs(), queue.who_goes_first(), queue.killed_runs()) == ([], None, [])


def test_a_run_of_another_process_is_known_by_its_days(queue: RunQueue) -> None:
    with under_way(queue, "1a2b3c4d5e", "nightly", D8, D9) as pid:
        (other,) = queue.other_runs()
        assert (other.pid, other.days, other.goes_first) == (pid, (D8, D9), True)
        assert queue.who_goes_first() == f"PID {pid} (nightly, run 1a2b3c4d)"
        assert queue.killed_runs() == []


def test_a_backfill_does_not_go_first(queue: RunQueue) -> None:
    with under_way(queue, "r1", "backfill", D8):
        assert queue.who_goes_first() is None


def test_a_run_that_ends_is_forgotten(queue: RunQueue) -> None:
    with under_way(queue, "r1", "nightly", D9, seconds=0) as pid:
        os.waitpid(pid, os.WNOHANG)
        deadline = time.monotonic() + 10
        while queue.other_runs() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (queue.other_runs(), queue.killed_runs(), list(queue.folder.iterdir())) == ([], [], [])


def test_a_killed_run_is_told_from_one_under_way_and_from_one_that_ended(queue: RunQueue) -> None:
    with under_way(queue, "killed", "nightly", D9) as pid, under_way(queue, "alive", "backfill", D8):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert queue.killed_runs() == ["killed"]
        assert queue.who_goes_first() is None
        queue.forget("killed")
        assert queue.killed_runs() == []
        assert [run.run_id for run in queue.other_runs()] == ["alive"]


def test_the_runs_of_this_process_do_not_stand_in_its_own_way(queue: RunQueue) -> None:
    first, second = (queue.register("mine", what, [D9], goes_first=True) for what in ("nightly", "again"))
    with first, second:
        assert (queue.other_runs(), queue.who_goes_first(), queue.killed_runs()) == ([], None, [])
    assert list(queue.folder.iterdir()) == []


def test_a_run_that_waits_for_another_does_not_go_first_meanwhile(queue: RunQueue) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import date; "
        "from gesture_assets.warehouse.run_queue import RunQueue; print(RunQueue(Path(sys.argv[1])).who_goes_first())"
    )

    def seen() -> str:
        command = [sys.executable, "-c", code, str(queue.folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    with queue.register("mine", "nightly", [D9], goes_first=True):
        assert seen() == f"PID {os.getpid()} (nightly, run mine)"
        with queue.let_backfills_pass("mine"):
            assert seen() == "None"
        assert seen() == f"PID {os.getpid()} (nightly, run mine)"


def test_missing_days_that_another_run_builds_are_waited_for(queue: RunQueue) -> None:
    with under_way(queue, "r1", "backfill", D8, seconds=0.3):
        started = time.monotonic()
        assert queue.wait_for_builders("mine", [D9], closed(D8), waiter="a step", timeout_seconds=20)
        assert time.monotonic() - started < 10
        assert queue.other_runs() == []


@pytest.mark.parametrize("missing", [(D9,), (date(2026, 3, 1),)], ids=["its own day", "a day nobody builds"])
def test_other_missing_days_are_not_waited_for(queue: RunQueue, missing: tuple[date, ...]) -> None:
    with under_way(queue, "r1", "backfill", D8, D9):
        assert not queue.wait_for_builders("mine", [D9], closed(*missing), waiter="a step", timeout_seconds=20)


def test_whoever_waits_too_long_has_the_closed_gate(queue: RunQueue) -> None:
    refusal = closed(D8)
    with under_way(queue, "r1", "backfill", D8), pytest.raises(GateClosed) as raised:
        queue.wait_for_builders("mine", [D9], refusal, waiter="a step", timeout_seconds=0.1)
    assert raised.value is refusal


def test_a_run_that_is_broken_off_is_still_to_be_ended(queue: RunQueue) -> None:
    with pytest.raises(ZeroDivisionError), queue.register("broken", "nightly", [D9], goes_first=True):
        raise ZeroDivisionError
    assert queue.killed_runs() == ["broken"]
    assert queue.who_goes_first() is None
    with queue.register("whole", "nightly", [D9], goes_first=True):
        assert queue.killed_runs() == ["broken"]
    assert queue.killed_runs() == ["broken"]
