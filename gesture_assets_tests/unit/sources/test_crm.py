"""The CRM: read without ever being written, typed, pseudonymised; a foreign schema is refused by name."""

import hashlib
import hmac
import json
import sqlite3
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa

from gesture_assets.errors import SourceError
from gesture_assets.settings import Settings
from gesture_assets.sources import crm
from gesture_assets.sources.crm import CrmContent, crm_url, shown_url
from gesture_assets.sources.crm_rows import canonical_crm, odd_values, unreadable_values
from gesture_assets.subscribers.tables import CRM_TABLES

KEY = "a key for tests only"
ANN = (1, "Ann Lee", "Ann@b.co ", 4, "2026-01-05", "UK")
BOB = (2, "Bob Ray", "bob@c.org", 2, "2026-02-06 10:30:00", "us")

WriteCrm = Callable[..., Path]


def keyed(email: str) -> str:
    return hmac.new(KEY.encode(), email.encode(), hashlib.sha256).hexdigest()


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def read_crm(url: str, name: str = "") -> CrmContent:
    """The CRM by the shipped descriptions."""
    return crm.read_crm(url, Path("no/such/folder"), name)


def canonical(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    subscribers, tags, purchases = canonical_crm(connection, read_crm(url_of(path)), KEY)
    return subscribers.pl(), tags.pl(), purchases.pl()


def alter(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_subscribers_are_typed_and_have_no_name_or_address(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm
) -> None:
    subscribers, tags, purchases = canonical(
        connection,
        write_crm([ANN, BOB], [(1, " Webinar_01 ")], [(7, "2026-03-01 09:00:00", "Ann Lee", "ANN@b.co", "GB", 3)]),
    )
    rows = subscribers.drop("masked_row", "occurrence").rows()
    assert rows == [
        ("1", keyed("ann@b.co"), "b.co", True, 4, date(2026, 1, 5), "GB"),
        ("2", keyed("bob@c.org"), "c.org", True, 2, date(2026, 2, 6), "US"),
    ]
    assert tags.rows() == [("1", "webinar_01", None)]
    assert purchases.rows() == [(None, keyed("ann@b.co"), date(2026, 3, 1), None)]
    everything = f"{subscribers.rows()}{tags.rows()}{purchases.rows()}"
    for personal in ("Ann", "Lee", "ann@", "Bob", "bob@"):
        assert personal not in everything
    assert json.loads(subscribers["masked_row"][0])["user_full_name"] == "***"


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("UK", "GB"),
        ("uk", "GB"),
        (" gb ", "GB"),
        ("USA", "US"),
        ("Germany", "DE"),
        ("XYZ", None),
        ("", None),
        (None, None),
        ("DE", "DE"),
    ],
)
def test_a_country_is_upper_case_and_the_uk_is_gb(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, written: str | None, country: str | None
) -> None:
    subscribers, _, _ = canonical(connection, write_crm([(*ANN[:5], written)]))
    assert subscribers["country"].to_list() == [country]


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        (7, "7"),
        ("7", "7"),
        (" 7 ", "7"),
        (7.5, "7.5"),
        ("7.0", "7"),
        (1001.0, "1001"),
        ("7.00\r", "7"),
        ("\u00a07\u2003\n", "7"),
        ("007", "007"),
        ("seven", "seven"),
        ("0035g000001001AAQ", "0035g000001001AAQ"),
        ("c858142a0e1f45d01f6af515b2231f63", "c858142a0e1f45d01f6af515b2231f63"),
        ("Ann@b.co ", "email:" + keyed("ann@b.co")[:32]),
        ("+49 170 1234567", "phone:" + keyed("+49 170 1234567")[:32]),
        ("192.168.10.20", None),
        (None, None),
        ("", None),
        ("null", None),
        (2**62, str(2**62)),
        (1e20, None),
        ("99999999999999999999", "99999999999999999999"),
    ],
)
def test_an_id_has_one_text_and_shows_nobody(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, written: object, identity: str | None
) -> None:
    path = write_crm([])
    alter(
        path,
        "drop table Subscribers",
        "create table Subscribers(mailchimp_id, user_full_name, user_email, member_rating, optin_time, country_code)",
    )
    con = sqlite3.connect(path)
    con.execute("insert into Subscribers values (?, 'Ann', 'a@b.co', 1, '2026-01-05', 'GB')", [written])
    con.commit()
    con.close()
    subscribers, _, _ = canonical(connection, path)
    assert subscribers["mailchimp_id"].to_list() == [identity]


