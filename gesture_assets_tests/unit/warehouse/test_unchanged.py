"""Which code a build key stands for: the rooms that a row can depend on, and no other."""

import shutil
from pathlib import Path

import pytest

from gesture_assets.contracts.catalogue import catalogue, domains, domains_of
from gesture_assets.warehouse.code_digest import PACKAGE, code_digest
from gesture_assets.warehouse.unchanged import ROOMS, rooms_behind

ROWLESS = ("reports", "web", "cli", "defs", "publication", "serving", "demo", "records")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of our code, to be edited."""
    return shutil.copytree(PACKAGE, tmp_path / "gesture_assets", ignore=shutil.ignore_patterns("__pycache__"))


def digests(package: Path) -> dict[str, str]:
    """Table -> the digest of the code behind it, in `package`."""
    code_digest.cache_clear()
    return {table.name: code_digest(rooms_behind([table.name]), package) for table in catalogue().tables}


def edited(package: Path, *files: str) -> dict[str, set[str]]:
    """The tables whose key changes when a line is added to each of `files`, which is made where it is not there."""
    before, changed = digests(package), {}
    for file in files:
        add_line(package / file)
        after = digests(package)
        changed[file] = {table for table in before if before[table] != after[table]}
        before = after
    return changed


def add_line(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n# edited\n")


def test_an_edit_of_what_no_row_depends_on_changes_no_key(package: Path) -> None:
    before = digests(package)
    for room in ROWLESS:
        for name in ("new.py", "views.sql", "new.toml"):
            add_line(package / room / name)
    assert digests(package) == before


def test_an_edit_of_what_every_row_depends_on_changes_every_key(package: Path) -> None:
    every = {table.name for table in catalogue().tables}
    files = [
        "frames.py",
        "compat/gx_duckdb.py",
        "contracts/contract.py",
        "nights/new.py",
        "sources/landing_index.py",
        "vocabulary/sql.py",
        "warehouse/promotion.py",
        *(str(path.relative_to(package)) for path in [*(package / "sources").rglob("*.toml")][:1]),
    ]
    assert files[-1].endswith(".toml"), "the shipped descriptions of sources count too"
    assert edited(package, *files) == dict.fromkeys(files, every)


@pytest.mark.parametrize("domain", domains())
def test_an_edit_of_a_domain_changes_the_keys_of_its_tables_and_of_all_that_stand_on_them(
    package: Path, domain: str
) -> None:
    own = {table.name for table in catalogue().tables if domain in rooms_behind([table.name])}
    files = [f"{domain}/{name}" for name in ("tables.py", "new.sql", "new.toml")]
    assert edited(package, *files) == dict.fromkeys(files, own)
    assert own
    assert own >= {table.name for table in catalogue().tables if own.intersection(catalogue().ancestors(table.name))}


def test_shipped_rule_sets_count_for_what_rules_make(package: Path) -> None:
    (changed,) = edited(package, "rules/sets/new.toml").values()
    assert "rule_scores" in changed
    assert "raw_events" not in changed


def test_a_table_that_stands_on_events_only_does_not_depend_on_rules() -> None:
    assert rooms_behind(["raw_events"]) == {*ROOMS, "events"}
    assert rooms_behind(["rule_scores"]) >= {*ROOMS, "events", "subscribers", "features", "rules"}
    assert rooms_behind(["a table of nobody"]) == set(ROOMS)


def test_a_domain_whose_functions_are_used_counts_though_none_of_its_tables_is_read() -> None:
    assert "models" not in domains_of(["score_changes"])
    assert "models" in rooms_behind(["score_changes"])


def test_the_rooms_are_there_and_every_other_one_is_a_domain_or_touches_no_row() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {room for room in ROOMS if not (PACKAGE / room).exists()} == set()
    assert rooms - set(ROOMS) - set(domains()) <= set(ROWLESS)
