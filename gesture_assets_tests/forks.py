"""Processes that cost no imports: forked from one that has imported everything and started nothing.

Belongs here: forking, killing, waiting, and worlds for nights of a process of their own. Does not belong here:
expectations. A test starts `python -c "…"` with one of its own functions, which forks; a fork of pytest itself would
inherit the threads of the tests before it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KILLED = -signal.SIGKILL


def in_a_process(module: str, function: str, *arguments: object, environment: dict[str, str]) -> Any:
    """What `module.function(*arguments)` returns in a fresh interpreter, through JSON."""
    code = (
        f"import json, sys; from {module} import {function}; "
        f"print(json.dumps({function}(*json.loads(sys.argv[1])), default=str))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(arguments, default=str)]
    # Into files and a group of its own: children that outlive a failed one hold no pipe open, and are ended.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=errors, start_new_session=True
        ) as process:
            try:
                code = process.wait(timeout=1500)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        errors.seek(0)
        assert code == 0, errors.read()[-4000:]
        return json.loads(out.read().splitlines()[-1])


def import_everything() -> None:
    """What a night imports, before the first fork."""
    import dagster._core.storage.sqlite_storage
    import great_expectations
    import polars

    import gesture_assets.cli
    import gesture_assets.definitions
    import gesture_assets_tests.nights

    del dagster, great_expectations, polars, gesture_assets, gesture_assets_tests


def fork(work: Callable[[], object], log: Path) -> int:
    """Begin `work` in a child, its output in the file `log`; returns the PID. The exit code is 0 unless it raises."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and hand that down
    with log.open("a", buffering=1) as stream, redirect_stdout(stream), redirect_stderr(stream):
        try:
            work()
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except BaseException:
            traceback.print_exc()
        stream.flush()
        os._exit(code)


def end_of(pid: int, *, kill_after: float | None = None) -> int:
    """Exit code of the child, negative for the signal that ended it; killed when `kill_after` seconds are over."""
    deadline = None if kill_after is None else time.monotonic() + kill_after
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = None
        time.sleep(0.005)


def run(work: Callable[[], object], log: Path, *, kill_after: float | None = None) -> int:
    """`fork`, then `end_of`."""
    return end_of(fork(work, log), kill_after=kill_after)


def wait_until_said(log: Path, words: str, pid: int) -> None:
    """Return when the child `pid` has written `words` into its log, or has ended without."""
    while (
        words not in (log.read_text() if log.exists() else "")
        and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
    ):
        time.sleep(0.02)


def gesture(*arguments: str) -> Callable[[], None]:
    """The `gesture` command, to be run in a child."""

    def command() -> None:
        from gesture_assets import cli

        sys.argv = ["gesture", *arguments]
        cli.main()

    return command


def yesterday() -> date:
    """The last complete day."""
    return datetime.now(UTC).date() - timedelta(days=1)


def write_world(data_dir: Path, *, days: int) -> None:
    """Land the smallest world that keeps every contract: `days` days, the last of them yesterday."""
    from gesture_assets.demo.world import write_demo_world

    data_dir.mkdir(parents=True, exist_ok=True)
    write_demo_world(
        landing=data_dir / "landing",
        crm=data_dir / "crm_database.sqlite",
        truth=data_dir / "demo_truth.parquet",
        users=60,
        days=days,
        seed=5,
        end=yesterday(),
    )


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    """The environment of a process that works in `data_dir`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GESTURE_", "DAGSTER_"))}
    return kept | {"GESTURE_DATA_DIR": str(data_dir), "GESTURE_PSEUDONYM_KEY": "a key for tests only"} | more


def kill_at(module: str, function: str, *, when: str, nth: int = 1) -> None:
    """From now on this process dies (SIGKILL) `before` or `after` the `nth` call of `module.function`."""
    import importlib

    owner: Any = importlib.import_module(module)
    for part in (path := function.split("."))[:-1]:
        owner = getattr(owner, part)
    genuine, calls = getattr(owner, path[-1]), 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = genuine(*arguments, **named)
        if calls == nth and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, path[-1], deadly)


def days_before(last: date, count: int) -> Sequence[date]:
    """`count` days, the last of them `last`."""
    return [last - timedelta(days=n) for n in reversed(range(count))]
