"""Memory: what the engine takes where nobody says, and what is said where that is too little."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.errors import NotEnoughMemory
from gesture_assets.warehouse.memory import LEAST, MOST, UNITS, WIDE, writing
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse, connect

DAY, NIGHT = date(2026, 3, 9), datetime(2026, 3, 10, 2)


def limit_of(given: str | None) -> float:
    with connect(memory_limit=given) as connection:
        (text,) = connection.execute("select current_setting('memory_limit')").fetchone() or ("",)
    number, unit = text.split()
    return float(number) * UNITS[unit]


def test_the_engine_takes_a_part_of_the_machine_unless_somebody_says_how_much() -> None:
    assert LEAST * 0.99 <= limit_of(None) <= MOST * 1.01
    assert limit_of("3GB") == pytest.approx(3e9, rel=0.05)


def test_a_statement_that_needs_more_memory_names_the_setting(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", 10, threads=1, memory_limit="60MB")
    in_one_piece = "select list(md5(i::varchar)) from range(3_000_000) t(i)"
    with (
        pytest.raises(NotEnoughMemory) as refusal,
        warehouse.open(RunInfo("run-0001", NIGHT, (DAY,), "a_step")) as session,
    ):
        session.connection.execute(in_one_piece)
    lines = str(refusal.value).splitlines()
    assert lines[0] == "a_step for 2026-03-09 could not be finished; nothing that was live has changed."
    assert "57.2 MiB" in lines[1]
    assert "taken" in lines[2]
    assert lines[3].strip() == f"where: {tmp_path / 'warehouse.duckdb'}"
    assert "GESTURE_DUCKDB_MEMORY_LIMIT" in lines[4]


def test_what_is_larger_than_the_limit_is_put_aside_on_disk(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", 10, threads=1, memory_limit="60MB")
    with warehouse.open(RunInfo("run-0001", NIGHT, (DAY,), "a_step")) as session:
        session.connection.execute(
            "create table scratch.main.large as select md5(i::varchar) from range(3_000_000) t(i)"
        )
        assert session.connection.execute("select count(*) from scratch.main.large").fetchone() == (3_000_000,)
        assert list((tmp_path / "warehouse.spill").iterdir())


def test_a_wide_table_of_a_range_is_written_by_one_thread_even_where_that_fails() -> None:
    def threads() -> int:
        return connection.cursor().execute("select current_setting('threads')").fetchall()[0][0]

    with connect(threads=2) as connection:
        connection.execute("create table numbers (n integer not null)")
        night = RunInfo("run-0001", NIGHT, (DAY,), "a_step")
        part = replace(night, days=(DAY - timedelta(days=1), DAY))
        for columns, run in ((WIDE - 1, part), (WIDE, night)):
            with writing(connection, columns, run):
                assert threads() == 2
        connection.execute("begin")
        meanwhile: list[int] = []

        def fail() -> None:
            with writing(connection, WIDE, part):
                meanwhile.append(threads())
                connection.execute("insert into numbers values (null)")

        with pytest.raises(duckdb.ConstraintException):
            fail()
        assert (meanwhile, threads()) == ([1], 2)
