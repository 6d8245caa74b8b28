"""`gesture models …` on a small demo world with three versions of a model that was trained in no time."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gesture_assets.cli.console import run_info
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import train
from gesture_assets.models.versions import save_version, version_name
from gesture_assets.records import activations
from gesture_assets.records.opening import RECORDS
from gesture_assets.warehouse.warehouse import Warehouse
from gesture_assets_tests.small_model import NOW, TESTED, small_world
from gesture_assets_tests.unit.cli.commands import LAST, called, has_four_parts, logged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),  # MLflow's own, about its own
]

NEXT = date.fromisoformat(LAST) + timedelta(days=1)


@pytest.fixture
def versions(own_world: Path) -> list[str]:
    """Three versions, oldest first, of which the second serves since the last night."""
    names: list[str] = []
    for number in range(3):
        model = train(small_world(), "bought", ["visit_count"], parameters=Parameters(max_depth=2 + number))
        name = version_name(NOW + timedelta(hours=number), model.fingerprint)
        card = {
            "model_version": name,
            "as_of_date": LAST,
            "decision": "kept" if number == 0 else "promoted",
            "because": "a test",
            "training_samples": 400,
            "base_rate": 0.125,
        }
        figures = {"test": {"roc_auc": 0.7 + number / 100, "f1": 0.5}}
        save_version(model, card, own_world / "models", figures=figures, tested=TESTED)
        names.append(name)
    with Warehouse(own_world / "warehouse.duckdb", 10, create=RECORDS).open(run_info("a test", NEXT)) as session:
        activations.activate(
            session.connection, names[1], since=date.fromisoformat(LAST), now=NOW, action="promoted", reason="the first"
        )
    return names


def listed(data_dir: Path) -> dict[str, dict]:
    return {row["model_version"]: row for row in json.loads(called(data_dir, "models", "list", "--json").out)}


def test_versions_are_listed_with_their_figures_and_who_serves(own_world: Path, versions: list[str]) -> None:
    rows = listed(own_world)
    assert list(rows) == versions
    assert [row["roc_auc"] for row in rows.values()] == [0.7, 0.71, 0.72]
    assert [row["base_rate"] for row in rows.values()] == [0.125] * 3
    assert [(row["is_champion"], row["scores_from"]) for row in rows.values()] == [
        (False, ""),
        (True, LAST),
        (False, ""),
    ]
    header, *table = called(own_world, "models", "list").table
    assert [dict(zip(header, row, strict=True))["roc_auc"] for row in table] == ["0.7000", "0.7100", "0.7200"]
    assert [dict(zip(header, row, strict=True))["recall"] for row in table] == ["", "", ""]


def test_a_version_is_shown_and_one_that_is_not_there_is_refused_with_those_like_it(
    own_world: Path, versions: list[str]
) -> None:
    assert json.loads(called(own_world, "models", "show", versions[0], "--json").out)["decision"] == "kept"
    assert ["training_samples", "400"] in called(own_world, "models", "show", versions[0]).table
    refused = called(own_world, "models", "show", versions[0][:-1])
    assert (refused.code, has_four_parts(refused.err), versions[0] in refused.err) == (2, True, True)


def test_a_version_scores_from_the_next_night_and_going_back_takes_the_one_before(
    own_world: Path, versions: list[str]
) -> None:
    done = called(own_world, "models", "activate", versions[2], "--reason", "the newest data")
    assert done.code == 0, done.err
    assert f"{versions[2]} scores from {NEXT} on, after {versions[1]}." in " ".join(done.out.split())
    assert listed(own_world)[versions[2]]["is_champion"]
    back = called(own_world, "models", "rollback", "--reason", "worse than it looked")
    assert back.code == 0, back.err
    rows = listed(own_world)
    assert [name for name, row in rows.items() if row["is_champion"]] == [versions[1]]
    assert [(what, reason) for action, what, reason in logged(own_world) if action.startswith("model ")][1:] == [
        (versions[2], "the newest data"),
        (versions[1], "worse than it looked"),
    ]
    nosuch = called(own_world, "models", "activate", "v0", "--reason", "why")
    assert (nosuch.code, has_four_parts(nosuch.err)) == (2, True)


def test_who_serves_already_is_said_to_and_nothing_changes(own_world: Path, versions: list[str]) -> None:
    before = logged(own_world)
    again = called(own_world, "models", "activate", versions[1], "--reason", "why")
    assert (again.code, again.out) == (0, f"{versions[1]} scores from {NEXT} on already: nothing was changed.\n")
    assert logged(own_world) == before
    back = called(own_world, "models", "activate", "rules", "--reason", "why")
    assert back.out == f"The rules alone score from {NEXT} on, after {versions[1]}.\n"
    before = logged(own_world)
    again = called(own_world, "models", "activate", "rules", "--reason", "why")
    assert (again.code, again.out) == (0, f"The rules alone score from {NEXT} on already: nothing was changed.\n")
    assert logged(own_world) == before
    model = called(own_world, "models", "activate", versions[0], "--reason", "why")
    # It was kept: what spoke against it is said, and stands beside the reason.
    assert model.out == f"Passed over: a test\n{versions[0]} scores from {NEXT} on, after the rules.\n"
    assert logged(own_world)[-1][-1] == "why; passed over: a test"


def test_before_the_first_model_the_rules_serve_already(own_world: Path) -> None:
    done = called(own_world, "models", "activate", "rules", "--reason", "why")
    assert (done.code, "nothing was changed" in done.out) == (0, True)
    assert not any(action.startswith("model ") for action, _, _ in logged(own_world))


def test_old_versions_are_removed_and_never_one_that_served(own_world: Path, versions: list[str]) -> None:
    done = called(own_world, "models", "cleanup", "--keep", "1")
    assert (done.code, done.out) == (0, "Removed 1 of 3 versions.\n")
    assert list(listed(own_world)) == versions[1:]
    assert called(own_world, "models", "cleanup", "--keep", "1").out == "Removed 0 of 2 versions.\n"
    assert [what for action, what, _ in logged(own_world) if action == "remove models"] == [versions[0]]


@pytest.mark.parametrize("day", ["2020-01-01", "2999-01-01", "today"])
def test_a_training_of_a_day_that_is_no_partition_is_refused_as_a_run_is(world: Path, day: str) -> None:
    day = str(datetime.now(UTC).date()) if day == "today" else day
    for command in ("train", "run"):
        refused = called(world, command, "--date", day)
        assert (refused.code, has_four_parts(refused.err), f"found: {day}\n" in refused.err) == (2, True, True)
    assert not any(action == "train" for action, _, _ in logged(world))


@pytest.mark.parametrize(
    "options",
    [
        ("--params", "max_dept=4"),
        ("--params", "max_depth=abc"),
        ("--params", "max_depth=99"),
        ("--tune", "--trials", "0"),
        ("--tune", "--sampler", "foo"),
    ],
    ids=" ".join,
)
def test_what_a_training_cannot_use_is_refused_before_it_begins(world: Path, options: tuple[str, ...]) -> None:
    refused = called(world, "train", *options)
    assert (refused.code, has_four_parts(refused.err), "train for" in refused.out) == (2, True, False)
    assert refused.err.startswith("ConfigError: ")
    assert not any(action == "train" for action, _, _ in logged(world))
    assert called(world, "alerts", "list").out == "No alert is open.\n"


def test_a_training_that_fails_is_not_called_a_night(own_world: Path) -> None:
    failed = called(own_world, "train")  # five days are too few
    assert (failed.code, f"The training of {LAST} failed (run " in failed.err) == (1, True)
    assert "night" not in failed.err
