"""What `kill -9` leaves at any moment of a training: nothing is claimed that is not so, and the next run ends it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from gesture_assets_tests.forks import KILLED, ROOT, environment, wait_until_said, yesterday
from gesture_assets_tests.worlds import CHAMPION_DAYS

pytestmark = pytest.mark.proof

SAID = (
    "training_set: staged",
    "training_set: 1 of 1 days live",
    "Successfully registered model",
    "candidate_model: staged",
    "feature_importance: 1 of 1 days live",
    "promoted, by hand",
    "model_scores: 1 of 1 days live",
    "intent_scores: 1 of 1 days live",
    "top_users: 1 of 1 days live",
    "published snapshot",
)


def started(data_dir: Path, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("a") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "gesture_assets.cli", *arguments],
            cwd=ROOT,
            env=environment(data_dir, PYTHONUNBUFFERED="1"),
            stdout=out,
            stderr=out,
        )


def done(data_dir: Path, log: Path, *arguments: str) -> int:
    return started(data_dir, log, *arguments).wait(timeout=600)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A world in which a model can be trained and none has been."""
    folder = tmp_path_factory.mktemp("untrained")
    last = str(yesterday())
    for command in (
        ("demo-data", "--users", "900", "--days", str(CHAMPION_DAYS), "--end", last),
        ("run",),
    ):
        assert done(folder / "data", folder / "log", *command) == 0, (folder / "log").read_text()[-2000:]
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.mark.parametrize("words", SAID)
def test_a_training_killed_at_any_moment_claims_nothing_that_is_not_so(
    untrained: Path, tmp_path: Path, words: str
) -> None:
    data_dir, log = tmp_path / "data", tmp_path / "log"
    shutil.copytree(untrained, data_dir, symlinks=True)
    training = started(data_dir, log, "train", "--force", "--reason", "a test")
    wait_until_said(log, words, training.pid)
    os.kill(training.pid, signal.SIGKILL)
    assert training.wait() == KILLED, log.read_text()[-2000:]
    assert done(data_dir, log, "run") == 0, log.read_text()[-2000:]
    with closing(duckdb.connect(str((data_dir / "gesture.duckdb").resolve()), read_only=True)) as con:
        activated = con.execute("select model_version, effective_from from model_activations").fetchall()
        scored = con.execute("select distinct model_version, as_of_date from model_scores").fetchall()
        torn = con.execute(
            """select count(*) from intent_scores as act join (
                select as_of_date, user_id, score from top_users
                union all select as_of_date, user_id, score from model_scores) as others using (as_of_date, user_id)
            where act.score is distinct from others.score"""
        ).fetchone()
    assert scored == activated  # a version serves from the day of its training on, which is the newest
    assert torn == (0,)
    listed = tmp_path / "listed"
    assert done(data_dir, listed, "models", "list", "--json") == 0
    assert listed.read_text().count('"decision": "promoted"') == len(activated)
    # The next training ends well, whatever was left.
    assert done(data_dir, log, "train", "--force", "--reason", "once more") == 0, log.read_text()[-2000:]
