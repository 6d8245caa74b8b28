"""What has not changed is not built again: a second run of a live night keeps its rows, and says so."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.nights.all_steps import nightly_steps
from gesture_assets.nights.runner import NightResult
from gesture_assets.vocabulary.severity import Severity
from gesture_assets_tests.running import content_hashes, failures, outcomes, run_night, warehouse
from gesture_assets_tests.small_world import DAYS, SUBSCRIBERS, row, write_crm
from gesture_assets_tests.worlds import SMALL_MOMENT


def built_with(*names: str) -> set[str]:
    """The tables of the steps that make the tables `names`."""
    steps = [{table.name for table in step.tables} for step in nightly_steps()]
    return set().union(*(tables for tables in steps if tables.intersection(names)))


EVENTS, CRM, SCORES = built_with("raw_events"), built_with("validated_subscribers"), built_with("rule_scores")
FEATURES = built_with("user_features", *catalogue().ancestors("user_features"))
# Alarms are looked at every night; no short videos land here.
ALL = {table.name for step in nightly_steps() if step.sources for table in step.tables if table.group != "pings"}
SCORED = SCORES | {name for name in ALL if "rule_scores" in catalogue().ancestors(name)}


pytestmark = pytest.mark.slow


@pytest.fixture
def built(copied_world: Callable[[str], Path]) -> Path:
    """The small world, every night live."""
    return copied_world("small")


def night(first: Any, last: Any = None, **options: Any) -> tuple[set[str], Mapping[str, str]]:
    """Run it as the product does; see `kept_of`."""
    return kept_of(run_night(first, last, now=SMALL_MOMENT, **({"rebuild": False} | options)))


def kept_of(result: NightResult) -> tuple[set[str], Mapping[str, str]]:
    """The tables that were kept unchanged, and each table's content hash."""
    assert result.success, failures(result)
    commits = [(commit, step) for step in result.results.values() for commit in step.commits]
    assert commits
    kept = {commit.contract.name for commit, step in commits if step.is_unchanged}
    assert {step.notes["skipped"] for _, step in commits if step.is_unchanged} <= {"unchanged"}
    return kept, {commit.contract.name: commit.content_hash for commit, _ in commits}


def attempts(data_dir: Path) -> dict[str, int]:
    """Audits by table; alarms are looked at every night, so that they can be told, and what is absent is said again."""
    with warehouse(data_dir) as con:
        counts = con.execute(
            "select table_name, max(attempt) from gate_ledger where table_name <> 'alerts' and verdict <> 'ABSENT' "
            "group by all"
        )
        return dict(counts.fetchall())


def verdicts(result: NightResult) -> dict[tuple[str, str], tuple[bool, Severity]]:
    return {key: (check.passed, check.severity) for key, check in outcomes(result).items()}


def test_a_run_that_insists_builds_everything_and_the_next_one_nothing_and_reports_the_same(built: Path) -> None:
    hashes = content_hashes(built)
    first = run_night(DAYS[3], now=SMALL_MOMENT, rebuild=True)
    kept, versions = kept_of(first)
    assert kept == set()
    assert content_hashes(built) == hashes
    before = attempts(built)
    assert set(before.values()) == {2}
    second = run_night(DAYS[3], now=SMALL_MOMENT, rebuild=False)
    again, same = kept_of(second)
    assert again == ALL
    assert {name: versions[name] for name in ALL} == {name: same[name] for name in ALL}
    assert all(versions[name] for name in ALL)
    assert (content_hashes(built), attempts(built)) == (hashes, before)
    assert verdicts(second) == verdicts(first)
    assert not all(passed for passed, _ in verdicts(first).values()), "what warned warns again"
    assert night(DAYS[3], select="raw_events", restate_reason="looking again")[0] == set()


def test_single_days_are_live_for_a_range_and_those_of_a_range_for_shorter_ones(built: Path) -> None:
    assert night(DAYS[0], DAYS[3])[0] == ALL
    assert night(DAYS[1], DAYS[2], rebuild=True)[0] == set()
    assert night(DAYS[1], DAYS[2])[0] == ALL
    assert night(DAYS[1])[0] == ALL


