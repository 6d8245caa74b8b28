"""The alert log: three nights are one alert, acknowledged alerts are silent, and nothing that was is forgotten."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.monitoring.alerts import Alert, Incident, changes
from gesture_assets.records import alert_log, audit_log
from gesture_assets.records.alert_delivery import deliver
from gesture_assets.records.alert_log import INCIDENTS, TABLE, acknowledge, append, incidents, keys_of_run
from gesture_assets.vocabulary.severity import Severity

NIGHT = date(2026, 3, 9)
NOW = datetime(2026, 3, 10, 2)
DRIFT = Alert(
    "drift/features/country",
    Severity.WARN,
    "scoring@gesture.example",
    "PSI 0.31.",
    "user_features",
    "gesture drift",
    {"psi": 0.31},
)
WORSE = replace(DRIFT, severity=Severity.ERROR, what="PSI 0.9.", numbers={"psi": 0.9})


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path / 'warehouse.duckdb'}' as warehouse")
        alert_log.create_alert_log(connection)
        audit_log.create_audit_log(connection)
        yield connection


def pass_nights(
    connection: duckdb.DuckDBPyConnection, *alarms: list[Alert], since: int = 0, is_backfill: bool = False
) -> list[Incident]:
    """One night after the other with these alarms; what is known after the last."""
    for number, tonight in enumerate(alarms, since):
        found = changes(incidents(connection), tonight, NIGHT + timedelta(days=number), is_backfill=is_backfill)
        append(connection, found, now=NOW + timedelta(days=number), run_id=f"run-{number}")
    return incidents(connection)


def test_the_same_alarm_in_three_nights_is_one_open_alert_with_count_3(warehouse: duckdb.DuckDBPyConnection) -> None:
    latest = replace(DRIFT, what="PSI 0.35.", numbers={"psi": 0.35})
    (one,) = pass_nights(warehouse, [DRIFT], [DRIFT], [latest])
    assert one == Incident(latest, 1, NIGHT, NIGHT + timedelta(days=2), 3)
    assert one.is_open


def test_a_night_that_is_run_again_does_not_count_twice(warehouse: duckdb.DuckDBPyConnection) -> None:
    pass_nights(warehouse, [DRIFT])
    (one,) = pass_nights(warehouse, [DRIFT])
    assert one.night_count == 1


def test_a_figure_that_is_none_is_null(warehouse: duckdb.DuckDBPyConnection) -> None:
    (one,) = pass_nights(warehouse, [replace(DRIFT, numbers={"psi": float("nan"), "lift": float("inf"), "n": 3})])
    assert one.alert.numbers == {"psi": None, "lift": None, "n": 3}
    assert warehouse.execute(f"select json_valid(numbers) from {TABLE}").fetchall() == [(True,)]


def test_a_backfill_leaves_no_row(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert pass_nights(warehouse, [DRIFT], [], is_backfill=True) == []


def test_it_resolves_comes_back_and_its_history_is_kept(warehouse: duckdb.DuckDBPyConnection) -> None:
    (one,) = pass_nights(warehouse, [DRIFT], [DRIFT], [])
    assert (one.is_open, one.resolved_on, one.night_count) == (False, NIGHT + timedelta(days=2), 2)
    (back,) = pass_nights(warehouse, [DRIFT], since=4)
    assert (back.is_open, back.first_seen, back.last_seen, back.night_count) == (
        True,
        NIGHT,
        NIGHT + timedelta(days=4),
        3,
    )
    pass_nights(warehouse, [], since=5)
    first, second = pass_nights(warehouse, [DRIFT], since=13)
    assert (first.incident, first.resolved_on, second.incident, second.first_seen) == (
        1,
        NIGHT + timedelta(days=5),
        2,
        NIGHT + timedelta(days=13),
    )
    lines = warehouse.execute(f"select entry, night, incident, change, run_id from {TABLE} order by entry").fetchall()
    assert [line[3] for line in lines] == ["opened", "repeated", "resolved", "reopened", "resolved", "opened"]
    assert [line[0] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[3][1:] == (NIGHT + timedelta(days=4), 1, "reopened", "run-4")


def test_a_failure_is_counted_by_the_runs_that_failed(warehouse: duckdb.DuckDBPyConnection) -> None:
    failed = replace(WORSE, key="night/failed/user_features")
    for run_id in ("run-1", "run-2", "run-2", "run-3"):
        append(warehouse, changes(incidents(warehouse), [failed], NIGHT, is_backfill=False), now=NOW, run_id=run_id)
    (one,) = incidents(warehouse)
    assert (one.night_count, one.first_seen, one.last_seen, one.is_open) == (3, NIGHT, NIGHT, True)
    assert keys_of_run(warehouse, "run-2", ["repeated"]) == {failed.key}
    assert keys_of_run(warehouse, "run-2", ["opened"]) == keys_of_run(warehouse, "run-4", ["repeated"]) == set()


def test_two_troubles_are_two_alerts(warehouse: duckdb.DuckDBPyConnection) -> None:
    other = replace(DRIFT, key="freshness")
    pass_nights(warehouse, [DRIFT, other], [other])
    assert [(one.alert.key, one.is_open) for one in incidents(warehouse)] == [(DRIFT.key, False), ("freshness", True)]


def news(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [one.alert.key for one in incidents(connection) if one.is_news]


def test_an_acknowledged_alert_is_silent_until_it_is_resolved(warehouse: duckdb.DuckDBPyConnection) -> None:
    pass_nights(warehouse, [DRIFT])
    assert news(warehouse) == [DRIFT.key]
    found = acknowledge(warehouse, DRIFT.key, now=NOW, note="a campaign in France")
    assert (found.is_acknowledged, found.acknowledged_by, found.acknowledged_at, found.note) == (
        True,
        audit_log.who(),
        NOW,
        "a campaign in France",
    )
    assert news(warehouse) == []
    (one,) = pass_nights(warehouse, [DRIFT], [DRIFT], since=1)
    assert (one.is_acknowledged, one.night_count) == (True, 3)
    (back,) = pass_nights(warehouse, [], [DRIFT], since=3)
    assert not back.is_acknowledged
    assert news(warehouse) == [DRIFT.key]
    assert warehouse.execute(f"select action, object, reason from {audit_log.TABLE}").fetchall() == [
        ("acknowledge alert", DRIFT.key, "a campaign in France")
    ]


def test_what_gets_worse_is_news_although_it_was_acknowledged(warehouse: duckdb.DuckDBPyConnection) -> None:
    pass_nights(warehouse, [DRIFT])
    acknowledge(warehouse, DRIFT.key, now=NOW, note="seen")
    (one,) = pass_nights(warehouse, [WORSE], since=1)
    assert (one.is_news, one.alert) == (True, WORSE)


@pytest.mark.parametrize("nights", [[], [[DRIFT], []]], ids=["never raised", "resolved"])
def test_only_an_open_alert_can_be_acknowledged(
    warehouse: duckdb.DuckDBPyConnection, nights: list[list[Alert]]
) -> None:
    pass_nights(warehouse, *nights, [replace(DRIFT, key="freshness")], since=0)
    with pytest.raises(ConfigError, match="'drift/features/country' is not known") as caught:
        acknowledge(warehouse, DRIFT.key, now=NOW, note="?")
    assert "one of freshness" in str(caught.value)


def test_what_was_told_is_no_news_and_what_was_not_is_told_the_next_night(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    log, path = logging.getLogger("test"), tmp_path / "alerts.json"
    pass_nights(warehouse, [DRIFT])
    deaf = deliver(incidents(warehouse), log, path, "http://127.0.0.1:9", night=NIGHT)
    append(warehouse, deaf.told, now=NOW)
    pass_nights(warehouse, [DRIFT], since=1)
    assert news(warehouse) == [DRIFT.key]
    (one,) = incidents(warehouse)
    append(warehouse, [replace(changes([], [DRIFT], NIGHT, is_backfill=False)[0], change="told")], now=NOW)
    (told,) = incidents(warehouse)
    assert told == replace(one, is_told=True)
    (repeated,) = pass_nights(warehouse, [DRIFT], since=2)
    assert repeated.is_told
    (worse,) = pass_nights(warehouse, [WORSE], since=3)
    assert not worse.is_told


def test_analysts_read_incidents_from_the_table_alone(warehouse: duckdb.DuckDBPyConnection) -> None:
    pass_nights(warehouse, [DRIFT], [DRIFT])
    warehouse.execute("use warehouse.main")
    rows = warehouse.execute(f"select alert_key, night_count, resolved_on from ({INCIDENTS.format(table='alert_log')})")
    assert rows.fetchall() == [(DRIFT.key, 2, None)]
    described = [row[:2] for row in warehouse.execute("describe alert_log").fetchall()]
    assert described == [(name, kind.removesuffix(" not null")) for name, kind, _ in alert_log.ALERT_LOG_COLUMNS]
