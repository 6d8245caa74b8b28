"""The reference CRM through the nightly's CRM step: every row accounted for, buyers and tags as the CRM counts them."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import failures, run_night, warehouse

pytestmark = pytest.mark.slow

DAY = "2026-03-09"
LANDED = (
    "event_id,user_id,event_type,event_at\n"
    "e1,ada,page_view,2026-03-09T10:00:00Z\n"
    "e2,bob,page_view,2026-03-09T11:00:00Z\n"
)
CRM_STEP = "key:crm_snapshot or key:validated_subscribers or key:quarantined_subscribers"


@dataclass(frozen=True)
class Night:
    data_dir: Path
    source: Path
    before: tuple[int, int]


@pytest.fixture(scope="module")
def night(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("crm") / "data"
    (folder / "landing" / "native").mkdir(parents=True)
    (folder / "landing" / "native" / "events.csv").write_text(LANDED)
    source = reference / "crm" / "crm_database.sqlite"
    before = (source.stat().st_mtime_ns, source.stat().st_size)
    with pytest.MonkeyPatch.context() as patch:
        use_settings(patch, folder)
        patch.setenv("GESTURE_CRM_URL", f"sqlite:///{source}")
        result = run_night(DAY, select=CRM_STEP)
        assert result.success, failures(result)
        yield Night(folder, source, before)


def in_crm(night: Night, sql: str) -> list[tuple]:
    con = sqlite3.connect(f"file:{night.source}?mode=ro", uri=True)
    rows = con.execute(sql).fetchall()
    con.close()
    return rows


def in_ours(night: Night, sql: str) -> list[tuple]:
    con = warehouse(night.data_dir)
    rows = con.execute(sql).fetchall()
    con.close()
    return rows


def test_the_snapshot_counts_what_sqlite_counts(night: Night) -> None:
    found = dict(in_ours(night, "select crm_table, row_count from crm_snapshot"))
    assert found == {"Subscribers": 19_919, "Tags": 26_115, "Transactions": 962}
    for table, count in found.items():
        assert in_crm(night, f"select count(*) from {table}") == [(count,)]
    assert in_ours(night, "select crm_table from crm_snapshot where unmatched_count > 0") == []


def test_every_subscriber_is_validated_or_quarantined(night: Night) -> None:
    validated = in_ours(night, "select count(*), count(distinct mailchimp_id) from validated_subscribers")
    assert validated == [(19_919 - 16, 19_919 - 16)]
    assert in_ours(night, "select reason, check_name, count(*) from quarantined_subscribers group by all") == [
        ("duplicate_email", "no_email_occurs_twice", 16)
    ]


def test_a_quarantined_subscriber_shares_the_address_of_the_one_that_is_kept(night: Night) -> None:
    addresses = dict(in_crm(night, "select cast(mailchimp_id as text), lower(trim(user_email)) from Subscribers"))
    pairs = in_ours(night, "select mailchimp_id, kept_mailchimp_id from quarantined_subscribers")
    assert all(addresses[one] == addresses[kept] and one != kept for one, kept in pairs)
    kept = {row for (row,) in in_ours(night, "select mailchimp_id from validated_subscribers")}
    assert {other for _, other in pairs} <= kept
    assert not {one for one, _ in pairs} & kept


def test_no_tag_is_lost(night: Night) -> None:
    aside = ", ".join(str(row) for (row,) in in_ours(night, "select mailchimp_id from quarantined_subscribers"))
    [(of_validated,)] = in_ours(night, "select sum(tag_count) from validated_subscribers")
    [(of_quarantined,)] = in_crm(night, f"select count(*) from Tags where mailchimp_id in ({aside})")
    assert of_validated + of_quarantined == 26_115


def test_every_buyer_is_found_by_address(night: Night) -> None:
    [(buyers,)] = in_ours(
        night,
        "select sum(made_purchase) from (select made_purchase from validated_subscribers "
        "union all select made_purchase from quarantined_subscribers)",
    )
    assert buyers == 962
    assert in_ours(night, "select distinct made_purchase from validated_subscribers order by 1") == [(0,), (1,)]


def test_no_name_or_address_of_the_crm_gets_into_the_warehouse(night: Night) -> None:
    columns = {name for (name,) in in_ours(night, "select column_name from information_schema.columns")}
    assert not {"user_email", "user_full_name", "email"} & columns
    masked = in_ours(night, "select count(*) from quarantined_subscribers where masked_row like '%@%'")
    assert masked == [(0,)]


def test_the_crm_is_not_touched(night: Night) -> None:
    status = night.source.stat()
    assert (status.st_mtime_ns, status.st_size) == night.before
    assert {path.name for path in night.source.parent.iterdir()} == {"crm_database.sqlite", "bsu_subscribers.csv"}
