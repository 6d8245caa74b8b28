"""Commands that look, on a small demo world of five nights: what they print, write and refuse. The world is shared."""

import csv
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from gesture_assets.cli.console import CONTROL
from gesture_assets.contracts.catalogue import catalogue
from gesture_assets_tests.unit.cli.commands import FORMULA, LAST, called, has_four_parts, logged, started

pytestmark = pytest.mark.slow  # the world is built by a run

Scores = Callable[[str], list[tuple]]


def test_the_ranked_list_is_strictly_ordered(world: Path, scores: Scores) -> None:
    done = called(world, "rank", "--n", "5")
    assert done.code == 0, done.err
    assert done.table[0] == ["rank", "user_id", "score", "why", "last_event_at"]
    rows = done.table[1:]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    expected = scores("select user_id, printf('%.2f', score) from analytics.call_list order by rank limit 5")
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


def test_an_export_holds_the_rows_of_the_table_or_of_a_day(world: Path, tmp_path: Path, scores: Scores) -> None:
    for name in ("rule_scores", "analytics.current_scores"):
        path = tmp_path / f"{name}.csv"
        assert called(world, "export", name, "--to", str(path)).code == 0
        with path.open(newline="", encoding="utf-8") as stream:
            assert [(len(list(csv.DictReader(stream))),)] == scores(f"select count(*) from {name}")


def test_an_export_of_the_ranked_list_without_a_day_is_the_newest_one(
    world: Path, tmp_path: Path, scores: Scores
) -> None:
    path = tmp_path / "top.csv"
    done = called(world, "export", "top_users", "--to", str(path))
    assert done.code == 0, done.err
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["as_of_date"] for row in rows} == {LAST}
    assert [(len(rows),)] == scores(f"select count(*) from top_users where as_of_date = '{LAST}'")
    assert f"of {LAST}" in done.out


def test_an_export_of_no_table_is_code_2_with_the_tables(world: Path, tmp_path: Path) -> None:
    done = called(world, "export", "rule_score", "--to", str(tmp_path / "x.csv"))
    assert done.code == 2
    assert "rule_scores" in done.err
    assert not (tmp_path / "x.csv").exists()


def test_an_export_in_another_format_is_refused_with_the_name_that_works(world: Path, tmp_path: Path) -> None:
    done = called(world, "export", "rule_sets", "--to", str(tmp_path / "sets.parquet"))
    assert done.code == 2
    assert has_four_parts(done.err)
    assert f"next: gesture export rule_sets --to {tmp_path / 'sets.csv'}" in done.err
    assert called(world, "export", "rule_sets", "--to", str(tmp_path / "sets.csv")).code == 0


def test_an_export_to_a_folder_that_is_not_there_says_so(world: Path, tmp_path: Path) -> None:
    for arguments in (("export", "rule_scores", "--to"), ("rank", "--csv")):
        done = called(world, *arguments, str(tmp_path / "nowhere" / "x.csv"))
        assert done.code == 2
        assert has_four_parts(done.err)


def test_an_export_by_day_of_a_table_without_days_says_so(world: Path, tmp_path: Path) -> None:
    done = called(world, "export", "dim_feature", "--to", str(tmp_path / "x.csv"), "--date", LAST)
    assert done.code == 2
    assert has_four_parts(done.err)


