"""A warehouse file of another version, of somebody else, or damaged: brought to ours, or refused and left as it is."""

import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.settings import Settings
from gesture_assets.warehouse.format import FORMAT, TABLE, create_file, migrate
from gesture_assets_tests.good_night import DAY
from gesture_assets_tests.unit.publication.test_publish import publish_from


def attached(path: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(f"attach '{path}' as warehouse")
    return con


def written_format(path: Path) -> list[tuple]:
    with attached(path) as con:
        return con.execute(f"select version from {TABLE}").fetchall()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file from before formats were counted."""
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("create table gate_ledger as select 1 as attempt")
    return path


def test_a_new_warehouse_says_its_format(open_session: Callable, settings: Settings) -> None:
    with open_session(DAY):
        pass
    assert written_format(settings.warehouse) == [(FORMAT,)]


def test_a_file_from_before_formats_were_counted_is_brought_to_ours(old: Path) -> None:
    with attached(old) as con:
        migrate(con, old)
        assert con.execute("select attempt from warehouse.gate_ledger").fetchall() == [(1,)]
    assert written_format(old) == [(FORMAT,)]


def test_each_format_on_the_way_is_passed_in_order(old: Path) -> None:
    steps = {
        0: lambda con: con.execute("create table warehouse.seen as select 0 as n"),
        1: lambda con: con.execute("insert into warehouse.seen values (1)"),
        2: lambda con: con.execute("insert into warehouse.seen values (2)"),
    }
    with attached(old) as con:
        migrate(con, old, migrations=steps, ours=3)
        migrate(con, old, migrations=steps, ours=3)
        assert con.execute("select n from warehouse.seen").fetchall() == [(0,), (1,), (2,)]
    assert written_format(old) == [(3,)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    steps = {0: lambda con: con.execute("drop table warehouse.gate_ledger"), 1: lambda con: con.execute("nonsense")}
    with attached(old) as con, pytest.raises(duckdb.ParserException):
        migrate(con, old, migrations=steps, ours=2)
    with attached(old) as con:
        assert con.execute("select table_name from duckdb_tables()").fetchall() == [("gate_ledger",)]


def test_a_newer_format_is_refused_by_the_name_of_its_writer(open_session: Callable, settings: Settings) -> None:
    with open_session(DAY) as session:
        session.connection.execute(f"update {TABLE} set version = 9, written_by = 'gesture_assets 7.1'")
    before = settings.warehouse.read_bytes()
    with pytest.raises(ConfigError, match="nothing was written to it") as refusal, open_session(DAY):
        pytest.fail("it was opened")
    assert f"expected: format {FORMAT}\n" in str(refusal.value)
    assert "found: format 9, written by gesture_assets 7.1; this is gesture_assets" in str(refusal.value)
    assert "next: install gesture_assets 7.1 or newer" in str(refusal.value)
    assert settings.warehouse.read_bytes() == before


def test_a_format_without_a_way_to_ours_is_refused(old: Path) -> None:
    with attached(old) as con, pytest.raises(ConfigError, match=r"format 5, or an older one from 3") as refusal:
        migrate(con, old, migrations={3: print, 4: print}, ours=5)
    assert "format 0, written by a version before formats were counted" in str(refusal.value)


def test_a_database_of_somebody_else_is_not_written_to(open_session: Callable, settings: Settings) -> None:
    with duckdb.connect(str(settings.warehouse)) as con:
        con.execute("create table invoices as select 1 as number")
    with pytest.raises(ConfigError, match="with the tables invoices"), open_session(DAY):
        pytest.fail("it was opened")
    with duckdb.connect(str(settings.warehouse)) as con:
        assert con.execute("select table_name from duckdb_tables()").fetchall() == [("invoices",)]


def header_checksum(header: bytes) -> int:
    """DuckDB's checksum of a header block, over all that follows it."""
    total = 5381
    for (number,) in struct.iter_unpack("<Q", header):
        total ^= number * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    return total


def of_a_newer_duckdb(whole: bytes) -> bytes:
    header = bytearray(whole[8:4096])
    header[4:12] = struct.pack("<Q", 999)
    header[44:52] = b"v2.0.0\0\0"
    return struct.pack("<Q", header_checksum(bytes(header))) + bytes(header) + whole[4096:]


def sqlite_file(whole: bytes) -> bytes:
    del whole
    con = sqlite3.connect(":memory:")
    con.execute("create table t (a)")
    return con.serialize()


@pytest.mark.parametrize(
    ("spoilt", "found"),
    [
        (lambda whole: b"date,amount\n" * 2000, "a file that is no DuckDB file"),
        (lambda whole: b"", "an empty file"),
        (lambda whole: b"no", "a file that is no DuckDB file"),
        (sqlite_file, "a file that is no DuckDB file"),
        (lambda whole: whole[: len(whole) // 2], "a damaged or truncated file"),
        (lambda whole: whole[:5000], "a damaged or truncated file"),
        (lambda whole: whole[:4096] + bytes(8192) + whole[12288:], "a damaged or truncated file"),
        (of_a_newer_duckdb, "one written by DuckDB v2.0.0"),
    ],
    ids=["text", "empty", "two bytes", "SQLite", "half", "little more than a header", "zeroes", "newer DuckDB"],
)
def test_what_cannot_be_opened_is_named_and_left_alone(
    open_session: Callable, settings: Settings, spoilt: Callable[[bytes], bytes], found: str
) -> None:
    with open_session(DAY) as session:
        session.connection.execute(
            "create table warehouse.main.filling as select md5(i::varchar) from range(9999) t(i)"
        )
    content = spoilt(settings.warehouse.read_bytes())
    settings.warehouse.write_bytes(content)
    with pytest.raises(ConfigError, match="nothing was written to it") as refusal, open_session(DAY):
        pytest.fail("it was opened")
    assert f"found: {found}" in str(refusal.value)
    assert f"cp -L {settings.published} {settings.warehouse} && gesture run" in str(refusal.value)
    assert settings.warehouse.read_bytes() == content


@pytest.mark.slow
def test_the_published_file_takes_the_place_of_a_lost_warehouse(
    open_session: Callable, settings: Settings, good_night_warehouse: Path
) -> None:
    shutil.copyfile(good_night_warehouse, settings.warehouse)
    with open_session(DAY) as session:
        first = publish_from(session, settings)
    settings.warehouse.write_bytes(settings.published.read_bytes())  # what the message of a damaged file asks for
    with open_session(DAY, run_id="run-0002") as session:
        again = publish_from(session, settings)
    assert again.path != first.path
    tables = {
        path: duckdb.connect(str(path), read_only=True)
        .execute("select table_name, content_hash from manifest")
        .fetchall()
        for path in (first.path, again.path)
    }
    assert sorted(tables[first.path]) == sorted(tables[again.path])


def test_a_file_that_was_never_finished_is_made_again(settings: Settings, open_session: Callable) -> None:
    settings.warehouse.with_name("warehouse.duckdb.new").write_bytes(b"DU")  # killed while it was made
    with open_session(DAY):
        pass
    assert written_format(settings.warehouse) == [(FORMAT,)]
    assert not settings.warehouse.with_name("warehouse.duckdb.new").exists()
    create_file(settings.data_dir / "other.duckdb")
    with attached(settings.data_dir / "other.duckdb") as con:
        assert con.execute("select count(*) from duckdb_tables()").fetchone() == (0,)
