"""The writer's lock, held by processes of their own: who waits, who gives up and what a killed one leaves."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gesture_assets.errors import WarehouseBusy
from gesture_assets.warehouse.lock import Obstacle, wait_while, writer_lock

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from pathlib import Path
from gesture_assets.warehouse.lock import writer_lock
with writer_lock(Path(sys.argv[1]), holder="user_features, run 1a2b3c4d", timeout_seconds=5):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def holder(lock: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `lock` for `seconds`, and has it when this returns."""
    command = [sys.executable, "-c", HOLD, str(lock), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_waits_and_then_has_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "warehouse.lock"
    with holder(lock, 0.5) as first:
        started = time.monotonic()
        with writer_lock(lock, holder="second", timeout_seconds=10):
            assert time.monotonic() - started > 0.2
            assert first.wait(5) == 0
            assert f'"pid": {os.getpid()}, "holder": "second"' in lock.read_text()


def test_whoever_waits_says_for_whom_and_for_how_long_and_how_long_it_took(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / "warehouse.lock"
    with caplog.at_level("INFO"), holder(lock, 0.5) as first, writer_lock(lock, holder="second", timeout_seconds=10):
        pass
    waits, waited = caplog.messages
    who = f"PID {first.pid} (user_features, run 1a2b3c4d)"
    assert waits == f"second waits for the warehouse, held by {who}; for up to 10 s"
    assert re.fullmatch(r"second waited \d\.\d s for the warehouse", waited)


def test_a_wait_that_lasts_is_told_again_with_whoever_holds_the_lock_then(caplog: pytest.LogCaptureFixture) -> None:
    holders = iter(["PID 1 (a)", "PID 2 (b)", "PID 2 (b)"])
    with caplog.at_level("INFO"):
        wait_while(
            lambda: Obstacle(who, 0.01) if (who := next(holders, None)) else None,
            waiter="third",
            waits_for="the warehouse",
            timeout_seconds=10,
            give_up=lambda who, _: WarehouseBusy(who, expected="", found="", where="", next_step=""),
        )
    assert len(caplog.messages) == 3
    assert caplog.messages[1] == "third has waited 0 s for the warehouse, now held by PID 2 (b)"


def test_a_holder_that_wants_the_lock_again_comes_after_whoever_is_next(tmp_path: Path) -> None:
    lock = tmp_path / "warehouse.lock"
    with ExitStack() as mine:
        mine.enter_context(writer_lock(lock, holder="first", timeout_seconds=1))
        command = [sys.executable, "-c", HOLD, str(lock), "0.2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as second:
            while _free(lock.with_name("warehouse.lock.next")):  # until it stands in line
                time.sleep(0.01)
            mine.close()
            with writer_lock(lock, holder="first", timeout_seconds=10):
                assert second.wait(5) == 0  # it has had its turn


def test_whoever_goes_first_is_let_pass(tmp_path: Path) -> None:
    lock = tmp_path / "warehouse.lock"
    with (
        pytest.raises(WarehouseBusy, match=r"written by PID 7 \(nightly\), which goes first"),
        writer_lock(lock, holder="a backfill", timeout_seconds=0.1, ahead=lambda: "PID 7 (nightly)"),
    ):
        pytest.fail("it did not wait")


def _free(path: Path) -> bool:
    """Whether nobody holds the lock file at `path`."""
    if not path.exists():
        return True
    with path.open("r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_whoever_waits_too_long_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "warehouse.lock"
    with (
        holder(lock, 30) as first,
        pytest.raises(WarehouseBusy) as refusal,
        writer_lock(lock, holder="top_users, run 99", timeout_seconds=0.2),
    ):
        pytest.fail("two processes hold the lock")
    message = str(refusal.value)
    assert message.startswith("top_users, run 99 could not start")
    assert f"PID {first.pid} (user_features, run 1a2b3c4d)" in message
    assert "expected: the writer's lock within 0.2 s" in message
    assert str(lock) in message
    assert "GESTURE_LOCK_TIMEOUT_SECONDS" in message


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "warehouse.lock"
    with holder(lock, 30) as first:
        os.kill(first.pid, signal.SIGKILL)
        with writer_lock(lock, holder="second", timeout_seconds=2):
            assert '"second"' in lock.read_text()


def test_an_error_under_the_lock_releases_it(tmp_path: Path) -> None:
    lock = tmp_path / "warehouse.lock"
    with pytest.raises(ZeroDivisionError), writer_lock(lock, holder="first", timeout_seconds=1):
        _ = 1 / 0
    with writer_lock(lock, holder="second", timeout_seconds=0.1):
        assert "second" in lock.read_text()
