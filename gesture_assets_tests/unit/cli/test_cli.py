"""The `gesture` command on a small demo world: what it prints, writes and refuses, and its exit codes.

Light commands run in this process, through `main`; those that start Dagster run in one of their own, as users do.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.cli import main
from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.settings import AWAITED
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[3]
LAST = "2026-03-09"
FORMULA = "=cmd()"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def table(self) -> list[list[str]]:
        """The tab-separated lines."""
        return [line.split("\t") for line in self.out.splitlines() if "\t" in line]


def clean_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("GESTURE_", "DAGSTER_"))}
    return {**others, "GESTURE_DATA_DIR": str(data_dir), "GESTURE_PSEUDONYM_KEY": "a key for tests only", **settings}


def started(data_dir: Path, *arguments: str, **settings: str) -> Done:
    """`gesture …` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "gesture_assets.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(data_dir, **settings),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def called(data_dir: Path, *arguments: str, **settings: str) -> Done:
    """`gesture …` in this process; its code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("GESTURE_")]:
            patch.delenv(name)
        for name, value in clean_environment(data_dir, **settings).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["gesture", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def has_four_parts(message: str) -> bool:
    return all(part in message for part in ("expected: ", "found: ", "where: ", "next: "))


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done, Done]:
    """A demo world and its first night; not to be changed."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    wrote = called(folder, "demo-data", "--users", "60", "--days", "5", "--end", LAST, "--seed", "3")
    formula = f"event_id,user_id,event_type,event_at\nf1,{FORMULA},signup,{LAST}T20:00:00Z\n"
    formula += f"f2,{FORMULA},calendar_booking,{LAST}T21:00:00Z\nf3,{FORMULA},demo_request_click,{LAST}T22:00:00Z\n"
    (folder / "landing" / "native" / "formula.csv").write_text(formula)
    return folder, wrote, started(folder, "run")


@pytest.fixture(scope="module")
def world(first_run: tuple[Path, Done, Done]) -> Path:
    folder, _, ran = first_run
    assert ran.code == 0, ran.out + ran.err
    return folder


@pytest.fixture
def own_world(world: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(world, tmp_path / "data", symlinks=True))


@pytest.fixture
def scores(world: Path) -> Callable[[str], list[tuple]]:
    def ask(sql: str) -> list[tuple]:
        con = duckdb.connect(str((world / "gesture.duckdb").resolve()), read_only=True)
        rows = con.execute(sql).fetchall()
        con.close()
        return rows

    return ask


# ---- starting ------------------------------------------------------------------------------------------------------


