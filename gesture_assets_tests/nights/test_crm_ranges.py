"""The ranges of document 003's CRM: a small one warns, stops a night where the settings say so, and fits its own."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gesture_assets.vocabulary.severity import Severity
from gesture_assets_tests.running import content_hashes, failures, outcomes, run_night, warehouse
from gesture_assets_tests.small_world import DAYS, land

pytestmark = pytest.mark.slow

ROWS, COLUMNS = "crm_row_counts_are_in_their_ranges", "crm_column_counts_are_as_expected"
PRODUCTS, DATES = "every_product_id_is_in_its_range", "every_crm_date_begins_with_year_month_and_day"
OURS = '{"Subscribers": [100, 100], "Tags": [0, 200], "Transactions": [1, 10]}'


@pytest.fixture
def a_hundred(data_dir: Path, write_crm: Callable[..., Path]) -> Path:
    """A CRM of 100 subscribers, ten of whom bought something, one of it a product that the document does not know."""
    land(data_dir, days=DAYS[:1])
    people = [(n, f"No. {n}", f"n{n}@example.com", 1 + n % 5, f"2026-02-{1 + n % 28:02d}", "GB") for n in range(100)]
    sold = [(n, f"2026-02-{20 + n // 5}", "", f"n{n}@example.com", "GB", 101 if n == 0 else n) for n in range(10)]
    return write_crm(people, [(n, "webinar_01") for n in range(100)], sold)


def outcome() -> tuple[bool, dict[str, Severity], str]:
    """Whether the CRM's step succeeded, which of the four checks did not pass, and the error."""
    result = run_night(DAYS[0], select="crm_snapshot")
    checks = {name: check for (table, name), check in outcomes(result).items() if table == "crm_snapshot"}
    assert {ROWS, COLUMNS, PRODUCTS, DATES} <= set(checks)
    failed = {name: check.severity for name, check in checks.items() if not check.passed}
    return result.success, failed, failures(result)


def test_a_small_crm_warns_and_goes_live(a_hundred: Path, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    warning = Severity.WARN
    with caplog.at_level("INFO"):
        assert outcome() == (True, {ROWS: warning, PRODUCTS: warning}, "")
    assert f"crm_snapshot: 22 checks passed, 2 warned: {ROWS}: 3 rows, {PRODUCTS}: 1 row" in caplog.text
    assert ("crm_snapshot", DAYS[0]) in content_hashes(data_dir)


def test_settings_let_a_small_crm_pass(a_hundred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESTURE_CRM_ROW_RANGES", OURS)
    monkeypatch.setenv("GESTURE_CRM_PRODUCT_IDS", "1, 101")
    assert outcome() == (True, {}, "")


def test_settings_let_a_small_crm_stop_the_night(
    a_hundred: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESTURE_BLOCKING_CHECKS", ROWS)
    success, failed, message = outcome()
    assert not success
    assert failed == {ROWS: Severity.ERROR, PRODUCTS: Severity.WARN}
    assert "GESTURE_CRM_ROW_RANGES" in message
    assert content_hashes(data_dir) == {}


def test_a_further_column_warns(a_hundred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESTURE_CRM_ROW_RANGES", OURS)
    monkeypatch.setenv("GESTURE_CRM_PRODUCT_IDS", "1, 101")
    monkeypatch.setenv("GESTURE_CRM_COLUMN_COUNTS", '{"Tags": 3}')
    assert outcome() == (True, {COLUMNS: Severity.WARN}, "")


MANY = "at_most_1_percent_of_subscribers_are_set_aside"


@pytest.mark.parametrize("address", ["'no at sign'", "'n1@example'", "' '", "null"])
def test_one_malformed_address_of_many_is_set_aside_and_the_night_goes_live(
    a_hundred: Path, data_dir: Path, address: str
) -> None:
    change(a_hundred, f"update Subscribers set user_email = {address} where mailchimp_id = 50")
    assert outcome()[0]
    con = warehouse(data_dir)
    aside = con.execute("select mailchimp_id, reason, masked_row from quarantined_subscribers").fetchall()
    live = con.execute("select count(*), count(*) filter (mailchimp_id = '50') from validated_subscribers").fetchone()
    con.close()
    expected = "missing_email" if address in ("' '", "null") else "malformed_email"
    assert [(who, reason) for who, reason, _ in aside] == [("50", expected)]
    assert "no at sign" not in aside[0][2]
    assert live == (99, 0)


READ, MOST_READ = "every_filled_value_of_the_crm_is_read", "at_most_5_percent_of_a_crm_column_cannot_be_read"


def test_one_bad_value_or_id_stops_no_night(a_hundred: Path, data_dir: Path) -> None:
    change(a_hundred, "update Subscribers set member_rating = 99, country_code = 'XYZ' where mailchimp_id = 50")
    change(a_hundred, "update Subscribers set mailchimp_id = 51 where mailchimp_id = 52")
    success, failed, _ = outcome()
    assert (success, failed[READ]) == (True, Severity.WARN)
    con = warehouse(data_dir)
    person = con.execute(
        "select member_rating, country from validated_subscribers where mailchimp_id = '50'"
    ).fetchall()
    aside = con.execute("select mailchimp_id, reason, check_name from quarantined_subscribers").fetchall()
    counted = con.execute("select unreadable_values from crm_snapshot where most_unreadable_count > 0").fetchall()
    con.close()
    assert person == [(None, None)]
    assert aside == [("51", "duplicate_id", "no_mailchimp_id_occurs_twice")]
    assert counted == [('{"country_code": 1, "member_rating": 1}',)]


def test_more_values_than_are_tolerated_stop_the_night(a_hundred: Path, data_dir: Path) -> None:
    change(a_hundred, "update Subscribers set member_rating = 'high' where mailchimp_id < 7")
    success, failed, message = outcome()
    assert (success, content_hashes(data_dir)) == (False, {})
    assert failed[MOST_READ] == Severity.ERROR
    assert "description=document_003" in message


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [("mailchimp_id = null", "missing_id"), ("user_email = 'none' || mailchimp_id", "malformed_email")],
)
def test_more_people_set_aside_than_are_tolerated_stop_the_night(
    a_hundred: Path, data_dir: Path, assignment: str, reason: str
) -> None:
    change(a_hundred, f"update Subscribers set {assignment} where mailchimp_id > 96")
    success, _, message = outcome()
    assert (success, content_hashes(data_dir)) == (False, {})
    assert MANY in message
    assert reason in message


def test_undated_purchases_are_counted_and_their_buyers_unknown(a_hundred: Path, data_dir: Path) -> None:
    change(a_hundred, "update Transactions set purchased_at = null where transaction_id < 4")
    success, failed, _ = outcome()
    assert (success, failed[DATES]) == (True, Severity.WARN)
    con = warehouse(data_dir)
    buyers = con.execute("select made_purchase, count(*) from validated_subscribers group by all").fetchall()
    counted = con.execute("select odd_date_count from crm_snapshot where crm_table = 'Transactions'").fetchall()
    con.close()
    assert dict(buyers) == {None: 4, 1: 6, 0: 90}
    assert counted == [(4,)]


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as con, con:
        con.execute(statement)
