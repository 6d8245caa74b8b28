from pathlib import Path

import pytest

from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.rules.lint import lint
from gesture_assets.rules.rule_set import Rule, RuleSet, load_rule_set, shipped_rule_sets

FEATURES = feature_registry(("aws_course",))


def findings(*rules: dict, **bands: float) -> str:
    given = {
        "feature": "signup_count",
        "scale": "at_least_once",
        "weight": 1.0,
        "group": "engagement",
        "because": "{value}",
    }
    made = tuple(Rule(**({"id": f"rule_{number}"} | given | rule)) for number, rule in enumerate(rules))
    return "\n".join(lint(RuleSet(name="t", description="", bands=bands or {"high": 70}, rules=made), FEATURES))


@pytest.mark.parametrize("name", shipped_rule_sets())
def test_shipped_rule_sets_have_no_findings(name):
    names = [feature.name for feature in FEATURES]
    assert lint(load_rule_set(name, user_folder=Path("none"), features=names), FEATURES) == []


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{}, {}], "Rules 'rule_0' and 'rule_1' both count 'signup_count'"),
        ([{}, {"feature": "signup_count_30d"}], "overlap: 'signup_count' and 'signup_count_30d'"),
        ([{"feature": "signup_count_7d"}, {"feature": "signup_count_30d"}], "count the same events"),
        ([{"weight": 0}], "Rule 'rule_0' has weight 0"),
        ([{"feature": "active_day_count_14d", "scale": "count", "cap": 20}], "'active_day_count_14d' is at most 14"),
        ([{"feature": "is_subscriber", "scale": "count", "cap": 2, "group": "fit"}], "is at most 1"),
        ([{"feature": "tag_aws_course", "scale": "count", "cap": 2, "group": "fit"}], "is at most 1"),
        ([{"feature": "member_rating", "scale": "count", "cap": 10, "group": "fit"}], "is at most 5"),
        ([{"feature": "days_since_last_event"}], "days want 'recency'"),
        ([{"scale": "recency", "cap": 30}], "'signup_count' (unit count) by 'recency'"),
        ([{"scale": "rate"}], "as a rate, but it is no share"),
        ([{"group": "fit"}], "is a 'engagement' feature"),
        ([{"scale": "count", "cap": 5, "daily_cap": 5}], "has a daily cap of 5 that never shows"),
        ([{"scale": "count", "cap": 5, "repeatable": False}], "is at most 1"),
        ([{"because": "Signed up."}], "without {value}"),
        ([{"feature": "country", "group": "fit"}], "is VARCHAR and cannot be scored"),
    ],
)
def test_what_is_hardly_meant_is_found(rules, words):
    assert words in findings(*rules)


def test_a_band_above_the_best_possible_score_is_found():
    half = {"feature": "active_day_count_14d", "scale": "count", "cap": 28}
    assert "Band 'high' cannot be reached: it starts at 70, and the best score is 50.0" in findings(half)
    assert "Band" not in findings(half, high=50)


def test_a_tag_count_is_no_flag():
    assert findings({"feature": "tag_count", "scale": "count", "cap": 3, "group": "fit"}) == ""
