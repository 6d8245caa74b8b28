"""What the columns of scores are made of: every name exists, and rules and features agree with it."""

from pathlib import Path

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.rules.column_sources import feature_sources, score_sources
from gesture_assets.rules.rule_set import Suppression, load_rule_set

REGISTRY = feature_registry(("aws_course",))
COLUMNS = {contract.name: set(contract.column_names) for contract in catalogue(("aws_course",)).tables}
INTENT = load_rule_set("intent", user_folder=Path("none"), features=[feature.name for feature in REGISTRY])


def test_every_source_is_a_column_of_its_table() -> None:
    for table, sources in {"user_features": feature_sources(REGISTRY), **score_sources(INTENT)}.items():
        assert set(sources) <= COLUMNS[table]
        for column, of in sources.items():
            assert of, f"{table}.{column}"
            assert all(name in COLUMNS[source] for source, name in of), (table, column, of)


def test_every_feature_is_made_of_what_its_name_says() -> None:
    assert set(feature_sources(REGISTRY)) == COLUMNS["user_features"]
    sources = feature_sources(REGISTRY)
    assert sources["page_view_count_30d"] == sources["page_view_count"] == (("daily_activity", "page_view_count"),)
    assert sources["days_since_last_signup"] == (("daily_activity", "signup_count"),)
    assert sources["dwell_seconds_30d"] == (("daily_activity", "dwell_seconds"),)
    assert sources["subscriber_country"] == (("validated_subscribers", "country"),)
    assert sources["optin_quarter"] == (("validated_subscribers", "optin_date"),)
    completeness = sources["profile_completeness"]
    assert ("validated_subscribers", "optin_date") in completeness
    assert ("daily_activity", "mobile_session_count") in completeness
    assert sources["tag_aws_course"] == (("validated_subscribers", "tag_aws_course"),)


def test_scores_are_made_of_what_the_rules_read() -> None:
    sources = score_sources(INTENT)
    read = {("user_features", name) for rule in INTENT.rules for name in rule.needs}
    assert set(sources["rule_scores"]["points"]) == read
    fit = [column for _, column in sources["rule_scores"]["fit_points"]]
    assert fit == ["member_rating", "is_subscriber"]
    assert ("user_features", "days_since_last_demo_request_click") in sources["rule_contributions"]["decay"]


def test_what_suppresses_is_a_source_of_the_score_but_not_of_the_points() -> None:
    bounced = ("user_features", "email_bounce_count_7d")
    rule_set = INTENT.model_copy(update={"suppress": (Suppression(feature=bounced[1], reason="bounced"),)})
    sources = score_sources(rule_set)["rule_scores"]
    assert bounced in sources["score"]
    assert bounced in sources["suppression_reason"]
    assert bounced not in sources["points"]
