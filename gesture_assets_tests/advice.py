"""What error messages advise: the `gesture` commands in a text, and whether the command line takes them.

Belongs here: finding and parsing them. Does not belong here: running them (tests of each command do).
"""

import re
import shlex
from functools import cache
from typing import Any

# A command ends at two spaces, a bracket, a comma, a semicolon or a colon; options and their values belong to it.
COMMAND = re.compile(r"(?<![\w./])gesture (?:(?!  |[;:,()`|&]|\. |\.$|\n).)+")
PROSE = re.compile(r"\s+(?:shows|lists|instead|to|once|and|or|that|which|a|the|when|with the|for|again|then|where)\b.*")
FILLED_IN = "2026-03-04"  # stands for what a message fills in
PLACES = {
    "…": FILLED_IN,
    "DAY": FILLED_IN,
    "FIRST": FILLED_IN,
    "LAST": FILLED_IN,
    "VERSION": "v20260309_020000_0a1b2c3d",
}


@cache
def _application() -> Any:
    from typer.main import get_command

    from gesture_assets.cli import app

    return get_command(app)


def commands_in(text: str) -> list[str]:
    """The commands that `text` advises, without the prose around them."""
    return [PROSE.sub("", found[0]).strip().rstrip(".") for found in COMMAND.finditer(text)]


def refusal(command: str, *, strict: bool = False) -> str:
    """Why the command line does not take `command`; empty where it does. Nothing is run.

    The name of a group, a command without its arguments, and words that a message fills in by itself are let pass;
    not so when `strict`, for a message as a person reads it.
    """
    words = shlex.split(re.sub(r"<[^>]*>", "name", command))[1:]
    filled_in = None if strict else FILLED_IN
    words = [PLACES.get(word, word) for word in words]
    current, path = _application(), "gesture"
    while hasattr(current, "commands") and not (current.invoke_without_command and "".join(words[:1])[:1] in ("", "-")):
        if not words or words[0] not in current.commands:
            return f"{path} has no command {words[0]}" if words and words[0] != filled_in else ""
        path = f"{path} {words[0]}"
        current, words = current.commands[words[0]], words[1:]
    if "--help" in words:
        return ""
    try:
        with current.make_context(path, list(words)):
            return ""
    except Exception as error:  # typer brings a click of its own, whose errors it does not export
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        is_left_open = "Missing argument" in message or FILLED_IN in message
        return "" if is_left_open and not strict else f"{path}: {message}"
