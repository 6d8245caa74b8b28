"""The key of the pseudonyms, and what is known to be personal."""

import hashlib
import hmac
import re
from pathlib import Path

import duckdb
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.settings import load_settings
from gesture_assets.sources.personal import (
    build_word,
    is_personal,
    keyed_hash_sql,
    masked_json_sql,
    may_be_email_sql,
    normal_email_sql,
    plain_email_sql,
    pseudonym_key,
)
from gesture_assets.vocabulary.personal_data import (
    hide_keys,
    holds_address_sql,
    holds_card_sql,
    holds_number_sql,
    holds_street_sql,
    masked_sql,
    plain_signs_sql,
    without_keys,
)


def engine(expression: str) -> str:
    return duckdb.sql(f"select {expression}").fetchall()[0][0]


def test_a_key_is_made_once_and_only_its_owner_may_read_it(data_dir: Path) -> None:
    settings = load_settings({"GESTURE_DATA_DIR": str(data_dir / "new")})
    key = pseudonym_key(settings)
    assert len(bytes.fromhex(key)) == 32
    assert pseudonym_key(settings) == key
    assert (data_dir / "new" / "pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_the_folder_that_a_key_is_made_in_is_its_owner_s_and_a_key_that_others_may_read_is_closed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    settings = load_settings({"GESTURE_DATA_DIR": str(folder)})
    key = pseudonym_key(settings)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["pseudonym.key"], "nothing else is left behind"
    (folder / "pseudonym.key").chmod(0o644)
    assert pseudonym_key(settings) == key
    assert (folder / "pseudonym.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_key_file_without_a_key_is_refused_and_left_as_it_is(data_dir: Path, content: bytes) -> None:
    path = data_dir / "pseudonym.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"(?s)pseudonyms.*found: (an empty file|no text).*next: restore"):
        pseudonym_key(load_settings({"GESTURE_DATA_DIR": str(data_dir)}))
    assert path.read_bytes() == content


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_key_of_ones_own_is_refused(data_dir: Path, value: str) -> None:
    settings = load_settings({"GESTURE_DATA_DIR": str(data_dir), "GESTURE_PSEUDONYM_KEY": value})
    with pytest.raises(ConfigError, match=r"(?s)GESTURE_PSEUDONYM_KEY.*an empty value.*next: unset"):
        pseudonym_key(settings)


def test_an_error_of_the_engine_shows_no_digits_of_the_key() -> None:
    with pytest.raises(duckdb.Error, match="6363636") as caught:  # the engine quotes its statement
        duckdb.sql(f"select {keyed_hash_sql('email', 'a key')} from two names too many")
    failure = RuntimeError("a night failed")
    failure.__cause__ = caught.value
    hide_keys(failure)
    assert "two names" in str(caught.value)
    assert not re.search("[0-9a-f]{16}", str(caught.value))


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


@pytest.mark.parametrize("written", ["ann(at)b.example", "ann [at] b.example", "ANN( AT )b.example"])
def test_an_address_that_is_hidden_from_machines_is_masked_and_hashed(written: str) -> None:
    assert engine(masked_sql(f"'say {written}'")) == "say ***"
    assert engine(holds_address_sql(f"'{written}'"))
    assert engine(may_be_email_sql(f"'{written}'"))
    assert engine(normal_email_sql(plain_email_sql(f"'{written}'"))) == "ann@b.example"


def test_headers_are_known_in_any_case_and_spelling() -> None:
    assert all(map(is_personal, ("E-Mail", " first name ", "IP_Address", "context.traits.email")))
    assert all(map(is_personal, ("phone2", "billing_phone", "Vorname", "MSISDN", "customer.email")))
    assert not any(map(is_personal, ("page", "country", "email_count", "product_name", "hotel", "headphone")))
    assert not any(map(is_personal, ("campaignName", "context.campaign.name", "utm_name", "smartphone", "tooltip")))


@pytest.mark.parametrize(
    "header",
    [
        *("customer_name", "given_name", "family_name", "display_name", "shipping_address", "dob", "Telefonnummer"),
        *("phoneNumber", "mobilePhone", "customerPhone", "billingFirstName", "Customer Phone 2", "userIp", "IPAddress"),
    ],
)
def test_the_words_of_a_header_tell_that_it_is_personal(header: str) -> None:
    assert is_personal(header)
    assert engine(masked_json_sql(f"""'{{"{header}": "Ada L", "page": 1}}'""")) == f'{{"{header}": "***", "page": 1}}'


@pytest.mark.parametrize(
    "written",
    [
        r'{"n\u0061me": "Ada L", "note": "leaky\u0040person.com or \u002B4915123456789"}',
        r'{"x": "{\"name\": \"Ada\\u0020L\", \"note\": \"leaky\\u0040person.com +4915123456789\"}"}',
        r'{"note": "leaky\uff20person.com \u002b49 1512 3456789", "userName": "Ada L", "cut',
    ],
)
def test_escapes_hide_nothing_and_json_within_json_is_looked_at(written: str) -> None:
    masked = engine(masked_sql(masked_json_sql(f"'{written}'")))
    assert not any(part in masked for part in ("Ada", "L", "leaky", "person", "345678"))
    assert "note" in masked
    assert "***" in masked


def test_a_percent_sign_in_json_stays() -> None:
    assert engine(masked_json_sql(r"""'{"a": "50%20 \u0026 %"}'""")) == '{"a": "50%20 & %"}'


NUMBERS = (
    "+49 151 23456789",
    "+4915123456789",
    "call +1 (555) 010-9999",
    "(030) 1234567",
    "0151 23456789",
    "030/1234567",
    "tel=49151234567",
    '{"phone":"4915123456789"}',
    "https://x.example/?p=%2B4915123456789&a=1",
    "DE89370400440532013000",
    "de89 3704 0044 0532 0130 00 is mine",
    "GB82 WEST 1234 5698 7654 32",
    "AT61 1904 3002 3457 3201 call me",
    "nl91abna0417164300",
    "?iban=DE89%203704%200044%200532%200130%2000",
    "0049 30 1234567",
    "001 212 555 1234567",
    "call 555-867-5309",
    "212.555.5309",
    "4111 1111 2345 6111",
    "paid with 5105-1051-2345-5100",
    "3782 822463 10005",
    '{"card_number":"4111111123456111"}',
    "07 12 34 56 78",
    "03%2012%2034%2056%2078",
    "090-1234-5678",
    "0151-23456789",
    "1-555-234-5678",
    "ring 020-7946-1234",
    "DE89-3704-0044-0532-0130-00",
    "+４９１５１２３４５６７８９",
    "+49\u202f151 23456789",
    "٠١٥١ ٢٣٤٥٦٧٨٩",
    "020\u20117946\u20111234",
)
ORDINARY = (
    "DE89370400440532013001",  # check figures that do not fit
    "123456789012",
    "12345678901234567890",
    "550e8400-e29b-41d4-a716-446655440000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "2026-03-09T10:00:00+01:00",
    "ORD-2026-0012345",
    "123-4567890-1234567",
    "GA1.2.123456789.1773050400",
    "1.2E+16123456",
    "iphone+12345678",
    "https://shop.example/p/123456789?utm_id=20260309",
    "telephone",
    "4111111111111111",
    "555-1234567-89",
    "2026-03-09 1234",
    "00123456789",
    "postcard 2026",
    "4123-4567",
    "2026-11-28",
    "28-11-2026",
    "2026-11-28 10-30-00",
    "07-12-2026 10 20 30",
    "09 12 2026 10 30",
    "order 012-2026",
    "v1.2.3-0123-4567",
    "ab12-3456-7890-1234",
    "550e8400-de89-3704-a716-044655440000",
)


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_of_phones_and_accounts_are_known_and_masked_wherever_they_stand(text: str) -> None:
    assert engine(holds_number_sql(plain_signs_sql(f"'{text}'")))
    masked = engine(masked_sql(plain_signs_sql(f"'{text}'")))
    assert "***" in masked
    assert not any(
        part in masked
        for part in ("23456", "010-99", "1234567", "0532", "5698", "3457", "0417", "151234", "5309", "22463")
    )


# Text -> what is shown of it.
MACHINES = {
    "from ::1 on": "from *** on",
    "fe80::1%eth0": "***",
    "fe80::1%25eth0": "***",
    "::ffff:1.2.3.4": "***",
    "::ffff:102:304": "***",
    "64:ff9b::192.0.2.33": "***",
    "2001:db8::": "***",
    "http://[2001:db8::1]:80/x": "http://[***]:80/x",
    "2001:db8:85a3:8d3:1319:8a2e:370:7348": "***",
    "1::": "***",
    **{
        name: name
        for name in (
            *("::", "user::7", "node::12", "page::view", "std::string", "a::before", "::Bar", "10:05:33"),
            *("2026-03-09T10:00:00+01:00", "v1.2.3", "10:00-11:00"),
        )
    },
}


@pytest.mark.parametrize(("text", "shown"), MACHINES.items())
def test_the_address_of_a_machine_is_known_in_each_of_its_forms(text: str, shown: str) -> None:
    assert engine(holds_address_sql(f"'{text}'")) is (text != shown)
    assert engine(masked_sql(f"'{text}'")) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(
            (text, "***")
            for text in ("4111111111111111", "4111.1111.1111.1111", "4111_1111_1111_1111", "4222222222222")
        ),
        *((text, "***") for text in ("378282246310005", "30569309025904", "6304000000000000018", "5019717010103742")),
        ("paid 4111111111111111 today", "paid *** today"),
        *((text, text) for text in ("4111111111111112", "1773050400123", "23843561234560123", "order_20260309101010")),
    ],
)
def test_figures_of_a_card_are_known_by_their_first_and_their_last(text: str, shown: str) -> None:
    assert engine(holds_card_sql(f"'{text}'")) is (text != shown)
    assert engine(masked_sql(f"'{text}'")) == shown


