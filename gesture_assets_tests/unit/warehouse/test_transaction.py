"""All of a block's statements are kept, or none; and what went wrong comes out as it is."""

import duckdb
import pytest

from gesture_assets.warehouse.transaction import roll_back, transaction


@pytest.fixture
def numbers(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection.execute("create table numbers (n integer unique)")
    return connection


def rows(connection: duckdb.DuckDBPyConnection) -> list[int]:
    return [n for (n,) in connection.execute("select n from numbers order by n").fetchall()]


def test_what_is_written_stays(numbers: duckdb.DuckDBPyConnection) -> None:
    with transaction(numbers):
        numbers.execute("insert into numbers values (1), (2)")
    assert rows(numbers) == [1, 2]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_of_any_kind_undoes_it(numbers: duckdb.DuckDBPyConnection, error: type[BaseException]) -> None:
    def write_and_fail() -> None:
        with transaction(numbers):
            numbers.execute("insert into numbers values (1)")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert rows(numbers) == []
    with transaction(numbers):  # the next one begins anew
        numbers.execute("insert into numbers values (2)")
    assert rows(numbers) == [2]


def test_a_transaction_that_has_ended_by_itself_hides_no_error(numbers: duckdb.DuckDBPyConnection) -> None:
    def end_and_fail() -> None:
        with transaction(numbers):
            numbers.execute("rollback")
            raise LookupError("the reason")

    with pytest.raises(LookupError, match="the reason"):
        end_and_fail()
    roll_back(numbers)  # and once more does no harm
    assert rows(numbers) == []
