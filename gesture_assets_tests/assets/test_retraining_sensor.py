"""The sensor that starts trainings, on published files that call for one, that do not, and that are not there."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg
import duckdb
import pytest

from gesture_assets.contracts.contract import Contract
from gesture_assets.models.tables import CANDIDATE_MODEL
from gesture_assets.monitoring.tables import RETRAIN_DECISION
from gesture_assets.records import audit_log
from gesture_assets.settings import Settings
from gesture_assets.warehouse.ledger import LEDGER
from gesture_assets_tests.conftest import OpenSession
from gesture_assets_tests.running import definitions

pytestmark = pytest.mark.slow

DAY = date(2026, 3, 9)
NOW = datetime(2026, 3, 10, 2)
ZERO = {"DATE": DAY, "TIMESTAMP": NOW, "VARCHAR": "x", "BOOLEAN": False}


def insert(con: duckdb.DuckDBPyConnection, contract: Contract, **values: object) -> None:
    """A row with these values; every other column is null where it may be."""
    described = con.execute(f"describe {contract.name}").fetchall()
    row = [values.get(name, None if null == "YES" else ZERO.get(kind, 0)) for name, kind, null, *_ in described]
    con.execute(f"insert into {contract.name} values ({', '.join('?' for _ in row)})", row)


@pytest.fixture
def published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published file, as empty as before the first training; closed by whoever has written to it."""
    file = settings.published.with_name("gesture-1.duckdb")
    with duckdb.connect(str(file)) as con:
        for contract in (RETRAIN_DECISION, CANDIDATE_MODEL):
            con.execute(contract.ddl("main"))
        settings.published.symlink_to(file.name)
        yield con


def asked() -> dg.RunRequest | dg.SkipReason:
    with dg.build_sensor_context() as context:
        found = definitions().resolve_sensor_def("retrain_when_called_for")(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_before_anything_is_published_no_training_is_asked_for(settings: Settings) -> None:
    assert not settings.published.exists()
    found = asked()
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == "nothing is published yet"


def test_a_night_that_calls_for_a_training_gets_one_run_however_often_it_is_asked(
    published: duckdb.DuckDBPyConnection,
) -> None:
    insert(published, RETRAIN_DECISION, as_of_date=DAY - timedelta(days=1), should_retrain=False, because="Not yet.")
    insert(published, RETRAIN_DECISION, as_of_date=DAY, should_retrain=True, because="It is 8 days old. " * 50)
    published.close()
    found, again = asked(), asked()
    assert isinstance(found, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    # Dagster starts one run for a key, whatever else the request says.
    assert found.run_key == again.run_key == "train-2026-03-09"
    assert found.partition_key == "2026-03-09"
    because = found.tags["gesture/because"]
    assert because.startswith("It is 8 days old.")
    assert len(because) <= 250


def test_another_night_that_calls_for_a_training_is_another_run(published: duckdb.DuckDBPyConnection) -> None:
    for day in (DAY, DAY + timedelta(days=1)):
        insert(published, RETRAIN_DECISION, as_of_date=day, should_retrain=True, because="Drift.")
    published.close()
    found = asked()
    assert isinstance(found, dg.RunRequest)
    assert found.run_key == "train-2026-03-10"


def test_a_night_that_calls_for_none_says_why_not(published: duckdb.DuckDBPyConnection) -> None:
    # The day before did; what the newest night says is what counts.
    insert(published, RETRAIN_DECISION, as_of_date=DAY - timedelta(days=1), should_retrain=True, because="Drift.")
    insert(published, RETRAIN_DECISION, as_of_date=DAY, should_retrain=False, because="There are 9 samples.")
    published.close()
    found = asked()
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == "There are 9 samples."


def test_a_night_that_has_its_training_gets_no_second_one(published: duckdb.DuckDBPyConnection) -> None:
    insert(published, RETRAIN_DECISION, as_of_date=DAY, should_retrain=True, because="Drift.")
    insert(published, CANDIDATE_MODEL, as_of_date=DAY)
    published.close()
    found = asked()
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == "the newest night has its training"


@pytest.mark.parametrize("answer", ["PASS", "FAIL", "refused"])
def test_what_somebody_has_trained_by_hand_since_is_not_tried_again_on_the_same_day(
    published: duckdb.DuckDBPyConnection, settings: Settings, open_session: OpenSession, answer: str
) -> None:
    insert(published, RETRAIN_DECISION, as_of_date=DAY, should_retrain=True, because="Drift.")
    published.close()
    with open_session(DAY):
        pass
    assert isinstance(asked(), dg.RunRequest)

    def answered(day: date) -> None:
        with open_session(DAY) as session:
            con = session.connection
            if answer == "refused":
                audit_log.note(con, now=NOW, action="training refused", what="a_step", days=[day])
                return
            table = "candidate_model" if answer == "PASS" else "training_set"
            con.execute(
                f"""insert into {LEDGER} by name select ? as table_name, ?::date as partition, 1 as attempt,
                ? as verdict, 1 as row_count, '' as content_hash, '{{}}' as input_hashes, '[]' as checks,
                'r' as run_id, false as is_backfill, now()::timestamp as recorded_at""",
                [table, day, answer],
            )

    answered(DAY - timedelta(days=1))
    assert isinstance(asked(), dg.RunRequest)
    answered(DAY)
    found = asked()
    assert isinstance(found, dg.SkipReason)
    assert "the newest night has its training" in str(found.skip_message)


def test_while_a_run_has_the_warehouse_open_no_training_is_asked_for(
    published: duckdb.DuckDBPyConnection, settings: Settings, open_session: OpenSession
) -> None:
    insert(published, RETRAIN_DECISION, as_of_date=DAY, should_retrain=True, because="Drift.")
    published.close()
    with open_session(DAY):
        pass
    script = (
        f"import duckdb, time; c = duckdb.connect({str(settings.warehouse)!r}); print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        found = asked()
        holder.kill()
    assert isinstance(found, dg.SkipReason)
    assert "another program has the warehouse open" in str(found.skip_message)
    assert isinstance(asked(), dg.RunRequest)