def test_the_command_starts_without_heavy_libraries() -> None:
    code = (
        "import sys, gesture_assets.cli; print(sorted({'dagster', 'duckdb', 'polars', 'narwhals', 'pandas', "
        "'great_expectations', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = called(tmp_path, "--help")
    assert shown.code == 0
    for command in ("run", "demo-data", "dev", "rank", "explain", "gates", "export", "rules", "publish", "config"):
        assert command in shown.out


def test_an_unknown_command_or_option_is_code_2(tmp_path: Path) -> None:
    assert called(tmp_path, "rnk").code == 2
    assert called(tmp_path, "rank", "--m", "5").code == 2
    assert called(tmp_path, "run", "--date", "yesterday").code == 2


# ---- running -------------------------------------------------------------------------------------------------------


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


def test_demo_data_never_replaces_a_crm_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "crm_database.sqlite"
    own.write_bytes(b"mine")
    done = called(tmp_path, "demo-data", "--users", "20", "--days", "2")
    assert done.code == 2
    assert has_four_parts(done.err)
    assert own.read_bytes() == b"mine"
    assert not (tmp_path / "landing").exists()


def test_the_first_run_publishes_every_day_and_says_where_to_look(first_run: tuple[Path, Done, Done], scores) -> None:
    _, _, ran = first_run
    assert ran.code == 0, ran.out + ran.err
    assert "nightly for 2026-03-05 to 2026-03-09" in ran.out
    assert "gesture rank --n 20" in ran.out
    assert scores("select count(distinct as_of_date), max(as_of_date)::varchar from rule_scores") == [(5, LAST)]


def test_a_second_run_has_nothing_to_do(own_world: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    done = called(own_world, "run")
    assert done.code == 0, done.err
    assert "Nothing to do." in done.out
    assert "nightly for" not in done.out
    assert (own_world / "gesture.duckdb").resolve() == before


@pytest.mark.slow
def test_a_file_that_lands_late_restates_its_day_for_a_reason_and_a_rollback_goes_back(own_world: Path) -> None:
    (own_world / "landing" / "native" / "more.csv").write_text(
        f"event_id,user_id,event_type,event_at,received_at\nm1,newcomer,signup,{LAST}T20:00:00Z,{LAST}T20:00:00Z\n"
    )
    before = (own_world / "gesture.duckdb").resolve()
    left = started(own_world, "run")
    assert (left.code, (own_world / "gesture.duckdb").resolve()) == (0, before)
    assert f"Files landed late for {LAST}" in left.out
    refused = started(own_world, "run", "--date", LAST)
    assert refused.code == 1
    assert has_four_parts(refused.err)
    assert f"raw_events@{LAST}: 1 added" in refused.err
    done = started(own_world, "run", "--date", LAST, "--restate", "--reason", "the evening's file came late")
    assert done.code == 0, done.out + done.err
    assert [line for line in done.out.splitlines() if line.startswith("nightly for")] == [f"nightly for {LAST}"]
    assert called(own_world, "explain", "--user-id", "newcomer").code == 0
    assert (own_world / "gesture.duckdb").resolve() != before
    back = called(own_world, "publish", "rollback")
    assert back.code == 0, back.err
    assert before.name in back.out.replace("\n", "")
    assert (own_world / "gesture.duckdb").resolve() == before
    assert called(own_world, "explain", "--user-id", "newcomer").code == 2
    again = called(own_world, "publish", "rollback")
    assert again.code == 1
    assert has_four_parts(again.err)
    assert logged(own_world) == [
        ("run", "*", None),
        ("run", "*", None),
        ("restate", "*", "the evening's file came late"),
        ("roll back", before.name, None),
    ]


def logged(data_dir: Path) -> list[tuple[str, str, str | None]]:
    con = duckdb.connect(str(data_dir / "warehouse.duckdb"), read_only=True)
    rows = con.execute("select action, object, reason from audit_log order by rowid").fetchall()
    con.close()
    return rows


def test_looking_commands_leave_no_row_in_the_audit_log_and_the_run_left_one(own_world: Path) -> None:
    for command in (("gates",), ("quarantine", "list"), ("quarantine", "show"), ("rank",), ("catchup", "--dry-run")):
        assert called(own_world, *command).code == 0
    assert logged(own_world) == [("run", "*", None)]
    assert called(own_world, "publish", "rollback").code == 1  # there is no older file: nothing happens
    assert logged(own_world) == [("run", "*", None)]


def test_there_is_no_quarantine_before_the_first_night(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "warehouse.duckdb", 10).open(RunInfo("r", datetime(2026, 3, 10), (), "a_test")):
        pass
    for command in (("list",), ("show",), ("replay", "--dry-run")):
        done = called(tmp_path, "quarantine", *command)
        assert (done.code, done.out) == (1, "")
        assert "There is no quarantine yet." in done.err
        assert has_four_parts(done.err)


def test_catching_up_lists_the_nights_that_were_missed(own_world: Path) -> None:
    done = called(own_world, "catchup", "--dry-run")
    assert done.code == 0
    missed = [(day, what) for day, what, _ in done.table[1:]]
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert len(missed) == (yesterday - date.fromisoformat(LAST)).days
    assert missed[0] == (str(date.fromisoformat(LAST) + timedelta(days=1)), "nothing landed")


@pytest.mark.slow
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
    looked = called(own_world, "catchup", "--dry-run")
    assert looked.code == 1
    listed = {row[0]: row[1] for row in looked.table[1:]}
    assert [listed[day] for day in (LAST, *after)] == [
        "files landed late",
        "missed night",
        "nothing landed",
        "missed night",
    ]
    ran = started(own_world, "catchup")
    assert ran.code == 1, ran.out + ran.err  # the late file is left over
    assert 'gesture catchup --restate --reason "why"' in ran.out
    again = {row[0]: row[1] for row in called(own_world, "catchup", "--dry-run").table[1:]}
    assert again.get(LAST) == "files landed late"
    assert "missed night" not in again.values()
    why = "the evening's file came late"
    restated = started(own_world, "catchup", "--restate", "--reason", why)
    assert restated.code == 0, restated.out + restated.err
    assert logged(own_world)[1:] == [("run", "*", None), ("restate", "*", why)]
    con = duckdb.connect(str((own_world / "gesture.duckdb").resolve()), read_only=True)
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


@pytest.mark.slow
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
    ran = started(own_world, "run", "--date", LAST, "--restate", "--reason", "an export was forgotten")
    assert ran.code == 0, ran.out + ran.err
    of_export = ("crm_export/more.csv", "unknown_event_type")
    listed = [row for row in called(own_world, "quarantine", "list").table[1:] if (row[2], row[3]) == of_export]
    assert [(row[0], row[4], row[5]) for row in listed] == [(LAST, "2", "100.0%")]
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
    done = started(own_world, "quarantine", "replay", "--reason", why)
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


@pytest.mark.parametrize(
    "options", [("--restate",), ("--force", "--reason", " "), ("--reason", "why"), ("--restate-crm", "--force")]
)
def test_an_exception_needs_a_reason_and_a_reason_an_exception(own_world: Path, options: tuple[str, ...]) -> None:
    done = called(own_world, "run", "--date", LAST, *options)
    assert done.code == 2
    assert has_four_parts(done.err)


@pytest.mark.slow
def test_a_day_can_be_run_again_with_the_tables_that_belong_together(own_world: Path) -> None:
    unchanged = started(own_world, "run", "--date", LAST, "--select", "rule_scores")
    assert unchanged.code == 0, unchanged.out + unchanged.err
    assert "rule_scores: nothing has changed, the live rows stay" in unchanged.out
    assert ": staged" not in unchanged.out
    done = started(own_world, "run", "--date", LAST, "--select", "rule_scores", "--rebuild")
    assert done.code == 0, done.out + done.err
    staged = {line.split(":")[0] for line in done.out.splitlines() if ": staged" in line}
    assert staged == {"rule_sets", "rule_scores", "rule_contributions"}


def test_a_selection_of_nothing_known_is_code_2_with_the_names_that_are(own_world: Path) -> None:
    done = started(own_world, "run", "--date", LAST, "--select", "user_feature")
    assert done.code == 2
    assert has_four_parts(done.err)
    assert "user_features" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--date", "2019-01-01"),
        ("--date", "2999-01-01"),
        ("--from", "2026-03-09", "--to", "2026-03-05"),
        ("--date", LAST, "--from", "2026-03-05"),
    ],
)
def test_days_that_cannot_be_run_are_code_2(world: Path, arguments: tuple[str, ...]) -> None:
    done = called(world, "run", *arguments)
    assert done.code == 2
    assert has_four_parts(done.err)
    assert "nightly for" not in done.out


