"""CRM descriptions: the shipped ones read what each CRM exports, a company's own one wins, and a fault is named."""

import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture_assets.errors import ConfigError, SourceError
from gesture_assets.settings import Settings
from gesture_assets.sources import crm
from gesture_assets.sources.crm import crm_url, read_crm, shown_url
from gesture_assets.sources.crm_description import SHIPPED, load_crm_descriptions
from gesture_assets.sources.crm_rows import canonical_crm, currencies, odd_values, unreadable_values
from gesture_assets.subscribers.validate import subscribers_as_of
from gesture_assets_tests.crm_exports import HUBSPOT, MAILCHIMP, SALESFORCE

DAY = date(2026, 3, 9)
NAMES = ("vip", "webinar_01")
COLUMNS = ("mailchimp_id", "member_rating", "optin_date", "country", "tag_count", "tag_vip", "made_purchase", "revenue")

JANUARY, FEBRUARY = date(2026, 1, 5), date(2026, 2, 6)


def written(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def as_database(folder: Path, files: Mapping[str, str]) -> str:
    """The same as tables of a database, named as the files are."""
    path = folder / "copy.sqlite"
    with closing(sqlite3.connect(path)) as con, con:
        for name, text in files.items():
            frame = pl.read_csv(text.encode(), infer_schema=False)
            columns = ", ".join(f'"{column}" text' for column in frame.columns)
            con.execute(f'create table "{Path(name).stem}"({columns})')
            marks = ", ".join("?" * frame.width)
            con.executemany(f'insert into "{Path(name).stem}" values ({marks})', frame.rows())
    return f"sqlite:///{path}"


def subscribers(
    connection: duckdb.DuckDBPyConnection, url: str, user_folder: Path, name: str = ""
) -> tuple[str, pl.DataFrame]:
    """The description that was recognised, and the validated subscribers of the day."""
    content = read_crm(url, user_folder, name)
    canonical = (nw.from_native(relation.pl().lazy()) for relation in canonical_crm(connection, content, "a key"))
    days = pl.LazyFrame({"as_of_date": [DAY], "snapshot_date": [DAY], "is_rebuilt": [False]})
    has_dated_tags = "Tags" in content.tables and "tagged_at" in content.tables["Tags"].columns
    valid, aside = subscribers_as_of(
        *canonical,
        nw.from_native(days),
        has_dated_tags=has_dated_tags,
        tag_names=NAMES,
        has_tags="Tags" in content.tables,
    )
    assert aside.collect("polars").to_native().height == 0
    rows = valid.collect("polars").to_native().sort("mailchimp_id")
    return content.description.name, rows.select(COLUMNS)


@pytest.mark.parametrize("as_tables", [False, True])
@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        (
            "mailchimp",
            MAILCHIMP,
            [
                ("517309513", 4, JANUARY, "GB", 2, 1, 1, Decimal("1350.00")),
                ("517309514", 2, FEBRUARY, "US", 0, 0, 0, None),
            ],
        ),
        (
            "hubspot",
            HUBSPOT,
            [
                ("101", None, JANUARY, "GB", 2, 1, 1, Decimal("1350.00")),
                ("102", None, FEBRUARY, "US", 0, 0, 0, None),
            ],
        ),
        (
            "salesforce",
            SALESFORCE,
            [
                ("0035g000001001AAQ", None, JANUARY, "GB", 2, 1, 1, Decimal("1350.00")),
                ("0035g000001002AAQ", None, FEBRUARY, "US", 0, 0, 0, None),
            ],
        ),
    ],
)
def test_what_a_crm_exports_is_recognised_and_read(
    connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    name: str,
    files: Mapping[str, str],
    expected: list[tuple[object, ...]],
    as_tables: bool,
) -> None:
    url = as_database(tmp_path, files) if as_tables else str(written(tmp_path / "exports", files))
    found, rows = subscribers(connection, url, tmp_path / "none")
    assert (found, rows.rows()) == (name, expected)


