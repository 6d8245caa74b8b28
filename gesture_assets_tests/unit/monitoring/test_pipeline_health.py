"""The pipeline's health: days that were late stay late, quality against its own week, trainings with their outcome."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from gesture_assets.monitoring.pipeline_health import (
    failing_checks,
    freshness,
    missing,
    outliers,
    quality_trend,
    quarantined,
    reliability,
    training_attempts,
    training_status,
)
from gesture_assets.records import audit_log
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse import ledger
from gesture_assets.warehouse.audit import CheckOutcome
from gesture_assets.warehouse.ledger import LEDGER, LedgerRow, Verdict
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import connect

OpenSession = Callable[..., AbstractContextManager[Session]]
TEN = [date(2026, 3, day) for day in range(1, 11)]
NOW = datetime(2026, 3, 11, 10)


def in_time(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 2, 30) + timedelta(days=1)


def audits(rows: list[dict[str, Any]]) -> pl.DataFrame:
    usual = {"table_name": "scores", "attempt": 1, "verdict": "PASS", "checks": "[]", "run_id": "r1"}
    schema = {
        "table_name": pl.String,
        "partition": pl.Date,
        "attempt": pl.Int32,
        "verdict": pl.String,
        "checks": pl.String,
        "run_id": pl.String,
        "recorded_at": pl.Datetime("us"),
    }
    return pl.DataFrame([usual | {"recorded_at": in_time(row["partition"])} | row for row in rows], schema=schema)


def nights(*days: date, **values: Any) -> list[dict[str, Any]]:
    return [{"partition": day, **values} for day in days]


def late_days(rows: pl.DataFrame, **options: Any) -> list[tuple[str, int]]:
    days = freshness(rows, ["scores"], **{"now": NOW, "deadline": 6, **options})
    late = days.filter(~pl.col("is_on_time"))
    return [(table, day.day) for table, day in late.select("table_name", "as_of_date").rows()]


def test_every_night_in_time_is_fresh() -> None:
    days = freshness(audits(nights(*TEN)), ["scores"], now=NOW, deadline=6)
    assert days["as_of_date"].to_list() == TEN
    assert days.row(0) == ("scores", TEN[0], datetime(2026, 3, 2, 6), in_time(TEN[0]), True, True)
    (row,) = reliability(days, windows=[30]).filter(table_name="scores").to_dicts()
    assert (row["day_count"], row["on_time_count"], row["on_time_share"], row["is_met"]) == (10, 10, 1.0, True)


def test_a_missed_night_stays_missed_although_the_day_is_built_later() -> None:
    missed = audits(nights(*TEN[:4], *TEN[5:]))
    assert late_days(missed) == [("scores", 5)]
    backfilled = pl.concat([missed, audits(nights(TEN[4], recorded_at=datetime(2026, 3, 9, 12)))])
    assert late_days(backfilled) == [("scores", 5)]
    days = freshness(backfilled, ["scores"], now=NOW, deadline=6)
    assert days["is_live"].all()
    (row,) = reliability(days, windows=[30]).filter(table_name="scores").to_dicts()
    assert (row["on_time_share"], row["is_met"], row["newest_late_date"]) == (0.9, False, TEN[4])


def test_a_fresh_backfill_of_an_old_day_hides_no_missing_yesterday() -> None:
    rows = audits(nights(*TEN[:9]) + nights(TEN[0], attempt=2, recorded_at=datetime(2026, 3, 11, 3)))
    assert late_days(rows) == [("scores", 10)]


@pytest.mark.parametrize(("hour", "expected"), [(5, []), (6, [("scores", 10)])])
def test_a_day_is_asked_for_once_it_is_due(hour: int, expected: list[tuple[str, int]]) -> None:
    assert late_days(audits(nights(*TEN[:9])), now=datetime(2026, 3, 11, hour)) == expected


def test_the_deadline_itself_is_in_time_and_a_second_later_is_not() -> None:
    at = datetime(2026, 3, 11, 6)
    assert late_days(audits(nights(*TEN[:9]) + nights(TEN[9], recorded_at=at))) == []
    after = at + timedelta(seconds=1)
    assert late_days(audits(nights(*TEN[:9]) + nights(TEN[9], recorded_at=after))) == [("scores", 10)]
    assert late_days(audits(nights(*TEN[:9]) + nights(TEN[9], recorded_at=after)), deadline=7) == []


def test_a_failed_audit_is_not_live_and_one_that_fails_later_was() -> None:
    failed = nights(*TEN[:9]) + nights(TEN[9], verdict="FAIL")
    assert late_days(audits(failed)) == [("scores", 10)]
    again = nights(TEN[8], attempt=2, verdict="FAIL", recorded_at=NOW)
    assert late_days(audits(nights(*TEN) + again)) == []


def test_history_built_on_installation_was_never_late() -> None:
    first_run = datetime(2026, 3, 6, 9)
    rows = audits(nights(*TEN[:5], recorded_at=first_run) + nights(*TEN[6:]))
    assert freshness(rows, ["scores"], now=NOW, deadline=6)["as_of_date"].to_list() == TEN[5:]
    assert late_days(rows) == [("scores", 6)]


def test_a_table_that_was_never_audited_is_missed_in_the_last_night() -> None:
    days = freshness(audits(nights(*TEN)), ["scores", "forgotten"], now=NOW, deadline=6)
    assert days.filter(table_name="forgotten").select("as_of_date", "is_live", "is_on_time").rows() == [
        (TEN[9], False, False)
    ]


def test_quiet_days_are_nobody_s_miss() -> None:
    assert late_days(audits(nights(*TEN[:4], *TEN[5:])), quiet_days=[TEN[4]]) == []


def test_reliability_is_by_table_for_all_and_by_window() -> None:
    days = [date(2026, 3, 10) - timedelta(days=ago) for ago in range(60)]
    rows = audits(nights(*days) + nights(*days[:3], *days[4:40], *days[41:], table_name="features"))
    windows = reliability(freshness(rows, ["scores", "features"], now=NOW, deadline=6))
    columns = ["window_days", "table_name", "day_count", "on_time_count", "is_met", "newest_late_date"]
    assert windows.select(columns).rows() == [
        (30, None, 60, 59, False, days[3]),
        (30, "features", 30, 29, False, days[3]),
        (30, "scores", 30, 30, True, None),
        (90, None, 120, 118, False, days[3]),
        (90, "features", 60, 58, False, days[3]),
        (90, "scores", 60, 60, True, None),
    ]
    assert windows["on_time_share"].to_list() == pytest.approx([59 / 60, 29 / 30, 1, 118 / 120, 58 / 60, 1])
    assert reliability(freshness(audits([]), ["scores"], now=NOW, deadline=6)).is_empty()


def check(name: str, *, passed: bool = False, severity: Severity = Severity.ERROR) -> CheckOutcome:
    return CheckOutcome(name, passed, severity, "3 rows")


def test_failing_checks_are_those_of_the_latest_audit() -> None:
    first = [{"name": "a", "passed": False, "severity": "ERROR", "observed": "3"}]
    second = [
        {"name": "a", "passed": True, "severity": "ERROR", "observed": "0"},
        {"name": "b", "passed": False, "severity": "WARN", "observed": "x"},
    ]
    rows = audits(
        [
            {"partition": TEN[0], "verdict": "FAIL", "checks": json.dumps(first)},
            {"partition": TEN[0], "attempt": 2, "checks": json.dumps(second)},
            {"partition": TEN[1], "checks": "[]"},
        ]
    )
    assert failing_checks(rows).rows() == [(TEN[0], "failing_checks", "scores", 1, 2)]


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_missing_values_are_counted_by_day_and_column(engine: str) -> None:
    rows = pl.DataFrame({"as_of_date": [TEN[0], TEN[0], TEN[1]], "country": ["de", None, None], "rating": [1, 2, None]})
    with connect() as connection:
        connection.register("rows", rows.to_arrow())
        frame: Any = rows.lazy() if engine == "polars" else connection.sql("from rows")
        counts = missing(nw.from_native(frame), "people", ["country", "rating"])
    assert counts.sort("as_of_date", "subject").rows() == [
        (TEN[0], "missing", "people.country", 1, 2),
        (TEN[0], "missing", "people.rating", 0, 2),
        (TEN[1], "missing", "people.country", 1, 1),
        (TEN[1], "missing", "people.rating", 1, 1),
    ]


def test_quality_is_held_against_its_own_week() -> None:
    days = TEN[:5]
    fences = pl.DataFrame(
        {"as_of_date": days, "metric": "visits", "outlier_count": [1, 2, 3, 4, 9], "user_count": [10] * 4 + [0]}
    )
    landing = pl.DataFrame(
        {"as_of_date": [days[0]] * 2, "source": ["web", "web"], "quarantined_count": [1, 2], "landed_count": [10, 20]}
    )
    trend = quality_trend(outliers(fences), quarantined(landing))
    assert trend.columns == [
        "as_of_date",
        "measure",
        "subject",
        "affected_count",
        "total_count",
        "share",
        "usual_share",
        "change",
    ]
    rows = trend.filter(measure="outliers").sort("as_of_date")
    assert rows["share"].to_list() == [0.1, 0.2, 0.3, 0.4, None]
    assert rows["usual_share"].to_list() == [None, None, None, 0.2, pytest.approx(0.25)]
    assert rows["change"].to_list() == [None, None, None, pytest.approx(0.2), None]
    assert trend.filter(measure="quarantined").rows() == [(days[0], "quarantined", "web", 3, 30, 0.1, None, None)]


def test_trainings_are_told_with_their_outcome_from_what_the_warehouse_holds(open_session: OpenSession) -> None:
    """Promoted, refused by a check, refused by the training itself, and killed; the last is under way."""
    day = date(2026, 3, 9)
    with open_session(day) as session:
        con = session.connection

        def audited(run: str, at: int, table: str, verdict: Verdict, *checks: CheckOutcome) -> None:
            moment = datetime(2026, 3, 10, at)
            attempt = ledger.next_attempts(ledger.latest(con, table)[table], [day])[day]
            row = LedgerRow(table, day, attempt, verdict, 5, "0" * 32, {}, checks, None, run, False, moment)
            ledger.append(con, [row])

        def note(run: str, at: int, action: str, reason: str = "") -> None:
            audit_log.note(
                con, now=datetime(2026, 3, 10, at), action=action, what="m", days=[day], reason=reason, run_id=run
            )

        note("good", 1, "train")
        audited("good", 2, "training_set", Verdict.PASS)
        audited("good", 3, "candidate_model", Verdict.PASS, check("fine", passed=True))
        audited(
            "leaky",
            4,
            "training_set",
            Verdict.FAIL,
            check("no_feature_knows_the_outcome"),
            check("a warning", severity=Severity.WARN),
        )
        audited("leaky", 4, "user_features", Verdict.FAIL, check("of another night"))
        note("thin", 5, "train")
        audited("thin", 6, "training_set", Verdict.PASS)
        note("thin", 7, "training refused", "60 rows, 100 are needed")
        note("killed", 8, "train")
        note("", 9, "publish")
        rows = pl.DataFrame(con.execute(f"from {LEDGER}").to_arrow_table())
        notes = pl.DataFrame(con.execute(f"from {audit_log.TABLE}").to_arrow_table())
    candidates = pl.DataFrame(
        {"run_id": ["good"], "model_version": ["v1"], "decision": ["promoted"], "because": ["no model served before"]}
    )
    attempts = training_attempts(rows, candidates, notes, tables=["training_set", "candidate_model"])
    assert attempts.rows() == [
        ("good", datetime(2026, 3, 10, 1), day, "promoted", "v1", "no model served before"),
        ("leaky", datetime(2026, 3, 10, 4), day, "refused", None, "no_feature_knows_the_outcome: 3 rows"),
        ("thin", datetime(2026, 3, 10, 5), day, "refused", None, "60 rows, 100 are needed"),
        ("killed", datetime(2026, 3, 10, 8), day, "unfinished", None, "run killed left no verdict"),
    ]
    status = training_status(attempts, champion="v1", unavailable_because=None, now=datetime(2026, 3, 11, 13))
    assert status == {
        "champion": "v1",
        "is_available": True,
        "unavailable_because": None,
        "attempt_count": 4,
        "last_attempt_at": datetime(2026, 3, 10, 8),
        "last_outcome": "unfinished",
        "last_success_at": datetime(2026, 3, 10, 1),
        "last_success_version": "v1",
        "days_since_success": 1.5,
        "last_refusal_at": datetime(2026, 3, 10, 5),
        "last_refusal_because": "60 rows, 100 are needed",
    }


def test_a_champion_whose_files_are_gone_is_not_available() -> None:
    nothing = training_attempts(
        audits([]),
        pl.DataFrame(schema=dict.fromkeys(("run_id", "model_version", "decision", "because"), pl.String)),
        pl.DataFrame(
            schema={
                "recorded_at": pl.Datetime("us"),
                "action": pl.String,
                "run_id": pl.String,
                "first_date": pl.Date,
                "reason": pl.String,
            }
        ),
        tables=["candidate_model"],
    )
    gone = training_status(nothing, champion="v1", unavailable_because="no booster.json", now=NOW)
    assert (gone["is_available"], gone["unavailable_because"], gone["attempt_count"]) == (False, "no booster.json", 0)
    assert (gone["last_success_at"], gone["days_since_success"], gone["last_outcome"]) == (None, None, None)
    none = training_status(nothing, champion=None, unavailable_because=None, now=NOW)
    assert (none["is_available"], none["unavailable_because"]) == (False, "no model was ever activated")
