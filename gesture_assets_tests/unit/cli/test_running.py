"""Commands that run something, on copies of a small demo world: what is live and published afterwards, exit codes.

The world's first run and a night that fails are processes of their own, as users start them; the others run in this
one, which imports nothing anew.
"""

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.cli.console import CONTROL, run_info, say_remarks
from gesture_assets.monitoring.alerts import NIGHT_FAILED, Alert, changes
from gesture_assets.publication.order import snapshot_of
from gesture_assets.records import alert_log
from gesture_assets.records.opening import RECORDS
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.run_queue import RunQueue
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.ping_landing import land, land_videos, land_watched
from gesture_assets_tests.unit.cli.commands import LAST, ROOT, Done, called, has_four_parts, logged, started

pytestmark = pytest.mark.slow  # each runs nights, or needs the world that one has left

Scores = Callable[[str], list[tuple]]


def test_demo_data_says_what_it_wrote_and_what_comes_next(first_run: tuple[Path, Done, Done]) -> None:
    folder, wrote, _ = first_run
    assert wrote.code == 0, wrote.err
    assert "Next:  gesture run" in wrote.out
    assert len(list((folder / "landing" / "native").glob("events-*.parquet"))) == 5
    assert (folder / "crm_database.sqlite").exists()


def test_demo_data_if_empty_leaves_a_landed_world_alone(own_world: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in own_world.rglob("*") if path.is_file()}
    done = called(own_world, "demo-data", "--if-empty")
    assert (done.code, "no demo world is written" in done.out) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in own_world.rglob("*") if path.is_file()} == before


def test_the_first_run_publishes_every_day_and_says_where_to_look(
    first_run: tuple[Path, Done, Done], scores: Scores
) -> None:
    _, _, ran = first_run
    assert ran.code == 0, ran.out + ran.err
    assert "nightly for 2026-03-05 to 2026-03-09" in ran.out
    assert "gesture rank --n 20" in ran.out
    assert scores("select count(distinct as_of_date), max(as_of_date)::varchar from rule_scores") == [(5, LAST)]


