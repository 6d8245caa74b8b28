"""The `gesture` command before anything ran: what it prints and refuses, and its exit codes. In this process."""

import json
import subprocess
import sys
from datetime import date, datetime
from importlib import metadata
from pathlib import Path

import pytest

from gesture_assets.cli.console import run_info
from gesture_assets.cli.run import saying_what_readers_have
from gesture_assets.records.opening import warehouse_of
from gesture_assets.settings import AWAITED, Settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.unit.cli.commands import ROOT, called, has_four_parts


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


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = called(tmp_path, "--version")
    assert (done.code, done.out) == (0, f"gesture_assets {metadata.version('gesture_assets')}\n")


def test_an_unknown_command_or_option_is_code_2(tmp_path: Path) -> None:
    assert called(tmp_path, "rnk").code == 2
    assert called(tmp_path, "rank", "--m", "5").code == 2
    assert called(tmp_path, "run", "--date", "yesterday").code == 2


def test_demo_data_never_replaces_a_crm_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "crm_database.sqlite"
    own.write_bytes(b"mine")
    done = called(tmp_path, "demo-data", "--users", "20", "--days", "2")
    assert done.code == 2
    assert has_four_parts(done.err)
    assert own.read_bytes() == b"mine"
    assert not (tmp_path / "landing").exists()


def test_there_is_no_quarantine_before_the_first_night(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "warehouse.duckdb", 10).open(RunInfo("r", datetime(2026, 3, 10), (), "a_test")):
        pass
    for command in (("list",), ("show",), ("replay", "--dry-run")):
        done = called(tmp_path, "quarantine", *command)
        assert (done.code, done.out) == (1, "")
        assert "There is no quarantine yet." in done.err
        assert has_four_parts(done.err)


def test_an_empty_landing_folder_is_code_2_with_the_four_parts(tmp_path: Path) -> None:
    done = called(tmp_path / "data", "run")
    assert done.code == 2
    assert done.err.startswith("SourceError: There is nothing to run.")
    assert has_four_parts(done.err)
    assert "gesture demo-data" in done.err


def test_nothing_can_be_published_before_a_night_has_passed(tmp_path: Path) -> None:
    done = called(tmp_path / "data", "publish")
    assert done.code == 1
    assert has_four_parts(done.err)


BEFORE_A_NIGHT = [
    ("rank",),
    ("explain",),
    ("gates",),
    ("export", "rule_scores", "--to", "x.csv"),
    ("tables",),
    ("publish",),
    ("quarantine", "list"),
    ("report", "night"),
    ("why-changed",),
]


