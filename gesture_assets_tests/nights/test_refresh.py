"""The refresh between two nights: today's lists of what has landed so far, and nothing else."""

import shutil
from datetime import date, datetime
from pathlib import Path

import pytest

from gesture_assets.defs.resource import NOW_TAG
from gesture_assets.errors import GateClosed
from gesture_assets.nights.refresh import refresh
from gesture_assets.nights.runner import NightResult
from gesture_assets.publication.checks import IS_UP_TO_DATE
from gesture_assets.publication.reading import gate_report
from gesture_assets.settings import load_settings
from gesture_assets_tests.ping_landing import land, land_users, land_videos, land_watched
from gesture_assets_tests.running import content_hashes, definitions, failures, published, run_night, warehouse
from gesture_assets_tests.unit.cli.commands import called

D1, D2, D3 = date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)
PINGS = {
    *("ping_interactions", "pings", "ping_users", "quarantined_ping_rows", "ping_reconciliation"),
    *("ping_weights", "user_ping_engagement", "ping_engagement", "user_affinities"),
    *("watch_time_stats", "new_vs_existing_users", "ping_recommendations", "ping_candidates"),
}
CURRENT = "select as_of_date, rank, ping_id from analytics.current_ping_recommendations where user_id = 'u0' order by 2"


@pytest.fixture
def landed(data_dir: Path) -> Path:
    """A night of events and of three people and four short videos."""
    videos = ("p1,c1,cats,dance,10,2026-03-01", "p2,c2,dogs,comedy,20,2026-03-09", "p3,c1,cats,dance,10,2026-03-05")
    land_videos(data_dir, "1.csv", *videos, "p4,c3,birds,comedy,40,2026-03-10 08:00:00")
    land_users(data_dir, *(f"u{n},GB,2026-03-0{n + 1},30" for n in range(3)))
    land_watched(data_dir, "1.csv", "u0,p1,view,5,2026-03-09 10:00:00", "u1,p1,view,10,2026-03-09 11:00:00")
    land(data_dir, "native/a.csv", "event_id,user_id,event_type,event_at", f"e1,ada,page_view,{D1}T10:00:00Z")
    result = run_night(D1)
    assert result.success, failures(result)
    return data_dir


def at(hour: int, day: date = D2) -> NightResult:
    return refresh(load_settings(), now=datetime.combine(day, datetime.min.time()).replace(hour=hour))


def asked(data_dir: Path, query: str) -> list[tuple]:
    with published(data_dir) as con:
        return con.execute(query).fetchall()


def of_others(data_dir: Path) -> dict[tuple[str, date], str]:
    return {key: digest for key, digest in content_hashes(data_dir).items() if key[1] <= D1}


@pytest.mark.slow
def test_new_interactions_change_the_lists_and_nothing_of_an_earlier_day_or_of_users(landed: Path) -> None:
    assert [ping for _, _, ping in asked(landed, CURRENT)] == ["p3", "p2"]
    before = of_others(landed)
    assert {"user_features", "rule_scores", "intent_scores", "model_scores"} <= {table for table, _ in before}
    land_watched(landed, "2.csv", "u0,p3,view,9,2026-03-10 09:00:00", "u1,p4,share,0,2026-03-10 09:30:00")
    result = at(10)
    assert result.success, failures(result)
    assert asked(landed, CURRENT) == [(D2, 1, "p4"), (D2, 2, "p2")]  # p3 was seen this morning, p4 is new
    assert of_others(landed) == before
    made = {table for table, day in content_hashes(landed) if day == D2}
    assert made == PINGS
    # The file still ends with the last whole day, and what is said of nights is said of that.
    (check,) = [check for check in result.results["published_warehouse"].checks if check.name == IS_UP_TO_DATE]
    assert (check.passed, check.metadata["newest_day"]) == (True, str(D1))
    assert {row[1] for row in gate_report(load_settings(), None)} == {D1}
    assert asked(landed, "select distinct as_of_date from analytics.current_ping_insights") in ([], [(D1,)])


@pytest.mark.slow
def test_what_readers_have_already_is_not_published_again(landed: Path) -> None:
    land_watched(landed, "2.csv", "u0,p3,view,9,2026-03-10 09:00:00")
    assert "published_warehouse" in at(10).results
    again = at(11)
    assert again.success
    assert "published_warehouse" not in again.results
    assert all(step.is_unchanged for step in again.results.values())


