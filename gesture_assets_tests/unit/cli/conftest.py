"""The demo world that commands are tried on: built once, by the worker that asks first; copied where it is changed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest

from gesture_assets_tests.once import built_once
from gesture_assets_tests.unit.cli.commands import FORMULA, LAST, Done, called, started


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done, Done]:
    """A demo world and its first run; not to be changed. What `gesture demo-data` and `gesture run` said."""

    def build(folder: Path) -> None:
        data_dir = folder / "data"
        wrote = called(data_dir, "demo-data", "--users", "60", "--days", "5", "--end", LAST, "--seed", "3", "--pings")
        rows = (("signup", 20), ("calendar_booking", 21), ("demo_request_click", 22))
        (data_dir / "landing" / "native" / "formula.csv").write_text(
            "event_id,user_id,event_type,event_at\n"
            + "".join(f"f{hour},{FORMULA},{kind},{LAST}T{hour}:00:00Z\n" for kind, hour in rows)
        )
        ran = started(data_dir, "run")
        (folder / "outcomes.json").write_text(json.dumps([asdict(wrote), asdict(ran)]))

    folder = built_once(tmp_path_factory, "command_world", build)
    wrote, ran = (Done(**outcome) for outcome in json.loads((folder / "outcomes.json").read_text()))
    return folder / "data", wrote, ran


@pytest.fixture(scope="session")
def world(first_run: tuple[Path, Done, Done]) -> Path:
    folder, _, ran = first_run
    assert ran.code == 0, ran.out + ran.err
    return folder


@pytest.fixture
def own_world(world: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(world, tmp_path / "data", symlinks=True))


@pytest.fixture
def scores(world: Path) -> Callable[[str], list[tuple]]:
    def ask(sql: str) -> list[tuple]:
        con = duckdb.connect(str((world / "gesture.duckdb").resolve()), read_only=True)
        rows = con.execute(sql).fetchall()
        con.close()
        return rows

    return ask