def test_a_run_ends_with_one_screen_of_80_columns(
    own_world: Path, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    done = called(own_world, "run", "--date", LAST, "--rebuild")
    assert done.code == 0, done.err
    screen = CONTROL.sub("", done.out[done.out.rindex("Published ") :]).splitlines()
    assert sum(1 + max(len(line) - 1, 0) // 80 for line in screen) <= 40
    first = scores("select user_id, explanation from analytics.current_top_users order by rank limit 3")
    places = [next(place for place, line in enumerate(screen) if user in line) for user, _ in first]
    assert places == sorted(places)
    assert all(explanation in "\n".join(screen) for _, explanation in first)
    assert any("Users by the rules' band: " in line for line in screen)
    late = next(line for line in screen if "LATE: " in line)  # the world's last day is long past
    assert f"the newest published day is {LAST}" in late
    assert [line.strip().split("  ")[0] for line in screen[screen.index("Next:") + 1 :]] == [
        "gesture rank --n 20",
        f"gesture explain {first[0][0]}",
        "gesture recs --user u000000",
        "gesture gates",
        "gesture tables",
        "gesture dev",
        str(own_world / "gesture.duckdb"),
    ]


def test_the_table_of_tables_has_a_command_of_its_own(own_world: Path, scores: Scores) -> None:
    done = called(own_world, "tables")
    assert done.code == 0, done.err
    assert "snapshot " in done.out.splitlines()[0]
    assert [(row[0], int(row[3].replace(",", ""))) for row in done.table[1:]] == scores(
        "select table_name, row_count from manifest order by table_name"
    )


def test_a_second_run_has_nothing_to_do(own_world: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    done = called(own_world, "run")
    assert done.code == 0, done.err
    assert "Nothing to do." in done.out
    assert "nightly for" not in done.out
    assert "Published" not in done.out
    assert f"Readers have {own_world / 'gesture.duckdb'}" in done.out
    assert (own_world / "gesture.duckdb").resolve() == before


def test_a_selection_of_nothing_known_is_code_2_with_the_names_that_are(own_world: Path) -> None:
    done = called(own_world, "run", "--date", LAST, "--select", "user_feature")
    assert done.code == 2
    assert has_four_parts(done.err)
    assert "user_features" in done.err
    assert "Traceback" not in done.err


def test_what_follows_a_table_is_all_that_follows_it_and_no_training(own_world: Path) -> None:
    done = called(own_world, "run", "--date", LAST, "--select", "user_features+", "--rebuild")
    assert done.code == 0, done.err
    staged = {line.partition(":")[0] for line in (done.out + done.err).splitlines() if ": staged " in line}
    assert staged >= {"user_features", "rule_scores", "intent_scores", "top_users", "alerts"}
    assert not staged & {"training_set", "candidate_model", "score_changes"}
    for selected, advice in (
        ("training_set+", "gesture train --date 2026-05-02, when that day is live  (the history begins on 2026-03-05)"),
        ("score_changes", "gesture why-changed"),
    ):
        refused = called(own_world, "run", "--date", LAST, "--select", selected)
        assert refused.code == 2
        assert f"next: {advice}\n" in refused.err


@pytest.mark.parametrize("select", ["rule_score", "rule_scores or rule_set", 'key:"rule_scores" or key:"rule_set"'])
def test_each_name_of_a_selection_is_known_or_refused_with_those_like_it(own_world: Path, select: str) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    done = called(own_world, "run", "--select", select)
    assert (done.code, has_four_parts(done.err), (own_world / "gesture.duckdb").resolve()) == (2, True, before)
    near = next(line for line in done.err.splitlines() if "expected: " in line)
    assert "rule_sets" in near
    assert "crm_snapshot" not in near
    assert "Published" not in done.out + done.err


@pytest.mark.parametrize("day", ["2020-01-01", "2031-01-01"])
def test_a_day_outside_the_demo_world_is_not_poisoned(own_world: Path, day: str) -> None:
    before = sorted((own_world / "landing").rglob("*"))
    done = called(own_world, "demo-data", "--poison", day)
    assert (done.code, has_four_parts(done.err)) == (2, True)
    assert f"2026-03-05 to {LAST}" in done.err
    assert sorted((own_world / "landing").rglob("*")) == before


@pytest.mark.parametrize(
    "options", [("--restate",), ("--force", "--reason", " "), ("--reason", "why"), ("--restate-crm", "--force")]
)
def test_an_exception_needs_a_reason_and_a_reason_an_exception(own_world: Path, options: tuple[str, ...]) -> None:
    done = called(own_world, "run", "--date", LAST, *options)
    assert done.code == 2
    assert has_four_parts(done.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--date", "2019-01-01"),
        ("--date", "2999-01-01"),
        ("--from", "2026-03-09", "--to", "2026-03-05"),
        ("--date", LAST, "--from", "2026-03-05"),
        ("--to", LAST),
        ("--rebuild",),
    ],
)
def test_days_that_cannot_be_run_are_code_2(world: Path, arguments: tuple[str, ...]) -> None:
    done = called(world, "run", *arguments)
    assert done.code == 2
    assert has_four_parts(done.err)
    assert "nightly for" not in done.out


@pytest.mark.parametrize("days", [("--date", "2025-12-12"), ("--from", "2025-12-12", "--to", "2026-03-04")])
def test_days_of_which_nothing_landed_are_refused_without_an_alert(own_world: Path, days: tuple[str, ...]) -> None:
    before = logged(own_world)
    for exception in ((), ("--force", "--reason", "why")):
        refused = called(own_world, "run", *days, *exception, GESTURE_PARTITIONS_START="2025-01-01")
        assert (refused.code, has_four_parts(refused.err)) == (2, True)
        assert f"a day on which something landed, from 2026-03-05 to {LAST}" in refused.err
        assert "nightly for" not in refused.out
    assert logged(own_world) == before
    assert called(own_world, "alerts", "list").out == "No alert is open.\n"


def test_a_range_with_a_landed_day_runs_from_it_on(own_world: Path) -> None:
    done = called(own_world, "run", "--from", "2026-03-01", "--to", "2026-03-05")
    assert (done.code, "nightly for 2026-03-05\n" in done.out) == (0, True), done.err


def test_the_screen_after_a_run_tells_every_open_alert_that_the_list_has(own_world: Path) -> None:
    failed = called(own_world, "run", "--date", LAST, "--select", "rule_scores", GESTURE_RULE_SET="nosuch")
    assert failed.code, failed.out
    alert = Alert(f"{NIGHT_FAILED}rule_scores/2026-03-06", Severity.ERROR, "scoring", "It failed.", "x", "mend it")
    night = date.fromisoformat(LAST)
    with Warehouse(own_world / "warehouse.duckdb", 10, create=RECORDS).open(run_info("a test", night)) as session:
        news = changes([], [alert], night, is_backfill=False)
        alert_log.append(session.connection, news, now=datetime(2026, 3, 10, 2), run_id="a run")
    listed = [row[:3] for row in called(own_world, "alerts", "list").table[1:]]
    assert ["ERROR", alert.key, "2026-03-06"] in listed
    for looking in (("rank",), ("explain",), ("gates",)):
        assert "It failed. Why:  gesture alerts list" in called(own_world, *looking).err
    done = called(own_world, "run")
    assert "Nothing to do." in done.out
    assert "no alert is open" not in done.out
    assert [line.split()[:2] for line in done.out.splitlines() if line.startswith("  ERROR ")] == [
        ["ERROR", f"{key}:"] for _, key, _ in listed
    ]


def test_a_file_that_lands_late_restates_its_day_for_a_reason_and_a_rollback_goes_back(own_world: Path) -> None:
    (own_world / "landing" / "native" / "more.csv").write_text(
        f"event_id,user_id,event_type,event_at,received_at\nm1,newcomer,signup,{LAST}T20:00:00Z,{LAST}T20:00:00Z\n"
    )
    before = (own_world / "gesture.duckdb").resolve()
    left = called(own_world, "run")
    assert (left.code, (own_world / "gesture.duckdb").resolve()) == (0, before)
    assert f"Files landed late for {LAST}" in left.out
    refused = called(own_world, "run", "--date", LAST)
    assert refused.code == 1
    assert has_four_parts(refused.err)
    assert f"raw_events@{LAST}: 1 added" in refused.err
    done = called(own_world, "run", "--date", LAST, "--restate", "--reason", "the evening's file came late")
    assert done.code == 0, done.out + done.err
    assert [line for line in done.out.splitlines() if line.startswith("nightly for")] == [f"nightly for {LAST}"]
    assert called(own_world, "explain", "--user-id", "newcomer").code == 0
    assert (own_world / "gesture.duckdb").resolve() != before
    back = called(own_world, "publish", "rollback")
    assert back.code == 0, back.err
    assert snapshot_of(before) in back.out
    assert (own_world / "gesture.duckdb").resolve() == before
    assert called(own_world, "explain", "--user-id", "newcomer").code == 2
    again = called(own_world, "publish", "rollback")
    assert again.code == 1
    assert has_four_parts(again.err)
    assert logged(own_world) == [
        ("run", "*", None),
        ("run", "*", None),
        ("restate", "*", "the evening's file came late"),
        ("roll back", snapshot_of(before), None),
    ]


def test_what_was_rolled_back_is_published_again_by_nobody_but_who_asks_for_it(own_world: Path) -> None:
    link = own_world / "gesture.duckdb"
    first = link.resolve()
    assert called(own_world, "publish").code == 0
    second = link.resolve()
    assert called(own_world, "publish", "rollback").code == 0
    with duckdb.connect(str(first)) as con:  # as if the second file had brought the last day
        con.execute(f"delete from gate_ledger where partition = '{LAST}'")
    for command in (("run",), ("catchup",)):
        left = called(own_world, *command)
        assert link.resolve() == first
        assert f"{snapshot_of(second)} was rolled back. Nothing is published until  gesture publish" in left.out
    refused = called(own_world, "run", "--date", LAST, "--rebuild")
    assert (refused.code, link.resolve()) == (1, first)
    assert "GateClosed: The published file was not changed: it was rolled back." in refused.err
    assert "next: mend what was wrong, then  gesture publish" in refused.err
    assert "was rolled back" in called(own_world, "rank").err
    assert called(own_world, "publish").code == 0
    assert link.resolve() not in (first, second)
    assert "rolled back" not in called(own_world, "rank").err


def test_publishing_an_older_state_needs_a_reason(own_world: Path) -> None:
    backup = own_world / "backup.duckdb"
    shutil.copyfile(own_world / "warehouse.duckdb", backup)
    assert called(own_world, "run", "--date", LAST, "--rebuild").code == 0
    newest = (own_world / "gesture.duckdb").resolve()
    with duckdb.connect(str(newest)) as con:  # of a moment after the copy was made
        con.execute("update gate_ledger set recorded_at = recorded_at + interval 1 hour where attempt = 2")
    backup.replace(own_world / "warehouse.duckdb")
    refused = called(own_world, "publish")
    assert (refused.code, (own_world / "gesture.duckdb").resolve()) == (1, newest)
    assert f"found: readers have a newer one of {LAST}" in refused.err
    assert "The published file is unchanged." in refused.err
    assert called(own_world, "publish", "--force").code == 2
    done = called(own_world, "publish", "--force", "--reason", "the copy is right")
    assert done.code == 0, done.out + done.err
    assert (own_world / "gesture.duckdb").resolve() != newest
    assert logged(own_world)[-1] == ("publish", "published_warehouse", "the copy is right")


def test_catching_up_runs_missed_nights_and_late_files_for_a_reason_only(own_world: Path) -> None:
    header = "event_id,user_id,event_type,event_at,received_at\n"
    after = [str(date.fromisoformat(LAST) + timedelta(days=n)) for n in (1, 2, 3)]
    for day in (after[0], after[2]):
        source = duckdb.connect()
        source.execute(
            f"""copy (select event_id || '-{day}' as event_id, user_id, event_type,
            event_at::timestamp + (date '{day}' - date '{LAST}') * interval 1 day as event_at,
            received_at::timestamp + (date '{day}' - date '{LAST}') * interval 1 day as received_at
            from '{own_world}/landing/native/events-{LAST}.parquet' where try_cast(event_at as timestamp) is not null)
            to '{own_world}/landing/native/events-{day}.csv' (header)"""
        )
        source.close()
    late = own_world / "landing" / "native" / "late.csv"
    late.write_text(f"{header}late,newcomer,signup,{LAST}T20:00:00Z,{LAST}T20:00:00Z\n")
    watched = "2026-03-07"  # of short videos another file lands
    rows = f"user_id,ping_id,event_type,event_timestamp\nu000001,p0001,view,{watched} 20:00:00\n"
    (own_world / "landing" / "ping_interactions" / "late.csv").write_text(rows)
    looked = called(own_world, "catchup", "--dry-run")
    assert looked.code == 1
    listed = {row[0]: row[1] for row in looked.table[1:]}
    assert [listed[day] for day in (watched, LAST, *after)] == [
        "files landed late",
        "files landed late",
        "missed night",
        "nothing landed",
        "missed night",
    ]
    ran = called(own_world, "catchup")
    assert ran.code == 1, ran.out + ran.err  # the late file is left over
    assert 'gesture catchup --restate --reason "why"' in ran.out
    again = {row[0]: row[1] for row in called(own_world, "catchup", "--dry-run").table[1:]}
    assert again.get(LAST) == "files landed late"
    assert "missed night" not in again.values()
    why = "the evening's file came late"
    restated = called(own_world, "catchup", "--restate", "--reason", why)
    assert restated.code == 0, restated.out + restated.err
    assert logged(own_world)[1:] == [("run", "*", None), ("restate", "*", why)]
    con = duckdb.connect(str((own_world / "gesture.duckdb").resolve()), read_only=True)
    of_late = "select as_of_date::varchar, ping_id from ping_interactions where landing_file like '%/late.csv'"
    assert con.execute(of_late).fetchall() == [(watched, "p0001")]
    assert con.execute("select count(distinct as_of_date) from rule_scores where user_id = 'newcomer'").fetchone() == (
        3,
    )
    assert con.execute("select distinct reason from restatements").fetchall() == [(why,)]
    con.close()


def reconciled(data_dir: Path) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Day and file -> rows landed, live, duplicate and quarantined, counted in the tables and seen to add up."""
    con = duckdb.connect(str((data_dir / "gesture.duckdb").resolve()), read_only=True)
    rows = con.execute(
        """with live as (select as_of_date, landing_file, count(*) as n from raw_events group by all),
            aside as (select as_of_date, landing_file, count(*) as n from quarantined_events group by all)
        select as_of_date::varchar, landing_file, landed_count, coalesce(live.n, 0), duplicate_count,
            coalesce(aside.n, 0)
        from landing_reconciliation full join live using (as_of_date, landing_file)
            full join aside using (as_of_date, landing_file) order by all"""
    ).fetchall()
    con.close()
    assert all(landed == live + twice + aside for _, _, landed, live, twice, aside in rows)
    assert len({row[:2] for row in rows}) == len(rows)
    return {row[:2]: row[2:] for row in rows}


def test_a_mended_description_lets_quarantined_rows_in_and_everything_still_adds_up(own_world: Path) -> None:
    lines = [
        f"r{n},newcomer,{kind},{LAST}T2{n}:00:00Z,{LAST}T2{n}:00:00Z" for n, kind in enumerate(("sgnup", "nonsense"))
    ]
    folder = own_world / "landing" / "crm_export"
    folder.mkdir()
    (folder / "more.csv").write_text("\n".join(["event_id,user_id,event_type,event_at,received_at", *lines]) + "\n")
    described = (ROOT / "gesture_assets" / "sources" / "descriptions" / "native.toml").read_text()
    (own_world / "sources").mkdir()
    mended = own_world / "sources" / "crm_export.toml"
    mended.write_text(described)
    ran = called(own_world, "run", "--date", LAST, "--restate", "--reason", "an export was forgotten")
    assert ran.code == 0, ran.out + ran.err
    of_export = ("crm_export/more.csv", "unknown_event_type")
    listed = [row for row in called(own_world, "quarantine", "list").table[1:] if (row[3], row[4]) == of_export]
    assert [(*row[:2], *row[5:]) for row in listed] == [(LAST, "live", "2", "100.0%")]
    shown = called(own_world, "quarantine", "show", "--file", of_export[0], "--reason", of_export[1])
    assert "sgnup" in shown.out
    before = reconciled(own_world)
    early = called(own_world, "quarantine", "replay", "--reason", "nothing was mended yet")
    assert early.code == 1
    assert has_four_parts(early.err)
    names = "\n".join(f'{name} = "{name}"' for name in EVENT_TYPE_NAMES)
    mended.write_text(f'{described}\n[event_types]\n{names}\nsgnup = "signup"\n')
    dry = called(own_world, "quarantine", "replay", "--dry-run")
    assert [row[3:] for row in dry.table[1:] if row[1] == of_export[0]] == [["1", "1"]]
    why = "the CRM misspells sign-ups"
    done = called(own_world, "quarantine", "replay", "--reason", why)
    assert done.code == 0, done.out + done.err
    con = duckdb.connect(str((own_world / "gesture.duckdb").resolve()), read_only=True)
    of_file = "where landing_file = ? order by all"
    events = con.execute(f"select event_type, event_id from raw_events {of_file}", [of_export[0]])
    assert events.fetchall() == [("signup", "r0")]
    left = con.execute(f"select reason from quarantined_events {of_file}", [of_export[0]])
    assert left.fetchall() == [("unknown_event_type",)]
    replayed = con.execute(
        """select landing_file, reason_before, accepted, still_quarantined, quarantine_replays.reason, action
        from quarantine_replays join audit_log using (run_id, who)"""
    )
    assert replayed.fetchall() == [(*of_export, 1, 1, why, "replay")]
    con.close()
    after = reconciled(own_world)
    assert {place: counts[0] for place, counts in after.items()} == {place: n for place, (n, *_) in before.items()}
    assert before[LAST, of_export[0]] == (2, 0, 0, 2)
    assert after[LAST, of_export[0]] == (2, 1, 0, 1)
    assert [action for action, *_ in logged(own_world)] == ["run", "restate", "replay"]


def test_a_day_can_be_run_again_with_the_tables_that_belong_together(own_world: Path) -> None:
    unchanged = called(own_world, "run", "--date", LAST, "--select", "rule_scores")
    assert unchanged.code == 0, unchanged.out + unchanged.err
    assert "rule_scores: nothing has changed, the live rows stay" in unchanged.out
    assert ": staged" not in unchanged.out
    done = called(own_world, "run", "--date", LAST, "--select", "rule_scores", "--rebuild")
    assert done.code == 0, done.out + done.err
    staged = {line.split(":")[0] for line in done.out.splitlines() if ": staged" in line}
    assert staged == {"rule_sets", "rule_scores", "rule_contributions"}


def test_publishing_again_makes_a_new_file_of_the_newest_day(own_world: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    done = called(own_world, "publish")
    assert done.code == 0, done.out + done.err
    assert (own_world / "gesture.duckdb").resolve() != before
    assert before.exists()
    assert logged(own_world) == [("run", "*", None), ("publish", "published_warehouse", None)]
    con = duckdb.connect(str((own_world / "gesture.duckdb").resolve()), read_only=True)
    runs = con.execute("select run_id, command, first_date::varchar from audit_log order by rowid").fetchall()
    published_by = con.execute("select distinct run_id from manifest").fetchall()
    built_by = con.execute("select distinct run_id from gate_ledger").fetchall()
    con.close()
    assert published_by == [(runs[1][0],)]
    assert built_by == [(runs[0][0],)]
    assert runs[1][1:] == ("gesture publish", LAST)


@pytest.mark.parametrize("command", ["run", "catchup"])
def test_a_night_that_was_killed_before_its_publication_is_published_next_time(
    own_world: Path, scores: Scores, command: str
) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    results = (own_world / "validation_results.json").read_bytes()
    (own_world / "validation_results.json").unlink()
    with duckdb.connect(str(before)) as con:  # as it was before the last day was built
        con.execute(f"delete from gate_ledger where partition = '{LAST}'")
    for looking in ("rank", "explain", "gates"):
        said = called(own_world, looking).err
        assert f"Live and not published: {LAST}. Next:  gesture run" in said
    listed = called(own_world, "catchup", "--dry-run")
    assert (listed.code, [LAST, "live, not published"] in [row[:2] for row in listed.table]) == (1, True)

    done = called(own_world, command)
    assert done.code == 0, done.out + done.err
    assert (own_world / "gesture.duckdb").resolve() != before
    assert json.loads((own_world / "validation_results.json").read_text()).keys() == json.loads(results).keys()
    assert "not published" not in called(own_world, "rank").err
    assert "Nothing to do." in called(own_world, "run").out


@pytest.mark.parametrize(("day", "command"), [(LAST, "run"), ("2026-03-08", "catchup")])
def test_a_day_that_was_built_in_part_is_never_published_and_is_finished_next_time(
    own_world: Path, day: str, command: str
) -> None:
    def ask(query: str) -> list[tuple]:
        with duckdb.connect(str((own_world / "gesture.duckdb").resolve()), read_only=True) as con:
            return con.execute(query).fetchall()

    first = f"select user_id from top_users where as_of_date = '{day}' order by rank limit 1"
    ((erased,),) = ask(first)
    (own_world / "suppressed.csv").write_text(f"user_id,reason\n{erased},asked for erasure\n")
    # As a run leaves it that was killed after this table.
    why = ("--restate", "--reason", "erasure")
    begun = called(own_world, "run", "--date", day, "--select", "rule_scores", *why)
    assert begun.code == 0, begun.out + begun.err
    refused = called(own_world, "publish")
    assert (refused.code, has_four_parts(refused.err)) == (1, True)
    assert f"{day} cannot be published: built in part." in refused.err
    for looking in ("rank", "explain", "gates"):
        assert f"Built in part: {day}; a run ended before its last step. Next:  gesture run" in called(
            own_world, looking
        ).err.replace("\n", " ")
    listed = called(own_world, "catchup", "--dry-run")
    assert (listed.code, [day, "built in part"] in [row[:2] for row in listed.table]) == (1, True)

    done = called(own_world, command)
    assert done.code == 0, done.out + done.err
    assert ask(first) != [(erased,)]
    of_erased = f"as_of_date = '{day}' and user_id = '{erased}'"
    assert ask(f"select source, score from intent_scores where {of_erased}") == [("suppressed", None)]
    assert ask("select distinct reason from restatements") == [("erasure",)]
    assert "Built in part" not in called(own_world, "rank").err
    assert "Nothing to do." in called(own_world, "run").out


def test_a_night_that_was_killed_before_its_verdict_is_told_by_every_screen(own_world: Path) -> None:
    """Nothing of it stands in the ledger, and what it found in the landing folder is known."""
    day = str(date.fromisoformat(LAST) + timedelta(days=1))
    header = "event_id,user_id,event_type,event_at,received_at"
    row = f"killed-1,,page_view,{day} 10:00:00,{day} 10:00:01"
    (own_world / "landing" / "native" / "killed.csv").write_text(f"{header}\n{row}\n")
    queue = RunQueue.beside(own_world / "warehouse.duckdb")
    queue.folder.mkdir(exist_ok=True)
    run = {"pid": 1, "what": "gesture run", "days": [day], "first": False}
    (queue.folder / "killed.json").write_text(json.dumps(run))  # which no process holds
    listed = called(own_world, "catchup", "--dry-run")
    assert (listed.code, [day, "cut off"] in [row[:2] for row in listed.table]) == (1, True)
    told = f"Not judged: {day}; it landed, and its night was cut off or has not begun. Next:  gesture run"
    for looking in ("rank", "explain", "gates"):
        assert told in called(own_world, looking).err.replace("\n", " ")
    again = called(own_world, "run", "--date", LAST)
    assert told in " ".join((again.out + again.err).split()).replace("Next: gesture", "Next:  gesture")
    failed = called(own_world, "run")
    assert failed.code == 1
    assert "Not judged" not in called(own_world, "rank").err
    assert f"Not passed: {day}" in " ".join(called(own_world, "rank").err.split())


def test_a_list_that_is_late_says_so_and_one_in_time_does_not(own_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = datetime.fromisoformat(LAST)
    for hours, is_late in ((24 + 5, False), (48 + 5, False), (48 + 7, True)):
        monkeypatch.setattr(
            sys.modules[say_remarks.__module__], "now", lambda hours=hours: last + timedelta(hours=hours)
        )
        said = called(own_world, "rank").err
        assert ("LATE" in said) == is_late
        assert f"the newest published day is {LAST}" in said or not is_late


def test_a_poisoned_night_fails_loudly_and_changes_nothing_that_is_published(own_world: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    content = before.read_bytes()
    planted = called(own_world, "demo-data", "--poison", LAST)
    assert planted.code == 0
    assert f"gesture run --date {LAST}" in planted.out

    failed = started(own_world, "run", "--date", LAST)
    assert failed.code == 1
    assert "at_most_5_percent_of_rows_are_quarantined" in failed.err
    assert "native/events-2026-03-09-poison.csv:" in failed.err
    assert has_four_parts(failed.err)
    assert "The published file is unchanged." in failed.err.replace("\n", " ")
    assert "Traceback" not in failed.err
    assert (own_world / "gesture.duckdb").resolve() == before
    assert before.read_bytes() == content

    assert f"where: {own_world}/warehouse.duckdb, rejected." in failed.err
    alerts = called(own_world, "alerts", "list")
    assert f"night/failed/landed_events/{LAST}" in [row[1] for row in alerts.table]

    closed = called(own_world, "gates", "--date", LAST)
    assert closed.code == 1
    assert "at_most_5_percent_of_rows_are_quarantined" in closed.out

    assert [LAST, "did not pass"] in [row[:2] for row in called(own_world, "catchup", "--dry-run").table]
    for looking in (("rank",), ("explain",), ("gates", "--date", LAST)):
        said = called(own_world, *looking).err
        assert f"Not passed: {LAST}. Why:  gesture gates --date {LAST}" in said

    refused = called(own_world, "run", "--date", LAST, "--select", "user_features")
    assert refused.code == 1
    assert "GateClosed: user_features cannot be built for 2026-03-09." in refused.err
    assert has_four_parts(refused.err)

    forced = called(own_world, "run", "--date", LAST, "--force", "--reason", "nobody can mend the file today")
    assert forced.code == 0, forced.out + forced.err
    assert "raw_events did not pass. By force, what follows is built on what is live of them" in forced.out
    assert "at_most_5_percent_of_rows_are_quarantined" in forced.err
    assert not re.search(r"night/failed|failed \(run", forced.out + forced.err)
    assert (own_world / "gesture.duckdb").resolve() != before
    with duckdb.connect(str((own_world / "gesture.duckdb").resolve()), read_only=True) as con:
        opened = "select override_reason from gate_ledger where verdict = 'OVERRIDE' and table_name = 'raw_events'"
        assert con.execute(opened).fetchall() == [("nobody can mend the file today",)]
        malformed = "select count(*) from raw_events where landing_file like '%poison%'"
        assert con.execute(malformed).fetchall() == [(0,)]
    assert "No alert is open." in called(own_world, "alerts", "list").out
    assert called(own_world, "gates", "--date", LAST).code == 0
    again = called(own_world, "run")  # what somebody decided stays decided until something else lands
    assert (again.code, "Nothing to do." in again.out, "nightly for" in again.out) == (0, True, False)
    assert f"Opened by hand: {LAST}; what was rejected there is in no answer" in called(own_world, "rank").err

    (own_world / "landing" / "native" / f"events-{LAST}-poison.csv").unlink()
    mended = called(own_world, "run", "--date", LAST)
    assert mended.code == 0, mended.out + mended.err
    assert called(own_world, "gates", "--date", LAST).code == 0
    assert not re.search("Not passed|Opened by hand", called(own_world, "rank").err)


def test_a_first_day_that_is_forced_to_nothing_says_that_nobody_has_a_score(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "landing" / "native").mkdir(parents=True)
    header = "event_id,user_id,event_type,event_at\n"
    (folder / "landing" / "native" / "a.csv").write_text(f"{header}a,,page_view,2026-03-01T10:00:00Z\n" * 2)
    assert called(folder, "run").code == 1
    assert "next: a night failed: gesture gates " in called(folder, "rank").err
    forced = called(folder, "run", "--date", "2026-03-01", "--force", "--reason", "let us see")
    assert forced.code == 0, forced.out + forced.err
    assert "nobody has a score yet" in forced.out
    assert "Call first" not in forced.out
    ranked = called(folder, "rank")
    assert (ranked.code, "Nobody has a score yet." in ranked.err) == (1, True)
    assert has_four_parts(ranked.err)


def test_a_bad_day_keeps_back_itself_and_what_follows_but_not_what_came_before(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    landing = folder / "landing" / "native"
    landing.mkdir(parents=True)
    header = "event_id,user_id,event_type,event_at\n"
    # Nothing lands on the 3rd: a quiet day is no gap that stops a range.
    for day in (1, 2, 4, 5):
        user = "" if day == 4 else "ada"
        row = f"e{day},{user},page_view,2026-03-0{day}T10:00:00Z\ng{day},bob,page_view,2026-03-0{day}T11:00:00Z\n"
        row += f"h{day},{user},page_view,2026-03-0{day}T12:00:00Z\n"
        (landing / f"day-{day}.csv").write_text(header + row)
    done = called(folder, "run")
    assert done.code == 1
    assert "at_most_5_percent_of_rows_are_quarantined" in done.err
    assert "2026-03-01 to 2026-03-03 are sound" in done.out
    assert "What was done before that is published." in done.err  # the sound days are, although the run failed
    assert "unchanged" not in done.err
    con = duckdb.connect(str(folder / "gesture.duckdb"), read_only=True)
    days = con.execute("select distinct as_of_date::varchar from rule_scores order by all").fetchall()
    assert [day for (day,) in days] == ["2026-03-01", "2026-03-02"]


def test_a_day_that_is_refused_for_unknown_types_shows_its_rows_and_the_line_that_leaves_them_out(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    landing = folder / "landing" / "native"
    landing.mkdir(parents=True)
    kinds = ("page_view", "search", *("page_ping",) * 3, "unstruct", "")
    rows = [f"e{n},ada,{kind},2026-03-01T1{n}:00:00Z" for n, kind in enumerate(kinds)]
    (landing / "a.csv").write_text("\n".join(["event_id,user_id,event_type,event_at", *rows]) + "\n")
    done = called(folder, "run")
    assert done.code == 1
    assert "unknown types of native: page_ping 3, unstruct 1" in done.err
    line = 'ignore = ["page_ping", "unstruct"]'
    assert f"leave them out at its head:  {line}, then  gesture run --date 2026-03-01" in done.err
    listed = called(folder, "quarantine", "list", "--date", "2026-03-01").table[1:]
    assert listed == [
        ["2026-03-01", "rejected", "native", "native/a.csv", "missing_event_type", "1", "14.3%"],
        ["2026-03-01", "rejected", "native", "native/a.csv", "unknown_event_type", "4", "57.1%"],
    ]
    shown = called(folder, "quarantine", "show").table[1:]
    assert [row[2] for row in shown] == [f"native/a.csv:{line}" for line in range(4, 9)]
    (landing / "a.csv").write_text("\n".join(["event_id,user_id,event_type,event_at", *rows[:-1]]) + "\n")
    (folder / "sources").mkdir()
    described = (ROOT / "gesture_assets" / "sources" / "descriptions" / "native.toml").read_text()
    (folder / "sources" / "native.toml").write_text(f"{line}\n{described}")
    mended = called(folder, "run")
    assert mended.code == 0, mended.out + mended.err
    assert called(folder, "quarantine", "list").table[1:] == []
    con = duckdb.connect(str(folder / "gesture.duckdb"), read_only=True)
    counted = con.execute(
        "select landed_count, accepted_count, quarantined_count, ignored_count, ignored_types "
        "from landing_reconciliation"
    ).fetchall()
    con.close()
    assert counted == [(6, 2, 0, 4, "page_ping 3, unstruct 1")]


def test_a_night_is_whole_without_the_steps_of_what_never_landed_and_takes_them_in_when_it_does(
    tmp_path: Path,
) -> None:
    folder, day = tmp_path / "data", "2026-03-01"
    events = [f"e{n},u{n % 20},page_view,{day}T{10 + n % 10}:00:00Z" for n in range(60)]
    land(folder, "native/1.csv", "event_id,user_id,event_type,event_at", *events)
    done = called(folder, "run")
    assert done.code == 0, done.out + done.err
    assert ping_verdicts(folder) == {"ABSENT"}
    assert {name for name in assets_of_runs(folder) if "ping" in name or name == "raw_events"} == {"raw_events"}
    again = called(folder, "run", "--date", day)
    assert again.code == 0, again.out + again.err
    assert attempts_of_pings(folder) == 1  # nothing is noted twice

    land_videos(folder, "1.csv", f"p1,c1,#a,fun,30,{day}T00:00:00Z")
    land_watched(folder, "1.csv", *(f"u{n},p1,view,15,{day}T1{n % 10}:00:00Z" for n in range(20)))
    done = called(folder, "run", "--date", day)
    assert done.code == 0, done.out + done.err
    assert ping_verdicts(folder) == {"PASS"}
    assert "ping_recommendations" in assets_of_runs(folder)


def test_short_videos_that_come_later_have_lists_from_then_on_beside_days_without(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for n in (1, 2):
        events = [f"e{n}{m},u{m % 20},page_view,2026-03-0{n}T{10 + m % 10}:00:00Z" for m in range(60)]
        land(folder, f"native/{n}.csv", "event_id,user_id,event_type,event_at", *events)
    assert called(folder, "run", "--date", "2026-03-01").code == 0
    land_videos(folder, "1.csv", "p1,c1,#a,fun,30,2026-03-01T00:00:00Z")
    land_watched(folder, "1.csv", *(f"u{n},p1,view,15,2026-03-02T1{n % 10}:00:00Z" for n in range(20)))
    later = called(folder, "run", "--date", "2026-03-02")
    assert later.code == 0, later.out + later.err
    with duckdb.connect(str(folder / "gesture.duckdb"), read_only=True) as con:
        lists = con.execute("select as_of_date::varchar, count(*) from ping_candidates group by all").fetchall()
        verdicts = con.execute(
            "select partition::varchar, arg_max(verdict, attempt) from gate_ledger "
            "where table_name = 'ping_recommendations' group by all order by 1"
        ).fetchall()
    assert (lists, verdicts) == ([], [("2026-03-01", "ABSENT"), ("2026-03-02", "PASS")])


def ping_verdicts(folder: Path) -> set[str]:
    return {verdict for verdict, _ in newest_ping_rows(folder)}


def attempts_of_pings(folder: Path) -> int:
    return max(attempt for _, attempt in newest_ping_rows(folder))


def newest_ping_rows(folder: Path) -> list[tuple[str, int]]:
    with duckdb.connect(str(folder / "gesture.duckdb"), read_only=True) as con:
        return con.execute(
            "select arg_max(verdict, attempt), max(attempt) from gate_ledger "
            "where table_name in ('pings', 'ping_interactions', 'ping_recommendations') group by table_name, partition"
        ).fetchall()


def assets_of_runs(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "dagster_home" / "history" / "runs" / "index.db")) as con:
        return {"/".join(json.loads(key)) for (key,) in con.execute("select asset_key from asset_keys")}
