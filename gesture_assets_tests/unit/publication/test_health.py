"""The published file says how nights have gone: a missed one is counted, a model that is gone is told."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.models.tables import TRAINED
from gesture_assets.publication.health import HEALTH, write
from gesture_assets.records import activations as registry
from gesture_assets.records import audit_log
from gesture_assets.records.opening import RECORDS
from gesture_assets.settings import Settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.good_night import CONTRACTS, DAY, NIGHT, VERSION

pytestmark = pytest.mark.slow

TABLES = tuple(CONTRACTS.values())
NIGHTLY = {contract.name for contract in catalogue(Settings.model_fields["tags"].default).nightly}
Ask = Callable[..., list[tuple]]


@pytest.fixture(scope="module")
def good(good_night_warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse that holds one good night, whose model serves, and a training that was refused."""
    path = Path(shutil.copy(good_night_warehouse, tmp_path_factory.mktemp("good")))
    with Warehouse(path, 10, create=RECORDS).open(RunInfo("run-0001", NIGHT, (DAY,), "a_night")) as session:
        registry.activate(session.connection, VERSION, since=DAY, now=NIGHT, action="promoted", reason="the first")
        audit_log.note(
            session.connection,
            now=NIGHT + timedelta(hours=9),
            action="training refused",
            what="candidate_model",
            days=[DAY],
            reason="3 rows are too few",
            run_id="run-0002",
        )
    return path


@pytest.fixture
def ask(good: Path, tmp_path: Path) -> Ask:
    """The answer to a question, of a copy written at a moment after something was done to it."""

    def asked(sql: str, *, now: datetime = NIGHT, first: str = "select 1") -> list[tuple]:
        path = Path(shutil.copyfile(good, tmp_path / "copy.duckdb"))
        with duckdb.connect(str(path)) as con:
            con.execute(first)
            write(con, TABLES, now=now, deadline=6)
            return con.execute(sql).fetchall()

    return asked


RELIABLE = "select window_days, on_time_count, day_count, is_met, newest_late_date from pipeline_reliability where "


def test_a_night_that_was_live_in_time_keeps_the_promise(ask: Ask) -> None:
    met = [(window, 1, 1, True, None) for window in (30, 90)]
    assert ask(RELIABLE + "table_name = 'rule_scores' order by 1", now=NIGHT + timedelta(hours=5)) == met
    (total, *_) = ask(RELIABLE + "table_name is null order by 1", now=NIGHT + timedelta(hours=5))
    assert total == (30, len(NIGHTLY), len(NIGHTLY), True, None)


def test_a_missed_night_lowers_reliability_for_every_table(ask: Ask) -> None:
    later = NIGHT + timedelta(days=1, hours=5)
    assert ask(RELIABLE + "table_name = 'rule_scores'", now=later)[0] == (30, 1, 2, False, DAY + timedelta(days=1))
    assert ask(RELIABLE + "table_name is null", now=later)[0][1:4] == (len(NIGHTLY), 2 * len(NIGHTLY), False)


def test_a_day_on_which_nothing_landed_is_no_missed_night(ask: Ask) -> None:
    landed = "insert into landing_days select 'h', unnest([date '{}', date '{}']), 1, 0"
    first = landed.format(DAY, DAY + timedelta(days=2))
    found = ask(RELIABLE + "table_name = 'rule_scores'", now=NIGHT + timedelta(days=1, hours=5), first=first)
    assert found[0] == (30, 1, 1, True, None)


def test_nothing_is_said_of_reliability_before_a_day_is_due(ask: Ask) -> None:
    assert ask("from pipeline_reliability") == []


def test_the_trend_counts_what_was_missing_odd_set_aside_or_failed(ask: Ask) -> None:
    rows = ask("select measure, subject, affected_count, total_count from data_quality_trend")
    found = {(measure, subject): counts for measure, subject, *counts in rows}
    assert found["quarantined", "x"] == [1, 22]
    assert found["outliers", "event_count_30d"] == [1, 20]
    assert found["missing", "validated_subscribers.country"] == [0, 4]
    assert found["failing_checks", "rule_scores"][0] == 0
    assert {measure for measure, _ in found} == {"missing", "outliers", "quarantined", "failing_checks"}


def test_the_model_and_its_trainings_are_told(ask: Ask) -> None:
    (status,) = ask(
        "select champion, is_available, attempt_count, last_outcome, last_success_version, last_refusal_because "
        "from model_status"
    )
    assert status == (VERSION, True, 2, "refused", VERSION, "3 rows are too few")
    assert ask("select run_id, outcome, as_of_date from training_attempts order by attempted_at") == [
        ("run-0001", "promoted", DAY),
        ("run-0002", "refused", DAY),
    ]


def test_a_champion_whose_files_are_gone_is_not_available(ask: Ask) -> None:
    (status,) = ask(
        "select champion, is_available, unavailable_because from model_status",
        first="update model_exclusions set reason = 'champion_unavailable'",
    )
    assert status == (VERSION, False, f"its files could not be used on {DAY}: 1 users have the rules' score")


def test_without_any_model_the_rules_serve_and_nothing_was_tried(ask: Ask) -> None:
    trained = tuple(contract.name for contract in TRAINED)
    forget = "; ".join(f"delete from {table}" for table in ("model_activations", "audit_log", "candidate_model"))
    forget += f"; delete from gate_ledger where table_name in {trained}"
    (status,) = ask(
        "select champion, is_available, unavailable_because, attempt_count, last_attempt_at from model_status",
        first=forget,
    )
    assert status == (None, False, "no model was ever activated", 0, None)
    assert ask("from training_attempts", first=forget) == []


def test_every_table_has_the_columns_that_are_explained(ask: Ask) -> None:
    for table, (said, columns) in HEALTH.items():
        assert said.startswith("One row")
        found = ask(f"select column_name from duckdb_columns() where table_name = '{table}' and not internal")
        assert [name for (name,) in found] == [name for name, _, _ in columns]
