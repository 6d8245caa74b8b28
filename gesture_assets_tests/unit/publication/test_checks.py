"""The checks of what leaves the warehouse fail where something is wrong: each has faults that it catches."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pytest

from gesture_assets.publication.checks import (
    HOLDS_WHAT_PASSED,
    IS_UP_TO_DATE,
    Difference,
    as_an_analyst,
    differences,
    holds_what_passed,
    is_up_to_date,
)
from gesture_assets.publication.publish import NotWhatPassed, verify
from gesture_assets.publication.validation_results import says_what_checks_say, write
from gesture_assets.records.opening import RECORDS
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.session import Session
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.good_night import CONTRACTS, DAY, NIGHT, commit_good_night, good_table
from gesture_assets_tests.unit.publication.test_publish import TABLES, publish_from

pytestmark = pytest.mark.slow  # whole files are published

NEXT = DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse that holds two good days, to be copied."""
    path = tmp_path_factory.mktemp("two") / "warehouse.duckdb"
    run = RunInfo("run-0001", NIGHT + timedelta(days=1), (DAY, NEXT), "a_night")
    with Warehouse(path, 10, create=RECORDS).open(run) as session:
        commit_good_night(session)
    return path


@pytest.fixture
def second_night(two_days: Path, settings: Settings, open_session: Callable) -> Callable:
    """`with second_night() as session:` — the second of two good days, which waits to be published."""
    shutil.copyfile(two_days, settings.warehouse)
    return lambda: open_session(NEXT, now=NIGHT + timedelta(days=1), run_id="run-0002")


