"""A data folder that nobody may write to: four parts that name the path and code 2, and looking goes on.

The tests may run as root, whom file modes do not bind: read-only mounts and paths below a file refuse everybody.
"""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gesture_assets.cli.dagster_home import raise_unusable_storage
from gesture_assets.errors import ConfigError, DiskFull
from gesture_assets_tests.unit.cli.commands import LAST, called, has_four_parts

WRITING = [
    ("run",),
    ("demo-data", "--users", "5", "--days", "2"),
    ("catchup", "--dry-run"),
    ("publish",),
    ("publish", "rollback"),
    ("models", "rollback"),
    ("dev",),
]
LOOKING = [
    ("rank", "--n", "2"),
    ("explain",),
    ("why-changed",),
    ("tables",),
    ("gates",),
    ("gates", "coverage"),
    ("quarantine", "list"),
    ("quarantine", "show"),
    ("alerts", "list"),
    ("models", "list"),
    ("rules", "lint"),
    ("config", "show"),
]
Mount = Callable[..., Path]


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Something mounted at `place`, until the end; skips where this user may mount nothing."""
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a read-only folder needs a mount, which is refused here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # a look may have left it open


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """`mount()`: an empty read-only folder; `mount(folder)`: a read-only view of this one."""
    with ExitStack() as stack:

        def mount_read_only(origin: Path | None = None) -> Path:
            place = tmp_path / "read_only"
            place.mkdir()
            if origin is None:
                stack.enter_context(mounted(place, "-t", "tmpfs", "-o", "ro", "tmpfs"))
            else:
                stack.enter_context(mounted(place, "--bind", "-o", "ro", str(origin)))
            return place

        yield mount_read_only


def ends_in_four_parts(data_dir: Path, command: tuple[str, ...], why: str) -> None:
    done = called(data_dir, *command)
    assert done.code == 2, done.out + done.err
    assert done.err.startswith("NotWritable: ")
    assert has_four_parts(done.err)
    assert f"found: {why}\n" in done.err
    assert f"where: {data_dir}" in done.err
    assert "GESTURE_DATA_DIR" in done.err


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_what_writes_to_a_read_only_folder_names_the_path_and_what_to_do(
    mount: Mount, command: tuple[str, ...]
) -> None:
    ends_in_four_parts(mount(), command, "the disk is mounted read-only")


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_data_folder_below_a_file_is_said_to_be_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "a_file"
    file.touch()
    ends_in_four_parts(file / "data", command, "a part of the path is a file, not a folder")


@pytest.mark.slow
def test_a_read_only_world_is_looked_at_and_says_why_nothing_else_works(mount: Mount, world: Path) -> None:
    folder = mount(world)
    for command in LOOKING:
        done = called(folder, *command)
        assert "NotWritable" not in done.err, command
        assert done.code == 0, (command, done.err)
    for command in (*WRITING, ("demo-data", "--poison", LAST)):
        ends_in_four_parts(folder, command, "the disk is mounted read-only")
    for command in (("rank", "--csv", f"{folder}/x.csv"), ("export", "rule_scores", "--to", f"{folder}/x.csv")):
        ends_in_four_parts(folder, command, "the disk is mounted read-only")


@pytest.mark.slow
def test_a_full_disk_of_the_target_is_named_and_nothing_is_left_on_it(tmp_path: Path, world: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        kept = folder / "kept.csv"
        kept.write_text("as it was")
        for command in (
            ("export", "raw_events", "--to", f"{folder}/raw.csv"),
            ("export", "raw_events", "--to", str(kept)),
            ("rank", "--n", "1000", "--csv", f"{folder}/rank.csv"),
            ("report", "night", "--out", f"{folder}/night.html"),
        ):
            (folder / "rest").write_bytes(bytes(8192))
            done = called(world, *command)
            assert (done.code, done.err.startswith("DiskFull: ")) == (1, True), done.out + done.err
            assert has_four_parts(done.err)
            assert f"where: {folder}\n" in done.err
            assert ("another path" in done.err, "gesture run" in done.err) == (True, False)
            assert {path.name for path in folder.iterdir()} == {"kept.csv", "rest"}
        assert kept.read_text() == "as it was"
    done = called(world, "export", "raw_events", "--to", "/dev/full")
    assert (done.code, "where: /dev\n" in done.err) == (1, True), done.err


@pytest.mark.parametrize("is_full", [True, False])
def test_an_error_of_the_disk_in_dagsters_storage_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    home = tmp_path / "dagster_home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with ExitStack() as stack:
        if is_full:
            stack.enter_context(mounted(home, "-t", "tmpfs", "-o", "size=64k", "tmpfs"))
        with pytest.raises(DiskFull if is_full else ConfigError) as told, raise_unusable_storage():
            raise sqlite3.OperationalError("disk I/O error")
    assert str(home) in told.value.where
    assert has_four_parts(str(told.value))


def test_a_storage_that_somebody_else_has_is_no_damaged_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(sqlite3.OperationalError), raise_unusable_storage():
        raise sqlite3.OperationalError("database is locked")
