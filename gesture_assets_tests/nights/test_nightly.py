"""Whole nights on small worlds."""

import shutil
from pathlib import Path

import pytest

from gesture_assets_tests.running import failures, published, run_night


def test_a_night_publishes_scores_of_its_day(data_dir: Path) -> None:
    landing = data_dir / "landing" / "native"
    landing.mkdir(parents=True)
    (landing / "events.csv").write_text(
        "event_id,user_id,event_type,event_at\n"
        "e1,ada,page_view,2026-03-09T10:00:00Z\n"
        "e2,ada,demo_request_click,2026-03-09T10:05:00Z\n"
        "e3,bob,page_view,2026-03-09T23:50:00Z\n"
    )
    result = run_night("2026-03-09")
    assert result.success, failures(result)
    con = published(data_dir)
    rows = con.execute("select user_id, band from rule_scores order by score desc, user_id").fetchall()
    assert [user for user, _ in rows] == ["ada", "bob"]
    con.close()


@pytest.mark.slow
def test_a_failed_night_leaves_the_published_file_alone(data_dir: Path) -> None:
    landing = data_dir / "landing" / "native"
    landing.mkdir(parents=True)
    good = "event_id,user_id,event_type,event_at\ne1,ada,page_view,2026-03-08T10:00:00Z\n"
    (landing / "a.csv").write_text(good)
    assert run_night("2026-03-08").success
    before = (data_dir / "gesture.duckdb").resolve()
    (landing / "b.csv").write_text(
        "event_id,user_id,event_type,event_at\ne2,ada,page_view,2026-03-09T10:00:00Z\ne3,,page_view,2026-03-09T10:00:00Z\n"
    )
    result = run_night("2026-03-09")
    assert not result.success
    assert "at_most_5_percent_of_rows_are_quarantined" in failures(result)
    assert (data_dir / "gesture.duckdb").resolve() == before
    again = run_night("2026-03-09", select="user_features")
    assert "GateClosed" in failures(again)
    shutil.rmtree(data_dir / "published")