def test_an_explanation_lists_every_rule_and_sums_to_the_score(world: Path, scores: Scores) -> None:
    [(user, score)] = scores(
        "select user_id, points from analytics.current_rule_scores order by score desc, user_id limit 1"
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


def test_the_global_explanation_lists_every_rule_with_its_mean(world: Path, scores: Scores) -> None:
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
    shares = dict(
        scores(
            f"select rule_id, count(*) filter (points > 0) / {users} from rule_contributions "
            f"where as_of_date = date '{day}' group by all"
        )
    )
    place = done.table[0].index("share_of_users")
    said = {row[0]: float(row[place]) for row in done.table[1:]}
    assert said == pytest.approx(dict.fromkeys(rows, 0.0) | shares, abs=0.0006)
    assert any(0 < share < 1 for share in said.values())


def test_lists_in_a_pipe_say_of_which_day_they_are(world: Path, scores: Scores) -> None:
    [(user,)] = scores("select user_id from analytics.current_top_users order by rank limit 1")
    for command in (("rank",), ("explain",), ("explain", user)):
        first, second = called(world, *command).out.splitlines()[:2]
        assert LAST in first
        assert "\t" not in first
        assert "\t" in second


def test_the_length_of_every_list_has_the_same_two_names(world: Path) -> None:
    for command in (("rank",), ("quarantine", "show"), ("quarantine", "list")):
        for name in ("--n", "-n"):
            done = called(world, *command, name, "1")
            assert (done.code, len(done.table)) == (0, 2), (command, name, done.out + done.err)


@pytest.mark.parametrize("command", [("rank",), ("quarantine", "show"), ("gates",)])
def test_nothing_is_cut_off_at_80_columns(
    world: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    rows = called(world, *command).table[1:]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    said = CONTROL.sub("", called(world, *command).out)
    assert rows
    assert "…" not in said
    # The widest column may break words; of what names a row or a place nothing is broken.
    names = {"rank": 3, "quarantine": 4, "gates": 6}[command[0]]
    assert [word for row in rows for cell in row[:names] for word in cell.split() if word not in said.split()] == []
    if command != ("quarantine", "show"):  # whose rows are blocks of lines
        assert max(map(len, said.splitlines())) <= 80


MARKED = "[/b]\x1b[31mred\x1b[0m\x07 [bold]boss[/]"


def test_an_id_that_looks_like_markup_or_orders_a_terminal_is_shown_as_text(
    own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with duckdb.connect(str((own_world / "gesture.duckdb").resolve())) as con:
        first = f"select arg_max(user_id, score) from rule_scores where as_of_date = '{LAST}'"
        [(first,)] = con.execute(first).fetchall()
        for table in ("rule_scores", "rule_contributions", "intent_scores", "user_features"):
            con.execute(f"update {table} set user_id = ? where user_id = ?", [MARKED, first])
    shown_as = "[/b]red [bold]boss[/]"
    for terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        for command in (("rank", "--csv", str(tmp_path / "rank.csv")), ("explain", MARKED)):
            done = called(own_world, *command)
            assert (done.code, done.err.count("Traceback")) == (0, 0)
            assert "\x1b[31mred" not in done.out
            assert "\x07" not in done.out
            assert shown_as.split()[0] in done.out or (command[0], terminal) == ("explain", "")
    assert called(own_world, "export", "rule_scores", "--to", str(tmp_path / "all.csv")).code == 0
    for name in ("rank.csv", "all.csv"):
        written = (tmp_path / name).read_text()
        assert shown_as in written
        assert "\x1b" not in written


def test_an_unknown_user_is_code_2_with_near_matches(world: Path, scores: Scores) -> None:
    [(user,)] = scores("select min(user_id) from analytics.current_scores where user_id like 'u0%'")
    done = called(world, "explain", "--user-id", user + "x")
    assert done.code == 2
    [(users,)] = scores("select count(*) from analytics.current_scores")
    assert re.search(rf"expected: {user} or .*, of {users:,} that are known", done.err)
    assert has_four_parts(done.err)


def test_two_people_are_not_explained_at_once(world: Path, scores: Scores) -> None:
    [(user, other)] = scores("select min(user_id), max(user_id) from analytics.current_scores where user_id like 'u0%'")
    refused = called(world, "explain", user, "--user-id", other)
    assert (refused.code, has_four_parts(refused.err), f"{user} and {other}" in refused.err) == (2, True, True)
    assert called(world, "explain", user, "--user-id", user).code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("show", "--reason", "future"), 2, "future_ts"),
        (("show", "--file", f"native/events-{LAST}.parque"), 2, f"native/events-{LAST}.parquet"),
        (("show", "--date", "2020-01-01"), 1, f"from 2026-03-05 to {LAST}"),
        (("list", "--date", "2020-01-01"), 1, f"from 2026-03-05 to {LAST}"),
    ],
)
def test_a_slip_of_the_keyboard_is_not_an_empty_quarantine(
    world: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = called(world, "quarantine", *words)
    assert (done.code, has_four_parts(done.err), message in done.err, done.out) == (code, True, True, "")


def test_nothing_in_quarantine_is_said_in_words(world: Path) -> None:
    done = called(world, "quarantine", "show", "--reason", "inexact_id")
    assert (done.code, done.out) == (0, "No such row lies in quarantine.\n")


def test_an_export_of_a_day_that_was_never_published_is_refused(world: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.csv"
    refused = called(world, "export", "rule_scores", "--to", str(to), "--date", "2020-01-01")
    assert (refused.code, has_four_parts(refused.err), to.exists()) == (1, True, False)
    none = called(world, "export", "drift_reports", "--to", str(to), "--date", LAST)
    assert (none.code, "Wrote 0 rows" in none.out) == (0, True)


def test_buyers_by_events_and_by_the_crm_add_up_to_who_is_left_out_of_the_call_list(scores: Scores) -> None:
    of_day = "as_of_date = (select max(as_of_date) from user_features)"
    [(by_events,)] = scores(f"select bought from analytics.funnel where {of_day}")
    [(by_crm,)] = scores("select sum(buyers) from analytics.revenue_by_band")
    [(by_both,)] = scores(
        f"select count(*) from user_features where {of_day} and purchase_count > 0 and made_purchase = 1"
    )
    left_out = scores(
        f"select users from analytics.left_out_of_call_list where {of_day} and reason = 'already_converted'"
    )
    assert 0 < by_both < min(by_events, by_crm)
    assert left_out == [(by_events + by_crm - by_both,)]


def test_the_layout_says_that_its_converted_is_no_purchase(world: Path, tmp_path: Path) -> None:
    said = called(world, "export", "--layout", "scoring-csv", "--to", str(tmp_path / "layout")).out
    assert "converted means signed up and booked a meeting, not bought" in said


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
    assert "next: gesture gates" in done.err


def test_catching_up_lists_the_nights_that_were_missed(own_world: Path) -> None:
    done = called(own_world, "catchup", "--dry-run")
    assert done.code == 0
    missed = [(day, what) for day, what, _ in done.table[1:]]
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert len(missed) == (yesterday - date.fromisoformat(LAST)).days
    assert missed[0] == (str(date.fromisoformat(LAST) + timedelta(days=1)), "nothing landed")


def test_where_nothing_is_to_catch_up_no_empty_table_is_shown(tmp_path: Path) -> None:
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    called(tmp_path, "demo-data", "--users", "20", "--days", "1", "--end", yesterday)
    ran = started(tmp_path, "run")
    assert ran.code == 0, ran.err
    for options in (("--dry-run",), ()):
        done = called(tmp_path, "catchup", *options)
        assert (done.code, done.out) == (0, "Every night has run, up to yesterday.\n")


def test_looking_commands_leave_no_row_in_the_audit_log_and_the_run_left_one(own_world: Path) -> None:
    for command in (("gates",), ("quarantine", "list"), ("quarantine", "show"), ("rank",), ("catchup", "--dry-run")):
        assert called(own_world, *command).code == 0
    assert logged(own_world) == [("run", "*", None)]
    assert called(own_world, "publish", "rollback").code == 1  # there is no older file: nothing happens
    assert logged(own_world) == [("run", "*", None)]


@pytest.mark.parametrize(
    "kept",
    [
        "pseudonym.key",
        "gesture.duckdb",
        "warehouse.duckdb",
        "crm_database.sqlite",
        "mlflow.db",
        "suppressed.csv",
        "landing/native/x.csv",
        "published/x.csv",
        "models/x.csv",
        "dagster_home/x.csv",
        "rules/x.csv",
        "sources/x.csv",
        "reports/../published/x.csv",
    ],
)
def test_what_the_product_keeps_is_not_written_over(world: Path, tmp_path: Path, kept: str) -> None:
    target = world / kept
    before = target.read_bytes() if target.is_file() else None
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    commands = [("export", "rule_scores", "--to"), ("report", "night", "--out"), ("rank", "--csv")]
    for command in commands if kept == "gesture.duckdb" else commands[:1]:
        for path in (target, link):
            done = called(world, *command, str(path))
            assert (done.code, has_four_parts(done.err)) == (2, True), done.out + done.err
            assert "what the product keeps is not written over" in done.err
    assert (target.read_bytes() if target.is_file() else None) == before


def test_a_layout_is_not_written_among_the_models(world: Path) -> None:
    done = called(world, "export", "--layout", "scoring-csv", "--to", str(world))
    assert (done.code, "what the product keeps" in done.err) == (2, True)


def test_a_list_of_ones_own_may_stand_in_the_data_folder(own_world: Path) -> None:
    (own_world / "mine").mkdir()
    for name in ("mine.csv", "mine/list.csv", "reports/list.csv"):
        assert called(own_world, "export", "top_users", "--to", str(own_world / name)).code == 0
        assert (own_world / name).read_text().startswith("as_of_date")
