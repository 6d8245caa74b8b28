"""The key of the pseudonyms, and what is known to be personal."""

import hashlib
import hmac
from pathlib import Path

import duckdb
import pytest

from gesture_assets.settings import load_settings
from gesture_assets.sources.personal import (
    build_word,
    is_personal,
    keyed_hash_sql,
    masked_json_sql,
    normal_email_sql,
    pseudonym_key,
)
from gesture_assets.vocabulary.personal_data import masked_sql, without_keys


def engine(expression: str) -> str:
    return duckdb.sql(f"select {expression}").fetchall()[0][0]


def test_a_key_is_made_once_and_only_its_owner_may_read_it(data_dir: Path) -> None:
    settings = load_settings({"GESTURE_DATA_DIR": str(data_dir / "new")})
    key = pseudonym_key(settings)
    assert len(bytes.fromhex(key)) == 32
    assert pseudonym_key(settings) == key
    assert (data_dir / "new" / "pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_a_key_of_ones_own_is_used_and_not_kept(data_dir: Path) -> None:
    settings = load_settings({"GESTURE_DATA_DIR": str(data_dir), "GESTURE_PSEUDONYM_KEY": "own"})
    assert pseudonym_key(settings) == "own"
    assert not (data_dir / "pseudonym.key").exists()


def test_the_word_of_a_key_changes_with_it_and_does_not_tell_it() -> None:
    assert build_word("one") != build_word("two")
    assert "one" not in build_word("one")


@pytest.mark.parametrize("key", ["short", "long " * 40])
def test_the_engine_hashes_as_hmac_does(key: str) -> None:
    expected = hmac.new(key.encode(), b"ada@example.com", hashlib.sha256).hexdigest()
    assert engine(keyed_hash_sql(normal_email_sql("' Ada@Example.com '"), key)) == expected


@pytest.mark.parametrize("key", ["short", "long " * 40])
def test_sql_that_is_shown_does_not_tell_the_key(key: str) -> None:
    sql = keyed_hash_sql("email", key)
    shown = without_keys(f"select {sql} as email_key, unhex(other)")
    assert shown == "select sha256(unhex('…') || unhex(sha256(unhex('…') || encode(email)))) as email_key, unhex(other)"


def test_addresses_are_masked_in_texts_and_personal_fields_in_json() -> None:
    text = "ada@example.com came from 10.0.0.1 and ::ffff:10.0.0.2"
    masked = engine(masked_sql(f"'{text}'"))
    assert not any(part in masked for part in ("ada@", "10.0.0.1", "10.0.0.2"))
    masked = engine(masked_json_sql("""'{"First Name": "Ada", "page": "/a", "phone": 123, "email": "cut o'"""))
    assert masked == """{"First Name": "***", "page": "/a", "phone": "***", "email": "***\""""


def test_headers_are_known_in_any_case_and_spelling() -> None:
    assert all(map(is_personal, ("E-Mail", " first name ", "IP_Address", "context.traits.email")))
    assert not any(map(is_personal, ("page", "country", "email_count")))