def test_a_crm_may_do_without_tags_and_purchases(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    folder = written(tmp_path, {"Contact.csv": SALESFORCE["Contact.csv"]})
    name, rows = subscribers(connection, str(folder), tmp_path / "none")
    assert name == "salesforce"
    assert rows.select("tag_count", "made_purchase", "revenue").rows() == [(None, 0, None)] * 2


OWN = """
date_formats = ["%d.%m.%Y %H:%M", "%d.%m.%Y"]
decimal = ","
minor_units = 100
[subscribers]
tables = ["Kunden"]
[subscribers.columns]
mailchimp_id = ["Kundennummer"]
user_email = ["Mail", "Mail 2"]
member_rating = ["Klasse"]
optin_time = ["Seit"]
country_code = ["Land"]
[subscribers.values.member_rating]
A = "5"
B = "3"
[subscribers.values.country_code]
Deutschland = "DE"
[transactions]
tables = ["Kunden_Käufe"]
where = { Status = ["bezahlt"] }
[transactions.columns]
mailchimp_id = ["Kunde"]
purchased_at = ["Am"]
amount = ["Cent"]
"""
KUNDEN = {
    "Kunden.csv": "Kundennummer;Mail;Mail 2;Klasse;Seit;Land\n7;;ann@example.com;a;05.01.2026;Deutschland\n"
    "8;bob@example.org;x@example.org;B;06.02.2026 23:30;at\n",
    "Kunden_Käufe.csv": "Kunde;Am;Cent;Status\n7;01.03.2026;1.350,0;Bezahlt\n8;02.03.2026;500;offen\n",
}


def test_a_company_s_own_description_says_all_that_its_crm_needs(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    folder = written(tmp_path, KUNDEN | {"ours.toml": OWN})
    name, rows = subscribers(connection, str(folder), folder)
    assert name == "ours"
    assert rows.rows() == [
        ("7", 5, JANUARY, "DE", None, None, 1, Decimal("13.50")),
        ("8", 3, FEBRUARY, "AT", None, None, 0, None),
    ]
    content = read_crm(str(folder), folder)
    assert odd_values(connection, content, (1, 100)) == {"Subscribers": (None, 0), "Transactions": (None, 0)}


def test_a_decimal_comma_is_of_text_and_numbers_of_a_database_are_numbers(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    written(tmp_path, {"ours.toml": OWN.replace("minor_units = 100\n", "")})
    with closing(sqlite3.connect(tmp_path / "crm.sqlite")) as crm, crm:
        crm.execute(
            "create table Kunden (Kundennummer text, Mail text, 'Mail 2' text, Klasse text, Seit text, Land text)"
        )
        crm.execute("create table Kunden_Käufe (Kunde text, Am text, Cent real, Status text)")
        sold = [("7", "01.03.2026", amount, "bezahlt") for amount in (10.125, 99.999, 1234.5, 5.0, "6,50")]
        crm.executemany("insert into Kunden_Käufe values (?, ?, ?, ?)", sold)
    content = read_crm(f"sqlite:///{tmp_path}/crm.sqlite", tmp_path)
    _, _, purchases = canonical_crm(connection, content, "a key")
    amounts = ["5.00", "6.50", "10.13", "100.00", "1234.50"]
    assert sorted(purchases.pl()["amount"]) == list(map(Decimal, amounts))


def test_a_company_s_own_description_wins_over_a_shipped_one(tmp_path: Path) -> None:
    written(tmp_path, {"salesforce.toml": OWN, "zeta.toml": OWN})
    found = load_crm_descriptions(tmp_path)
    assert found["salesforce"].decimal == ","
    assert list(found)[:2] == ["salesforce", "zeta"], "and is tried first"
    assert len(load_crm_descriptions(tmp_path / "absent")) == len(list(SHIPPED.glob("*.toml"))) == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('mailchimp_id = ["Kundennummer"]\n', ""), "nothing is mapped to mailchimp_id of Subscribers"),
        (('purchased_at = ["Am"]\n', ""), "nothing is mapped to purchased_at of Transactions"),
        (("country_code =", "colour ="), "unknown column 'colour' of Subscribers"),
        (('decimal = ","', 'decimal = ";"'), "decimal"),
        (('tables = ["Kunden"]', "tables = []"), "subscribers.tables"),
        (("[subscribers]", "[subscribers"), "at line 5"),
    ],
)
def test_a_fault_of_a_description_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    written(tmp_path, {"ours.toml": OWN.replace(*change)})
    with pytest.raises(ConfigError) as caught:
        load_crm_descriptions(tmp_path)
    assert named in caught.value.found
    assert (caught.value.doing, caught.value.where) == (
        "The CRM description ours cannot be used.",
        str(tmp_path / "ours.toml"),
    )


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_description_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ours.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"(?s)CRM description ours.*text in UTF-8.*ours\.toml.*gesture run"):
        load_crm_descriptions(tmp_path)


