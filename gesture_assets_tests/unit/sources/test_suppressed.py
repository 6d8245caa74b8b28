"""The suppression list: what it may say, and what is refused with its line."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from gesture_assets.errors import SourceError
from gesture_assets.sources.ids import id_sql
from gesture_assets.sources.suppressed import as_at_the_door, read_suppressed


def listed(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suppressed.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_is_an_empty_list(tmp_path: Path) -> None:
    rows, digest = read_suppressed(tmp_path / "suppressed.csv")
    assert (rows.height, digest) == (0, "")


def test_users_are_named_by_either_id_and_for_a_time(tmp_path: Path) -> None:
    text = (
        "mailchimp_id,user_id,reason,since,until\n,u1,competitor,,\n 7 ,,asked not to be,2026-03-01,\n"
        ',"u""2",gone,,2026-03-04\n'
    )
    rows, digest = read_suppressed(listed(tmp_path, text))
    assert rows.rows() == [
        ("u1", None, "competitor", None, None),
        (None, "7", "asked not to be", date(2026, 3, 1), None),
        ('u"2', None, "gone", None, date(2026, 3, 4)),
    ]
    assert len(digest) == 32


def test_one_id_column_is_enough(tmp_path: Path) -> None:
    assert read_suppressed(listed(tmp_path, "user_id,reason\nu1,competitor\n"))[0]["user_id"].to_list() == ["u1"]
    assert read_suppressed(listed(tmp_path, "mailchimp_id,reason\n7,own staff\n"))[0]["mailchimp_id"].to_list() == ["7"]


def test_ids_are_those_that_events_and_the_crm_have(tmp_path: Path) -> None:
    text = "user_id,mailchimp_id,reason\n Ann@Example.com,,legal\n700.0,,legal\n,5.0,legal\nsubscriber:7,,legal\n"
    with duckdb.connect() as connection:
        rows = as_at_the_door(connection, read_suppressed(listed(tmp_path, text))[0], "a key")
        address = id_sql("'ann@example.com'", missing=(), key="a key")
        (hashed,) = connection.execute(f"select {address}").fetchone() or ()
    assert rows.select("user_id", "mailchimp_id").rows() == [
        (hashed, None),
        ("700", None),
        (None, "5"),
        ("subscriber:7", None),
    ]
    assert hashed.startswith("email:")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user_id\nu1\n", ["the columns reason and user_id or mailchimp_id", "user_id"]),
        ("email,reason\nada@example.com,left\n", ["the columns reason and user_id or mailchimp_id", "email, reason"]),
        ("user_id,reason,Until\nu1,left,\n", ["since and until where wanted", "Until"]),
        ("user_id,reason\nu1,left\n,left\n", ["a user_id or a mailchimp_id in every row", "line 3"]),
        ("user_id,reason\nu1,\n", ["a reason in every row", "line 2"]),
        ("user_id,reason,since\nu1,left,4.3.2026\n", ["a day as since, such as 2026-03-04", "line 2"]),
        ("", ["a CSV file in UTF-8 with a header"]),
        ("user_id, user_id,reason\nu1,u2,left\n", ["a CSV file in UTF-8 with a header", "duplicate"]),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SourceError) as refusal:
        read_suppressed(listed(tmp_path, text))
    for word in [*words, "suppressed.csv", "gesture run"]:
        assert word in refusal.value.report
    assert "ada@" not in refusal.value.report
