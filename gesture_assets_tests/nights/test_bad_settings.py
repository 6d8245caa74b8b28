"""A setting that cannot be used fails what uses it, by name, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gesture_assets.definitions import build_definitions
from gesture_assets.errors import ConfigError
from gesture_assets.nights import runner
from gesture_assets.settings import default_of, load_settings, settings_as_far_as_usable
from gesture_assets_tests.small_world import DAYS
from gesture_assets_tests.worlds import SMALL_MOMENT

BAD = {"GESTURE_TOP_USERS": "many", "GESTURE_PARTITIONS_START": "soon", "GESTURE_RETRY_COUNT": "-1"}


def test_the_code_location_loads_with_defaults_in_the_place_of_what_shapes_it() -> None:
    settings = settings_as_far_as_usable(BAD)
    assert set(settings.problems) == {"top_users", "partitions_start", "retry_count"}
    assert default_of(settings, "retry_count") == load_settings({}).retry_count
    bad, good = (build_definitions(given).resolve_asset_graph() for given in (settings, load_settings({})))
    assert bad.get_all_asset_keys() == good.get_all_asset_keys()


def test_asked_for_it_says_what_is_wrong_and_a_name_that_is_no_setting_fails_whatever_opens_the_warehouse() -> None:
    settings = settings_as_far_as_usable(BAD | {"GESTURE_TOPUSERS": "5"})
    with pytest.raises(ConfigError, match="GESTURE_TOP_USERS cannot be used"):
        _ = settings.top_users
    with pytest.raises(ConfigError, match="GESTURE_TOPUSERS"):
        _ = settings.warehouse
    assert settings.label_horizon_days == 30
    with pytest.raises(ConfigError):
        load_settings(BAD)


@pytest.mark.slow
def test_a_night_goes_on_without_the_step_that_uses_it(
    copied_world: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied_world("small")
    monkeypatch.setenv("GESTURE_TOP_USERS", "many")
    result = runner.run_night(settings_as_far_as_usable(), [DAYS[-1]], now=SMALL_MOMENT, rebuild=True)
    assert {step: type(error) for step, error in result.failures.items()} == {"top_users": ConfigError}
    assert "GESTURE_TOP_USERS" in str(result.failures["top_users"])
    assert result.closed == ("published_warehouse", "validation_results")
    assert "intent_scores" in result.results