def test_where_no_description_fits_each_says_what_is_missing(tmp_path: Path) -> None:
    contacts = SALESFORCE["Contact.csv"].replace('"Email"', '"Mail"')
    folder = written(tmp_path, {"Contact.csv": contacts, "Opportunity.csv": '"Id","ContactId"\n'})
    with pytest.raises(SourceError) as caught:
        read_crm(str(folder), tmp_path / "none")
    error = caught.value
    assert error.expected.endswith("document_003, hubspot, mailchimp, salesforce")
    assert "tables Contact, Opportunity" in error.found
    assert "for document_003 no Subscribers, no Tags, no Transactions" in error.found
    assert "for salesforce no Email in Contact, no CloseDate in Opportunity, no IsWon in Opportunity" in error.found
    assert (error.where, "data/crm/<name>.toml" in error.next_step) == (str(folder), True)


def test_a_description_that_is_named_is_used_or_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, MAILCHIMP)
    with pytest.raises(SourceError) as caught:
        read_crm(str(folder), tmp_path / "none", "salesforce")
    assert "for salesforce no Contact" in caught.value.found
    assert "mailchimp" not in caught.value.found
    with pytest.raises(ConfigError, match=r"(?s)'mailchip' is not known.*mailchimp.*GESTURE_CRM_DESCRIPTION"):
        read_crm(str(folder), tmp_path / "none", "mailchip")


