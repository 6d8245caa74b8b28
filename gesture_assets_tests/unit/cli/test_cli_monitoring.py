"""`gesture alerts` and `gesture why-changed` on a small demo world: what they print, and what they refuse."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from gesture_assets.cli.console import run_info
from gesture_assets.monitoring.alerts import Alert, changes
from gesture_assets.monitoring.score_changes import PARTS
from gesture_assets.records import alert_log
from gesture_assets.records.opening import RECORDS
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.running import published
from gesture_assets_tests.unit.cli.commands import LAST, called, has_four_parts

FIRST = "2026-03-06"
NIGHT = date.fromisoformat(LAST)
DRIFT = Alert("drift/number/visits", Severity.WARN, "scoring", "Visits: PSI 0.31.", "drift_reports", "look at releases")
GONE = replace(DRIFT, key="model/unavailable", severity=Severity.ERROR, what="The champion cannot score.")
OVER = replace(DRIFT, key="events/all/type/signup")


@pytest.fixture
def alarmed(tmp_path: Path) -> Path:
    """A warehouse whose last night raised two alerts and resolved a third."""
    with Warehouse(tmp_path / "warehouse.duckdb", 10, create=RECORDS).open(run_info("a test", NIGHT)) as session:
        for ago, sounded in ((1, [OVER, DRIFT]), (0, [DRIFT, GONE])):
            known = alert_log.incidents(session.connection)
            news = changes(known, sounded, NIGHT - timedelta(days=ago), is_backfill=False)
            alert_log.append(session.connection, news, now=datetime(2026, 3, 10, 2))
    return tmp_path


def open_alerts(data_dir: Path, *options: str) -> list[dict]:
    return json.loads(called(data_dir, "alerts", "list", "--json", *options).out)


def test_open_alerts_are_listed_with_errors_first(alarmed: Path) -> None:
    done = called(alarmed, "alerts", "list")
    header, *rows = done.table
    assert (done.code, header) == (0, ["severity", "alert", "since", "nights", "known to", "what", "next"])
    assert rows == [
        ["ERROR", GONE.key, LAST, "1", "", GONE.what, GONE.runbook],
        ["WARN", DRIFT.key, "2026-03-08", "2", "", DRIFT.what, DRIFT.runbook],
    ]
    assert "gesture alerts ack KEY" in done.out


def test_resolved_alerts_are_listed_when_asked_for(alarmed: Path) -> None:
    assert [(alert["alert"], alert["resolved"]) for alert in open_alerts(alarmed, "--all")] == [
        (GONE.key, ""),
        (DRIFT.key, ""),
        (OVER.key, LAST),
    ]
    assert ["WARN", OVER.key, "2026-03-08", "1", LAST] == called(alarmed, "alerts", "list", "--all").table[-1][:5]


def test_an_acknowledged_alert_says_who_knows_of_it_and_what(alarmed: Path) -> None:
    done = called(alarmed, "alerts", "ack", DRIFT.key, "--note", "a campaign in France [spring]")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("a campaign in France [spring]\n")
    known = {alert["alert"]: (bool(alert["known to"]), alert["note"]) for alert in open_alerts(alarmed)}
    assert known == {GONE.key: (False, ""), DRIFT.key: (True, "a campaign in France [spring]")}


@pytest.mark.parametrize(
    ("words", "message"),
    [((OVER.key, "--note", "why"), "model/unavailable"), ((DRIFT.key, "--note", " "), "what is known of it")],
    ids=["resolved", "without a note"],
)
def test_only_an_open_alert_can_be_acknowledged_and_with_a_note_only(
    alarmed: Path, words: tuple[str, ...], message: str
) -> None:
    done = called(alarmed, "alerts", "ack", *words)
    assert (done.code, has_four_parts(done.err), message in done.err) == (2, True, True)
    assert not any(alert["known to"] for alert in open_alerts(alarmed))


def test_no_alert_is_said_in_words_and_as_json(tmp_path: Path) -> None:
    assert called(tmp_path, "alerts", "list").out == "No alert is open.\n"
    assert called(tmp_path, "alerts", "list", "--all").out == "There was no alert yet.\n"
    assert open_alerts(tmp_path) == []


# ---- why scores moved ----------------------------------------------------------------------------------------------


def mover(world: Path, *, like: str = "u%") -> str:
    """Whose score moved most between the two days."""
    movers = (
        published(world)
        .execute(
            "select a.user_id from rule_scores a join rule_scores b using (user_id) where a.as_of_date = ? "
            "and b.as_of_date = ? and user_id like ? order by abs(a.score - b.score) desc, user_id",
            [FIRST, LAST, like],
        )
        .fetchone()
    )
    assert movers
    return movers[0]


@pytest.mark.slow
def test_the_parts_sum_to_the_change_of_the_score_and_of_each_rule(world: Path) -> None:
    user = mover(world)
    done = called(world, "why-changed", user, "--from", FIRST, "--to", LAST, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    scores = dict(
        published(world)
        .execute("select as_of_date::varchar, score from rule_scores where user_id = ?", [user])
        .fetchall()
    )
    rules = answer["rules"]
    assert (rules["before"], rules["after"]) == (scores[FIRST], scores[LAST])
    assert abs(rules["change"]) > 1
    assert rules["new_behaviour"] != 0
    for row in (rules, *answer["by_rule"]):
        assert sum(row[part] for part in PARTS) == pytest.approx(row["after"] - row["before"], abs=1e-6)
    assert sum(row["after"] for row in answer["by_rule"]) == pytest.approx(scores[LAST], abs=1e-6)
    assert "model" not in answer


@pytest.mark.slow
def test_the_rules_that_moved_most_are_named_for_each_part(world: Path) -> None:
    user = mover(world)
    table = called(world, "why-changed", user, "--from", FIRST).table
    assert table[0] == ["part", "rules"]
    assert [line[0] for line in table[1:10]] == [
        "before",
        "after",
        "change",
        *(part.replace("_", " ") for part in PARTS),
        "unexplained",
    ]
    named = table[table.index(["part", "rule", "points", "before", "after"]) + 1 :]
    moved = {line[0]: float(line[1]) for line in table[4:10]}
    assert {line[0] for line in named} == {part for part, points in moved.items() if points}
    for part in {line[0] for line in named}:
        sizes = [abs(float(line[2])) for line in named if line[0] == part]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) <= 3


@pytest.mark.slow
def test_a_subscriber_without_events_is_explained_too(world: Path) -> None:
    user = mover(world, like="subscriber:%")
    answer = json.loads(called(world, "why-changed", user, "--from", FIRST, "--json").out)["rules"]
    assert answer["user_id"] == user
    assert answer["unexplained"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nobody",), 2, "'nobody' is not known"),
        (("u000001", "--from", LAST, "--to", LAST), 2, f"a day before {LAST}"),
        (("u000001", "--from", "2020-01-01"), 1, "There are no scores for 2020-01-01"),
    ],
)
@pytest.mark.slow
def test_users_and_days_without_scores_are_refused(
    world: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = called(world, "why-changed", *words)
    assert (done.code, has_four_parts(done.err), message in done.err) == (code, True, True)


@pytest.mark.slow
def test_without_days_the_newest_is_held_against_the_day_before_and_asking_changes_nothing(own_world: Path) -> None:
    before = (own_world / "warehouse.duckdb").read_bytes()
    answer = json.loads(called(own_world, "why-changed", mover(own_world), "--json").out)
    assert (answer["from"], answer["to"]) == ("2026-03-08", LAST)
    assert called(own_world, "alerts", "list").code == 0
    assert (own_world / "warehouse.duckdb").read_bytes() == before


@pytest.mark.slow
def test_without_a_user_the_greatest_moves_of_the_day_are_listed(world: Path) -> None:
    with published(world) as con:
        expected = con.execute(
            "select user_id, round(score_change, 2) from analytics.score_history where as_of_date = ? "
            "and score_change <> 0 and previous_score is not null order by abs(score_change) desc, user_id limit 4",
            [LAST],
        ).fetchall()
    done = called(world, "why-changed", "-n", "4")
    header, *rows = done.table
    assert header == ["user_id", "before", "after", "change", "band_before", "band_after"]
    assert [row[0] for row in rows] == [user for user, _ in expected]
    assert [float(row[3]) for row in rows] == pytest.approx([change for _, change in expected], abs=0.006)
    assert f"gesture why-changed USER --from 2026-03-08 --to {LAST}" in done.out
    moves = json.loads(called(world, "why-changed", "-n", "4", "--json").out)["moves"]
    assert [move["user_id"] for move in moves] == [user for user, _ in expected]


# ---- the page of a night -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_night_leaves_its_page_and_the_command_writes_the_same(world: Path, tmp_path: Path) -> None:
    done = called(world, "report", "night", "--out", str(tmp_path / "night.html"))
    assert done.code == 0, done.err
    page = (world / "reports" / f"night-{LAST}.html").read_text(encoding="utf-8")
    assert (tmp_path / "night.html").read_text(encoding="utf-8") == page
    assert f"<h1>Night of {LAST}</h1>" in page


@pytest.mark.slow
def test_a_page_is_written_below_the_data_folder_wherever_somebody_stands(
    own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (own_world / "reports" / f"night-{LAST}.html").unlink()
    done = called(own_world, "report", "night")
    assert done.code == 0, done.err
    assert (own_world / "reports" / f"night-{LAST}.html").exists()
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_a_page_about_a_day_without_scores_is_refused(world: Path, tmp_path: Path) -> None:
    done = called(world, "report", "night", "--date", "2020-01-01", "--out", str(tmp_path / "night.html"))
    assert (done.code, has_four_parts(done.err)) == (1, True)
