"""The ranges of document 003's CRM: a small one warns, stops a night where the settings say so, and fits its own."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from gesture_assets_tests.small_world import DAYS, land
from gesture_assets_tests.running import content_hashes, failures, run_night

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


def said() -> tuple[bool, dict[str, dg.AssetCheckSeverity], str]:
    """Whether the CRM's step succeeded, which of the four checks did not pass, and what it said."""
    result = run_night(DAYS[0], select="crm_snapshot")
    checks = [one for one in result.get_asset_check_evaluations() if one.asset_key.to_user_string() == "crm_snapshot"]
    assert {ROWS, COLUMNS, PRODUCTS, DATES} <= {one.check_name for one in checks}
    failed = {one.check_name: one.severity for one in checks if not one.passed}
    return result.success, failed, failures(result)


def test_a_small_crm_warns_and_goes_live(a_hundred: Path, data_dir: Path) -> None:
    warning = dg.AssetCheckSeverity.WARN
    assert said() == (True, {ROWS: warning, PRODUCTS: warning}, "")
    assert ("crm_snapshot", DAYS[0]) in content_hashes(data_dir)


def test_settings_let_a_small_crm_pass(a_hundred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESTURE_CRM_ROW_RANGES", OURS)
    monkeypatch.setenv("GESTURE_CRM_PRODUCT_IDS", "1, 101")
    assert said() == (True, {}, "")


def test_settings_let_a_small_crm_stop_the_night(
    a_hundred: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESTURE_BLOCKING_CHECKS", ROWS)
    success, failed, message = said()
    assert not success
    assert failed == {ROWS: dg.AssetCheckSeverity.ERROR, PRODUCTS: dg.AssetCheckSeverity.WARN}
    assert "GESTURE_CRM_ROW_RANGES" in message
    assert content_hashes(data_dir) == {}


def test_a_further_column_warns(a_hundred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESTURE_CRM_ROW_RANGES", OURS)
    monkeypatch.setenv("GESTURE_CRM_PRODUCT_IDS", "1, 101")
    monkeypatch.setenv("GESTURE_CRM_COLUMN_COUNTS", '{"Tags": 3}')
    assert said() == (True, {COLUMNS: dg.AssetCheckSeverity.WARN}, "")
