"""`gesture dev` ends when it is told to, however it was started."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from gesture_assets_tests.unit.cli.commands import ROOT, clean_environment

PATIENCE_SECONDS = 90


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _wait(what: str, is_so: object, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():  # pyright: ignore[reportCallIssue]
        assert time.monotonic() < deadline, f"{what}: {log.read_text()[-3000:]}"
        time.sleep(0.5)


@pytest.mark.slow
def test_it_ends_on_sigterm_also_in_the_background_of_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    log = tmp_path / "dev.log"
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What a shell starts in the background without job control is deaf to Ctrl-C, and so are its children.
    command = f"{sys.executable} -m gesture_assets.cli dev --port {port} & echo $!; wait"
    with log.open("w") as out:
        shell = subprocess.Popen(
            ["sh", "-c", command],
            cwd=ROOT,
            env=clean_environment(tmp_path / "data"),
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    assert shell.stdout
    try:
        pid = int(shell.stdout.readline())
        _wait("the page answers", lambda: _answers(port), log)
        os.kill(pid, signal.SIGTERM)
        _wait("it ends", lambda: shell.poll() is not None, log)
        assert not _answers(port)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
        shell.stdout.close()
        shell.wait()
