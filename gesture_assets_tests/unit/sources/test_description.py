"""Source descriptions: the shipped ones load, a user's own wins, and a fault is named."""

from pathlib import Path

import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.sources.description import (
    SHIPPED,
    description_of,
    load_descriptions,
    parse_description,
)
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES, EVENT_TYPES

WHERE = Path("data/sources/mine.toml")
COLUMNS = '[columns]\nuser_id = ["user"]\nevent_type = ["type"]\nevent_at = ["at"]\n'


def test_the_shipped_descriptions_load(tmp_path: Path) -> None:
    descriptions = load_descriptions(tmp_path)
    assert {"native", "scoring_csv", "segment", "shop_clickstream", "ga4", "posthog"} <= set(descriptions)
    for name, description in descriptions.items():
        assert description.name == name
        assert description.description
        assert set(description.event_types.values()) <= set(EVENT_TYPE_NAMES)
    assert descriptions["segment"].format == "jsonl"
    assert descriptions["shop_clickstream"].event_types["home"] == "page_view"


def test_a_user_s_own_description_wins_over_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "native.toml").write_text(f'time_zone = "Europe/Berlin"\n{COLUMNS}', encoding="utf-8")
    (tmp_path / "hubspot.toml").write_text(COLUMNS, encoding="utf-8")
    descriptions = load_descriptions(tmp_path)
    assert descriptions["native"].time_zone == "Europe/Berlin"
    assert {"hubspot", "segment"} <= set(descriptions)
    assert description_of("hubspot", descriptions, tmp_path).columns["user_id"] == ("user", "ouser_id")


ADVICE = (
    'ignore = ["pageveiw", "Page Viewed"]\n[event_types]\nprcing_page = "pricing_page_view"\n"group" = "page_view"\n'
)


@pytest.mark.parametrize("name", ["native", "segment"])
def test_a_user_s_own_that_maps_no_columns_adds_to_the_shipped_one(tmp_path: Path, name: str) -> None:
    shipped = load_descriptions(tmp_path)[name]
    text = 'time_zone = "Europe/Berlin"\n' + ADVICE + '[values.country]\nholland = "NL"\n'
    (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    extended = load_descriptions(tmp_path)[name]
    assert (extended.columns, extended.links) == (shipped.columns, shipped.links)
    assert extended.time_zone == "Europe/Berlin"
    known = shipped.event_types or {name: name for name in EVENT_TYPE_NAMES}
    left = {theirs: ours for theirs, ours in known.items() if theirs != "Page Viewed"}
    assert extended.event_types == left | {"prcing_page": "pricing_page_view", "group": "page_view"}
    assert set(extended.ignore) == set(shipped.ignore) - {"group"} | {"pageveiw", "Page Viewed"}
    assert extended.values == {**shipped.values, "country": {"holland": "NL"}}


def test_one_line_of_advice_is_a_description_of_a_shipped_name(tmp_path: Path) -> None:
    (tmp_path / "native.toml").write_text('ignore = ["pageveiw"]\n', encoding="utf-8")
    assert load_descriptions(tmp_path)["native"].ignore == ("pageveiw",)
    (tmp_path / "native.toml").write_text('ignore = "pageveiw"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="ignore"):
        load_descriptions(tmp_path)
    (tmp_path / "mine.toml").write_text('ignore = ["pageveiw"]\n', encoding="utf-8")
    (tmp_path / "native.toml").unlink()
    with pytest.raises(ConfigError, match="columns"):
        load_descriptions(tmp_path)


def test_a_mark_of_byte_order_is_no_part_of_a_description(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(COLUMNS, encoding="utf-8-sig")
    (tmp_path / "plain.toml").write_text(COLUMNS, encoding="utf-8")
    descriptions = load_descriptions(tmp_path)
    assert descriptions["shop"].columns == descriptions["plain"].columns


def test_a_folder_that_is_missing_leaves_the_shipped_ones(tmp_path: Path) -> None:
    assert len(load_descriptions(tmp_path / "absent")) == len(list(SHIPPED.glob("*.toml")))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (COLUMNS + 'colour = ["c"]\n', "unknown column 'colour'"),
        (COLUMNS + '[event_types]\nhome = "levitation"\n', "unknown event type 'levitation'"),
        ('time_zone = "Mars/Phobos"\n' + COLUMNS, "unknown time zone 'Mars/Phobos'"),
        ('delimiter = ";;"\n' + COLUMNS, "delimiter"),
        ('format = "xlsx"\n' + COLUMNS, "format"),
        ('decimal = ";"\n' + COLUMNS, "decimal"),
        ('colour = "red"\n' + COLUMNS, "colour"),
        (COLUMNS + '[constants]\ncolour = "red"\n', "unknown constant 'colour'"),
        (COLUMNS.replace('event_at = ["at"]\n', ""), "nothing is mapped to event_at"),
        (COLUMNS.replace('event_type = ["type"]\n', ""), "nothing is mapped to event_type"),
        (COLUMNS.replace('user_id = ["user"]\n', ""), "nothing is mapped to user_id or anonymous_id"),
        ('ignore = ["Home"]\n' + COLUMNS + '[event_types]\nhome = "page_view"\n', "'Home' is mapped and ignored"),
        ('ignore = ["search"]\n' + COLUMNS, "'search' is mapped and ignored"),
        (COLUMNS + '[event_types]\n"a b" = "search"\na_b = "signup"\n', "'a_b' is mapped to two of ours"),
        (COLUMNS + '[[conditions]]\nevent_type = "levitation"\nwhere = {a = "b"}\n', "unknown event type 'levitation'"),
        (COLUMNS + '[[conditions]]\nevent_type = "search"\nwhere = {}\n', "where"),
        (COLUMNS + '[links]\ntypes = ["identify"]\n', "links need columns of both"),
        (COLUMNS + '[values.user_id]\na = "b"\n', "values of 'user_id' are kept"),
        (COLUMNS + '[values.device]\nwatch = "wrist"\n', "unknown device 'wrist'"),
        ("[columns\n", "at line 1"),
        ("", "columns"),
        ('name = "other"\n' + COLUMNS, "name"),
    ],
)
def test_a_fault_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_description(text, name="mine", where=WHERE)
    assert named in caught.value.found
    assert "mine" in caught.value.doing
    assert caught.value.where == str(WHERE)
    assert "gesture run" in caught.value.next_step


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'description = "\xff"\n' + COLUMNS.encode())
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        load_descriptions(tmp_path)


def test_a_constant_may_stand_for_a_column() -> None:
    text = COLUMNS.replace('event_type = ["type"]\n', "") + '[constants]\nevent_type = "purchase"\n'
    assert parse_description(text, name="mine", where=WHERE).constants == {"event_type": "purchase"}


def test_an_unknown_folder_is_told_how_to_be_described(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)'hubspot' is not known.*native, ping_interactions.*hubspot\.toml"):
        description_of("hubspot", load_descriptions(tmp_path), tmp_path)


def test_the_registry_has_every_kind_of_source() -> None:
    channels = {event_type.channel for event_type in EVENT_TYPES}
    assert channels == {"web", "e-mail", "social", "mobile", "calendar", "documents", "CRM", "third party"}
    assert len(set(EVENT_TYPE_NAMES)) == len(EVENT_TYPE_NAMES)
