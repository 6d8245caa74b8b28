from pathlib import Path

import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.rules.rule_set import load_rule_set, parse_rule_set, recency_feature, shipped_rule_sets

FEATURES = tuple(feature.name for feature in feature_registry(("aws_course",)))

GOOD = """
name = "small"
description = "Two rules."

[bands]
high = 70
medium = 40

[[rules]]
id = "signups"
feature = "signup_count"
scale = "at_least_once"
weight = 0.6
half_life_days = 30
group = "engagement"
because = "Sign-ups: {value}."

[[rules]]
id = "pages"
feature = "page_view_count"
scale = "count"
cap = 20
weight = 0.4
group = "engagement"
because = "Pages: {value}."
"""


def parsed(text=GOOD, **changes):
    for old, new in changes.get("swaps", ()):
        assert old in text
        text = text.replace(old, new, 1)
    return parse_rule_set(text, name="small", where="small.toml", features=FEATURES)


def test_a_rule_set_keeps_the_order_of_its_file():
    rule_set = parsed()
    assert [rule.id for rule in rule_set.rules] == ["signups", "pages"]
    assert rule_set.band_thresholds == "high 70, medium 40, low 0"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"signup_count"', '"signups_count"', ["'signups_count'", "near: signup_count", "rule 'signups'"]),
        ('id = "pages"', 'id = "signups"', ["each id once", "'signups' 2 times"]),
        ("weight = 0.4", "weight = 0.3", ["weights that sum to 1", "a sum of 0.9"]),
        ("weight = 0.4", 'weight = "0.4"', ["weight: should be a valid number", "'0.4'", "rule 'pages'"]),
        ("weight = 0.4", "weight = nan", ["weight: should be a finite number", "rule 'pages'"]),
        ("weight = 0.4", "", ["a value for 'weight'", "rule 'pages'"]),
        ("cap = 20", "cap = 0", ["a cap above 0", "cap = 0", "rule 'pages'"]),
        ("cap = 20", "cap = -3", ["a cap above 0", "cap = -3"]),
        ("cap = 20", "", ["scale 'count' needs one", "no cap"]),
        ("half_life_days = 30", "cap = 3", ["no cap: scale 'at_least_once' does not use one", "cap = 3"]),
        ("half_life_days = 30", "half_life_days = 0", ["half_life_days: should be greater than 0", "rule 'signups'"]),
        ("half_life_days = 30", "halflife_days = 30", ["unknown key 'halflife_days'", "near: half_life_days"]),
        ("half_life_days = 30", "recency_bonus = 0.25", ["recency_bonus and recency_days together"]),
        ("half_life_days = 30", "recency_bonus = 0.25\nrecency_days = 30", ["only with scale 'rate'"]),
        ('"at_least_once"', '"twice"', ["at_least_once", "recency", "'twice'", "rule 'signups'"]),
        ("Pages: {value}", "Pages: {count}", ["no placeholder but {value}", "{count}"]),
        ("high = 70", "high = 30", ["from the highest threshold down", "high 30, medium 40"]),
        ("high = 70", "high = 40", ["from the highest threshold down"]),
        ("high = 70", "high = 101", ["bands.high", "less than or equal to 100", "101"]),
        ("medium = 40", "medium = 0.5", ["bands.medium", "greater than or equal to 1", "0.5"]),
        ("medium = 40", "low = 10", ["no band called 'low'"]),
        ("medium = 40", "suppressed = 10", ["no band called 'suppressed'", "users who get no score"]),
        ("weight = 0.4", "weight = -0.4", ["positive weights that sum to 1", "a sum of 0.6"]),
        ("cap = 20", "cap = 20\ndaily_cap = 0", ["daily_cap: should be greater than or equal to 1", "rule 'pages'"]),
        ("half_life_days = 30", "daily_cap = 3", ["daily_cap only where events", "'signup_count' by 'at_least_once'"]),
        ("page_view_count", 'session_count"\ndaily_cap = 3 #', ["daily_cap only where events of one type"]),
        ("half_life_days = 30", "repeatable = false", ["repeatable = false only with scale count or log_amount"]),
        ("[bands]", "group_caps = { fit = 30 }\n[bands]", ["group_caps of groups that have rules", "fit = 30"]),
        ("[bands]", "group_caps = { fun = 30 }\n[bands]", ["group_caps.fun", "'fit' or 'engagement'"]),
        ("[bands]", "total_cap = 101\n[bands]", ["total_cap: should be less than or equal to 100", "101"]),
        ("[bands]", '[[suppress]]\nfeature = "unsubscribed"\nreason = "left"\n[bands]', ["'unsubscribed'", "near: "]),
        ('name = "small"', 'name = "other"', ["name = 'small'", "name = 'other'"]),
        ('description = "Two rules."', 'descripton = "Two rules."', ["small.toml"]),
        ("[bands]", "[bands", ["TOML", "at line 5"]),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(old, new, words):
    with pytest.raises(ConfigError) as refusal:
        parsed(swaps=[(old, new)])
    message = str(refusal.value)
    assert [word for word in [*words, "'small'", "small.toml", "gesture rules lint"] if word not in message] == []


def test_a_rule_set_without_rules_is_refused():
    with pytest.raises(ConfigError, match="no rules"):
        parsed(GOOD.split("[[rules]]")[0])


def test_a_decaying_rule_is_refused_when_nothing_says_how_old_its_feature_is():
    features = [name for name in FEATURES if name != "days_since_last_signup"]
    with pytest.raises(ConfigError, match="days_since_last_signup"):
        parse_rule_set(GOOD, name="small", where="small.toml", features=features)


