"""Short videos from landing to live tables: each day as it was known, whatever lands later and in whatever order."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from gesture_assets.records import quarantine
from gesture_assets_tests.ping_landing import land_users, land_videos, land_watched
from gesture_assets_tests.running import failures, outcomes, run_night, warehouse
from gesture_assets_tests.unit.cli.commands import called

D1, D2, D3 = date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)
STEP = "ping_interactions"
TABLES = ("ping_interactions", "pings", "ping_users", "quarantined_ping_rows", "ping_reconciliation")


def views(day: date, count: int, ping: str = "p1") -> list[str]:
    return [f"u{n},{ping},view,{n},{day} 10:00:{n:02}" for n in range(count)]


def night(day: date, last: date | None = None, **options: Any) -> Any:
    """The night after a day, or the one after the last of several."""
    return run_night(day, last, select=STEP, **options)


def asked(data_dir: Path, query: str) -> list[tuple]:
    with warehouse(data_dir) as con:
        return con.execute(query).fetchall()


def hashes(data_dir: Path) -> list[tuple]:
    """Day, table and content of what is live."""
    names = ", ".join(f"'{name}'" for name in TABLES)
    query = (
        f"select partition, table_name, arg_max(content_hash, attempt) from gate_ledger where table_name in ({names})"
    )
    return asked(data_dir, f"{query} and verdict = 'PASS' group by all order by all")


@pytest.fixture
def landed(data_dir: Path) -> Path:
    """Two days of views and a catalogue."""
    land_videos(data_dir, "1.csv", "p1,u9,music,dance,10,2026-03-01", "p2,u8,pets,comedy,20,2026-03-09")
    land_users(data_dir, *(f"u{n},GB,2026-03-01,30" for n in range(9)))
    land_watched(data_dir, "1.csv", *views(D1, 30), "u1,p1,like,0,2026-03-09 11:00:00", *views(D1, 2))
    land_watched(data_dir, "2.csv", *views(D2, 30, "p2"), "u1,p7,view,3,2026-03-10 10:00:00")
    return data_dir


def test_every_row_is_accounted_for_and_what_is_set_aside_is_listed(landed: Path) -> None:
    result = night(D1, D2)
    assert result.success, failures(result)
    notes = result.results["landed_pings"].notes
    told = ("landed", "duplicates", "quarantined_by_reason")
    assert [notes[name] for name in told] == [86, 2, "unknown_ping 1"]
    counts = "landed_count, accepted_count, duplicate_count, quarantined_count"
    assert asked(landed, f"select as_of_date, landing_file, {counts} from ping_reconciliation order by all") == [
        (D1, "ping_interactions/1.csv", 33, 31, 2, 0),
        (D1, "ping_users/1.csv", 9, 9, 0, 0),
        (D1, "pings/1.csv", 2, 2, 0, 0),
        (D2, "ping_interactions/2.csv", 31, 30, 0, 1),
        (D2, "ping_users/1.csv", 9, 9, 0, 0),
        (D2, "pings/1.csv", 2, 2, 0, 0),
    ]
    with warehouse(landed) as con:
        assert quarantine.summary(con, None) == [
            (D2, "live", "ping_interactions", "ping_interactions/2.csv", "unknown_ping", 1, 1 / 31)
        ]
        quarantine.require_known(con, day=D2, reason="unknown_ping", file="ping_interactions/2.csv")
        ((*_, place, reason, check, row),) = quarantine.rows(con, day=D2, reason=None, file=None, limit=9)
    assert (place, reason) == ("ping_interactions/2.csv:32", "unknown_ping")
    assert (check, row) == ("every_interaction_is_with_a_known_ping", "user_id: u1, ping_id: p7, event_type: view")


def test_a_day_knows_the_newest_catalogue_of_its_time_in_whatever_order_days_are_built(landed: Path) -> None:
    of_tomorrow = landed / "landing" / "ping_interactions" / "2.csv"
    rows = of_tomorrow.read_text()
    of_tomorrow.unlink()
    assert night(D1).success
    of_tomorrow.write_text(rows)
    # The name comes first, and the file a night later.
    videos = ("p7,u9,news,travel,30,2026-03-10", "p1,u9,music,dance,10,2026-03-01", "p2,u8,pets,comedy,0,2026-03-09")
    land_videos(landed, "0.csv", *videos, *(f"q{n},u9,a,b,9,2026-03-01" for n in range(20)))
    result = night(D2, now=datetime(2026, 3, 11, 2))
    assert result.success, failures(result)
    columns = "as_of_date, ping_id, catalogue_row, duration_sec, known_on::varchar"
    newest = f"select {columns} from pings where ping_id < 'q' order by 1, 3"
    expected = [
        (D1, "p1", 1, 10.0, "2026-03-09"),
        (D1, "p2", 2, 20.0, "2026-03-09"),
        (D2, "p7", 1, 30.0, "2026-03-10"),
        (D2, "p1", 2, 10.0, "2026-03-10"),
        (D2, "p2", 3, None, "2026-03-10"),  # no video takes no time
    ]
    assert asked(landed, newest) == expected
    of_p7 = "select count(*) from ping_interactions where ping_id = 'p7'"
    assert asked(landed, of_p7) == [(1,)]
    unreadable = "select unreadable_values from ping_reconciliation where unreadable_count > 0"
    assert asked(landed, unreadable) == [("duration_sec 1",)]
    before = hashes(landed)
    assert night(D2, restate_reason="again").success
    assert night(D1, restate_reason="again").success
    assert asked(landed, newest) == expected
    assert hashes(landed) == before


def test_a_catalogue_that_is_gone_is_missed_until_somebody_leaves_it_out_on_purpose(landed: Path) -> None:
    assert night(D1).success
    (landed / "landing" / "ping_users" / "1.csv").unlink()
    refused = failures(night(D1))
    assert "the landing file ping_users/1.csv, which says how things stood" in refused
    assert asked(landed, "select count(*) from ping_users") == [(9,)]
    assert night(D1, force_reason="it was wrong", restate_reason="it was wrong").success
    assert asked(landed, "select count(*) from ping_users") == [(0,)]


def test_a_day_is_refused_for_too_many_rows_set_aside_and_keeps_what_was_live(landed: Path) -> None:
    assert night(D1).success
    land_watched(landed, "3.csv", *views(D1, 20, "p8"))
    result = night(D1)
    assert "at_most_5_percent_of_rows_are_quarantined" in failures(result)
    assert asked(landed, "select count(*) from ping_interactions") == [(31,)]
    assert asked(landed, "select reason, count(*) from rejected.quarantined_ping_rows group by all") == [
        ("unknown_ping", 20)
    ]


def test_what_precedes_its_ping_or_its_user_warns_and_blocks_where_the_settings_say_so(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_videos(data_dir, "1.csv", "p1,u9,music,dance,10,2026-03-09 10:00:01")
    land_users(data_dir, "u0,GB,2026-03-10,30")
    land_watched(data_dir, "1.csv", *views(D1, 3))
    checks = ("no_interaction_precedes_its_ping", "no_interaction_precedes_the_sign_up")
    result = night(D1)
    assert result.success, failures(result)
    found = outcomes(result)
    for check in checks:
        outcome = found[STEP, check]
        assert (outcome.passed, outcome.blocks) == (False, False)
        assert outcome.sample[0]["row_count"] == "1"
    monkeypatch.setenv("GESTURE_BLOCKING_CHECKS", ",".join(checks))
    assert checks[0] in failures(night(D1))


def test_without_any_such_file_the_tables_are_empty_and_no_index_is_made(data_dir: Path) -> None:
    result = night(D1)
    assert result.success, failures(result)
    assert result.results["landed_pings"].notes["absent"].startswith("no files of short videos")
    assert asked(data_dir, "select distinct verdict from gate_ledger where table_name = 'pings'") == [("ABSENT",)]
    assert asked(data_dir, "select table_name from duckdb_tables() where table_name like '%landing_files'") == []


def live_and_set_aside(data_dir: Path, day: date) -> tuple[list[tuple], list[tuple]]:
    """The videos of the interactions of `day` with their number, and what was set aside for which reason."""
    counts = "count(*) from {} where as_of_date = date '{}' group by all order by all"
    return (
        asked(data_dir, f"select ping_id, {counts.format('ping_interactions', day)}"),
        asked(data_dir, f"select reason, {counts.format('quarantined_ping_rows', day)}"),
    )


@pytest.mark.slow
def test_what_was_done_with_a_video_whose_catalogue_came_too_late_is_let_in_when_asked_for(landed: Path) -> None:
    assert run_night(D1, D2).success
    nothing = called(landed, "quarantine", "replay", "--reason", "none has it")
    assert (nothing.code, "Nothing was let in" in nothing.err) == (1, True)
    land_videos(landed, "2.csv", "p1,u9,music,dance,10,2026-03-01", "p7,u9,news,travel,30,2026-03-10", ",,,,,")
    assert live_and_set_aside(landed, D2) == ([("p2", 30)], [("unknown_ping", 1)])
    looked = called(landed, "quarantine", "replay", "--dry-run")
    assert looked.table[1:] == [[str(D2), "ping_interactions/2.csv", "unknown_ping", "1", "0"]]
    done = called(landed, "quarantine", "replay", "--reason", "the catalogue came late")
    assert done.code == 0, done.err
    assert live_and_set_aside(landed, D2) == ([("p2", 30), ("p7", 1)], [])
    videos = f"select ping_id, catalogue_row, known_on > as_of_date from pings where as_of_date = '{D2}' order by 2"
    assert asked(landed, videos) == [("p1", 1, False), ("p2", 2, False), ("p7", 3, True)]
    before = hashes(landed)
    # What lands after the replay is of later days again, and the day is what it was whoever builds it.
    land_videos(landed, "3.csv", "p8,u9,news,travel,30,2026-03-10")
    assert run_night(D1, D2, now=datetime(2100, 1, 1), restate_reason="again").success
    assert hashes(landed) == before
    assert "unknown_ping" not in called(landed, "quarantine", "list").out


@pytest.mark.slow
def test_a_day_that_was_refused_for_unknown_videos_is_let_in_once_they_are_known(landed: Path) -> None:
    of_tomorrow = landed / "landing" / "ping_interactions" / "2.csv"
    rows = of_tomorrow.read_text()
    of_tomorrow.unlink()
    assert run_night(D1).success
    of_tomorrow.write_text(rows)
    land_watched(landed, "3.csv", *views(D2, 20, "p8"), *views(D2, 20, "p9"))
    assert "at_most_5_percent_of_rows_are_quarantined" in failures(run_night(D2))
    kept = "select partition, accepted, still_quarantined from quarantine_replays order by 2"
    land_videos(landed, "2.csv", "p8,u9,news,travel,30,2026-03-10")
    assert "gesture quarantine replay" in called(landed, "quarantine", "show").out
    # What would be let in is not enough for the day to pass: nothing is, and nothing is remembered.
    assert called(landed, "quarantine", "replay", "--reason", "half of it").code == 1
    assert asked(landed, kept) == []
    land_videos(landed, "4.csv", "p8,u9,news,travel,30,2026-03-10", "p9,u9,news,travel,30,2026-03-10")
    done = called(landed, "quarantine", "replay", "--reason", "the catalogue came late")
    assert done.code == 0, done.err
    assert live_and_set_aside(landed, D2) == ([("p2", 30), ("p8", 20), ("p9", 20)], [("unknown_ping", 1)])
    assert asked(landed, kept) == [(D2, 20, 0)]  # p9: what the last attempt had set aside
