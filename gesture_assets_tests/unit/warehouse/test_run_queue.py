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
from gesture_assets.warehouse.run_queue import Turns

ROOT = Path(__file__).resolve().parents[3]
D8, D9 = date(2026, 3, 8), date(2026, 3, 9)
TAKE = """
import sys, time
from datetime import date
from pathlib import Path
from gesture_assets.warehouse.run_queue import Turns
days = [date.fromisoformat(day) for day in sys.argv[4].split(",")]
with Turns(Path(sys.argv[1])).taken(sys.argv[2], sys.argv[3], days, goes_first=sys.argv[3] == "nightly"):
    print("known", flush=True)
    time.sleep(float(sys.argv[5]))
"""


@contextmanager
def under_way(turns: Turns, run_id: str, what: str, *days: date, seconds: float = 30) -> Iterator[int]:
    """A process with a run of `days`, known when this returns; its PID."""
    listed = ",".join(str(day) for day in days)
    command = [sys.executable, "-c", TAKE, str(turns.folder), run_id, what, listed, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "known\n"
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    return Turns.beside(tmp_path / "warehouse.duckdb")


def closed(*days: date) -> GateClosed:
    refusal = GateClosed("closed", expected="", found="", where="", next_step="")
    refusal.days = days
    return refusal


def test_nobody_is_under_way_at_first(turns: Turns) -> None:
    assert (turns.others(), turns.first(), turns.killed()) == ([], None, [])


def test_a_run_of_another_process_is_known_by_its_days(turns: Turns) -> None:
    with under_way(turns, "1a2b3c4d5e", "nightly", D8, D9) as pid:
        (other,) = turns.others()
        assert (other.pid, other.days, other.goes_first) == (pid, (D8, D9), True)
        assert turns.first() == f"PID {pid} (nightly, run 1a2b3c4d)"
        assert turns.killed() == []


def test_a_backfill_does_not_go_first(turns: Turns) -> None:
    with under_way(turns, "r1", "backfill", D8):
        assert turns.first() is None


def test_a_run_that_ends_is_forgotten(turns: Turns) -> None:
    with under_way(turns, "r1", "nightly", D9, seconds=0) as pid:
        os.waitpid(pid, os.WNOHANG)
        deadline = time.monotonic() + 10
        while turns.others() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (turns.others(), turns.killed(), list(turns.folder.iterdir())) == ([], [], [])


def test_a_killed_run_is_told_from_one_under_way_and_from_one_that_ended(turns: Turns) -> None:
    with under_way(turns, "killed", "nightly", D9) as pid, under_way(turns, "alive", "backfill", D8):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert turns.killed() == ["killed"]
        assert turns.first() is None
        turns.forget("killed")
        assert turns.killed() == []
        assert [turn.run_id for turn in turns.others()] == ["alive"]


def test_the_runs_of_this_process_do_not_stand_in_its_own_way(turns: Turns) -> None:
    with turns.taken("mine", "nightly", [D9], goes_first=True), turns.taken("mine", "again", [D9], goes_first=True):
        assert (turns.others(), turns.first(), turns.killed()) == ([], None, [])
    assert list(turns.folder.iterdir()) == []


def test_a_run_that_waits_for_another_does_not_go_first_meanwhile(turns: Turns) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import date; "
        "from gesture_assets.warehouse.run_queue import Turns; print(Turns(Path(sys.argv[1])).first())"
    )

    def seen() -> str:
        command = [sys.executable, "-c", code, str(turns.folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    with turns.taken("mine", "nightly", [D9], goes_first=True):
        assert seen() == f"PID {os.getpid()} (nightly, run mine)"
        with turns.stepped_aside("mine"):
            assert seen() == "None"
        assert seen() == f"PID {os.getpid()} (nightly, run mine)"


def test_missing_days_that_another_run_builds_are_waited_for(turns: Turns) -> None:
    with under_way(turns, "r1", "backfill", D8, seconds=0.3):
        started = time.monotonic()
        assert turns.wait_for_builders("mine", [D9], closed(D8), waiter="a step", timeout_seconds=20)
        assert time.monotonic() - started < 10
        assert turns.others() == []


@pytest.mark.parametrize("missing", [(D9,), (date(2026, 3, 1),)], ids=["its own day", "a day nobody builds"])
def test_other_missing_days_are_not_waited_for(turns: Turns, missing: tuple[date, ...]) -> None:
    with under_way(turns, "r1", "backfill", D8, D9):
        assert not turns.wait_for_builders("mine", [D9], closed(*missing), waiter="a step", timeout_seconds=20)


def test_whoever_waits_too_long_has_the_closed_gate(turns: Turns) -> None:
    refusal = closed(D8)
    with under_way(turns, "r1", "backfill", D8), pytest.raises(GateClosed) as raised:
        turns.wait_for_builders("mine", [D9], refusal, waiter="a step", timeout_seconds=0.1)
    assert raised.value is refusal
