"""A query that one process has written is read by the next; what is not as it should be is as if it were not there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gesture_assets.warehouse import query_shelf
from gesture_assets.warehouse.query_shelf import CODE, PACKAGE, find, put, written_by

WRITTEN = (("select 'ö' as a", "select 1 as n"), ({"a": "VARCHAR"}, {"n": "INTEGER"}))


def test_what_was_put_is_found_with_its_columns_in_order(tmp_path: Path) -> None:
    assert find(tmp_path / "shelf", "a") is None
    put(tmp_path / "shelf", "a", WRITTEN)
    put(tmp_path / "shelf", "b", (("select 2 as y, 1 as x",), ({"y": "INTEGER", "x": "INTEGER"},)))
    assert find(tmp_path / "shelf", "a") == WRITTEN
    found = find(tmp_path / "shelf", "b")
    assert found is not None
    assert list(found[1][0]) == ["y", "x"]
    assert find(tmp_path / "shelf", "c") is None
    assert [path.suffix for path in (tmp_path / "shelf").rglob("*") if path.is_file()] == [".json"] * 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "no text": lambda _: b"\xff",
    "deep": lambda _: b"[" * 200_000,
    "another digit": lambda whole: whole.replace(b"select 1", b"select 2"),
    "of another query": lambda whole: b"0" * 64 + whole[64:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_read_and_replaced(tmp_path: Path, damage: str) -> None:
    put(tmp_path, "a", WRITTEN)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert find(tmp_path, "a") is None
    put(tmp_path, "a", WRITTEN)
    assert find(tmp_path, "a") == WRITTEN


def test_other_code_reads_nothing_of_it_and_clears_it_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a", WRITTEN)
    monkeypatch.setattr(query_shelf, "CODE", "another version's" * 3)
    assert find(tmp_path, "a") is None
    put(tmp_path, "b", WRITTEN)
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_a_shelf_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "shelf").write_text("a file")
    put(tmp_path / "shelf", "a", WRITTEN)
    assert find(tmp_path / "shelf", "a") is None
    assert (tmp_path / "shelf").read_text() == "a file"


@pytest.mark.parametrize("changed", ["features/user_features.py", "frames.py", "events/views.sql", None])
def test_code_that_writes_other_sql_is_other_code(tmp_path: Path, changed: str | None) -> None:
    package = tmp_path / "gesture_assets"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    if changed:
        with (package / changed).open("a") as file:
            file.write("\n")
    # Views are made anew by each publication: no query of a step reads them.
    assert (written_by(package) == CODE) is (changed is None or changed.endswith("views.sql"))
