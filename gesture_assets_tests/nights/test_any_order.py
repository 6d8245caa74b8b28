"""Any order of building days gives the same rows; a backfill never moves what is current."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.nights import night as open_night
from gesture_assets.settings import load_settings
from gesture_assets.sources import landing_index
from gesture_assets_tests.running import content_hashes, failures, published, run_night, warehouse
from gesture_assets_tests.small_world import DAYS, land
from gesture_assets_tests.worlds import SMALL_MOMENT, world_in_use

pytestmark = pytest.mark.slow

D0, D1, D2, D3 = DAYS


def night(first: date, last: date | None = None) -> None:
    result = run_night(first, last, now=SMALL_MOMENT)
    assert result.success, failures(result)


def live_counts(data_dir: Path) -> dict[tuple[str, date], int]:
    con = warehouse(data_dir)
    tables = [name for (name,) in con.execute("select distinct table_name from gate_ledger").fetchall()]
    counts = {
        (table, day): count
        for table in tables
        for day, count in con.execute(f"select as_of_date, count(*) from {table} group by all").fetchall()
    }
    con.close()
    return counts


def rows(data_dir: Path, sql: str, values: Sequence[object] = ()) -> list[tuple]:
    con = warehouse(data_dir)
    found = con.execute(sql, list(values)).fetchall()
    con.close()
    return found


@dataclass(frozen=True)
class Built:
    folder: Path
    hashes: dict[tuple[str, date], str]
    counts: dict[tuple[str, date], int]


def built(world: str, folder: Path, *runs: tuple[date, ...]) -> Built:
    """The world `world` and what `runs` made of it; not to be changed."""
    with world_in_use(world, folder) as data_dir:
        for days in runs:
            night(*days)
    return Built(data_dir, content_hashes(data_dir), live_counts(data_dir))


@pytest.fixture(scope="module")
def forwards(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The world built day by day, as nights do."""
    return built("small", tmp_path_factory.mktemp("forwards"))


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same world, older days built again; `test_fourteen_days.py` has more days in more orders."""
    return built("small", tmp_path_factory.mktemp("rebuilt"), (D2,), (D0,))


@pytest.fixture(scope="module", params=["at once", "a day at a time"])
def as_one_range(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same world in one run over all its days; with a memory for all of them, and for one only."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "a day at a time":
            remember_little(patch)
        return built("small_landed", tmp_path_factory.mktemp("range"), (D0, D3))


def remember_little(patch: pytest.MonkeyPatch) -> None:
    """As if each day held as many values as may be looked at at once."""
    patch.setattr(open_night, "CELLS_AT_ONCE", 1)
    patch.setattr(landing_index, "KEPT_ROWS", 0)


def test_the_world_holds_what_these_tests_are_about(forwards: Built) -> None:
    folder = forwards.folder
    landed = [table for table in catalogue(load_settings().tags).nightly if table.group != "pings"]
    assert len(forwards.hashes) == len(landed) * len(DAYS)
    counted = (
        "select as_of_date, sum(duplicate_count), sum(quarantined_count), sum(late_count) from landing_reconciliation"
    )
    assert rows(folder, f"{counted} group by all order by all") == [
        (D0, 0, 0, 0),
        (D1, 2, 0, 0),
        (D2, 0, 0, 1),
        (D3, 0, 1, 0),
    ]
    visit = "select session_id from sessions where user_id = 'ada' and filed = -1"
    filed = rows(
        folder, f"select as_of_date, filed, event_count from sessions where session_id in ({visit}) order by all"
    )
    assert filed == [(D0, 1, 1), (D1, -1, 1), (D1, 1, 2)]  # it went on after midnight
    links = rows(folder, "select as_of_date, anonymous_user_id, user_id from identity_links")
    assert links == [(D2, "anon:visitor", "ada")]


def test_days_built_again_in_any_order_are_the_same(forwards: Built, rebuilt: Built) -> None:
    assert rebuilt.hashes == forwards.hashes
    again = "select partition, min(attempts), max(attempts) from (select partition, max(attempt) as attempts"
    again += " from gate_ledger group by partition, table_name) group by all order by all"
    assert rows(rebuilt.folder, again) == [(D0, 2, 2), (D1, 1, 1), (D2, 2, 2), (D3, 1, 1)]


def test_days_built_again_are_never_doubled(forwards: Built, rebuilt: Built) -> None:
    assert forwards.counts[("raw_events", D1)] == 21
    assert rebuilt.counts == forwards.counts


def test_one_range_gives_what_single_nights_give(forwards: Built, as_one_range: Built) -> None:
    assert as_one_range.hashes == forwards.hashes
    assert as_one_range.counts == forwards.counts


def test_a_check_says_of_a_day_in_a_range_whether_it_fails_there(forwards: Built, as_one_range: Built) -> None:
    found = """select table_name, partition, told.name, told.observed from (
            select table_name, partition, unnest(from_json(checks, '[{"name": "VARCHAR", "passed": "BOOLEAN",
                "observed": "VARCHAR"}]')) as told
            from gate_ledger qualify row_number() over (partition by table_name, partition order by attempt desc) = 1)
        where not told.passed order by all"""
    alone = rows(forwards.folder, found)
    assert len({day for _, day, *_ in alone}) > 1
    assert rows(as_one_range.folder, found) == alone


def test_a_backfill_of_old_days_leaves_what_is_current_alone(forwards: Built, rebuilt: Built) -> None:
    found = []
    for world in (forwards, rebuilt):
        con = published(world.folder)
        found.append(con.execute("from analytics.current_scores order by all").fetchall())
        assert con.execute("select distinct as_of_date from analytics.current_top_users").fetchall() == [(D3,)]
        con.close()
    before, after = found
    assert before == after
    assert len(before) > 5


def test_rows_of_a_backfill_are_marked_and_those_of_the_newest_day_are_not(as_one_range: Built) -> None:
    marks = "select distinct as_of_date, is_backfill, recorded_at, run_id is not null from raw_events order by all"
    assert rows(as_one_range.folder, marks) == [(day, day != D3, SMALL_MOMENT, True) for day in DAYS]
    ledger = "select distinct partition, is_backfill from gate_ledger order by all"
    assert rows(as_one_range.folder, ledger) == [(day, day != D3) for day in DAYS]


def test_an_event_that_lands_later_changes_its_own_day_and_the_replaced_scores_stay_readable(
    forwards: Built, copied_world: Callable[[str], Path]
) -> None:
    world = copied_world("small")
    scores = f"select user_id, score from rule_scores where as_of_date = '{D3}'"
    before = dict(rows(world, scores))
    more = f"event_id,user_id,event_type,event_at,received_at\nnew,cyd,signup,{D3}T18:00:00Z,{D3}T18:00:00Z\n"
    (world / "landing" / "native" / "events-more.csv").write_text(more)
    later = datetime(2026, 3, 9, 2)
    refused = run_night(D3, now=later)
    assert not refused.success
    assert "raw_events@2026-03-05: 1 added, 0 removed, 0 changed" in failures(refused)
    assert content_hashes(world) == forwards.hashes
    restated = run_night(D3, now=later, restate_reason="the evening's file came late")
    assert restated.success, failures(restated)
    changed = {key for key, digest in content_hashes(world).items() if digest != forwards.hashes[key]}
    assert {day for _, day in changed} == {D3}
    assert {"raw_events", "daily_activity", "user_features", "rule_scores"} <= {table for table, _ in changed}
    assert not {"crm_snapshot", "validated_subscribers", "identity_links"} & {table for table, _ in changed}
    after = dict(rows(world, scores))
    assert {user for user in after if after[user] != before[user]} == {"cyd"}
    assert dict(rows(world, scores.replace("rule_scores", "superseded.rule_scores"))) == before
    marks = rows(world, f"select distinct recorded_at, is_backfill from rule_scores where as_of_date = '{D3}'")
    assert marks == [(later, True)]
    kept = rows(world, "select table_name, added, removed, changed, reason from restatements")
    assert {table for table, *_ in kept} == {table for table, _ in changed}
    assert ("raw_events", 1, 0, 0, "the evening's file came late") in kept
    con = published(world)
    assert con.execute("select count(*) from restatements").fetchone() == (len(kept),)
    con.close()


def test_a_late_event_counts_for_its_day_from_the_day_on_which_it_arrived(forwards: Built, rebuilt: Built) -> None:
    late = (
        "select as_of_date, user_id, activity_date, doc_download_count from daily_activity where doc_download_count > 0"
    )
    known = (
        "select as_of_date, doc_download_count, doc_download_count_1d, doc_download_count_7d from user_features "
        "where user_id = 'bob' order by as_of_date"
    )
    for world in (forwards, rebuilt):  # also when the old day is built again after the event became known
        assert rows(world.folder, late) == [(D2, "bob", D0, 1)]
        assert rows(world.folder, known) == [(D0, 0, 0, 0), (D1, 0, 0, 0), (D2, 1, 0, 1), (D3, 1, 0, 1)]
    assert rebuilt.hashes[("user_features", D0)] == forwards.hashes[("user_features", D0)]


def test_the_night_says_which_days_late_events_belong_to(copied_world: Callable[[str], Path]) -> None:
    copied_world("small")

    def notes(day: date) -> Mapping[str, object]:
        return run_night(day, now=SMALL_MOMENT, select="raw_events").results["landed_events"].notes

    with_late, without = notes(D2), notes(D1)
    assert (with_late["late_events"], with_late["days_of_late_events"]) == (1, str(D0))
    assert (without["late_events"], without["days_of_late_events"]) == (0, "none")
    assert (with_late["duplicates"], without["duplicates"]) == (0, 2)


def test_a_quiet_day_that_was_asked_for_by_itself_does_not_spoil_a_range_over_it(
    data_dir: Path, write_crm: Callable[..., Path]
) -> None:
    before, quiet, after = DAYS[:3]
    land(data_dir, days=(before, after))
    people = [(n, f"No. {n}", f"n{n}@example.com", 3, "2026-02-20", "GB") for n in range(100)]
    write_crm(people, transactions=[(n, "2026-02-25", "", f"n{n}@example.com", "GB", n) for n in range(1, 9)])
    assert not run_night(quiet).success
    assert ("validated_subscribers", quiet) in content_hashes(data_dir)
    run_night(before, after).raise_failure()
    live = content_hashes(data_dir)
    for table in ("user_features", "top_users"):
        assert sorted(day for name, day in live if name == table) == [before, after]