@pytest.mark.parametrize(
    ("written", "is_address"),
    [
        ("a@b.co", True),
        (" A@B.co ", True),
        ("a@b", False),
        ("a b@c.co", False),
        ("", False),
        (None, False),
    ],
)
def test_an_email_address_is_compared_in_lower_case_without_spaces(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, written: str | None, is_address: bool
) -> None:
    subscribers, _, _ = canonical(connection, write_crm([(1, "Ann", written, 3, "2026-01-05", "GB")]))
    key = keyed(written.strip().lower()) if written else None
    assert subscribers.select("email_key", "is_email_well_formed").rows() == [(key, is_address)]


def test_values_of_no_use_are_null(connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm) -> None:
    path = write_crm(
        [
            (1, "Ann", "a@b.co", "high", "some day", "GB"),
            (2, "Bob", "b@b.co", 4.5, "", "GB"),
            (3, "Cy", "c@b.co", " 3 ", "2026-01-05T10:00:00", "GB"),
            (4, "Di", "d@b.co", 99999, None, "GB"),
        ],
        [(1, None)],
        [(1, "never", "Ann", None, "GB", 1)],
    )
    subscribers, tags, purchases = canonical(connection, path)
    assert subscribers.select("member_rating", "optin_date").rows() == [
        (None, None),
        (None, None),
        (3, date(2026, 1, 5)),
        (None, None),
    ]
    assert tags.rows() == [("1", None, None)]
    assert purchases.rows() == [(None, None, None, None)]
    assert unreadable_values(connection, read_crm(url_of(path))) == {
        "Subscribers": {"member_rating": 3},
        "Tags": {},
        "Transactions": {},
    }


