"""Every command that a message, a recovery line or a page advises is one that the command line takes."""

import ast

import pytest

from gesture_assets_tests.advice import FILLED_IN, commands_in, refusal
from gesture_assets_tests.package_source import TREES, walk


def texts() -> list[tuple[str, str]]:
    """(place, text) of every string of the package, with what is filled in replaced by a day."""
    found: list[tuple[str, str]] = []
    for path, tree in TREES.items():
        nodes = walk(tree)
        inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        inside |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else FILLED_IN for part in node.values]
                found.append((f"{path}:{node.lineno}", "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                found.append((f"{path}:{node.lineno}", node.value))
    return found


ADVISED = sorted({(place, command) for place, text in texts() for command in commands_in(text)})


def test_there_is_advice_to_look_at() -> None:
    assert len(ADVISED) > 60


@pytest.mark.parametrize(("place", "command"), ADVISED, ids=[f"{place} {command}" for place, command in ADVISED])
def test_the_command_line_takes_what_is_advised(place: str, command: str) -> None:
    assert refusal(command) == "", f"{place}: {command}"


@pytest.mark.parametrize(
    "command", ["gesture runn", "gesture run --dat 2026-03-04", "gesture models undo", "gesture rank --n x"]
)
def test_what_the_command_line_does_not_take_is_found(command: str) -> None:
    assert refusal(command)


@pytest.mark.parametrize(
    "command", ["gesture models show", "gesture quarantine 2026-03-04", "gesture rank --date soon"]
)
def test_a_message_as_a_person_reads_it_leaves_nothing_open(command: str) -> None:
    assert refusal(command, strict=True)
