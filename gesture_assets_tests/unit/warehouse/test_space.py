"""A full disk, while staging, promoting and publishing: said as such, nothing lost, and the next run completes."""

import errno
import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets.errors import DiskFull, NotWritable
from gesture_assets.warehouse.space import raise_unwritable, require_room, why_unwritable
from gesture_assets_tests.assets.test_crashes import good_night, hashes, in_child, whole
from gesture_assets_tests.forks import environment, gesture, import_everything, in_a_process, run, write_world

HERE = "gesture_assets_tests.unit.warehouse.test_space"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, "x"), "no space is left on the disk"),
        (OSError(errno.EDQUOT, "x"), "the disk quota is used up"),
        (OSError(errno.EFBIG, "x"), "the largest file size that this process may write is reached"),
        (duckdb.IOException('Could not write file "a": No space left on device'), "no space is left on the disk"),
        (duckdb.TransactionException("Failed to commit: … No space left on device"), "no space is left on the disk"),
        (duckdb.OutOfMemoryException("'max_temp_directory_size' …"), "no space is left on the disk"),
        (duckdb.IOException("Could not set lock on file"), None),
        (sqlite3.OperationalError("database or disk is full"), "no space is left on the disk"),
        (ValueError("No space left on device"), None),
    ],
)
def test_a_full_disk_is_told_from_other_failures(error: Exception, why: str | None) -> None:
    assert why_unwritable(error) == (why and (DiskFull, why))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EROFS, "x"), "the disk is mounted read-only"),
        (OSError("Read-only file system (os error 30): /a/b.part"), "the disk is mounted read-only"),
        (PermissionError(errno.EACCES, "x"), "this user may not"),
        (PermissionError(errno.EPERM, "x"), "the operation is not permitted"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "this user may not"),
        (sqlite3.OperationalError("unable to open database file"), "this user may not"),
        (duckdb.IOException('Cannot open file "/a/b": Permission denied'), "this user may not"),
        (duckdb.IOException('Cannot open file "/a/b": Read-only file system'), "the disk is mounted read-only"),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (BrokenPipeError(errno.EPIPE, "x"), None),
    ],
)
def test_a_place_that_may_not_be_written_is_told_from_other_failures(error: Exception, why: str | None) -> None:
    assert why_unwritable(error) == (why and (NotWritable, why))


def test_the_message_names_the_path_that_refused(tmp_path: Path) -> None:
    file = tmp_path / "a_file"
    file.touch()
    with pytest.raises(NotWritable) as refused, raise_unwritable("user_features for 2026-03-09", tmp_path):
        (file / "warehouse.lock").open("w")
    assert str(file / "warehouse.lock") in str(refused.value)
    query = f"copy (select 1 as one) to '{file}/x.csv'"
    with pytest.raises(NotWritable) as refused, raise_unwritable("an export", tmp_path), duckdb.connect() as con:
        con.execute(query)
    assert f"where: {file}/x.csv" in str(refused.value)


def test_the_message_says_how_much_room_there_is_and_is_needed_and_where(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    file.write_bytes(bytes(3_000_000))
    with pytest.raises(DiskFull) as full, raise_unwritable("user_features for 2026-03-09", file):
        raise OSError(errno.ENOSPC, "No space left on device")
    doing, expected, found, where, next_step = str(full.value).split("\n  ")
    assert doing == "user_features for 2026-03-09 could not be finished; nothing that was live has changed."
    assert expected == "expected: about 6 MB of room"
    free = shutil.disk_usage(tmp_path).free / 1e6
    assert found.startswith("found: no space is left on the disk; ")
    assert found.endswith(" MB are free")
    assert float(found.split("; ")[1].split()[0].replace(",", "")) == pytest.approx(free, rel=0.05)
    assert where == f"where: {tmp_path}"
    assert next_step.endswith("gesture run")


def test_a_copy_that_would_not_fit_is_not_begun(tmp_path: Path) -> None:
    require_room("The publication of 2026-03-09", tmp_path, 1000)
    with pytest.raises(DiskFull, match=r"expected: about 1,000,000,000 MB of room"):
        require_room("The publication of 2026-03-09", tmp_path, 10**15)


def test_other_errors_come_out_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), raise_unwritable("a step", tmp_path):
        raise FileNotFoundError(errno.ENOENT, "x")


def limited(byte_count: int, work: Callable[[], object]) -> Callable[[], list[Any]]:
    """`work` in a process that can write no file beyond `byte_count`; returns the message and the seconds it took."""

    def in_little_room() -> list[Any]:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, most))
        started = time.monotonic()
        try:
            work()
        except DiskFull as error:
            return [str(error), time.monotonic() - started]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        return ["it fitted", 0]

    return in_little_room


