"""A version resolves to what it was trained with; a changed file is refused."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ModelMismatch
from gesture_assets.models.tables import VERSION_PATTERN
from gesture_assets.models.training import Model
from gesture_assets.models.versions import (
    card_of,
    judged_rows,
    known_versions,
    largest_difference,
    load_version,
    require_features,
    save_version,
    version_name,
)
from gesture_assets_tests.small_model import NOW, TESTED, small_model, small_world


@pytest.fixture(scope="module")
def world() -> pl.DataFrame:
    return small_world()


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


def test_a_version_is_kept_whole_and_loads_to_the_same_bytes(model: Model, world: pl.DataFrame, tmp_path: Path) -> None:
    version = version_name(NOW, model.fingerprint)
    assert re.fullmatch(VERSION_PATTERN, version)
    assert version.startswith("v20260310_020007_")
    folder = save_version(
        model, {"model_version": version, "data_hash": "d"}, tmp_path, figures={"test": {"f1": 0.5}}, tested=TESTED
    )
    assert folder == tmp_path / version
    assert known_versions(tmp_path) == [version]
    assert card_of(tmp_path, version)["data_hash"] == "d"
    assert judged_rows(tmp_path, version).select(TESTED.columns).equals(TESTED)
    assert largest_difference(tmp_path, version, {"f1": 0.5}) == "difference 0"
    assert largest_difference(tmp_path, version, {"f1": 0.75}) == "largest difference 0.25 (f1)"
    again = load_version(tmp_path, version)
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(again.margins(world), model.margins(world))
    assert [path.name for path in tmp_path.iterdir()] == [version]


def test_a_model_whose_files_are_gone_or_changed_is_refused_by_name(model: Model, tmp_path: Path) -> None:
    version = version_name(NOW, model.fingerprint)
    with pytest.raises(ModelMismatch, match=f"(?s){version} cannot be loaded.*found: none"):
        load_version(tmp_path, version)
    folder = save_version(model, {"model_version": version}, tmp_path, figures={}, tested=TESTED)
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | {"base_rate": 0.5}))
    with pytest.raises(ModelMismatch, match="changed after the training"):
        load_version(tmp_path, version)


def test_a_model_of_other_features_is_refused_naming_them(model: Model) -> None:
    require_features(model, ["visit_count", "more"], version="v1")
    with pytest.raises(ModelMismatch, match=r"(?s)v1 cannot score.*visit_count"):
        require_features(model, ["visits"], version="v1")