UNSEEN = ("\r", "\r\n", "\t", " ", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\x0b", "\x85", "\u2028")


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_stands_unseen_around_a_value_is_none_of_it(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, unseen: str
) -> None:
    def around(*values: object) -> tuple[str, ...]:
        return tuple(f"{unseen}{value}{unseen}" for value in values)

    sold = around(7, "2026-03-01 09:00:00", "Ann Lee", "ann@b.co", "GB", 3)
    path = write_crm([around(*ANN)], [around(1, "Webinar_01", "2026-02-01")], [sold], dated_tags=True)
    subscribers, tags, purchases = canonical(connection, path)
    assert subscribers.drop("masked_row", "occurrence").rows() == [
        ("1", keyed("ann@b.co"), "b.co", True, 4, date(2026, 1, 5), "GB")
    ]
    assert tags.rows() == [("1", "webinar_01", date(2026, 2, 1))]
    assert purchases.rows() == [(None, keyed("ann@b.co"), date(2026, 3, 1), None)]
    assert odd_values(connection, read_crm(url_of(path)), (1, 100))["Transactions"] == (0, 0)


@pytest.mark.parametrize("tag_ids", ["real", "text", "numeric", "decimal(10, 2)"])
def test_ids_agree_whatever_their_tables_keep_them_as(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, tag_ids: str
) -> None:
    path = write_crm([(1001, *ANN[1:])])
    alter(path, "drop table Tags", f"create table Tags(mailchimp_id {tag_ids}, tag text)")
    alter(path, "insert into Tags values (1001.0, 'tea')")
    subscribers, tags, _ = canonical(connection, path)
    assert (subscribers["mailchimp_id"].to_list(), tags.rows()) == (["1001"], [("1001", "tea", None)])


@pytest.mark.parametrize(("written", "rating"), [(4.0, 4), ("4.0", 4), (4.5, None), ("4\r", 4), (99, None), (0, None)])
def test_a_rating_in_a_column_of_decimals_is_a_rating(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, written: object, rating: int | None
) -> None:
    path = write_crm([])
    alter(path, "drop table Subscribers", "create table Subscribers(" + ", ".join(CRM_TABLES["Subscribers"]) + ")")
    with sqlite3.connect(path) as con:
        con.execute("insert into Subscribers values (1, 'Ann', 'a@b.co', ?, '2026-01-05', 'GB')", [written])
    con.close()
    subscribers, _, _ = canonical(connection, path)
    assert subscribers["member_rating"].to_list() == [rating]


DATES: list[tuple[str, date | None]] = [
    ("2026-11-27", date(2026, 11, 27)),
    ("2026/11/27", date(2026, 11, 27)),
    ("2026-11-27 23:30:00", date(2026, 11, 27)),
    ("2026-11-27T23:30:00.123456", date(2026, 11, 27)),
    ("2026-11-27T23:30:00-05:00", date(2026, 11, 28)),
    ("2026-11-27 23:30:00-05", date(2026, 11, 28)),
    ("2026-11-27T23:30:00.5-0500", date(2026, 11, 28)),
    ("2026-11-28T04:30:00Z", date(2026, 11, 28)),
    ("2026-11-28T04:30:00z", date(2026, 11, 28)),
    ("2026-11-28 04:30:00 UTC", date(2026, 11, 28)),
    ("2026-11-28 04:30:00 GMT", date(2026, 11, 28)),
    ("2026-11-28 23:30:00 America/New_York", date(2026, 11, 29)),
    ("2026-11-28 23:30:00 EST", None),  # an abbreviation is of several zones
    ("2026-11-28 01:30:00 BST", None),
    ("2026-11-28T00:30:00+01:00", date(2026, 11, 27)),
    ("2026-11-28T00:30+0100", date(2026, 11, 27)),
    ("2026-11-28 00:30 +01", date(2026, 11, 27)),
    ("2026-11-28 00:30:00 +01:00", date(2026, 11, 27)),
    ("2026-11-28 00:30:00.25 CET", None),
    ("2026-11-27 23:30Z", date(2026, 11, 27)),
    ("4/5/24 11:29", None),
    ("4/5/24", None),
    ("24-04-05", None),
    ("04/05/2024", None),
    ("5.4.2024", None),
    ("0024-04-05", None),
    ("0001-01-01", None),
    ("1970-01-01 00:00:00", None),
    ("9999-12-31", None),
    ("infinity", None),
    ("epoch", None),
    ("today", None),
    ("2026-02-30", None),
    ("2026-11-27 25:00:00", None),
    ("2026-11-27 soon", None),
]


@pytest.mark.parametrize(("written", "day"), DATES)
def test_a_date_is_a_day_in_utc_or_unknown_and_counted(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm, written: str, day: date | None
) -> None:
    sold = (7, written, "Ann Lee", "ann@b.co", "GB", 3)
    path = write_crm([(*ANN[:4], written, "UK")], [(1, "tea", written)], [sold], dated_tags=True)
    subscribers, tags, purchases = canonical(connection, path)
    found = [subscribers["optin_date"].item(), tags["tagged_date"].item(), purchases["purchased_date"].item()]
    assert found == [day] * 3
    odd = odd_values(connection, read_crm(url_of(path)), (1, 100))
    is_odd = int(day is None or written.startswith("2026/"))
    assert (odd["Subscribers"][1], odd["Transactions"][1]) == (is_odd, is_odd)


def test_a_row_whose_columns_have_shifted_shows_no_address(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm
) -> None:
    subscribers, _, _ = canonical(connection, write_crm([(1, "x", "Ann", "Lee", "ann@example.com", "192.0.2.7")]))
    assert subscribers["is_email_well_formed"].to_list() == [False]
    row = json.loads(subscribers["masked_row"][0])
    assert (row["optin_time"], row["country_code"]) == ("***", "***")


def test_a_cell_that_is_no_utf_8_is_unreadable_and_its_row_is_read(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm
) -> None:
    path = write_crm([ANN, BOB], [(1, "tea")])
    alter(path, "update Subscribers set user_full_name = cast(x'4b617468fc' as text) where mailchimp_id = 1")
    alter(path, "update Tags set tag = cast(x'6772fc' as text)")
    subscribers, tags, _ = canonical(connection, path)
    assert subscribers["mailchimp_id"].to_list() == ["1", "2"]
    assert tags.rows() == [("1", None, None)]
    assert unreadable_values(connection, read_crm(url_of(path))) == {
        "Subscribers": {},
        "Tags": {"tag": 1},
        "Transactions": {},
    }


def test_no_error_about_rows_shows_any_of_them(write_crm: WriteCrm) -> None:
    path = write_crm([ANN])
    text = "create view Subscribers as select *, json_extract(user_full_name, '$') as country_code from People"
    alter(path, "alter table Subscribers rename to People", "alter table People drop column country_code", text)
    with pytest.raises(SourceError) as caught:
        read_crm(url_of(path))
    assert "Ann" not in "".join(traceback.format_exception(caught.value))
    error = caught.value
    assert error.found == "OperationalError, whose words may show a person"
    assert error.where == f"{url_of(path)}, table Subscribers"
    assert "gesture run" in error.next_step


def test_tags_may_be_dated(connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm) -> None:
    _, tags, _ = canonical(connection, write_crm([ANN], [(1, "jumpstart", "2026-02-01 08:00:00")], dated_tags=True))
    assert tags.rows() == [("1", "jumpstart", date(2026, 2, 1))]


def test_a_view_in_place_of_a_table_and_other_letter_case_are_read(
    connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm
) -> None:
    path = write_crm([ANN])
    alter(path, "alter table Subscribers rename to people", "create view subscribers as select * from people")
    subscribers, _, _ = canonical(connection, path)
    assert subscribers["mailchimp_id"].to_list() == ["1"]


def test_a_column_more_does_no_harm(connection: duckdb.DuckDBPyConnection, write_crm: WriteCrm) -> None:
    path = write_crm([ANN])
    alter(path, "alter table Subscribers add column mood text")
    content = read_crm(url_of(path))
    assert content.columns["Subscribers"][-1] == "mood"
    assert "mood" not in content.tables["Subscribers"].columns


def test_reading_leaves_the_crm_as_it_was(write_crm: WriteCrm) -> None:
    path = write_crm([ANN, BOB])
    before = (path.stat().st_mtime_ns, path.read_bytes(), sorted(p.name for p in path.parent.iterdir()))
    read_crm(url_of(path))
    assert (path.stat().st_mtime_ns, path.read_bytes(), sorted(p.name for p in path.parent.iterdir())) == before


def test_the_crm_cannot_be_written_through_the_engine(write_crm: WriteCrm) -> None:
    engine = sa.create_engine(*crm._read_only(url_of(write_crm([ANN]))))
    with engine.connect() as con, pytest.raises(sa.exc.OperationalError, match="readonly"):
        con.execute(sa.text("delete from Subscribers"))
    engine.dispose()


@pytest.mark.parametrize("folder", ["plain", "with space", "per%20cent", "a?b#c"])
def test_a_crm_is_found_whatever_its_folder_is_called(tmp_path: Path, write_crm: WriteCrm, folder: str) -> None:
    path = tmp_path / folder / "crm.sqlite"
    path.parent.mkdir()
    write_crm([ANN]).rename(path)
    assert read_crm(sa.URL.create("sqlite", database=str(path)).render_as_string()).tables["Subscribers"].height == 1


def test_a_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "absent.sqlite"
    with pytest.raises(SourceError, match=r"(?s)no such file.*GESTURE_CRM_URL"):
        read_crm(url_of(path))
    assert not path.exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "crm.sqlite"
    path.write_text("no database, however long the text is that stands here instead of one" * 20, encoding="ascii")
    with pytest.raises(SourceError, match="a readable database"):
        read_crm(url_of(path))


@pytest.mark.parametrize("table", ["Subscribers", "Tags", "Transactions"])
def test_a_missing_table_is_named(write_crm: WriteCrm, table: str) -> None:
    path = write_crm([ANN])
    alter(path, f"drop table {table}")
    with pytest.raises(SourceError, match=f"no {table}") as caught:
        read_crm(url_of(path))
    assert caught.value.where.endswith("crm_database.sqlite")


@pytest.mark.parametrize(
    ("table", "column"), [("Subscribers", "user_email"), ("Tags", "tag"), ("Transactions", "purchased_at")]
)
def test_a_missing_column_is_named(write_crm: WriteCrm, table: str, column: str) -> None:
    path = write_crm([ANN])
    alter(path, f"alter table {table} rename column {column} to something")
    with pytest.raises(SourceError, match=f"for document_003 no {column}.* in {table}"):
        read_crm(url_of(path))


def test_a_password_is_never_shown() -> None:
    with pytest.raises(SourceError) as caught:
        read_crm("sqlite://ann:secret@/absent.sqlite")
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError) as caught:
        read_crm("sqlite:////absent.sqlite?password=secret")
    assert "secret" not in caught.value.report


