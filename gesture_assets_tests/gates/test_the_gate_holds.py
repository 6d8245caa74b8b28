"""Whole nights with a bad CRM: nothing is built on it or published, and opening the gate by hand leaves a trace."""

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from gesture_assets.records.alert_log import INCIDENTS
from gesture_assets_tests.running import failures, published, run_in_dagster, run_night, warehouse

GOOD_DAY, BAD_DAY = date(2026, 3, 8), date(2026, 3, 9)
CRM = "key:crm_snapshot or key:validated_subscribers or key:quarantined_subscribers"
LATER = datetime.fromisoformat("2026-03-12T02:00")


def people(*ratings: int | None) -> list[tuple[object, ...]]:
    """Subscribers 1, 2, … with these ratings."""
    return [
        (n, f"Name {n}", f"person{n}@example.com", rating, "2026-03-01", "DE") for n, rating in enumerate(ratings, 1)
    ]


BUYER = [(1, "2026-03-02", "Name 1", "person1@example.com", "DE", 7)]
UNRATED = people(3, None, None)


def land(data_dir: Path, *days: date) -> None:
    folder = data_dir / "landing" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    for day in days:
        (folder / f"{day}.csv").write_text(
            f"event_id,user_id,event_type,event_at\na{day},ada,page_view,{day}T10:00:00Z\n"
            f"b{day},bob,pricing_page_view,{day}T11:00:00Z\n"
        )


def rows(data_dir: Path, query: str) -> list[tuple]:
    con = warehouse(data_dir)
    try:
        return con.execute(query).fetchall()
    finally:
        con.close()


def snapshot_id(data_dir: Path) -> str:
    con = published(data_dir)
    row = con.execute("select any_value(snapshot_id) from manifest").fetchone()
    con.close()
    assert row
    return row[0]


# ---- a column that an export left out ------------------------------------------------------------


FEATURE_DAYS = "select distinct as_of_date from user_features order by all"


@pytest.mark.slow
def test_a_bad_day_reaches_nothing_until_somebody_opens_the_gate_with_a_reason(
    data_dir: Path, write_crm: Callable
) -> None:
    land(data_dir, GOOD_DAY)
    write_crm(people(3, 4, 5), [], BUYER)
    good = run_night(GOOD_DAY)
    assert good.success, failures(good)
    before = snapshot_id(data_dir)

    # The night that meets it fails, says where, and neither builds on it nor publishes it.
    land(data_dir, BAD_DAY)
    write_crm(UNRATED, [], BUYER)
    bad = run_night(BAD_DAY)
    assert not bad.success
    assert "ratings_and_opt_ins_are_known_of_enough_people: 1 row" in failures(bad)
    assert rows(data_dir, FEATURE_DAYS) == [(GOOD_DAY,)]
    assert snapshot_id(data_dir) == before
    con = published(data_dir)
    assert con.execute("select distinct as_of_date from validated_subscribers").fetchall() == [(GOOD_DAY,)]
    con.close()
    kept = rows(data_dir, "select member_rating from rejected.validated_subscribers order by all")
    assert kept == [(3,), (None,), (None,)]

    # Another run, of the features alone, is refused with what a reader needs to know.
    alone = run_night(BAD_DAY, select="key:user_features")
    assert not alone.success
    for part in (
        f"GateClosed: user_features cannot be built for {BAD_DAY}.",
        f"expected: a PASS for validated_subscribers@{BAD_DAY}",
        f"validated_subscribers@{BAD_DAY} FAIL (attempt 1, ratings_and_opt_ins_are_known_of_enough_people: 1 row)",
        "warehouse.duckdb, table gate_ledger",
        f"next: mend what rejected.validated_subscribers shows, then  gesture run --date {BAD_DAY}",
    ):
        assert part in failures(alone)
    assert rows(data_dir, FEATURE_DAYS) == [(GOOD_DAY,)]

    # A reason opens the gate, on rows that passed only, and the ledger keeps it.
    reason = "the ratings are a test's"
    forced = run_night(BAD_DAY, select="key:user_features", force_reason=reason)
    assert forced.success, failures(forced)
    assert rows(data_dir, FEATURE_DAYS) == [(GOOD_DAY,), (BAD_DAY,)]
    believed = f"select count(*) from user_features where as_of_date = '{BAD_DAY}' and is_subscriber"
    assert rows(data_dir, believed) == [(0,)]
    opened = rows(data_dir, "select table_name, partition, override_reason from gate_ledger where verdict = 'OVERRIDE'")
    assert ("validated_subscribers", BAD_DAY, reason) in opened
    assert {(day, why) for _, day, why in opened} == {(BAD_DAY, reason)}


