"""Which rule set scores where the settings name none: the one that what has landed is described with."""

from pathlib import Path

import pytest

from gesture_assets.nights.rules import rule_set_name
from gesture_assets.settings import load_settings


@pytest.mark.parametrize(
    ("landed", "empty", "expected"),
    [
        ((), (), "intent"),
        (("native",), (), "intent"),
        (("shop_clickstream",), (), "shop"),
        (("shop_clickstream", "native"), (), "intent"),  # they do not agree
        (("shop_clickstream", "pings"), (), "shop"),  # of other rows no rules speak
        (("shop_clickstream",), ("native",), "shop"),
        (("native",), ("shop_clickstream",), "intent"),
        (("shop_clickstream", "unheard_of"), (), "shop"),  # refused when it lands, and no reason to change the rules
    ],
)
def test_a_shop_is_scored_by_rules_for_shops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landed: tuple[str, ...], empty: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setenv("GESTURE_DATA_DIR", str(tmp_path))
    for name in (*landed, *empty):
        (tmp_path / "landing" / name).mkdir(parents=True)
    for name in landed:
        (tmp_path / "landing" / name / "events.csv").touch()
    assert rule_set_name(load_settings()) == expected
    monkeypatch.setenv("GESTURE_RULE_SET", "scoring_reference")
    assert rule_set_name(load_settings()) == "scoring_reference"


def test_a_description_of_one_s_own_may_name_rules_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESTURE_DATA_DIR", str(tmp_path))
    (tmp_path / "landing" / "ours").mkdir(parents=True)
    (tmp_path / "landing" / "ours" / "events.csv").touch()
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "ours.toml").write_text(
        'rule_set = "my_rules"\n[columns]\nuser_id = ["u"]\nevent_type = ["e"]\nevent_at = ["t"]\n'
    )
    assert rule_set_name(load_settings()) == "my_rules"
