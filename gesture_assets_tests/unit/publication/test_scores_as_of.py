"""Scores over time: what was said about a day at a moment, and how the score to act on has moved since earlier days."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.publication.publish import publish
from gesture_assets.publication.reading import read_published
from gesture_assets.settings import Settings
from gesture_assets_tests.conftest import OpenSession
from gesture_assets_tests.good_night import CONTRACTS, DAY, NIGHT, commit_good_night


@pytest.mark.slow
def test_a_restated_day_is_what_it_was_before_and_what_it_is_after(
    settings: Settings, open_session: OpenSession, good_night_warehouse: Path
) -> None:
    later = NIGHT + timedelta(days=2)
    shutil.copyfile(good_night_warehouse, settings.warehouse)
    with open_session(DAY, now=NIGHT) as session:
        _publish(session, settings)
    with open_session(DAY, now=later, run_id="run-0002", restate_reason="ada was somebody else") as session:
        changes = {
            "rule_scores": "update {rows} set score = 50, points = 50 where user_id = 'ada'",
            "rule_contributions": "update {rows} set points = 49 where points = 59",
        }
        commit_good_night(session, changes=changes)
        _publish(session, settings)
    con = read_published(settings.published)

    def said(known_at: datetime) -> list[tuple[str, float]]:
        query = "select user_id, score from analytics.scores_as_of(?::date, ?::timestamp) order by user_id"
        return con.execute(query, [DAY, known_at]).fetchall()

    before = [("ada", 60.0), ("bob", 40.0), ("cyd", 1.0)]
    assert said(NIGHT - timedelta(seconds=1)) == []
    assert said(NIGHT) == said(later - timedelta(seconds=1)) == before
    assert said(later) == said(later + timedelta(days=9)) == [("ada", 50.0), *before[1:]]
    assert con.sql(f"from analytics.scores_as_of('{DAY - timedelta(days=1)}', '{later}')").fetchall() == []
    con.close()


@pytest.mark.slow
def test_a_score_is_held_against_that_of_a_day_a_week_and_a_month_before_on_its_own_scale(
    settings: Settings, open_session: OpenSession, good_night_warehouse: Path
) -> None:
    shutil.copyfile(good_night_warehouse, settings.warehouse)
    with open_session(DAY, now=NIGHT) as session:
        _publish(session, settings)
    with duckdb.connect(str(settings.published.resolve())) as con:
        tonight = f"from main.intent_scores where as_of_date = date '{DAY}'"
        for days, change in ((1, "score + 2 as score"), (7, "score - 5 as score"), (30, "'points' as scale")):
            moved = f"* replace (as_of_date - {days} as as_of_date, {change})"
            con.execute(f"insert into main.intent_scores select {moved} {tonight}")
        con.execute(f"delete from main.intent_scores where as_of_date = date '{DAY}' - 1 and user_id = 'bob'")
        trend = "select user_id, change_1d, change_7d, change_30d from analytics.current_score_trend order by user_id"
        assert con.execute(trend).fetchall() == [("ada", -2, 5, None), ("bob", None, 5, None), ("cyd", -2, 5, None)]


def _publish(session, settings: Settings) -> None:
    publish(
        session,
        contracts=tuple(CONTRACTS.values()),
        features=feature_registry(settings.tags),
        folder=settings.data_dir / "published",
        link=settings.published,
        warehouse=settings.warehouse,
        keep=3,
    )