def test_the_content_hash_changes_when_the_content_does_and_only_then(write_crm: WriteCrm) -> None:
    def hashed(*args: list[tuple[object, ...]], dated_tags: bool = False) -> str:
        return read_crm(url_of(write_crm(*args, dated_tags=dated_tags))).content_hash

    tag, purchase = (1, "jumpstart"), (7, "2026-03-01", "Ann Lee", "ann@b.co", "GB", 3)
    first = hashed([ANN, BOB], [tag], [purchase])
    assert hashed([ANN, BOB], [tag], [purchase]) == first
    assert hashed([BOB, ANN], [tag], [purchase]) == first, "the order of rows means nothing"
    others = {
        hashed([ANN], [tag], [purchase]),
        hashed([ANN, (*BOB[:3], 3, *BOB[4:])], [tag], [purchase]),
        hashed([ANN, BOB], [], [purchase]),
        hashed([ANN, BOB], [tag, tag], [purchase]),
        hashed([ANN, BOB], [(2, "jumpstart")], [purchase]),
        hashed([ANN, BOB], [tag], []),
        hashed([ANN, BOB], [tag], [(7, "2026-03-02", *purchase[2:])]),
        hashed([ANN, BOB], [(*tag, "2026-01-01")], [purchase], dated_tags=True),
    }
    assert len(others) == 8
    assert first not in others


