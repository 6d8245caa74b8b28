"""Dagster's SQLite files are written without waiting, whichever was there first: the patch or the storage."""

import sqlite3
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import NullPool, event

from gesture_assets.compat import dagster_storage
from gesture_assets.compat.dagster_storage import HELD, write_without_waiting

NORMAL, FULL = 1, 2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DAGSTER_HOME, and the patch in place, for this test only."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    write_without_waiting()
    yield tmp_path / "home"
    event.remove(sqlalchemy.Engine, "connect", dagster_storage._relax)


@pytest.fixture
def storage(home: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that makes engines as Dagster's storage does, imported after the patch."""
    module = types.ModuleType("dagster.storage_of_a_test")
    vars(module)["create_engine"] = sqlalchemy.create_engine
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def synchronous(engine: sqlalchemy.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text("pragma synchronous")).scalar_one()


def address(folder: Path, name: str) -> str:
    return f"sqlite:///{folder / name}"


def test_files_below_the_home_do_not_wait_and_others_do(home: Path, tmp_path: Path) -> None:
    assert synchronous(sqlalchemy.create_engine(address(home, "runs.db"), poolclass=NullPool)) == NORMAL
    assert synchronous(sqlalchemy.create_engine(address(tmp_path, "other.db"), poolclass=NullPool)) == FULL


def test_an_engine_is_kept_with_its_connection_once_the_first_has_connected(
    home: Path, storage: types.ModuleType
) -> None:
    first = storage.create_engine(address(home, "runs.db"), poolclass=NullPool)
    assert synchronous(first) == NORMAL
    second = storage.create_engine(address(home, "runs.db"), poolclass=NullPool)
    assert synchronous(second) == NORMAL
    second.dispose()  # as Dagster does after every use
    assert second.pool.checkedin() == 1
    assert storage.create_engine(address(home, "runs.db"), poolclass=NullPool) is second


def test_nothing_stays_beside_a_file_when_the_process_ends(home: Path) -> None:
    code = f"""
import os, sys, types
os.environ["DAGSTER_HOME"] = {str(home)!r}
import sqlalchemy
from sqlalchemy import NullPool
from gesture_assets.compat.dagster_storage import write_without_waiting
write_without_waiting()
module = sys.modules["dagster.of_a_test"] = types.ModuleType("dagster.of_a_test")
vars(module)["create_engine"] = sqlalchemy.create_engine
for _ in range(2):  # the second engine is one that is kept
    with module.create_engine({address(home, "runs.db")!r}, poolclass=NullPool).connect() as connection:
        connection.exec_driver_sql("pragma journal_mode = wal")
        connection.exec_driver_sql("create table if not exists of_a_test (a integer)")
print(*sorted(os.listdir({str(home)!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "runs.db-wal" in done.stdout
    assert [path.name for path in home.iterdir()] == ["runs.db"]


def test_an_engine_that_has_a_pool_is_none_of_ours(home: Path, storage: types.ModuleType) -> None:
    synchronous(storage.create_engine(address(home, "runs.db"), poolclass=NullPool))
    assert storage.create_engine(address(home, "a.db")) is not storage.create_engine(address(home, "a.db"))


def test_no_more_than_a_few_files_are_held_open(home: Path, storage: types.ModuleType) -> None:
    synchronous(storage.create_engine(address(home, "runs.db"), poolclass=NullPool))
    engines = [storage.create_engine(address(home, f"{n}.db"), poolclass=NullPool) for n in range(HELD + 2)]
    for engine in engines:
        synchronous(engine)
    assert storage.create_engine(address(home, f"{HELD + 1}.db"), poolclass=NullPool) is engines[-1]
    assert storage.create_engine(address(home, "0.db"), poolclass=NullPool) is not engines[0]


def test_what_is_no_file_of_sqlite_is_left_alone(home: Path) -> None:
    with sqlite3.connect(":memory:") as memory:
        dagster_storage._relax(memory, None)
        assert memory.execute("pragma synchronous").fetchone() == (FULL,)
    dagster_storage._relax(object(), None)
