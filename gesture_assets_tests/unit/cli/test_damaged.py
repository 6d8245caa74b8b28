"""Files that are damaged, or are folders: four parts that name the path, and no traceback."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gesture_assets.models.versions import CARD, save_version, version_name
from gesture_assets_tests.small_model import NOW, TESTED, small_model
from gesture_assets_tests.unit.cli.commands import LAST, ROOT, called, clean_environment, has_four_parts, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # MLflow's own, about its own
]

VERSION = version_name(NOW, small_model().fingerprint)
SOME_SCORES = ("run", "--date", LAST, "--select", "rule_scores")


def damage(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for beside in path.parent.glob(f"{path.name}*"):
        shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
    path.write_bytes(b"garbage" * 100)


def make_folder(path: Path) -> None:
    damage(path)
    path.unlink()
    path.mkdir()


def events_kept(world: Path) -> Counter[str]:
    """How often Dagster's storage of `world` has an event of each kind."""
    kinds = Counter[str]()
    for path in (world / "dagster_home").rglob("*.db"):
        with closing(sqlite3.connect(path)) as con:
            if con.execute("select 1 from sqlite_master where name = 'event_logs'").fetchone():
                kinds.update(dict(con.execute("select dagster_event_type, count(*) from event_logs group by 1")))
    return kinds


@pytest.mark.parametrize(
    ("spoil", "place", "command"),
    [
        (damage, f"models/{VERSION}/{CARD}", ("models", "list")),
        (make_folder, f"models/{VERSION}/{CARD}", ("models", "show", VERSION)),
        (damage, "mlflow.db", ("models", "activate", VERSION, "--reason", "why")),
        (damage, "rules/mine.toml", ("rules", "lint", "mine")),
        (make_folder, "rules/mine.toml", ("rules", "lint", "mine")),
        (damage, "sources/native.toml", ("run",)),
        (make_folder, "sources/native.toml", ("run",)),
        (damage, "suppressed.csv", SOME_SCORES),
        (make_folder, "suppressed.csv", SOME_SCORES),
        (damage, "dagster_home/history/runs/index.db", SOME_SCORES),
        (damage, "dagster_home/history/runs.db", SOME_SCORES),
        (damage, "gesture.duckdb", ("rank",)),
        (make_folder, "reports/night.html", ("report", "night", "--out", "reports/night.html")),
        (make_folder, "x.csv", ("export", "rule_scores", "--to", "x.csv")),
    ],
    ids=lambda value: value.__name__ if callable(value) else " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_damaged_file_and_a_folder_in_its_place_are_named(
    own_world: Path, spoil: Callable[[Path], None], place: str, command: tuple[str, ...]
) -> None:
    card = {"model_version": VERSION, "as_of_date": LAST, "decision": "kept", "training_samples": 3}
    save_version(small_model(), card, own_world / "models", figures={"test": {}}, tested=TESTED)
    path = (own_world / place).resolve()
    spoil(path)
    words = [str(path) if word in ("x.csv", "reports/night.html") else word for word in command]
    done = started(own_world, *words)  # of its own: it opens Dagster's storage anew
    assert done.code in (1, 2), done.out + done.err
    assert "Traceback" not in done.err + done.out
    assert has_four_parts(done.err)
    where = "\n".join(line for line in done.err.splitlines() if line.startswith(("  where:", "  found:", "  next:")))
    assert any(str(part) in where for part in (path, path.parent, path.parents[2])), done.err


def test_a_report_that_cannot_be_written_lets_the_run_end_at_once(own_world: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    make_folder(own_world / "validation_results.json")
    done = called(own_world, "run", "--date", LAST, "--rebuild")
    assert done.code == 1
    kinds = events_kept(own_world)
    assert kinds["STEP_FAILURE"] == 1
    assert not {"STEP_UP_FOR_RETRY", "STEP_RESTARTED"} & set(kinds)
    assert "NotWritable: The report on the checks could not be written" in done.err
    assert has_four_parts(done.err)
    assert "What was done before that is published." in done.err
    assert (own_world / "gesture.duckdb").resolve() != before
    assert list(own_world.glob(".validation_results*")) == []


def test_ctrl_c_ends_a_run_without_tracebacks_of_helpers(own_world: Path) -> None:
    # What a shell starts in its background hears no Ctrl-C, and tells that to all that it starts.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = f"{heard}; from gesture_assets.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", command, "run", "--from", "2026-03-05", "--to", LAST, "--rebuild"],
        cwd=ROOT,
        env=clean_environment(own_world),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert run.stdout
    lines: list[str] = []
    for line in run.stdout:
        lines.append(line)
        if "checks passed" in line:  # a step is under way, and its helpers have started
            time.sleep(1)
            os.killpg(run.pid, signal.SIGINT)
            break
    lines += run.stdout.readlines()
    said = "".join(lines)
    assert run.wait(timeout=60) == 130, said
    assert "Traceback" not in said
    assert "The run was interrupted." in said
    run.stdout.close()