def test_the_default_file_is_read_where_it_exists(settings: Settings, write_crm: WriteCrm) -> None:
    assert crm_url(settings) is None
    path = write_crm([ANN])
    assert crm_url(settings) == url_of(path)
    assert crm_url(settings.model_copy(update={"crm_url": "postgresql://crm"})) == "postgresql://crm"


@pytest.mark.parametrize(
    ("product", "purchased", "expected"),
    [
        (1, "2026-03-01", (0, 0)),
        (100, "2026-03-01 09:00:00", (0, 0)),
        ("7.0", " 2026-03-01T09:00:00 ", (0, 0)),
        (None, None, (0, 1)),
        (0, "2026-03-01", (1, 0)),
        (101, "01.03.2026", (1, 1)),
        ("a hat", "2026-13-01", (1, 1)),
        (1, "2026-03-01x", (0, 1)),
        (1, "", (0, 1)),
    ],
)
def test_products_outside_their_range_and_dates_of_another_form_are_counted(
    connection: duckdb.DuckDBPyConnection,
    write_crm: WriteCrm,
    product: object,
    purchased: str | None,
    expected: tuple[int, int],
) -> None:
    sold = (7, purchased, "Ann Lee", "ann@b.co", "GB", product)
    content = read_crm(url_of(write_crm([ANN, BOB], [(1, "tea")], [sold, (8, "2026-03-01", "", "", "", 5)])))
    odd = odd_values(connection, content, (1, 100))
    assert odd == {"Subscribers": (None, 0), "Tags": (None, None), "Transactions": expected}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://reader:s3cret%2Fword@127.0.0.1:1/crm",
        "postgresql+psycopg://127.0.0.1:1/crm?user=reader&password=s3cret%2Fword",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Ds3cret%2Fword",
        "nothing like a URL with s3cret/word",
        "unknown://reader:s3cret%2Fword@host/crm",
    ],
)
def test_no_error_about_a_crm_shows_its_password(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_crm(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown_url(url)