@pytest.mark.parametrize(
    ("feature", "companion"),
    [
        ("signup_count", "days_since_last_signup"),
        ("demo_request_click_count_30d", "days_since_last_demo_request_click"),
        ("event_count_7d", "days_since_last_event"),
        ("session_count_30d", "days_since_last_event"),
        ("repeat_session_rate", "days_since_last_event"),
    ],
)
def test_a_feature_ages_with_its_own_event_type_or_with_the_last_event(feature, companion):
    assert recency_feature(feature) == companion
    assert companion in FEATURES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('description = "Two rules."', 'description = "Something else." # and a comment'),
        ("cap = 20", "cap = 20.0"),
        ("weight = 0.6", "weight = 6e-1"),
        ('scale = "count"\ncap = 20', 'cap = 20\n\nscale = "count"'),
    ],
)
def test_the_version_stays_when_nothing_that_counts_changes(old, new):
    assert parsed(swaps=[(old, new)]).version == parsed().version


@pytest.mark.parametrize(
    "swaps",
    [
        [("cap = 20", "cap = 21")],
        [("weight = 0.6", "weight = 0.5"), ("weight = 0.4", "weight = 0.5")],
        [("half_life_days = 30", "half_life_days = 31")],
        [("half_life_days = 30", "")],
        [("high = 70", "high = 71")],
        [("high = 70", "hot = 70")],
        [("Pages: {value}", "Pages opened: {value}")],
        [('id = "pages"', 'id = "page_views"')],
        [('"page_view_count"', '"page_view_count_30d"')],
        [('"at_least_once"', '"rate"')],
        [('group = "engagement"', 'group = "fit"')],
    ],
)
def test_the_version_changes_with_everything_that_counts(swaps):
    assert parsed(swaps=swaps).version != parsed().version


@pytest.mark.parametrize(
    "line",
    [
        "daily_cap = 10",
        "total_cap = 90",
        "group_caps = { engagement = 50 }",
        'suppress = [{ feature = "unsubscribe_count_30d", reason = "left" }]',
    ],
)
def test_the_version_changes_with_caps_and_suppressions(line):
    assert parsed(swaps=[("[bands]", f"{line}\n[bands]")]).version != parsed().version


def test_a_rule_may_not_be_called_as_the_contribution_of_a_cap():
    with pytest.raises(ConfigError, match="no rule called 'total_cap'"):
        parsed(swaps=[("[bands]", "total_cap = 90\n[bands]"), ('id = "pages"', 'id = "total_cap"')])


def test_weights_that_take_points_away_come_on_top_of_those_that_make_100():
    left = '[[rules]]\nid = "left"\nfeature = "unsubscribe_count"\nscale = "at_least_once"\nweight = -0.5\n'
    rule_set = parsed(GOOD + left + 'group = "engagement"\nbecause = "Left: {value}."\n')
    assert [rule.weight for rule in rule_set.rules] == [0.6, 0.4, -0.5]


@pytest.mark.parametrize(
    ("change", "cap"),
    [
        ("cap = 21", ("page_view_count", "page_view", None, 20)),
        ("cap = 21\ndaily_cap = 5", ("page_view_count", "page_view", None, 5)),
        ("cap = 20", None),  # a day that is capped has reached the rule's own cap
        ("cap = 500\ndaily_cap = 500", None),
        ("cap = 21\nrepeatable = false", None),
    ],
)
def test_a_daily_cap_is_worked_out_only_where_it_can_make_a_difference(change, cap):
    rule_set = parsed(swaps=[("cap = 20", change)])
    assert rule_set.day_cap(rule_set.rules[1]) == cap
    assert rule_set.day_caps == ((cap,) if cap else ())


def test_no_shipped_rule_set_needs_counts_of_its_own():
    for name in shipped_rule_sets():
        assert load_rule_set(name, user_folder=Path("none"), features=FEATURES).day_caps == ()


def test_the_version_changes_with_the_order_of_rules_because_it_settles_ties():
    head, first, second = GOOD.split("[[rules]]")
    assert parsed(f"{head}[[rules]]{second}\n[[rules]]{first}").version != parsed().version


def test_the_version_is_short_and_stable():
    assert parsed().version == "r96a9bbf97ddd"


@pytest.mark.parametrize("name", ["intent", "scoring_reference"])
def test_every_shipped_rule_set_loads(name, tmp_path):
    assert load_rule_set(name, user_folder=tmp_path, features=FEATURES).name == name
    assert name in shipped_rule_sets()


def test_a_users_own_file_comes_before_the_shipped_one(tmp_path: Path):
    (tmp_path / "intent.toml").write_text(GOOD.replace('"small"', '"intent"'), encoding="utf-8")
    assert len(load_rule_set("intent", user_folder=tmp_path, features=FEATURES).rules) == 2


@pytest.mark.parametrize("name", ["intentions", "../small", ""])
def test_an_unknown_name_is_refused_with_the_names_there_are(name, tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"shipped: intent, scoring_reference, shop; your own: mine"):
        load_rule_set(name, user_folder=tmp_path, features=FEATURES)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_rule_set("mine", user_folder=tmp_path, features=FEATURES)


def test_a_mark_of_byte_order_is_no_part_of_a_rule_set(tmp_path: Path):
    (tmp_path / "small.toml").write_text(GOOD, encoding="utf-8-sig")
    assert load_rule_set("small", user_folder=tmp_path, features=FEATURES).version == parsed().version
