"""What readers of the published file rely on changes with a version and a line in the changelog only."""

import copy
import re
from typing import Any

import pytest

from gesture_assets.publication.published_schema import Schema, kept_schema
from gesture_assets_tests.published_schema import CHANGELOG, REFRESH, changes, schema_now, version_after

VERSION, KEPT = kept_schema()
SCORES = "main.rule_scores"


@pytest.fixture(scope="module")
def published() -> Schema:
    return schema_now()


@pytest.mark.slow
def test_the_published_schema_is_the_kept_one(published: Schema) -> None:
    breaking, additions = changes(KEPT, published)
    assert not breaking, f"these break readers; if they are meant:  {REFRESH} --breaking\n" + "\n".join(breaking)
    assert not additions, f"if this is meant:  {REFRESH}\n" + "\n".join(additions)


def test_the_changelog_begins_with_the_version_and_its_versions_fall() -> None:
    found = re.findall(r"^## (\d+)\.(\d+)$", CHANGELOG.read_text(encoding="utf-8"), re.M)
    numbers = [(int(major), int(minor)) for major, minor in found]
    assert numbers[0] == tuple(map(int, VERSION.split(".")))
    assert numbers == sorted(set(numbers), reverse=True)


@pytest.mark.slow
def test_every_table_view_and_macro_is_described(published: Schema) -> None:
    kinds = {facts["kind"] for facts in published.values()}
    assert kinds == {"table", "view", "macro"}
    assert published["analytics.scores_as_of"]["parameters"] == ["day", "known_at"]
    assert published[SCORES]["key"] == ["as_of_date", "user_id"]
    assert published[SCORES]["columns"]["score"] == "DOUBLE?"


def changed(path: tuple[str, ...], value: Any) -> Schema:
    """The kept schema with one thing changed, or removed where `value` is None."""
    schema = copy.deepcopy(KEPT)
    place: Any = schema
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return schema


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((SCORES,), None, f"{SCORES} is gone"),
        ((SCORES, "columns", "band"), None, f"{SCORES}.band is gone"),
        ((SCORES, "columns", "points"), "FLOAT", f"{SCORES}.points was DOUBLE, is FLOAT"),
        ((SCORES, "columns", "points"), "DOUBLE?", f"{SCORES}.points was DOUBLE, is DOUBLE?"),
        ((SCORES, "grain"), "One row per user.", "its grain was One row per known user"),
        ((SCORES, "key"), ["user_id"], "its key was"),
        (("analytics.scores_as_of", "parameters"), ["day"], "its parameters was"),
        (("analytics.bands",), None, "analytics.bands is gone"),
    ],
)
def test_what_breaks_readers_is_told_and_needs_a_major_version(path: tuple[str, ...], value: Any, said: str) -> None:
    breaking, additions = changes(KEPT, changed(path, value))
    assert [said in one for one in breaking] == [True]
    assert version_after("3.4", breaking, additions) == "4.0"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("main.new",), {"kind": "table", "columns": {}}, "main.new is new"),
        ((SCORES, "columns", "mood"), "VARCHAR?", f"{SCORES}.mood is new"),
        ((SCORES, "columns", "score"), "DOUBLE", f"{SCORES}.score is never unknown any more"),
    ],
)
def test_what_only_adds_needs_a_minor_version(path: tuple[str, ...], value: Any, said: str) -> None:
    breaking, additions = changes(KEPT, changed(path, value))
    assert (breaking, additions) == ([], [said])
    assert version_after("3.4", breaking, additions) == "3.5"
    assert version_after("3.4", [], []) == "3.4"
