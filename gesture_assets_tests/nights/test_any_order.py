"""Any order of building days gives the same rows; a backfill never moves what is current."""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.defs import common
from gesture_assets.settings import load_settings
from gesture_assets.sources import landing_index
from gesture_assets_tests.small_world import DAYS, SUBSCRIBERS, TAGS, TRANSACTIONS, land
from gesture_assets_tests.running import content_hashes, failures, published, run_night, warehouse

pytestmark = pytest.mark.slow

D0, D1, D2, D3 = DAYS
# One moment for every build: the CRM is undated in part, so what it says of a day depends on when it was read.
MOMENT = datetime.fromisoformat("2026-03-06T02:00")


@contextmanager
def environment(data_dir: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GESTURE_DATA_DIR", str(data_dir))
        patch.setenv("GESTURE_PSEUDONYM_KEY", "a key for tests only")
        yield data_dir


def night(first: date, last: date | None = None, *, now: datetime = MOMENT) -> None:
    result = run_night(first, last, now=now)
    assert result.success, failures(result)


def write_world(data_dir: Path) -> None:
    land(data_dir)
    con = sqlite3.connect(data_dir / "crm_database.sqlite")
    con.execute(
        "create table Subscribers(mailchimp_id, user_full_name, user_email, member_rating, optin_time, country_code)"
    )
    con.execute("create table Tags(mailchimp_id, tag)")
    con.execute(
        "create table Transactions"
        "(transaction_id, purchased_at, user_full_name, user_email, charge_country, product_id)"
    )
    con.executemany("insert into Subscribers values (?, ?, ?, ?, ?, ?)", SUBSCRIBERS)
    con.executemany("insert into Tags values (?, ?)", TAGS)
    con.executemany("insert into Transactions values (?, ?, ?, ?, ?, ?)", TRANSACTIONS)
    con.commit()
    con.close()


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


@pytest.fixture(scope="module")
def forwards(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The world built day by day, as nights do; not to be changed."""
    folder = tmp_path_factory.mktemp("forwards") / "data"
    write_world(folder)
    with environment(folder):
        for day in DAYS:
            night(day)
    return Built(folder, content_hashes(folder), live_counts(folder))


@pytest.fixture(scope="module")
def rebuilt(forwards: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same world, older days built again; `test_fourteen_days.py` has all of them in every order."""
    folder = tmp_path_factory.mktemp("rebuilt") / "data"
    shutil.copytree(forwards.folder, folder, symlinks=True)
    with environment(folder):
        for day in (D2, D0):
            night(day)
    return Built(folder, content_hashes(folder), live_counts(folder))


@pytest.fixture(scope="module", params=["at once", "a day at a time"])
def as_one_range(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same world in one run over all its days; with a memory for all of them, and for one only."""
    folder = tmp_path_factory.mktemp("range") / "data"
    write_world(folder)
    with environment(folder), pytest.MonkeyPatch.context() as patch:
        if request.param == "a day at a time":
            remember_little(patch)
        night(D0, D3)
    return Built(folder, content_hashes(folder), live_counts(folder))


def remember_little(patch: pytest.MonkeyPatch) -> None:
    """As if each day held as many rows as may be looked at at once."""
    patch.setattr(common, "ROWS_AT_ONCE", 1)
    patch.setattr(landing_index, "KEPT_ROWS", 0)


@pytest.fixture
def world(forwards: Built, tmp_path: Path) -> Iterator[Path]:
    """A copy of the built world, to be changed."""
    shutil.copytree(forwards.folder, tmp_path / "data", symlinks=True)
    with environment(tmp_path / "data") as folder:
        yield folder


def test_the_world_holds_what_these_tests_are_about(forwards: Built) -> None:
    folder = forwards.folder
    assert len(forwards.hashes) == len(catalogue(load_settings().tags).nightly) * len(DAYS)
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


def land_four_days(data_dir: Path, *, bad: int = 0) -> None:
    """A file a day with two events; one of the day `bad` is nobody's."""
    (data_dir / "landing" / "native").mkdir(parents=True)
    for day in (1, 2, 3, 4):
        user = "" if day == bad else "ada"
        (data_dir / "landing" / "native" / f"day-{day}.csv").write_text(
            "event_id,user_id,event_type,event_at\n"
            f"a{day},{user},page_view,2026-03-0{day}T10:00:00Z\nb{day},bob,page_view,2026-03-0{day}T11:00:00Z\n"
        )


def four_days(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    moment = datetime.fromisoformat("2026-03-05T02:00")
    return run_night("2026-03-01", "2026-03-04", select="raw_events", now=moment, instance=instance)


def materialised(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
) -> dict[str | None, Mapping[str, dg.MetadataValue]]:
    """The days of raw_events that the run told Dagster to be live, and what it said of each."""
    logs = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    found = [log.asset_materialization for log in logs if log.asset_materialization]
    return {one.partition: one.metadata for one in found if one.asset_key.path == ["raw_events"]}


def test_a_bad_day_among_chunks_of_a_range_keeps_back_nothing_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_little(monkeypatch)
    land_four_days(tmp_path / "data", bad=2)
    with environment(tmp_path / "data") as folder, dg.DagsterInstance.ephemeral() as instance:
        result = four_days(instance)
        said = materialised(instance, result)
    assert list(said) == ["2026-03-01", "2026-03-03", "2026-03-04"]
    notes = {name: said["2026-03-01"][name].value for name in ("landed", "duplicates", "quarantined_by_reason")}
    assert notes == {"landed": 8, "duplicates": 0, "quarantined_by_reason": "missing_user_id 1"}
    assert not result.success
    assert "did not pass the audit for 2026-03-02; the last good version stays live" in failures(result)
    assert rows(folder, "select as_of_date::varchar, count(*) from raw_events group by all order by all") == [
        ("2026-03-01", 2),
        ("2026-03-03", 2),
        ("2026-03-04", 2),
    ]
    told = result.get_asset_check_evaluations()
    names = [(one.asset_key.path[0], one.check_name) for one in told]
    assert len(names) == len(set(names))
    assert [one.check_name for one in told if not one.passed] == ["at_most_5_percent_of_rows_are_quarantined"]


def test_chunks_before_one_that_cannot_be_read_are_live_and_dagster_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_little(monkeypatch)
    land_four_days(tmp_path / "data")
    with environment(tmp_path / "data") as folder, dg.DagsterInstance.ephemeral() as instance:
        assert four_days(instance).success
        (folder / "landing" / "native" / "day-3.csv").unlink()
        result = four_days(instance)
        assert list(materialised(instance, result)) == ["2026-03-01", "2026-03-02"]
    assert not result.success
    assert "day-3.csv" in failures(result)
    attempts = "select partition::varchar, max(attempt) from gate_ledger where table_name = 'raw_events' group by all"
    assert rows(folder, f"{attempts} order by all") == [
        ("2026-03-01", 2),
        ("2026-03-02", 2),
        ("2026-03-03", 1),
        ("2026-03-04", 1),
    ]


def test_a_backfill_of_old_days_leaves_what_is_current_alone(forwards: Built, rebuilt: Built) -> None:
    found = []
    for built in (forwards, rebuilt):
        con = published(built.folder)
        found.append(
            con.execute("select * exclude (recorded_at, run_id) from analytics.current_scores order by all").fetchall()
        )
        assert con.execute("select distinct as_of_date from analytics.current_top_users").fetchall() == [(D3,)]
        con.close()
    before, after = found
    assert before == after
    assert len(before) > 5


def test_rows_of_a_backfill_are_marked_and_those_of_the_newest_day_are_not(as_one_range: Built) -> None:
    marks = "select distinct as_of_date, is_backfill, recorded_at, run_id is not null from raw_events order by all"
    assert rows(as_one_range.folder, marks) == [(day, day != D3, MOMENT, True) for day in DAYS]
    ledger = "select distinct partition, is_backfill from gate_ledger order by all"
    assert rows(as_one_range.folder, ledger) == [(day, day != D3) for day in DAYS]


def test_an_event_that_lands_later_changes_its_own_day_and_the_replaced_scores_stay_readable(
    forwards: Built, world: Path
) -> None:
    scores = f"select user_id, score from rule_scores where as_of_date = '{D3}'"
    before = dict(rows(world, scores))
    more = f"event_id,user_id,event_type,event_at,received_at\nnew,cyd,signup,{D3}T18:00:00Z,{D3}T18:00:00Z\n"
    (world / "landing" / "native" / "events-more.csv").write_text(more)
    later = datetime.fromisoformat("2026-03-09T02:00")
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
    for built in (forwards, rebuilt):  # also when the old day is built again after the event became known
        assert rows(built.folder, late) == [(D2, "bob", D0, 1)]
        assert rows(built.folder, known) == [(D0, 0, 0, 0), (D1, 0, 0, 0), (D2, 1, 0, 1), (D3, 1, 0, 1)]
    assert rebuilt.hashes[("user_features", D0)] == forwards.hashes[("user_features", D0)]


def test_the_night_says_which_days_late_events_belong_to(world: Path) -> None:
    landed = "key:raw_events or key:quarantined_events or key:landing_reconciliation or key:identity_links"

    def notes(day: date) -> dict[str, object]:
        events = run_night(day, now=MOMENT, select=landed).get_asset_materialization_events()
        [event] = [event for event in events if event.asset_key and event.asset_key.path[-1] == "raw_events"]
        metadata = event.step_materialization_data.materialization.metadata
        return {name: value.value for name, value in metadata.items()}

    with_late, without = notes(D2), notes(D1)
    assert (with_late["late_events"], with_late["days_of_late_events"]) == (1, str(D0))
    assert (without["late_events"], without["days_of_late_events"]) == (0, "none")
    assert (with_late["duplicates"], without["duplicates"]) == (0, 2)