@pytest.mark.parametrize("url", ["no/such/folder", "postgresql://host:port/crm", "sqlite://", "\0"])
def test_a_crm_that_is_nowhere_has_four_parts(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_crm(url, tmp_path)
    assert all((caught.value.doing, caught.value.expected, caught.value.found, caught.value.where))
    assert "GESTURE_CRM_URL" in caught.value.next_step


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", "Id;Email\n".encode("utf-16")])
def test_a_file_that_is_no_export_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Contact.csv").write_bytes(content)
    with pytest.raises(SourceError, match="The CRM cannot be read"):
        read_crm(str(tmp_path), tmp_path)


PERSON = "katharina.mueller@geheim.example"


def test_a_row_that_is_none_is_set_aside_with_its_place_and_the_others_are_read(tmp_path: Path) -> None:
    text = SALESFORCE["Contact.csv"] + '"0035g000001003AAQ","x"\n"0035g000001004AAQ","","","d@b.co","","",1,2\n\n'
    text += f'"0035g000001005AAQ","",Katharina,"{PERSON},"GB",""\n"0035g000001006AAQ","","Lee\nof two","f@b.co","",""\n'
    text += f'0035g000001007AAQ,,"Katharina,{PERSON},GB,\n0035g000001008AAQ,,Ray,h@b.co,,\n'
    (tmp_path / "Contact.csv").write_text(text, encoding="utf-8")
    content = read_crm(str(tmp_path), tmp_path)
    assert content.tables["Subscribers"].select("mailchimp_id", "user_email").rows()[2:] == [
        ("0035g000001003AAQ", None),
        ("0035g000001006AAQ", "f@b.co"),
        ("0035g000001008AAQ", "h@b.co"),
    ]
    assert content.broken == {"Subscribers": ("Contact.csv:5", "Contact.csv:7", "Contact.csv:10")}
    (tmp_path / "Contact.csv").write_text(text.replace('"0035g000001004AAQ"', '"9"'), encoding="utf-8")
    assert read_crm(str(tmp_path), tmp_path).content_hash == content.content_hash, "nothing of such a row is read"


def test_a_decimal_comma_without_quotes_shifts_nothing_into_an_amount(tmp_path: Path) -> None:
    orders = "Order ID,Order Date,Email Address,Order Total\n1,2026-03-01,a@b.co,12,50\n2,2026-03-01,a@b.co,7.50\n"
    written(tmp_path, MAILCHIMP | {"orders_export.csv": orders})
    content = read_crm(str(tmp_path), tmp_path)
    assert content.tables["Transactions"]["amount"].to_list() == ["7.50"]
    assert content.broken["Transactions"] == ("orders_export.csv:2",)


def test_what_is_no_utf_8_is_unreadable_and_counted(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    written(tmp_path, SALESFORCE)
    contacts = SALESFORCE["Contact.csv"] + '"Schmü","","Müller","ann2@example.com","Österreich",""\n'
    (tmp_path / "Contact.csv").write_bytes(contacts.encode("latin-1"))
    tags = '"Id","CampaignId","ContactId","CreatedDate"\n"1","Größe","0035g000001001AAQ",""\n'
    (tmp_path / "CampaignMember.csv").write_bytes((tags + tags.splitlines()[1].replace("öß", "üß")).encode("latin-1"))
    content = read_crm(str(tmp_path), tmp_path)
    people, tagged, _ = canonical_crm(connection, content, "a key")
    assert people.pl().select("mailchimp_id", "country").rows()[2:] == [(None, None)]
    assert tagged.pl()["tag"].to_list() == [None, None]
    counted = unreadable_values(connection, content)
    assert (counted["Subscribers"], counted["Tags"]) == ({"mailchimp_id": 1, "country_code": 1}, {"tag": 2})


@pytest.mark.parametrize(("header", "is_used"), [("Email", True), ("EMAIL ", True), ("Phone,Phone", False)])
def test_a_column_that_is_used_stands_there_once(tmp_path: Path, header: str, is_used: bool) -> None:
    written(tmp_path, {"contacts.csv": f"Record ID,Email,{header}\n1,a@b.co,c@b.co\n"})
    if is_used:
        with pytest.raises(
            SourceError, match=r"(?s)columns whose name occurs once.*(?i:email) +more than once.*rename"
        ):
            read_crm(str(tmp_path), tmp_path)
    else:
        assert read_crm(str(tmp_path), tmp_path).tables["Subscribers"].height == 1


def test_a_file_of_utf_16_and_an_export_of_another_kind_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, {"contacts.csv": "Record ID,Email\n1,a@b.co\n", "deals.csv.gz": "", "notes.md": ""})
    read_crm(str(tmp_path), tmp_path)
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["deals.csv.gz"]
    (tmp_path / "contacts.csv").write_bytes("Record ID,Email\n".encode("utf-16"))
    with pytest.raises(SourceError, match=r"(?s)text in UTF-8.*UTF-16.*save the file as UTF-8"):
        read_crm(str(tmp_path), tmp_path)


def test_files_whose_names_differ_by_letter_case_alone_are_refused(tmp_path: Path) -> None:
    written(tmp_path, {"Contact.csv": SALESFORCE["Contact.csv"], "Contact.CSV": SALESFORCE["Contact.csv"]})
    with pytest.raises(SourceError) as caught:
        read_crm(str(tmp_path), tmp_path)
    assert (caught.value.found, caught.value.where) == ("Contact.CSV, Contact.csv", str(tmp_path))
    assert caught.value.next_step == "leave one of them in the folder, then  gesture run"


def test_the_folder_is_read_where_there_is_no_database(settings: Settings, write_crm: Callable[..., Path]) -> None:
    written(settings.crm_folder, {"ours.toml": OWN})
    assert crm_url(settings) is None
    written(settings.crm_folder, SALESFORCE)
    assert crm_url(settings) == shown_url(str(settings.crm_folder)) == str(settings.crm_folder)
    assert crm_url(settings) != f"sqlite:///{write_crm([])}" == crm_url(settings)


AMOUNTS = [
    ("1250.5", "1250.50"),
    ("$1,250.50", "1250.50"),
    ("-$5", "-5.00"),
    ("EUR 12", "12.00"),
    ("1 250", "1250.00"),
    ("12,50", None),
    ("12.345", "12.35"),
    ("a lot", None),
    ("1e5", None),
    ("99999999999999999999", None),
    ("(100.00)", "-100.00"),
    ("($ 1,100.00)", "-1100.00"),
    ("$(100)", "-100.00"),
    ("100.00-", "-100.00"),
    ("100 EUR -", "-100.00"),
    ("\u2212100.00", "-100.00"),
    ("\u2013 5 €", "-5.00"),
    ("+5", "5.00"),
    ("€5.00 EUR", "5.00"),
    ("US$5", "5.00"),
    ("12.50\u00a0zł", "12.50"),
    ("12 kr.", "12.00"),
    (".5", "0.50"),
    ("-(5)", None),
    ("(5", None),
    ("5)", None),
    ("--5", None),
    ("1.5k", None),
    ("1.2M", None),
    ("3 MIO", None),
    ("5O", None),
    ("50%", None),
    ("12abc", None),
    ("free 3", None),
    ("12 EUR 50", None),
    ("2026-03-01", None),
    ("1.2.3", None),
    ("EUR", None),
    ("CHF 1\u2019234.50", "1234.50"),
    ("CHF 1'000.-", "1000.00"),
    ("5.--", "5.00"),
    ("5,-", "5.00"),
    ("5.50-", "-5.50"),
    ("\u20b91,23,456.00", "123456.00"),
    ("1,23", None),
    ("AU$5", "5.00"),
    ("C$5", "5.00"),
    ("NZ$ 5", "5.00"),
    ("HK$5", "5.00"),
    ("S$5", "5.00"),
]


def with_amounts(folder: Path, *rows: tuple[str, str]) -> Path:
    head = SALESFORCE["Opportunity.csv"].splitlines()[0]
    lines = [
        f'"{n}","","{amount}","2026-03-01","true","0035g000001001AAQ","{it}"' for n, (amount, it) in enumerate(rows)
    ]
    return written(folder, {**SALESFORCE, "Opportunity.csv": "\n".join([head, *lines, ""])})


@pytest.mark.parametrize(("text", "amount"), AMOUNTS)
def test_an_amount_is_exact_or_unknown_and_counted(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, text: str, amount: str | None
) -> None:
    content = read_crm(str(with_amounts(tmp_path, (text, "EUR"))), tmp_path)
    _, _, purchases = canonical_crm(connection, content, "a key")
    assert purchases.pl()["amount"].to_list() == [amount and Decimal(amount)]
    counted = {} if amount else {"amount": 1}
    assert unreadable_values(connection, content)["Transactions"] == counted


def test_amounts_of_another_currency_are_unknown_and_counted(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    folder = with_amounts(tmp_path, ("1", "USD"), ("2", "eur"), ("4", "EUR "), ("8", ""), ("", "GBP"))
    content = read_crm(str(folder), tmp_path)
    assert currencies(connection, content) == ("EUR", 1)
    _, _, purchases = canonical_crm(connection, content, "a key")
    assert purchases.pl()["amount"].sum() == Decimal(14)


def test_the_sign_beside_the_figures_says_the_currency_where_nothing_else_does(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    rows = [("$5", ""), ("€5", ""), ("7 EUR", ""), ("€ 9", "usd"), ("11", ""), ("£2", "")]
    content = read_crm(str(with_amounts(tmp_path, *rows)), tmp_path)
    assert currencies(connection, content) == ("EUR", 3)
    _, _, purchases = canonical_crm(connection, content, "a key")
    assert sorted(purchases.pl()["amount"].drop_nulls()) == [Decimal(5), Decimal(7), Decimal(11)]


def test_amounts_of_a_crm_that_names_no_currency_are_added_for_one_sign_only(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    folder = written(tmp_path, KUNDEN | {"ours.toml": OWN})
    sales = [f"7;0{n}.03.2026;{amount};bezahlt" for n, amount in enumerate(("5,00 $", "$ 6", "€ 7", "8"), 1)]
    written(folder, {"Kunden_Käufe.csv": "\n".join(["Kunde;Am;Cent;Status", *sales])})
    content = read_crm(str(folder), folder)
    assert currencies(connection, content) == ("$", 1)
    _, _, purchases = canonical_crm(connection, content, "a key")
    assert purchases.pl()["amount"].sum() == Decimal("0.19")


@pytest.mark.parametrize("won", ["true", "TRUE", "1", "1.0", "t", "yes", " Y "])
@pytest.mark.parametrize("lost", ["false", "0", "0.0", "no", "", "truely"])
def test_an_opportunity_is_won_however_true_is_written(tmp_path: Path, won: str, lost: str) -> None:
    sold = SALESFORCE["Opportunity.csv"].replace('"true"', f'"{won}"').replace('"false"', f'"{lost}"')
    content = read_crm(str(written(tmp_path, {**SALESFORCE, "Opportunity.csv": sold})), tmp_path)
    assert content.tables["Transactions"]["amount"].to_list() == ["1350.0"]


def test_a_purchase_whose_row_stands_there_again_counts_once(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    head, first, second = MAILCHIMP["orders_export.csv"].splitlines()
    another_line, nameless = second.replace("99.50", "0.50"), first.replace("1,", ",", 1)
    lines = [head, first, second, first + " ", another_line, nameless, nameless]
    folder = written(tmp_path, MAILCHIMP | {"orders_export.csv": "\n".join(lines)})
    content = read_crm(str(folder), tmp_path)
    _, _, purchases = canonical_crm(connection, content, "a key")
    amounts = ["0.50", "99.50", "1250.50", "1250.50", "1250.50"]
    assert sorted(purchases.pl()["amount"]) == list(map(Decimal, amounts))


@pytest.mark.parametrize(
    ("written_id", "meant"),
    [
        ("001A0000006Vm9r", "001A0000006Vm9rIAC"),
        (" 001A0000006Vm9r", "001A0000006Vm9rIAC"),
        ("001A0000006Vm9rIAC", "001A0000006Vm9rIAC"),
        ("001A0000006vm9r", "001A0000006vm9rIAA"),
        ("0000000000ZZZZZ", "0000000000ZZZZZAA5"),
        ("001A0000006Vm9-", "001A0000006Vm9-"),
        ("001A0000006Vm9", "001A0000006Vm9"),
    ],
)
def test_the_short_and_the_long_form_of_a_salesforce_id_are_one(tmp_path: Path, written_id: str, meant: str) -> None:
    contacts = SALESFORCE["Contact.csv"].replace("0035g000001001AAQ", written_id)
    content = read_crm(str(written(tmp_path, {"Contact.csv": contacts})), tmp_path)
    assert content.tables["Subscribers"]["mailchimp_id"][0] == meant


SIGNS = ("a", "1", " ", "é", "", '"', '""', ",", ";", "\n", "\r\n", 'x"y', "\ufffd", '"a,b"')


@given(rows=st.lists(st.lists(st.sampled_from(SIGNS), max_size=8).map("".join), max_size=6), width=st.integers(2, 4))
def test_a_file_that_is_read_at_once_is_what_it_is_line_by_line(rows: list[str], width: int) -> None:
    headers = [f"h{place}" for place in range(width)]
    with tempfile.TemporaryDirectory() as folder:
        written = "\n".join([",".join(headers), *rows]) + "\n"
        Path(folder, "Contact.csv").write_text(written, encoding="utf-8", newline="")
        at_once, places = crm._Folder(Path(folder)).rows("Contact", headers)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crm, "_well_formed", lambda path, header: None)
            by_line, broken = crm._Folder(Path(folder)).rows("Contact", headers)
    assert at_once.equals(by_line)
    assert list(places) == list(broken)
