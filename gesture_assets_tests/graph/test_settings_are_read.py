"""Every setting is read by something, or stands in the list of those whose reader is still to come."""

import ast
from collections.abc import Iterable

import pytest

from gesture_assets.settings import AWAITED, Settings
from gesture_assets_tests.package_source import TREES, walk


def settings_read(trees: Iterable[ast.AST]) -> set[str]:
    """Attributes of what is called settings, such as `settings.tags`, and names that `default_of` is asked for."""
    nodes = [node for tree in trees for node in walk(tree)]
    attributes = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).lower().endswith(("settings", "settings()"))
    }
    shaping = {
        node.args[1].value
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "default_of"
        and isinstance(node.args[1], ast.Constant)
    }
    return attributes | {str(name) for name in shaping}


def paths_read() -> set[str]:
    """Settings that the settings' own properties read."""
    (settings,) = [
        node for node in TREES["settings.py"].body if isinstance(node, ast.ClassDef) and node.name == "Settings"
    ]
    return {
        node.attr for node in walk(settings) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }


def test_every_setting_is_read_or_awaited() -> None:
    unread = set(Settings.model_fields) - settings_read(TREES.values()) - paths_read()
    # A name that is read by now, or is gone, must leave the list.
    assert unread == set(AWAITED)


def test_every_awaited_setting_says_what_will_read_it() -> None:
    assert all(AWAITED.values())


@pytest.mark.parametrize(
    "code", ["settings.tags", "night.settings.tags", "SETTINGS.tags", "load_settings().tags", "default_of(s, 'tags')"]
)
def test_a_look_at_a_setting_is_found(code: str) -> None:
    assert settings_read([ast.parse(code)]) == {"tags"}
    assert settings_read([ast.parse("world.tags; frame['tags']")]) == set()
