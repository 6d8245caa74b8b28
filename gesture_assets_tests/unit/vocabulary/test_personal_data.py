"""Signs that are asked for before the dear patterns: whatever a pattern finds, its signs let through."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.vocabulary.personal_data import holds_address_sql, may_be_address_sql, plain_signs_sql

PIECES = st.sampled_from(
    (
        *(
            "10.20.30.40",
            "fe80",
            "::",
            ":",
            "1",
            ".",
            "@",
            "%40",
            "%2540",
            "(at)",
            " [AT] ",
            "&#64;",
            "&commat;",
            "page",
        ),
        *("ada", "shop.example", "@localhost", "xn--p1ai", "%eth0", "\\u0040", "\uff20", "\uff0e", "\u3002", "\u0661"),
        *("page", "/", "anon", "2001:db8:0:0:1:0:0:1", "10:05:33", "-", "_", " ", "\u00e9"),
    )
)


@given(st.lists(st.lists(PIECES, min_size=1, max_size=7).map("".join), min_size=1, max_size=40))
def test_no_address_is_without_the_signs_that_are_asked_for(texts: list[str]) -> None:
    looked_at = holds_address_sql(plain_signs_sql("value"))
    missed = duckdb.execute(
        f"select value from (select unnest(?) as value) where {looked_at} and not {may_be_address_sql('value')}",
        [texts],
    ).fetchall()
    assert missed == []


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("subscriber:80", False),
        ("anon:0f3c.7", False),
        ("native/2026-03-04.csv", False),
        ("v1.2", False),
        ("10.20.30.40", True),
        ("::1", True),
        ("ada@shop.example", True),
        ("ada%40shop.example", True),
        ("ada (at) shop.example", True),
        ("ada&#64;shop.example", True),
        ("１０.1.1.1", True),
    ],
)
def test_ids_and_names_of_files_need_no_look(text: str, asked: bool) -> None:
    assert duckdb.execute(f"select {may_be_address_sql('value')} from (select ? as value)", [text]).fetchone() == (
        asked,
    )