def test_an_empty_landing_folder_is_code_2_with_the_four_parts(tmp_path: Path) -> None:
    done = called(tmp_path / "data", "run")
    assert done.code == 2
    assert done.err.startswith("SourceError: There is nothing to run.")
    assert has_four_parts(done.err)
    assert "gesture demo-data" in done.err


@pytest.mark.slow
def test_publishing_again_makes_a_new_file_of_the_newest_day(own_world: Path) -> None:
    before = (own_world / "gesture.duckdb").resolve()
    done = started(own_world, "publish")
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


def test_nothing_can_be_published_before_a_night_has_passed(tmp_path: Path) -> None:
    done = called(tmp_path / "data", "publish")
    assert done.code == 1
    assert has_four_parts(done.err)


# ---- looking -------------------------------------------------------------------------------------------------------


def test_the_ranked_list_is_strictly_ordered(world: Path, scores) -> None:
    done = called(world, "rank", "--n", "5")
    assert done.code == 0, done.err
    assert done.table[0] == ["rank", "user_id", "score", "band", "explanation", "last_event_at"]
    rows = done.table[1:]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    expected = scores(
        "select user_id, printf('%.2f', score) from analytics.current_scores "
        "order by score desc, last_event_at desc nulls last, user_id limit 5"
    )
    assert [(row[1], row[2]) for row in rows] == expected


def test_the_ranked_list_of_an_earlier_day_can_be_asked_for_and_of_no_other(world: Path) -> None:
    assert len(called(world, "rank", "--n", "3", "--date", "2026-03-06").table) == 4
    done = called(world, "rank", "--date", "2026-02-01")
    assert done.code != 0
    assert has_four_parts(done.err)


def test_a_formula_is_exported_as_text(world: Path, tmp_path: Path) -> None:
    ranked, exported = tmp_path / "rank.csv", tmp_path / "scores.csv"
    assert called(world, "rank", "--n", "50", "--csv", str(ranked)).code == 0
    done = called(world, "export", "rule_scores", "--to", str(exported), "--date", LAST)
    assert done.code == 0, done.err
    for path in (ranked, exported):
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        users = {row["user_id"] for row in rows}
        assert f"'{FORMULA}" in users
        assert FORMULA not in users
        assert not [row for row in rows for value in row.values() if value[:1] in ("=", "+", "@")]