def stage_more_than_memory_holds() -> None:
    """Stage rows of which most must be spilt to disk."""
    import narwhals as nw

    from gesture_assets.settings import load_settings
    from gesture_assets.warehouse.run_info import RunInfo
    from gesture_assets.warehouse.warehouse import Warehouse
    from gesture_assets_tests.good_night import DAY, NIGHT
    from gesture_assets_tests.unit.warehouse.test_warehouse import SHOES

    warehouse = Warehouse(load_settings().warehouse, 10, threads=1, memory_limit="60MB")
    with warehouse.open(RunInfo("run-full", NIGHT, (DAY,), "a_step")) as session:
        many = f"select date '{DAY}' as as_of_date, md5(i::varchar) as shoe, 40 as size from range(6000000) t(i)"
        session.commit((SHOES, nw.from_native(session.connection.sql(many))))


def in_little_room(root: str, steps: list[str]) -> dict[str, Any]:
    """What each of `steps` says on a full disk, what is published then, and what the next run makes of it."""
    import_everything()
    folder, log = Path(root), Path(root) / "log"

    def at(data_dir: Path) -> Path:
        os.environ["GESTURE_DATA_DIR"] = str(data_dir)
        return data_dir

    base = at(folder / "base")
    base.mkdir()
    assert run(lambda: good_night(0), log) == 0, log.read_text()
    undisturbed = at(shutil.copytree(base, folder / "undisturbed", symlinks=True))
    assert run(lambda: good_night(1), log) == 0, log.read_text()
    found: dict[str, Any] = {"undisturbed": in_child(lambda: hashes(undisturbed), log)}
    size = (base / "warehouse.duckdb").stat().st_size
    cases = {
        "staging": (1_000_000, stage_more_than_memory_holds),
        "promoting": (3_000, lambda: good_night(1)),
        "publishing": (size - 1, lambda: good_night(0)),
    }
    for name in steps:
        byte_count, work = cases[name]
        here = at(shutil.copytree(base, folder / name, symlinks=True))
        said = in_child(limited(byte_count, work), log)
        left = [path.name for path in (here / "published").iterdir()] + [path.name for path in here.iterdir()]

        def looked_at(here: Path = here) -> list[Any]:
            published = whole(here)
            good_night(1)
            return [published, whole(here), hashes(here)]

        found[name] = [*said, left, *in_child(looked_at, log)]
    found["log"] = log.read_text()[-3000:]
    return found


def run_in_little_room(root: str) -> dict[str, Any]:
    """What `gesture run` says on a full disk, and how the next one ends."""
    import_everything()
    data_dir, log, own = Path(root) / "nightly", Path(root) / "log", Path(root) / "nightly.log"
    os.environ["GESTURE_DATA_DIR"] = str(data_dir)
    assert run(lambda: write_world(data_dir, days=1), log) == 0, log.read_text()
    code = run(lambda: (limit(5_000_000), gesture("run")()), own)
    return {"code": code, "output": own.read_text(), "code after": run(gesture("run"), log), "log": log.read_text()}


def limit(byte_count: int) -> None:
    """This process can write no file beyond `byte_count` from now on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, byte_count))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["promoting"], marks=pytest.mark.slow),
        pytest.param(["staging", "publishing"], marks=pytest.mark.proof),
    ],
    ids=" and ".join,
)
def test_a_full_disk_stops_a_step_and_loses_nothing(tmp_path: Path, steps: list[str]) -> None:
    found = in_a_process(HERE, "in_little_room", tmp_path, steps, environment=environment(tmp_path))
    log, undisturbed = found.pop("log"), found.pop("undisturbed")
    assert list(found) == steps
    for name, (said, _, left, published, after, hashes_after) in found.items():
        assert "could not be finished; nothing that was live has changed." in said, (name, said, log)
        assert "found: the largest file size that this process may write is reached; " in said, name
        assert [file for file in left if ".tmp" in file or "spill" in file] == [], name
        assert (published, after) == ("2026-03-09", "2026-03-10"), name
        assert hashes_after == undisturbed, name


@pytest.mark.slow
def test_a_full_disk_is_said_once_and_nobody_waits_for_it_to_become_larger(tmp_path: Path) -> None:
    found = in_a_process(HERE, "run_in_little_room", tmp_path, environment=environment(tmp_path))
    assert found["code"] == 1, found["output"]
    lines = found["output"].splitlines()
    assert [line.startswith("DiskFull: ") for line in lines].count(True) == 1, found["output"]
    assert [line.startswith("ERROR night/failed/") for line in lines].count(True) == 1, found["output"]
    assert found["code after"] == 0, found["log"]
