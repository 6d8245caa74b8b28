"""Rules as a whole night applies them: daily caps, suppressed users, and where a score's columns come from."""

from pathlib import Path

import pytest

from gesture_assets.nights import night as open_night
from gesture_assets.nights.rules import STEPS
from gesture_assets.settings import load_settings
from gesture_assets_tests.running import failures, published, run_night, warehouse

RULES = """
name = "views"
description = "A hundred page views are worth no more than twenty."
suppress = [{ feature = "unsubscribe_count_30d", reason = "left the mailing list" }]
[bands]
high = 50
[[rules]]
id = "views"
feature = "page_view_count_30d"
scale = "count"
cap = 40
weight = 1.0
group = "engagement"
because = "Pages: {value}."
[[rules]]
id = "careers"
feature = "careers_page_view_count_30d"
scale = "at_least_once"
weight = -0.25
group = "engagement"
because = "Job pages: {value}."
"""


def land(data_dir: Path) -> None:
    folder = data_dir / "landing" / "native"
    folder.mkdir(parents=True)
    lines = ["event_id,user_id,event_type,event_at,dwell_seconds"]
    lines += [f"a{n},ada,page_view,2026-03-09T{n // 5:02d}:{n % 5 * 11:02d}:{n % 7:02d}Z,5" for n in range(100)]
    lines += ["b1,bob,page_view,2026-03-09T10:00:00Z,5", "b2,bob,careers_page_view,2026-03-09T10:01:00Z,5"]
    lines += ["c1,cyd,page_view,2026-03-09T10:00:00Z,5", "c2,cyd,unsubscribe,2026-03-09T10:01:00Z,5"]
    lines += ["d1,dee,page_view,2026-03-09T10:00:00Z,5"]
    (folder / "events.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_caps_negative_rules_and_suppressions_hold_in_the_published_file(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(data_dir)
    (data_dir / "rules").mkdir()
    (data_dir / "rules" / "views.toml").write_text(RULES)
    (data_dir / "suppressed.csv").write_text("user_id,reason\ndee,competitor\n")
    monkeypatch.setenv("GESTURE_RULE_SET", "views")
    result = run_night("2026-03-09")
    assert result.success, failures(result)
    con = published(data_dir)
    scores = con.execute(
        "select user_id, score, points, band, suppression_reason from rule_scores order by 1"
    ).fetchall()
    assert scores == [
        ("ada", 50.0, 50.0, "high", None),
        ("bob", 1.0, -22.5, "low", None),
        ("cyd", None, 2.5, "suppressed", "left the mailing list"),
        ("dee", None, 2.5, "suppressed", "competitor"),
    ]
    counted = "select value, counted, scaled from rule_contributions where user_id = 'ada' and rule_id = 'views'"
    assert con.execute(counted).fetchall() == [(100, 20, 0.5)]
    assert con.execute("select page_view_count_30d from user_features where user_id = 'ada'").fetchall() == [(100,)]
    assert con.execute("select user_id from top_users order by rank").fetchall() == [("ada",), ("bob",)]
    con.close()
    (step,) = [step for step in STEPS if step.name == "rule_scores"]
    made_of = set(step.column_sources(load_settings())["rule_scores"]["score"])
    assert made_of == {
        ("user_features", "page_view_count_30d"),
        ("daily_activity", "page_view_count"),
        ("daily_activity", "activity_date"),
        ("user_features", "careers_page_view_count_30d"),
        ("user_features", "unsubscribe_count_30d"),
        ("user_features", "user_id"),
        ("user_features", "mailchimp_id"),
    }
    (data_dir / "rules" / "views.toml").write_text(RULES.replace("cap = 40", "cap = 50"))
    assert run_night("2026-03-09", select="rule_scores").success
    assert run_night("2026-03-09", select="rule_scores").success
    con = warehouse(data_dir)
    versions = [
        row[0]
        for row in con.execute(
            "select version from gate_ledger where table_name = 'rule_scores' order by attempt"
        ).fetchall()
    ]
    noted = con.execute("select action, object, first_date::varchar, run_id is not null from audit_log").fetchall()
    assert noted == [("new rule set", f"views {versions[1]} after {versions[0]}", "2026-03-09", True)]
    con.close()
    assert result.results["rule_scores"].notes["suppressed"] == "2 (competitor: 1; left the mailing list: 1)"


@pytest.mark.slow
def test_a_range_in_chunks_counts_whom_it_suppressed_over_all_its_days(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_night, "CELLS_AT_ONCE", 1)
    land(data_dir)
    later = "event_id,user_id,event_type,event_at,dwell_seconds\nd2,dee,page_view,2026-03-10T10:00:00Z,5\n"
    (data_dir / "landing" / "native" / "later.csv").write_text(later)
    (data_dir / "rules").mkdir()
    (data_dir / "rules" / "views.toml").write_text(RULES)
    (data_dir / "suppressed.csv").write_text("user_id,reason\ndee,competitor\n")
    monkeypatch.setenv("GESTURE_RULE_SET", "views")
    result = run_night("2026-03-09", "2026-03-10", select="+rule_scores")
    assert result.success, failures(result)
    assert result.results["rule_scores"].notes["suppressed"] == "4 (competitor: 2; left the mailing list: 2)"


@pytest.mark.slow
def test_edited_rules_that_turn_people_over_are_held_until_somebody_lets_them_score(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from gesture_assets.cli import app

    land(data_dir)
    rules = data_dir / "rules" / "views.toml"
    rules.parent.mkdir()
    rules.write_text(RULES)
    monkeypatch.setenv("GESTURE_RULE_SET", "views")
    first = run_night("2026-03-09")
    assert first.success, failures(first)
    early = CliRunner().invoke(app, ["rules", "approve", "views", "--reason", "they are as they were"])
    assert (early.exit_code, "was not held" in early.output) == (0, True), early.output
    # Nothing lands on the tenth: what is compared with is the day that was scored last.
    later = "event_id,user_id,event_type,event_at,dwell_seconds\nd2,dee,page_view,2026-03-11T10:00:00Z,5\n"
    (data_dir / "landing" / "native" / "later.csv").write_text(later)
    rules.write_text(RULES.replace("high = 50", "high = 1"))
    held = run_night("2026-03-11", select="+top_users")
    assert not held.success
    assert "new_rules_leave_most_people_where_they_were" in failures(held)
    assert "gesture rules approve --reason" in failures(held)
    done = CliRunner().invoke(app, ["rules", "approve", "--reason", "everybody is worth a call"])
    assert done.exit_code == 0, done.output
    assert ("may score" in done.output, "was not held" in done.output) == (True, False)
    let_in = run_night("2026-03-11", select="+top_users")
    assert let_in.success, failures(let_in)
    con = warehouse(data_dir)
    bands = con.execute("select distinct band from rule_scores where as_of_date = '2026-03-11' and score is not null")
    assert bands.fetchall() == [("high",)]
    con.close()