def test_an_export_holds_the_rows_of_the_table_or_of_a_day(world: Path, tmp_path: Path, scores) -> None:
    for name in ("rule_scores", "analytics.current_scores"):
        path = tmp_path / f"{name}.csv"
        assert called(world, "export", name, "--to", str(path)).code == 0
        with path.open(newline="", encoding="utf-8") as stream:
            assert [(len(list(csv.DictReader(stream))),)] == scores(f"select count(*) from {name}")


def test_an_export_of_no_table_is_code_2_with_the_tables(world: Path, tmp_path: Path) -> None:
    done = called(world, "export", "rule_score", "--to", str(tmp_path / "x.csv"))
    assert done.code == 2
    assert "rule_scores" in done.err
    assert not (tmp_path / "x.csv").exists()


def test_an_export_to_a_folder_that_is_not_there_says_so(world: Path, tmp_path: Path) -> None:
    for arguments in (("export", "rule_scores", "--to"), ("rank", "--csv")):
        done = called(world, *arguments, str(tmp_path / "nowhere" / "x.csv"))
        assert done.code == 2
        assert has_four_parts(done.err)


def test_an_export_by_day_of_a_table_without_days_says_so(world: Path, tmp_path: Path) -> None:
    done = called(world, "export", "dim_feature", "--to", str(tmp_path / "x.csv"), "--date", LAST)
    assert done.code == 2
    assert has_four_parts(done.err)


def test_an_explanation_lists_every_rule_and_sums_to_the_score(world: Path, scores) -> None:
    [(user, score)] = scores(
        "select user_id, points from analytics.current_scores order by score desc, user_id limit 1"
    )
    done = called(world, "explain", "--user-id", user)
    assert done.code == 0, done.err
    rows = done.table
    assert rows[0] == ["rule", "value", "weight", "scaled", "decay", "points", "because"]
    *rules, total = rows[1:]
    assert total[0] == "sum"
    assert abs(float(total[5]) - score) < 0.005
    assert abs(sum(float(row[5]) for row in rules) - score) < 0.01 * len(rules)
    assert len(rules) == scores("select max(rule_count) from rule_sets")[0][0]
    assert all(row[6] for row in rules)


def test_the_global_explanation_lists_every_rule_with_its_mean(world: Path, scores) -> None:
    done = called(world, "explain")
    assert done.code == 0, done.err
    assert done.table[0][0] == "rule_id"
    [(day, users)] = scores("select max(as_of_date), count(*) from analytics.current_scores")
    expected = dict(
        scores(
            f"select rule_id, sum(points) / {users} from rule_contributions "
            f"where as_of_date = date '{day}' group by all"
        )
    )
    place = done.table[0].index("mean_points")
    rows = {row[0]: float(row[place]) for row in done.table[1:]}
    assert len(rows) == scores("select max(rule_count) from rule_sets")[0][0]
    assert rows == pytest.approx(dict.fromkeys(rows, 0.0) | expected, abs=0.0006)


def test_an_unknown_user_is_code_2_with_near_matches(world: Path, scores) -> None:
    [(user,)] = scores("select min(user_id) from analytics.current_scores where user_id like 'u0%'")
    done = called(world, "explain", "--user-id", user + "x")
    assert done.code == 2
    assert user in done.err
    assert has_four_parts(done.err)


