"""A whole night on a world of three events: what it publishes, and what one that fails leaves alone."""

from pathlib import Path

import pytest

from gesture_assets_tests.running import failures, published, run_night


@pytest.mark.slow
def test_a_night_publishes_scores_of_its_day_and_one_that_fails_leaves_the_file_alone(data_dir: Path) -> None:
    landing = data_dir / "landing" / "native"
    landing.mkdir(parents=True)
    (landing / "a.csv").write_text(
        "event_id,user_id,event_type,event_at\n"
        "e1,ada,page_view,2026-03-08T10:00:00Z\n"
        "e2,ada,demo_request_click,2026-03-08T10:05:00Z\n"
        "e3,bob,page_view,2026-03-08T23:50:00Z\n"
    )
    result = run_night("2026-03-08")
    assert result.success, failures(result)
    # Tables of a source that is not configured are noted as absent, and what is made of nothing else.
    absent = {step for step, done in result.results.items() if "absent" in done.notes}
    of_videos = {"ping_points", "ping_engagement", "ping_recommendations", "recommendation_evaluation"}
    assert absent == {"crm_subscribers", "who_buys", "landed_pings"} | of_videos
    con = published(data_dir)
    rows = con.execute("select user_id, band from rule_scores order by score desc, user_id").fetchall()
    assert [user for user, _ in rows] == ["ada", "bob"]
    con.close()
    before = (data_dir / "gesture.duckdb").resolve()
    (landing / "b.csv").write_text(
        "event_id,user_id,event_type,event_at\n"
        "e4,ada,page_view,2026-03-09T10:00:00Z\n"
        "e5,,page_view,2026-03-09T10:00:00Z\n"
        "e6,,page_view,2026-03-09T10:00:00Z\n"
    )
    result = run_night("2026-03-09")
    assert list(result.failures) == ["landed_events"]
    assert "at_most_5_percent_of_rows_are_quarantined" in failures(result)
    assert "published_warehouse" in result.closed
    assert (data_dir / "gesture.duckdb").resolve() == before
    again = run_night("2026-03-09", select="user_features")
    assert "GateClosed" in failures(again)