HOUSES = (
    *("12 Main Street", "12 Main St.", "221B Baker Street", "350 5th Ave, New York", "5th Avenue 12, New York"),
    *("Hauptstr. 5", "Hauptstra\u00dfe 12a", "Berliner Allee 33", "Potsdamer Platz 1, Berlin", "12, rue de Rivoli"),
    *("Calle Mayor 5", "Via Roma 12", "Kalverstraat 92", "1600 Pennsylvania Avenue NW", "10 Downing Street, London"),
)
PLACES = (
    *(
        "6th of October City",
        "Paris 15e Arrondissement",
        "25 de Mayo",
        "100 Mile House",
        "1770",
        "29 Palms",
        "Prague 1",
    ),
    *("St. Gallen 1", "9000 St. Gallen", "Dublin 4", "8021 Z\u00fcrich 1", "12345 Berlin", "10th of Ramadan City"),
    *("Lane Cove 2066", "Road Town 1110", "St Ives 3", "Viareggio 2", "Sector 17, Chandigarh", "Washington 20500"),
)


@pytest.mark.parametrize("text", [*HOUSES, *PLACES])
def test_a_house_is_known_by_its_number_beside_a_street(text: str) -> None:
    assert engine(holds_street_sql(f"'{text}'")) is (text in HOUSES)


@pytest.mark.parametrize("text", ORDINARY)
def test_figures_alone_hashes_times_and_orders_are_no_numbers_of_people(text: str) -> None:
    assert not engine(holds_number_sql(f"'{text}'"))


def test_none_of_many_hashes_is_taken_for_an_account() -> None:
    found = (
        f"select count(*) from (select md5(n::varchar) as v from range(20000) as t(n)) where {holds_number_sql('v')}"
    )
    assert engine(f"({found})") == 0