@pytest.mark.parametrize("command", BEFORE_A_NIGHT, ids=" ".join)
def test_looking_before_anything_ran_is_code_1_and_says_what_to_do(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = called(tmp_path / "data", *command)
    assert done.code == 1
    assert has_four_parts(done.err)
    assert "next: gesture demo-data " in done.err
    (tmp_path / "data" / "landing" / "native").mkdir(parents=True, exist_ok=True)
    (tmp_path / "data" / "landing" / "native" / "a.csv").touch()
    assert called(tmp_path / "data", *command).err.endswith("next: gesture run\n")


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


BAD = {"GESTURE_TOP_USERS": "many", "GESTURE_DUCKDB_THREADS": "-1", "GESTURE_ALERT_WEBHOOK": "file:///secret"}


def test_every_setting_is_shown_with_those_that_cannot_be_used_marked(tmp_path: Path) -> None:
    done = called(tmp_path, "config", "show", "--json", **BAD)
    assert done.code == 2
    shown = json.loads(done.out)
    assert {name for name, entry in shown.items() if entry["problem"]} == {
        "top_users",
        "duckdb_threads",
        "alert_webhook",
    }
    assert shown["top_users"]["value"] == "many"
    assert "integer" in shown["top_users"]["problem"]
    assert "secret" not in done.out
    marked = [row for row in called(tmp_path, "config", "show", **BAD).table if "CANNOT BE USED" in row[-1]]
    assert sorted(row[:3] for row in marked) == [
        ["alert_webhook", "***", "GESTURE_ALERT_WEBHOOK"],
        ["duckdb_threads", "-1", "GESTURE_DUCKDB_THREADS"],
        ["top_users", "many", "GESTURE_TOP_USERS"],
    ]


@pytest.mark.parametrize("arguments", [(), ("--date", "2026-01-01")])
def test_where_nothing_was_ever_audited_gates_advise_a_run(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with warehouse_of(Settings(data_dir=tmp_path)).open(run_info("look", date(2026, 1, 1))):
        pass
    (tmp_path / "landing" / "native").mkdir(parents=True)
    (tmp_path / "landing" / "native" / "a.csv").touch()
    done = called(tmp_path, "gates", *arguments)
    assert done.code == 1
    assert "next: gesture run" in done.err


def test_what_was_not_done_leaves_the_published_file_unchanged_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path)
    for said in ("Nothing is published yet.", "The published file is unchanged."):
        with saying_what_readers_have(settings):
            pass
        assert said in capsys.readouterr().err
        settings.published.write_bytes(b"what readers have")


def test_a_bad_setting_refuses_the_commands_that_use_it_and_no_others(tmp_path: Path) -> None:
    done = called(tmp_path, "gates", GESTURE_TOP_USERS="many")
    assert (done.code, "There is no ledger yet." in done.err) == (1, True)
    assert called(tmp_path, "rules", "lint", **BAD).code == 0
    assert called(tmp_path, "alerts", "list", GESTURE_DUCKDB_THREADS="-1").code == 0
    done = called(tmp_path, "publish", GESTURE_DUCKDB_THREADS="-1")
    assert done.code == 2
    assert "GESTURE_DUCKDB_THREADS cannot be used." in done.err
    assert called(tmp_path, "train", GESTURE_TOP_USERS="many").code == 2


@pytest.mark.parametrize(
    "command", [("config", "show"), ("rank",), ("rules", "lint"), ("demo-data",), ("models", "list")]
)
def test_a_name_that_is_no_setting_is_code_2_whatever_the_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = called(tmp_path, *command, GESTURE_TOPUSERS="5")
    assert done.code == 2
    assert "GESTURE_TOPUSERS" in done.err


def test_the_selection_is_checked_first(tmp_path: Path) -> None:
    done = called(tmp_path, "run", "--select", "nosuch")
    assert done.code == 2
    assert "The selection 'nosuch' is not known." in done.err


def test_without_models_the_list_says_so_and_going_back_leads_to_it(tmp_path: Path) -> None:
    done = called(tmp_path, "models", "list")
    assert (done.code, done.out.startswith("There is no model yet. Next:  gesture demo-data ")) == (0, True)
    assert (called(tmp_path, "models", "list", "--json").out) == "[]\n"
    shown = called(tmp_path, "models", "show", "x")
    assert (shown.code, "There is no model yet." in shown.err, "one of none" in shown.err) == (2, True, False)
    done = called(tmp_path, "models", "rollback")
    assert done.code == 1
    assert "next: gesture models list" in done.err


def test_days_that_are_left_out_are_not_said_to_be_live(tmp_path: Path) -> None:
    assert called(tmp_path, "demo-data", "--users", "5", "--days", "3", "--end", "2026-03-09").code == 0
    done = called(tmp_path, "run", GESTURE_PARTITIONS_START="2099-01-01")
    assert done.code == 0, done.err
    assert "are left out (first 2026-03-0" in done.out
    assert "No landed day can be run. Nothing to do." in done.out
    assert "is live" not in done.out


@pytest.mark.parametrize("command", ["featurize", "score-rules"])
def test_a_step_without_a_data_folder_says_that_nothing_has_landed(tmp_path: Path, command: str) -> None:
    done = called(tmp_path / "data", command)
    assert done.code == 2
    assert ("There is nothing to run." in done.err, "gesture demo-data" in done.err) == (True, True)
