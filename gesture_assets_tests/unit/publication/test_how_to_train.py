"""The advice to train: no command that would be refused at this moment."""

from datetime import date, datetime, timedelta

import duckdb

from gesture_assets.models.training_set import TOO_FEW_DAYS
from gesture_assets.publication.reading import how_to_train
from gesture_assets.records import audit_log
from gesture_assets.settings import Settings
from gesture_assets.warehouse.ledger import LEDGER
from gesture_assets_tests.conftest import OpenSession

FIRST, ENOUGH = date(2026, 1, 1), 59  # days of history: two fortnights and the horizon


def publish(settings: Settings, days: int) -> date:
    """A published file of the first `days` days; the newest of them."""
    settings.published.unlink(missing_ok=True)
    with duckdb.connect(str(settings.published)) as con:
        con.execute(
            "create table user_features as select unnest(range(?, ?, interval 1 day))::date as as_of_date",
            [FIRST, FIRST + timedelta(days=days)],
        )
    return FIRST + timedelta(days=days - 1)


def test_before_there_are_days_enough_the_first_day_of_a_training_is_named(settings: Settings) -> None:
    assert how_to_train(settings) == "gesture run"
    publish(settings, ENOUGH - 1)
    assert how_to_train(settings).startswith("gesture train --date 2026-02-28, when that day is live")
    publish(settings, ENOUGH)
    assert how_to_train(settings) == "gesture train"


def test_a_training_that_was_refused_is_not_advised_again_before_there_can_be_more_buyers(
    settings: Settings, open_session: OpenSession
) -> None:
    newest = publish(settings, ENOUGH)

    def refuse(reason: str) -> str:
        with open_session(newest) as session:
            audit_log.note(
                session.connection,
                now=datetime(2026, 3, 1, 9),
                action="training refused",
                what="training_set",
                days=[newest],
                reason=reason,
            )
        return how_to_train(settings)

    assert refuse(f"TrainingRefused: {TOO_FEW_DAYS}, as known by the end of a day.") == "gesture train"
    later = newest + timedelta(days=14)
    assert refuse("TrainingRefused: There is too little to learn from yet.").startswith(f"gesture train --date {later}")
    with open_session(newest) as session:  # with other parameters it succeeded
        session.connection.execute(
            f"""insert into {LEDGER} by name select 'candidate_model' as table_name, ?::date as partition, 1 as attempt,
            'PASS' as verdict, 1 as row_count, '' as content_hash, '{{}}' as input_hashes, '[]' as checks,
            'r' as run_id, false as is_backfill, now()::timestamp as recorded_at""",
            [newest],
        )
    assert how_to_train(settings) == "gesture train"