def test_a_new_file_is_built_and_so_is_all_that_follows_from_it(built: Path) -> None:
    extra = built / "landing" / "native" / "extra.csv"
    header = "event_id,user_id,anonymous_id,event_type,event_at,received_at,email,country"
    extra.write_text(f"{header}\n{row('x', 'ada', 'page_view', f'{DAYS[3]}T20:00:00Z')}\n")
    assert night(DAYS[2], select="*user_features")[0] == FEATURES, "a later day is no part of an earlier one"
    # A range is built as a whole, or not at all.
    assert night(DAYS[2], DAYS[3], select="*user_features")[0] == CRM
    assert night(DAYS[3], select="*user_features")[0] == FEATURES


def test_a_file_that_is_gone_is_missed_as_ever(built: Path) -> None:
    (built / "landing" / "native" / f"events-{DAYS[3]}.csv").unlink()
    result = run_night(DAYS[3], now=SMALL_MOMENT, rebuild=False, select="raw_events")
    assert not result.success
    assert "put the file back" in failures(result)


def test_another_crm_is_read_and_events_stay(built: Path) -> None:
    more = [*SUBSCRIBERS, (5, "Hal", "hal@example.net", 4, "2026-01-01", "DE")]
    write_crm(built / "crm_database.sqlite", more)
    kept, _ = night(DAYS[3], select="*user_features")
    assert kept == FEATURES - CRM - built_with("user_features")


@pytest.mark.parametrize(
    ("name", "value"),
    [("GESTURE_TOP_USERS", "2"), ("GESTURE_INCLUDE_BOTS", "true"), ("GESTURE_PSEUDONYM_KEY", "other")],
)
def test_a_setting_that_may_reach_a_row_is_obeyed(
    built: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert night(DAYS[3], select="raw_events")[0] == set()


def test_how_long_to_wait_reaches_no_row(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESTURE_LOCK_TIMEOUT_SECONDS", "77")
    assert night(DAYS[3], select="raw_events")[0] == EVENTS


def test_other_code_builds_again(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gesture_assets.warehouse import unchanged

    monkeypatch.setattr(unchanged, "code_digest", lambda rooms: "another version")
    assert night(DAYS[3], select="raw_events")[0] == set()


def test_a_list_of_suppressed_users_is_read_again(built: Path) -> None:
    (built / "suppressed.csv").write_text("user_id,reason\nada,asked us to\n")
    assert night(DAYS[3])[0] == ALL - SCORED


def test_rows_that_somebody_edited_are_built_again(built: Path) -> None:
    before = content_hashes(built)
    with duckdb.connect(str(built / "warehouse.duckdb")) as con:
        con.execute("update rule_scores set score = 99 where user_id = 'ada' and as_of_date = ?", [DAYS[3]])
    assert night(DAYS[3])[0] == ALL - SCORES
    assert content_hashes(built) == before
    with warehouse(built) as con:
        assert con.execute("select count(*) from rule_scores where score = 99").fetchone() == (0,)


def test_an_earlier_day_that_changed_is_counted_in_later_ones(built: Path) -> None:
    late = built / "landing" / "native" / "late.csv"
    header = "event_id,user_id,anonymous_id,event_type,event_at,received_at,email,country"
    late.write_text(f"{header}\n{row('y', 'ada', 'page_view', f'{DAYS[1]}T20:00:00Z')}\n")
    night(DAYS[1], select="*user_features", restate_reason="a file was late")
    kept, _ = night(DAYS[3], select="*user_features", restate_reason="")
    assert kept == CRM


def test_a_day_that_did_not_pass_is_looked_at_again(built: Path) -> None:
    broken = built / "landing" / "native" / "broken.csv"
    broken.write_text(
        "event_id,user_id,event_type,event_at,received_at\n"
        + "".join(
            f"b{n},ada,page_view,{DAYS[3]}T10:00:00Z,{DAYS[3]}T10:00:00Z\nz{n},ada,teleport,{DAYS[3]}T10:00:00Z,{DAYS[3]}T10:00:00Z\n"
            for n in range(20)
        )
    )
    for _ in range(2):
        assert not run_night(DAYS[3], now=SMALL_MOMENT, rebuild=False, select="raw_events").success
    broken.unlink()
    assert night(DAYS[3], select="raw_events")[0] == set()
    assert night(DAYS[3], select="raw_events")[0] == EVENTS
    assert DAYS[3] - DAYS[0] == timedelta(days=3)