@pytest.mark.slow
def test_the_night_makes_the_day_as_if_there_had_been_no_refresh_however_late_it_comes(
    landed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = shutil.copytree(landed, landed.with_name("quiet"), symlinks=True)
    land_watched(landed, "2.csv", "u0,p3,view,9,2026-03-10 09:00:00")
    assert at(10).success
    provisional = content_hashes(landed)
    for data_dir in (landed, quiet):
        land(data_dir, "native/b.csv", "event_id,user_id,event_type,event_at", f"e2,ada,page_view,{D2}T10:00:00Z")
        land_watched(data_dir, "2.csv", "u0,p3,view,9,2026-03-10 09:00:00")
        land_watched(data_dir, "3.csv", "u1,p4,share,0,2026-03-10 21:30:00")
        monkeypatch.setenv("GESTURE_DATA_DIR", str(data_dir))
        # Two days late, when old days change for a reason only.
        late = run_night(D2, now=datetime(2026, 3, 12, 2), rebuild=False)
        assert late.success, failures(late)
        assert asked(data_dir, "select count(*) from restatements") == [(0,)]
    final = content_hashes(landed)
    assert final["ping_recommendations", D2] != provisional["ping_recommendations", D2]
    assert final == content_hashes(quiet)


@pytest.mark.slow
def test_lists_that_all_look_alike_are_not_published(landed: Path) -> None:
    weights = (Path(__file__).parents[2] / "gesture_assets/pings/presets/script.toml").read_text()
    own = landed / "ping_weights" / "recent.toml"
    own.parent.mkdir()
    weights = weights.replace('"script"', '"recent"').replace('seen = "any"', 'seen = "none"')
    own.write_text(weights.replace("length = 10", "length = 1"))
    land_watched(landed, "2.csv", *(f"v{n},p1,view,1,2026-03-10 09:00:{n}" for n in range(10, 25)))
    file = (landed / "gesture.duckdb").resolve()
    result = at(10)
    assert "ping_recommendations: lists_are_not_all_alike" in failures(result)
    assert "published_warehouse" not in result.results
    assert (landed / "gesture.duckdb").resolve() == file
    assert {day for day, _, _ in asked(landed, CURRENT)} == {D1}


def test_without_short_videos_and_before_the_night_of_yesterday_it_is_refused(data_dir: Path) -> None:
    with pytest.raises(GateClosed, match="nothing of short videos has landed"):
        at(10)
    land_videos(data_dir, "1.csv", "p1,c1,cats,dance,10,2026-03-01")
    land_watched(data_dir, "1.csv", "u0,p1,view,5,2026-03-09 10:00:00")
    with pytest.raises(GateClosed, match=f"refresh cannot be built for {D1}"):
        at(10)
    with warehouse(data_dir) as con:
        assert con.execute("select count(*) from gate_ledger").fetchone() == (0,)


@pytest.mark.slow
def test_the_job_of_dagster_does_the_same_and_fails_with_the_words_of_the_gate(landed: Path) -> None:
    job = definitions().resolve_job_def("refresh")
    land_watched(landed, "2.csv", "u0,p3,view,9,2026-03-10 09:00:00")
    assert job.execute_in_process(tags={NOW_TAG: "2026-03-10T10:00:00"}).success
    assert {day for day, _, _ in asked(landed, CURRENT)} == {D2}
    refused = job.execute_in_process(tags={NOW_TAG: "2026-03-11T10:00:00"}, raise_on_error=False)
    assert f"a PASS for recommendation_evaluation@{D2}" in failures(refused)


@pytest.mark.slow
def test_the_command_says_whether_anything_was_published_and_leaves_a_line_in_the_audit_log(landed: Path) -> None:
    first = called(landed, "recs", "refresh")
    assert (first.code, "are published; tonight they are made again" in first.out) == (0, True), first.err
    second = called(landed, "recs", "refresh")
    assert (second.code, "already: nothing that has landed since changes one" in second.out) == (0, True), second.err
    with warehouse(landed) as con:
        rows = con.execute("select object from audit_log where action = 'refresh'").fetchall()
    assert rows == [("ping_recommendations",)] * 2
