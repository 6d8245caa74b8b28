"""What common errors advise is typed, and works: each is provoked on a world of five days."""

import json
import shlex
from pathlib import Path

import pytest

from gesture_assets_tests.advice import commands_in
from gesture_assets_tests.unit.cli.commands import LAST, Done, called, started

pytestmark = pytest.mark.slow

FIRST, EARLIER = "2026-03-05", "2026-03-01"


def type_advice(data_dir: Path, done: Done) -> None:
    """Type the commands after `next:` of the first error that `done` ended with; each of them works."""
    assert done.code, done.out
    advice = next(line for line in (done.err + done.out).splitlines() if line.strip().startswith("next: "))
    commands = commands_in(advice)
    assert commands, advice
    for command in commands:
        words = shlex.split(command)[1:]
        typed = started(data_dir, *words) if words[0] == "run" else called(data_dir, *words)
        assert typed.code == 0, f"{command}: {typed.out}{typed.err}"


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--select", "nosuch"),
        ("run", "--select", "rule_scores or nosuch"),
        ("demo-data", "--poison", "2020-01-01"),
        ("demo-data", "--poison", "2031-01-01"),
        ("run", "--date", "2031-01-01"),
        ("run", "--date", "2025-12-12"),
        ("train", "--date", "2031-01-01"),
        ("quarantine", "show", "--reason", "nosuch"),
        ("quarantine", "show", "--file", "nosuch"),
        ("quarantine", "list", "--date", EARLIER),
        ("run", "--from", LAST, "--to", FIRST),
        ("run", "--rebuild"),
        ("run", "--to", LAST),
        ("run", "--to", EARLIER),
        ("run", "--force"),
        ("catchup", "--restate"),
        ("rank", "--date", EARLIER),
        ("report", "night", "--date", EARLIER),
        ("explain", "nosuch"),
        ("why-changed", "nosuch"),
        ("gates", "--date", EARLIER),
        ("publish", "rollback"),
        ("models", "show", "nosuch"),
        ("models", "compare", "a", "b"),
    ],
    ids=" ".join,
)
def test_what_an_error_advises_works(own_world: Path, command: tuple[str, ...]) -> None:
    type_advice(own_world, called(own_world, *command))


def test_an_empty_folder_is_filled_by_what_it_advises(tmp_path: Path) -> None:
    type_advice(tmp_path, called(tmp_path, "run"))
    assert list((tmp_path / "landing").glob("*/*"))


def test_a_poisoned_day_is_mended_by_what_it_advises_once_its_file_is_removed(own_world: Path) -> None:
    assert called(own_world, "demo-data", "--poison", LAST).code == 0
    (poison,) = (own_world / "landing").glob("*/*poison*")
    spoilt = started(own_world, "run", "--date", LAST)
    assert "did not pass the audit" in spoilt.err
    assert "and mend or remove the file, then" in spoilt.err.replace("\n", " ")  # types alone would not mend it
    poison.unlink()
    type_advice(own_world, spoilt)


def test_a_shop_that_other_rules_score_is_told_and_what_it_is_told_works(tmp_path: Path) -> None:
    (tmp_path / "landing" / "segment").mkdir(parents=True)
    events = [
        {"type": "track", "messageId": f"{user}-{n}", "userId": f"u{user}", "event": event}
        | dict.fromkeys(("timestamp", "receivedAt"), f"{LAST}T1{n}:00:00Z")
        for user in range(12)
        for n, event in enumerate(("Product Viewed", "Product Added", "Checkout Started")[: 1 + user % 3])
    ]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "landing" / "segment" / "events.jsonl").write_text(lines)
    ran = started(tmp_path, "run")
    assert (ran.code, "No rule of intent weighs the carts and checkouts of 8 users." in ran.out) == (0, True), ran.err
    told = called(tmp_path, "rules", "lint")
    assert (told.code, "Said nothing of any of the 12 users" in told.out) == (1, True)
    advice = next(line for line in told.out.splitlines() if "GESTURE_RULE_SET=shop" in line)
    commands = commands_in(advice)
    assert [command.split()[1] for command in commands] == ["rules", "run"]
    for command in commands:
        typed = started(tmp_path, *shlex.split(command)[1:], GESTURE_RULE_SET="shop")
        assert typed.code == 0, f"{command}: {typed.out}{typed.err}"
    assert "No rule of" not in typed.out
    assert called(tmp_path, "rules", "lint", GESTURE_RULE_SET="shop").code == 0
