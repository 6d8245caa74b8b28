"""Two versions side by side: figures worked out by hand on four rows, whichever of the two is named first."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gesture_assets.errors import ModelMismatch
from gesture_assets.models.comparing import compare_versions
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import train
from gesture_assets.models.versions import save_version, version_name

OLD_DAY, NEW_DAY = date(2026, 3, 1), date(2026, 3, 8)
# Half of the users visit and buy; the older model's only feature tells nobody apart.
LEARNT = pl.DataFrame({"visit_count": [0, 1] * 60, "same_for_all": [1] * 120, "bought": [0, 1] * 60})
# One buyer of four, whom the newer model ranks first and the older one like everybody else.
TESTED = pl.DataFrame(
    {
        "user_id": ["u1", "u2", "u3", "u4"],
        "feature_date": [NEW_DAY] * 4,
        "visit_count": [0, 0, 0, 1],
        "same_for_all": [1] * 4,
        "person_id": ["p1", "p2", "p3", "p4"],
        "label": [0, 0, 0, 1],
        "split": ["test"] * 4,
        "probability": [0.5] * 4,
    }
)


def saved(folder: Path, day: date, feature: str, *, max_depth: int, tested: pl.DataFrame = TESTED) -> dict[str, Any]:
    """The card of a version trained on `day` from `feature` alone, whose files are in `folder`."""
    parameters = Parameters(max_depth=max_depth)
    model = train(LEARNT, "bought", [feature], parameters=parameters)
    card = {
        "model_version": version_name(pl.Series([day]).cast(pl.Datetime).item(), model.fingerprint),
        "as_of_date": str(day),
        "parameters": json.dumps(parameters.as_dict()),
        "features": json.dumps([feature]),
    }
    save_version(model, card, folder, figures={}, tested=tested)
    return card


def test_figures_of_both_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    older = saved(tmp_path, OLD_DAY, "same_for_all", max_depth=6)
    newer = saved(tmp_path, NEW_DAY, "visit_count", max_depth=4)
    comparison = compare_versions(tmp_path, newer, older)
    assert comparison == compare_versions(tmp_path, older, newer)
    assert (comparison["older"], comparison["newer"]) == (older["model_version"], newer["model_version"])
    assert (comparison["rows"], comparison["buyers"]) == (4, 1)
    # A coin against a perfect order, in each replicate that holds both outcomes.
    auc = {"older": 0.5, "newer": 1.0, "difference": 0.5, "low": 0.5, "high": 0.5}
    assert comparison["metrics"]["roc_auc"] == auc
    assert comparison["metrics"]["pr_auc"]["difference"] == 0.75
    # The fifth of four is one user: a quarter of a buyer where all are alike, the buyer where one stands out.
    top = comparison["metrics"]["precision_top_20"]
    assert (top["older"], top["newer"]) == (0.25, 1.0)
    # At the newer one's threshold the older one calls nobody: it finds none, and its precision is not defined.
    recall = comparison["metrics"]["recall"]
    assert (recall["older"], recall["newer"], recall["difference"]) == (0.0, 1.0, 1.0)
    assert "precision" not in comparison["metrics"]
    assert "lift_top_20" not in comparison["metrics"]  # nobody else bought: infinite
    assert comparison["parameters"] == {"max_depth": [6, 4]}
    assert comparison["features_of_older_only"] == ["same_for_all"]
    assert comparison["features_of_newer_only"] == ["visit_count"]


def test_a_version_whose_feature_the_rows_lack_is_refused_by_name(tmp_path: Path) -> None:
    older = saved(tmp_path, OLD_DAY, "same_for_all", max_depth=6)
    newer = saved(tmp_path, NEW_DAY, "visit_count", max_depth=6, tested=TESTED.drop("same_for_all"))
    with pytest.raises(ModelMismatch, match=f"(?s){older['model_version']} cannot score.*same_for_all"):
        compare_versions(tmp_path, older, newer)


def test_a_version_whose_files_are_gone_is_refused(tmp_path: Path) -> None:
    older = saved(tmp_path / "elsewhere", OLD_DAY, "same_for_all", max_depth=6)
    newer = saved(tmp_path, NEW_DAY, "visit_count", max_depth=6)
    with pytest.raises(ModelMismatch, match=f"{older['model_version']} cannot be loaded"):
        compare_versions(tmp_path, older, newer)
