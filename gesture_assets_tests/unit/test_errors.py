"""Errors: four parts, and the folder that is in use."""

from pathlib import Path

import pytest

from gesture_assets.errors import GateClosed


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("data/warehouse.duckdb, table gate_ledger", "/srv/shop/warehouse.duckdb, table gate_ledger"),
        ("move it out of data/landing, then  gesture run", "move it out of /srv/shop/landing, then  gesture run"),
        ("data/landing, data/sources", "/srv/shop/landing, /srv/shop/sources"),
        ("/mnt/shop/data/landing", "/mnt/shop/data/landing"),
        ("metadata/x and data", "metadata/x and data"),
    ],
)
def test_an_error_names_the_folder_in_use(text: str, named: str) -> None:
    error = GateClosed(text, expected=text, found=text, where=text, next_step=text)
    error.name_folder(Path("/srv/shop"))
    assert [error.doing, error.expected, error.found, error.where, error.next_step] == [named] * 5
    assert str(error) == f"{named}\n  expected: {named}\n  found: {named}\n  where: {named}\n  next: {named}"
    error.name_folder(Path("data"))
    assert error.where == named
