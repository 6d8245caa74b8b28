"""`analytics.scores_as_of`: what was said about a day at a moment, before and after it was restated."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

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
