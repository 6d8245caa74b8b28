"""Settings: every default, how the environment overrides one, and what is refused by name."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from gesture_assets.cli import app
from gesture_assets.errors import ConfigError
from gesture_assets.settings import Settings, load_settings, variable_of

DEFAULTS = {
    "data_dir": Path("data"),
    "crm_url": None,
    "crm_description": "",
    "crm_row_ranges": {"Subscribers": (1_000, 50_000), "Tags": (1_000, 100_000), "Transactions": (1_000, 20_000)},
    "crm_column_counts": {"Subscribers": 6, "Tags": 2, "Transactions": 6},
    "crm_product_ids": (1, 100),
    "rule_set": "",
    "ping_weights": "recent",
    "partitions_start": date(2024, 1, 1),
    "pseudonym_key": None,
    "include_bots": False,
    "blocking_checks": (),
    "top_users": 20,
    "lock_timeout_seconds": 900.0,
    "published_keep": 3,
    "label_horizon_days": 30,
    "min_training_samples": 100,
    "excluded_features": (),
    "segment_models": "",
    "model_recipe": "blend",
    "missing_numbers": "native",
    "model_dir": None,
    "retrain_interval_days": 7,
    "retrain_min_feedback": 50,
    "retrain_threshold_f1": 0.05,
    "retrain_threshold_auc": 0.05,
    "retrain_threshold_precision": 0.05,
    "churn_budget": 0.2,
    "freshness_deadline": 6,
    "alert_webhook": None,
    "ab_test_min_sample_size": 100,
    "ab_test_significance_level": 0.05,
    "ab_test_min_effect_size": 0.02,
    "tfidf_max_features_title": 100,
    "tfidf_max_features_desc": 200,
    "retry_count": 2,
    "duckdb_threads": None,
    "duckdb_memory_limit": None,
}

# Setting -> what the environment says, what that means.
OVERRIDES = {
    "data_dir": ("elsewhere/data", Path("elsewhere/data")),
    "crm_url": ("sqlite:///crm.sqlite", "sqlite:///crm.sqlite"),
    "crm_description": ("hubspot", "hubspot"),
    "crm_row_ranges": (
        '{"Tags": [0, 7]}',
        {"Subscribers": (1_000, 50_000), "Tags": (0, 7), "Transactions": (1_000, 20_000)},
    ),
    "crm_column_counts": ('{"Tags": 3}', {"Subscribers": 6, "Tags": 3, "Transactions": 6}),
    "crm_product_ids": ("1, 9", (1, 9)),
    "rule_set": ("scoring_reference", "scoring_reference"),
    "ping_weights": ("script", "script"),
    "partitions_start": ("2020-02-29", date(2020, 2, 29)),
    "pseudonym_key": ("a key", "a key"),
    "include_bots": ("true", True),
    "tags": ('["one", "two"]', ("one", "two")),
    "blocking_checks": (
        "late_events_are_few, bots_are_a_small_share",
        ("late_events_are_few", "bots_are_a_small_share"),
    ),
    "top_users": ("7", 7),
    "lock_timeout_seconds": ("1.5", 1.5),
    "published_keep": ("1", 1),
    "label_horizon_days": ("14", 14),
    "min_training_samples": ("50", 50),
    "excluded_features": ("city, gender", ("city", "gender")),
    "segment_models": ("primary_device", "primary_device"),
    "model_recipe": ("document_001", "document_001"),
    "missing_numbers": ("-999", "-999"),
    "model_dir": ("elsewhere/models", Path("elsewhere/models")),
    "retrain_interval_days": ("3", 3),
    "retrain_min_feedback": ("20", 20),
    "retrain_threshold_f1": ("0.1", 0.1),
    "retrain_threshold_auc": ("0", 0.0),
    "retrain_threshold_precision": ("0.2", 0.2),
    "churn_budget": ("0.35", 0.35),
    "freshness_deadline": ("8", 8),
    "alert_webhook": ("https://chat.example/hook", "https://chat.example/hook"),
    "ab_test_min_sample_size": ("500", 500),
    "ab_test_significance_level": ("0.01", 0.01),
    "ab_test_min_effect_size": ("0.05", 0.05),
    "tfidf_max_features_title": ("10", 10),
    "tfidf_max_features_desc": ("20", 20),
    "retry_count": ("0", 0),
    "duckdb_threads": ("2", 2),
    "duckdb_memory_limit": ("4GB", "4GB"),
}

UNUSABLE = {
    "crm_row_ranges": '{"Tag": [0, 7]}',
    "crm_column_counts": "6, 2, 6",
    "crm_product_ids": "100, 1",
    "partitions_start": "the first of May",
    "include_bots": "perhaps",
    "tags": '["one"',
    "blocking_checks": "no_score_leaves_1_to_100",
    "top_users": "0",
    "lock_timeout_seconds": "0",
    "published_keep": "0",
    "label_horizon_days": "0",
    "min_training_samples": "9",
    "segment_models": "gender",
    "missing_numbers": "0",
    "retrain_interval_days": "0",
    "retrain_min_feedback": "0.5",
    "retrain_threshold_f1": "-0.1",
    "retrain_threshold_auc": "5 %",
    "retrain_threshold_precision": "1.1",
    "churn_budget": "20",
    "freshness_deadline": "24",
    "ab_test_min_sample_size": "0",
    "ab_test_significance_level": "1",
    "ab_test_min_effect_size": "-1",
    "tfidf_max_features_title": "0",
    "tfidf_max_features_desc": "many",
    "retry_count": "-1",
    "duckdb_threads": "many",
    "duckdb_memory_limit": "80 %",
}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any setting."""
    for name in [name for name in os.environ if name.startswith("GESTURE_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_a_setting_has_its_default(clean: pytest.MonkeyPatch, name: str) -> None:
    assert getattr(load_settings(), name) == DEFAULTS[name]
    assert getattr(load_settings({}), name) == DEFAULTS[name]


def test_every_setting_has_a_default_a_test_and_a_meaning() -> None:
    assert set(Settings.model_fields) == {*DEFAULTS, "tags"} == set(OVERRIDES)
    assert not [name for name, field in Settings.model_fields.items() if len(field.description or "") < 10]


def test_the_tags_of_document_003_have_columns_of_their_own(clean: pytest.MonkeyPatch) -> None:
    tags = load_settings().tags
    assert len(tags) == len(set(tags)) == 60
    assert {"aws_course", "learning_lab_01", "learning_lab_40", "webinar_15"} <= set(tags)


@pytest.mark.parametrize("tags", ['["other"]', '["count"]', '["a", "A"]', "a-b, a_b"])
def test_tags_that_would_share_a_column_are_refused(tags: str) -> None:
    with pytest.raises(ConfigError, match="a column each of their own"):
        load_settings({"GESTURE_TAGS": tags})


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_the_environment_overrides_a_default(clean: pytest.MonkeyPatch, name: str) -> None:
    text, expected = OVERRIDES[name]
    assert getattr(load_settings({f"GESTURE_{name.upper()}": text}), name) == expected
    clean.setenv(f"GESTURE_{name.upper()}", text)
    found = load_settings()
    assert getattr(found, name) == expected
    others = {other: getattr(found, other) for other in DEFAULTS if other != name}
    assert others == {other: value for other, value in DEFAULTS.items() if other != name}


@pytest.mark.parametrize("name", sorted(UNUSABLE))
@pytest.mark.parametrize("stands_in", [True, False], ids=["given", "environment"])
def test_an_unusable_value_is_refused_and_the_variable_is_named(
    clean: pytest.MonkeyPatch, name: str, stands_in: bool
) -> None:
    variable = f"GESTURE_{name.upper()}"
    environment = {variable: UNUSABLE[name]}
    if not stands_in:
        clean.setenv(variable, UNUSABLE[name])
    with pytest.raises(ConfigError) as caught:
        load_settings(environment if stands_in else None)
    message = str(caught.value)
    assert message.startswith(f"{variable} cannot be used.")
    assert f"found: {UNUSABLE[name]}" in message
    assert "next: " in message


def test_an_unknown_name_is_refused_by_name_with_those_that_are_known(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("GESTURE_TOP_USER", "5")
    with pytest.raises(ConfigError, match="found: GESTURE_TOP_USER") as caught:
        load_settings()
    assert "GESTURE_TOP_USERS" in caught.value.expected
    assert "unset GESTURE_TOP_USER" in caught.value.next_step


def test_names_of_others_and_the_reference_data_of_the_tests_are_left_alone() -> None:
    assert load_settings({"GESTURES": "x", "PATH": "y", "GESTURE_REFERENCE_DATA": "z"}) == load_settings({})


def test_tags_may_be_listed_with_commas() -> None:
    assert load_settings({"GESTURE_TAGS": "one, two,"}).tags == ("one", "two")


def test_an_environment_that_is_given_stands_in_for_the_process_s_own(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("GESTURE_TOP_USERS", "7")
    assert load_settings({}).top_users == 20
    assert load_settings().top_users == 7


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({})
    with pytest.raises(ValidationError, match="frozen"):
        settings.top_users = 5  # pyright: ignore[reportAttributeAccessIssue]
    assert settings.top_users == 20


def test_the_key_of_the_pseudonyms_is_not_shown() -> None:
    settings = load_settings({"GESTURE_PSEUDONYM_KEY": "very secret"})
    assert settings.pseudonym_key == "very secret"
    assert "very secret" not in repr(settings)
    assert "very secret" not in str(settings)


def test_a_refused_value_of_a_secret_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"GESTURE_PSEUDONYM_KEY": "very secret", "GESTURE_TOP_USERS": "none"})
    assert "very secret" not in str(caught.value)


def test_every_path_follows_from_the_data_folder() -> None:
    settings = load_settings({"GESTURE_DATA_DIR": "here"})
    paths = ("landing", "warehouse", "published", "user_sources", "user_rules", "dagster_home", "default_crm")
    assert {getattr(settings, name).parts[0] for name in paths} == {"here"}


def test_importing_the_settings_does_not_read_the_environment() -> None:
    command = [sys.executable, "-c", "import gesture_assets.settings"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, env={"GESTURE_NONSENSE": "1"}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


OF_DOCUMENT_001 = {
    "MODEL_DIR": ("/models", Path("/models")),
    "MIN_TRAINING_SAMPLES": ("200", 200),
    "RETRAIN_INTERVAL_DAYS": ("3", 3),
    "RETRAIN_THRESHOLD_F1": ("0.1", 0.1),
    "AB_TEST_MIN_SAMPLE_SIZE": ("500", 500),
    "AB_TEST_SIGNIFICANCE_LEVEL": ("0.01", 0.01),
    "AB_TEST_MIN_EFFECT_SIZE": ("0.05", 0.05),
    "TFIDF_MAX_FEATURES_TITLE": ("10", 10),
    "TFIDF_MAX_FEATURES_DESC": ("20", 20),
}


@pytest.mark.parametrize("variable", sorted(OF_DOCUMENT_001))
def test_the_names_of_document_001_are_understood_and_the_prefixed_one_goes_first(variable: str) -> None:
    text, expected = OF_DOCUMENT_001[variable]
    field = variable.lower()
    assert getattr(load_settings({variable: text}), field) == expected
    assert variable_of(field, {variable: text}) == variable
    prefixed, other = f"GESTURE_{variable}", OVERRIDES[field][0]
    both = {variable: "nonsense", prefixed: other}
    assert getattr(load_settings(both), field) == OVERRIDES[field][1]
    assert variable_of(field, both) == prefixed


def test_no_other_name_is_understood_without_its_prefix() -> None:
    without = {name.upper(): text for name, (text, _) in OVERRIDES.items() if name.upper() not in OF_DOCUMENT_001}
    assert load_settings(without) == load_settings({})
    assert {variable_of(name.lower(), without) for name in without} == {None}


def test_an_unusable_value_is_refused_under_the_name_that_was_used() -> None:
    with pytest.raises(ConfigError, match="RETRAIN_INTERVAL_DAYS cannot be used") as caught:
        load_settings({"RETRAIN_INTERVAL_DAYS": "weekly"})
    assert str(caught.value).startswith("RETRAIN_INTERVAL_DAYS cannot be used.")
    assert "found: weekly" in str(caught.value)


def test_a_webhook_is_an_address_of_the_web_and_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="http:// or https://") as caught:
        load_settings({"GESTURE_ALERT_WEBHOOK": "file:///secrets"})
    assert "secrets" not in str(caught.value)
    assert "token" not in repr(load_settings({"GESTURE_ALERT_WEBHOOK": "https://chat.example/token"}))


def test_config_show_says_which_variable_a_value_comes_from(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("RETRAIN_INTERVAL_DAYS", "3")
    clean.setenv("GESTURE_ALERT_WEBHOOK", "https://chat.example/token")
    done = CliRunner().invoke(app, ["config", "show", "--json"])
    shown = json.loads(done.output)
    assert (shown["retrain_interval_days"]["value"], shown["retrain_interval_days"]["source"]) == (
        3,
        "RETRAIN_INTERVAL_DAYS",
    )
    assert (shown["alert_webhook"]["value"], shown["alert_webhook"]["source"]) == ("***", "GESTURE_ALERT_WEBHOOK")
    assert (shown["retrain_threshold_f1"]["value"], shown["retrain_threshold_f1"]["source"]) == (0.05, "default")
