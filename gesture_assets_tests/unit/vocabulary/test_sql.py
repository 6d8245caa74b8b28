"""Names and texts come through the engine as they are, whatever they hold."""

import duckdb
import pytest

from gesture_assets.vocabulary.sql import identifier, literal

ODD = ["plain", "it's", 'a "name"', "two  spaces", "semi; colon --", "ü €", "'' and \"\""]


@pytest.mark.parametrize("text", [*ODD, ""])
def test_a_text_is_itself(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert connection.execute(f"select {literal(text)}").fetchone() == (text,)


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_itself(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    assert connection.sql(f"select 1 as {identifier(name)}").columns == [name]