@pytest.fixture(scope="module")
def good_file(two_days: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the two good days publish, to be copied."""
    folder = tmp_path_factory.mktemp("file")
    settings = Settings(data_dir=folder)
    shutil.copyfile(two_days, settings.warehouse)
    with Warehouse.of(settings).open(RunInfo("run-0002", NIGHT + timedelta(days=1), (NEXT,), "publish")) as session:
        return publish_from(session, settings).path


@pytest.fixture
def file(good_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(good_file, tmp_path / "copy.duckdb"))


def change(path: Path, sql: str) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute(sql)


# ---- the published file holds what passed --------------------------------------


def test_a_file_that_holds_what_passed_says_so(file: Path) -> None:
    check, newest = holds_what_passed(file, TABLES)
    assert (check.name, check.passed, check.severity) == (HOLDS_WHAT_PASSED, True, Severity.ERROR)
    assert check.metadata == {"file": "copy.duckdb", "tables": len(TABLES), "newest_day": str(NEXT)}
    assert newest == NEXT
    assert verify(file, TABLES) == (check, NEXT)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            f"delete from rule_scores where user_id = 'cyd' and as_of_date = date '{DAY}'",
            [Difference("rule_scores", DAY, 2, 3)],
        ),
        (f"delete from top_users where as_of_date = date '{NEXT}'", [Difference("top_users", NEXT, 0, 2)]),
        (
            "insert into rule_sets by name select * replace (as_of_date + 2 as as_of_date) from rule_sets",
            [Difference("rule_sets", DAY + timedelta(days=n), 1, 0) for n in (2, 3)],
        ),
        (
            "delete from gate_ledger where table_name = 'rule_sets'",
            [Difference("rule_sets", d, 1, 0) for d in (DAY, NEXT)],
        ),
        ("delete from manifest", []),
    ],
    ids=["a row less", "a day less", "days more", "never audited", "no day at all"],
)
def test_a_file_that_does_not_hold_what_passed_fails_its_check(
    file: Path, fault: str, expected: list[Difference]
) -> None:
    change(file, fault)
    with as_an_analyst(file) as con:
        assert list(differences(con, TABLES)) == expected
    check, _ = holds_what_passed(file, TABLES)
    assert not check.passed
    assert check.metadata.get("differences", "") == ", ".join(one.in_short for one in expected)
    with pytest.raises(NotWhatPassed, match="a copy that holds what passed") as refused:
        verify(file, TABLES)
    assert refused.value.check == check


def test_a_row_that_an_earlier_day_lost_keeps_the_copy_from_being_flipped_in(
    second_night: Callable, settings: Settings
) -> None:
    with second_night() as session:
        session.connection.execute(
            f"delete from warehouse.main.rule_scores where user_id = 'cyd' and as_of_date = date '{DAY}'"
        )
        with pytest.raises(NotWhatPassed, match=f"rule_scores@{DAY}: 2 rows, 3 passed") as refused:
            publish_from(session, settings)
        # The night goes on in the open warehouse, to say what failed.
        assert session.connection.execute("select count(*) from warehouse.main.rule_scores").fetchone()
    assert not refused.value.check.passed
    assert refused.value.next_step == f"gesture run --date {DAY}"  # publishing again would be refused again
    assert not settings.published.exists()


# ---- the newest day is the last complete day -------------------------------------


@pytest.mark.parametrize(("nights_later", "passed"), [(-1, True), (0, True), (1, False), (30, False)])
def test_a_missed_night_is_noticed(nights_later: int, passed: bool) -> None:
    check = is_up_to_date(NEXT, NIGHT + timedelta(days=1 + nights_later))
    assert (check.name, check.passed, check.severity) == (IS_UP_TO_DATE, passed, Severity.WARN)
    assert check.metadata == {"newest_day": str(NEXT), "last_complete_day": str(NEXT + timedelta(days=nights_later))}


def test_a_file_without_a_day_is_not_up_to_date() -> None:
    assert not is_up_to_date(None, NIGHT).passed


# ---- success is what the checks say -----------------------------------------------


def judged(session: Session, path: Path) -> tuple[bool, str]:
    check = says_what_checks_say(session.connection, path, session.run)
    assert check.severity is Severity.ERROR
    return check.passed, check.metadata.get("differences", check.metadata.get("unreadable", ""))


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def reject(session: Session) -> None:
    """A further audit of identity_links, which fails."""
    session.connection.execute("create schema memory.bad")
    good_table(session, "identity_links", "memory.bad.links")
    session.connection.execute(f"update memory.bad.links set as_of_date = date '{NEXT}', user_id = 'ada@example.com'")
    frame = nw.from_native(session.connection.table("memory.bad.links"))
    (commit,) = session.commit((CONTRACTS["identity_links"], frame))
    assert commit.bad_days


def test_a_report_as_it_was_written_says_what_the_checks_say(second_night: Callable, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with second_night() as session:
        assert write(session.connection, path, session.run)["success"] is True
        assert judged(session, path) == (True, "")
        reject(session)
        assert write(session.connection, path, session.run)["success"] is False
        assert judged(session, path) == (True, "")
        check = says_what_checks_say(session.connection, path, session.run)
        assert (check.metadata["success"], check.metadata["failed_checks_that_block"]) == (False, 1)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda document: document.update(success=False), "its flag is False, and what failed and blocks is none"),
        (lambda document: document.update(success="yes"), "its flag is yes, and what failed and blocks is none"),
        (lambda document: document.update(run_id="run-0001"), "it is of run run-0001, not of run-0002"),
        (lambda document: document["results"].pop(), "it does not tell the latest audits of watch_time_stats@"),
        (
            lambda document: document["results"][0]["checks"][0].update(passed=False),
            "it does not tell the latest audits",
        ),
        (lambda document: document.pop("success"), "KeyError('success')"),
        (lambda document: document.update(results=None), "TypeError"),
    ],
    ids=["flag", "no flag but a word", "another run", "an audit less", "a check", "no flag", "no audits"],
)
def test_a_report_that_was_edited_fails_its_check(
    second_night: Callable, tmp_path: Path, edit: Callable[[dict[str, Any]], object], expected: str
) -> None:
    path = tmp_path / "results.json"
    with second_night() as session:
        write(session.connection, path, session.run)
        edited(path, edit)
        passed, said = judged(session, path)
    assert not passed
    assert expected in said


def test_a_report_from_before_the_last_audit_fails_its_check(second_night: Callable, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with second_night() as session:
        write(session.connection, path, session.run)
        reject(session)
        passed, said = judged(session, path)
    assert not passed
    assert f"the latest audits of identity_links@{NEXT}" in said
    assert f"what failed and blocks is identity_links@{NEXT} no_text_holds_an_ip_or_email_address" in said


@pytest.mark.parametrize("content", [None, "", "[]", "not json"])
def test_a_report_that_cannot_be_read_fails_its_check(
    second_night: Callable, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with second_night() as session:
        passed, said = judged(session, path)
    assert not passed
    assert "Error" in said
