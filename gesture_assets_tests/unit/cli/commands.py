"""The `gesture` command as tests call it: in this process, or in one of its own as users do.

Belongs here: calling it, and what it left in the audit log. Does not belong here: expectations, worlds (`conftest.py`).
"""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from gesture_assets.cli import main

ROOT = Path(__file__).resolve().parents[3]
LAST = "2026-03-09"
FORMULA = "=cmd()"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def table(self) -> list[list[str]]:
        """The tab-separated lines."""
        return [line.split("\t") for line in self.out.splitlines() if "\t" in line]


def clean_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("GESTURE_", "DAGSTER_"))}
    return {**others, "GESTURE_DATA_DIR": str(data_dir), "GESTURE_PSEUDONYM_KEY": "a key for tests only", **settings}


def started(data_dir: Path, *arguments: str, **settings: str) -> Done:
    """`gesture …` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "gesture_assets.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(data_dir, **settings),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def called(data_dir: Path, *arguments: str, **settings: str) -> Done:
    """`gesture …` in this process; its code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("GESTURE_")]:
            patch.delenv(name)
        for name, value in clean_environment(data_dir, **settings).items():
            patch.setenv(name, value)
        patch.setenv("DAGSTER_HOME", str(data_dir / "dagster_home"))  # a run sets it, and is to leave nothing behind
        patch.setattr(sys, "argv", ["gesture", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def has_four_parts(message: str) -> bool:
    return all(part in message for part in ("expected: ", "found: ", "where: ", "next: "))


def logged(data_dir: Path) -> list[tuple[str, str, str | None]]:
    con = duckdb.connect(str(data_dir / "warehouse.duckdb"), read_only=True)
    rows = con.execute("select action, object, reason from audit_log order by rowid").fetchall()
    con.close()
    return rows