@pytest.mark.parametrize("command", [("rank",), ("explain",), ("gates",), ("export", "rule_scores", "--to", "x.csv")])
def test_looking_before_anything_ran_is_code_1_and_says_what_to_do(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = called(tmp_path / "data", *command)
    assert done.code == 1
    assert has_four_parts(done.err)
    assert "gesture run" in done.err


def test_gates_of_a_good_night_are_all_open(world: Path) -> None:
    done = called(world, "gates")
    assert done.code == 0, done.err
    assert {row[3] for row in done.table[1:]} == {"PASS"}
    assert len(done.table[1:]) == len(catalogue(()).nightly)
    assert {row[1] for row in called(world, "gates", "--date", "2026-03-05").table[1:]} == {"2026-03-05"}


def test_gates_of_a_day_that_was_never_audited_are_not_open(world: Path) -> None:
    done = called(world, "gates", "--date", "2026-01-01")
    assert done.code == 1
    assert has_four_parts(done.err)


# ---- rules and settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["intent", "scoring_reference"])
def test_the_shipped_rule_sets_have_no_findings(tmp_path: Path, name: str) -> None:
    done = called(tmp_path, "rules", "lint", name)
    assert done.code == 0, done.out + done.err
    assert "0 findings" in done.out


def test_a_planted_rule_set_is_found_out(tmp_path: Path) -> None:
    shipped = (ROOT / "gesture_assets" / "rules" / "sets" / "scoring_reference.toml").read_text()
    (tmp_path / "rules").mkdir()
    planted = shipped.replace('name = "scoring_reference"', 'name = "planted"').replace("medium = 40", "medium = 80")
    (tmp_path / "rules" / "planted.toml").write_text(planted)
    done = called(tmp_path, "rules", "lint", "planted")
    assert done.code != 0, done.out
    assert has_four_parts(done.err)


def test_a_rule_set_that_only_looks_wrong_is_code_1_with_the_finding(tmp_path: Path) -> None:
    shipped = (ROOT / "gesture_assets" / "rules" / "sets" / "scoring_reference.toml").read_text()
    (tmp_path / "rules").mkdir()
    mute = shipped.replace('name = "scoring_reference"', 'name = "mute"').replace("Sign-ups: {value}.", "Signed up.")
    (tmp_path / "rules" / "mute.toml").write_text(mute)
    done = called(tmp_path, "rules", "lint", "mute")
    assert done.code == 1, done.out + done.err
    assert "Rule 'signups' has a because without {value}" in done.out
    assert "1 findings" in done.out


def test_an_unknown_rule_set_is_code_2(tmp_path: Path) -> None:
    done = called(tmp_path, "rules", "lint", "nonesuch")
    assert done.code == 2
    assert has_four_parts(done.err)


def test_the_settings_are_shown_with_where_they_come_from_and_without_secrets(tmp_path: Path) -> None:
    done = called(
        tmp_path, "config", "show", "--json", GESTURE_CRM_URL="postgresql://me:secret@crm/x", GESTURE_TOP_USERS="7"
    )
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert (shown["top_users"]["value"], shown["top_users"]["source"]) == (7, "GESTURE_TOP_USERS")
    assert (shown["published_keep"]["value"], shown["published_keep"]["source"]) == (3, "default")
    assert shown["pseudonym_key"]["value"] == "***"
    assert "secret" not in done.out
    assert "a key for tests only" not in done.out
    assert all(entry["description"] for entry in shown.values())
    assert {name for name, entry in shown.items() if entry["description"].endswith("(not read yet)")} == set(AWAITED)


def test_a_bad_setting_is_code_2_whatever_the_command(tmp_path: Path) -> None:
    for command in (("config", "show"), ("rank",), ("run",)):
        done = called(tmp_path, *command, GESTURE_TOP_USERS="none")
        assert done.code == 2
        assert "GESTURE_TOP_USERS cannot be used." in done.err
    assert called(tmp_path, "config", "show", GESTURE_TOPUSERS="5").code == 2


# ---- a night that fails --------------------------------------------------------------------------------------------


@pytest.mark.slow
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

    closed = called(own_world, "gates", "--date", LAST)
    assert closed.code == 1
    assert "at_most_5_percent_of_rows_are_quarantined" in closed.out

    refused = started(own_world, "run", "--date", LAST, "--select", "user_features")
    assert refused.code == 1
    assert "GateClosed: user_features cannot be built for 2026-03-09." in refused.err
    assert has_four_parts(refused.err)

    (own_world / "landing" / "native" / f"events-{LAST}-poison.csv").unlink()
    mended = started(own_world, "run")
    assert mended.code == 0, mended.out + mended.err
    assert called(own_world, "gates", "--date", LAST).code == 0


@pytest.mark.slow
def test_a_bad_day_keeps_back_itself_and_what_follows_but_not_what_came_before(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    landing = folder / "landing" / "native"
    landing.mkdir(parents=True)
    header = "event_id,user_id,event_type,event_at\n"
    # Nothing lands on the 3rd: a quiet day is no gap that stops a range.
    for day in (1, 2, 4, 5):
        user = "" if day == 4 else "ada"
        row = f"e{day},{user},page_view,2026-03-0{day}T10:00:00Z\ng{day},bob,page_view,2026-03-0{day}T11:00:00Z\n"
        (landing / f"day-{day}.csv").write_text(header + row)
    done = started(folder, "run")
    assert done.code == 1
    assert "at_most_5_percent_of_rows_are_quarantined" in done.err
    assert "2026-03-01 to 2026-03-03 are sound" in done.out
    con = duckdb.connect(str(folder / "gesture.duckdb"), read_only=True)
    days = con.execute("select distinct as_of_date::varchar from rule_scores order by all").fetchall()
    assert [day for (day,) in days] == ["2026-03-01", "2026-03-02"]