OPEN = (
    f"select alert_key, severity, night_count, what from ({INCIDENTS.format(table='alert_log')}) "
    "where resolved_on is null"
)


@pytest.mark.slow
def test_a_mended_crm_opens_the_gate_by_itself_and_ends_the_alert(data_dir: Path, write_crm: Callable) -> None:
    land(data_dir, BAD_DAY)
    write_crm(UNRATED, [], BUYER)
    for attempt in (1, 2):
        assert not run_in_dagster(BAD_DAY, select=CRM).success  # a hook of the job opens the alert
        ((key, severity, count, what),) = rows(data_dir, OPEN)
        assert (key, severity, count) == ("night/failed/crm_subscribers", "ERROR", attempt)
        assert what.startswith(f"The night of {BAD_DAY} failed: ContractBreach: ")
        assert f"validated_subscribers did not pass the audit for {BAD_DAY}" in what
        assert [one["key"] for one in json.loads((data_dir / "alerts.json").read_text())["alerts"]] == [key]
    write_crm(people(3, 4, 5), [], BUYER)
    mended = run_night(BAD_DAY)
    assert mended.success, failures(mended)
    assert rows(data_dir, "select count(*) from rejected.validated_subscribers") == [(0,)]
    assert rows(
        data_dir, "select attempt, verdict from gate_ledger where table_name = 'validated_subscribers' order by all"
    ) == [(1, "FAIL"), (2, "FAIL"), (3, "PASS")]
    # Nobody who reads the file that proves it is told that the night failed.
    con = published(data_dir)
    assert con.execute("select * from analytics.open_alerts").fetchall() == []
    con.close()
    assert rows(data_dir, OPEN) == []
    assert rows(data_dir, "select change from alert_log order by entry") == [("opened",), ("repeated",), ("resolved",)]
    assert json.loads((data_dir / "alerts.json").read_text())["alerts"] == []


# ---- a CRM that says something else today ------------------------------------------------------------

RATINGS = f"select member_rating, is_rebuilt from validated_subscribers where as_of_date = '{GOOD_DAY}' order by all"


@pytest.mark.slow
def test_a_past_day_keeps_the_snapshot_it_was_built_from_unless_a_reason_is_given(
    data_dir: Path, write_crm: Callable
) -> None:
    write_crm(people(3, 4, 5), [], BUYER)
    assert run_night(GOOD_DAY, select=CRM).success
    stored = rows(data_dir, "select * from validated_subscribers")
    write_crm(people(1, 1, 1), [], BUYER)
    again = run_night(GOOD_DAY, select=CRM, now=LATER)
    assert again.success, failures(again)
    assert rows(data_dir, "select * from validated_subscribers") == stored
    assert rows(data_dir, RATINGS) == [(3, False), (4, False), (5, False)]
    restated = run_night(
        GOOD_DAY, select=CRM, now=LATER, restate_reason="the export was of another company", restate_crm=True
    )
    assert restated.success, failures(restated)
    assert rows(data_dir, RATINGS) == [(None, True)] * 3


@pytest.mark.slow
def test_the_day_that_has_just_ended_takes_the_crm_as_it_is_now(data_dir: Path, write_crm: Callable) -> None:
    write_crm(people(3, 4, 5), [], BUYER)
    assert run_night(GOOD_DAY, select=CRM).success
    write_crm(people(1, 1, 1), [], BUYER)
    assert run_night(GOOD_DAY, select=CRM).success
    assert rows(data_dir, RATINGS) == [(1, False)] * 3


@pytest.mark.slow
def test_a_crm_that_vanishes_is_an_error_and_its_days_stay(data_dir: Path, write_crm: Callable) -> None:
    crm = write_crm(people(3, 4, 5), [], BUYER)
    assert run_night(GOOD_DAY, select=CRM).success
    crm.unlink()
    result = run_night(BAD_DAY, select=CRM)
    assert not result.success
    assert "SourceError: crm_subscribers cannot be built for 2026-03-09." in failures(result)
    assert "put the file back or set GESTURE_CRM_URL" in failures(result)
    assert rows(data_dir, "select distinct as_of_date from validated_subscribers") == [(GOOD_DAY,)]
    assert rows(data_dir, f"select count(*) from gate_ledger where partition = '{BAD_DAY}'") == [(0,)]


def test_a_crm_that_never_was_is_no_error_and_says_so(data_dir: Path) -> None:
    result = run_night(GOOD_DAY, select=CRM)
    assert result.success, failures(result)
    found = rows(data_dir, "select table_name, verdict from gate_ledger order by all")
    assert found == [(name, "ABSENT") for name in ("crm_snapshot", "quarantined_subscribers", "validated_subscribers")]
