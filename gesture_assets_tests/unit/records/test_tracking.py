"""MLflow keeps runs, the model and who is champion, and a run that stops is noted as failed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.models.training import Model
from gesture_assets.models.versions import save_version, version_name
from gesture_assets.records.tracking import CHALLENGER, CHAMPION, Tracking
from gesture_assets_tests.small_model import NOW, TESTED, small_model, small_world


@pytest.fixture(scope="module")
def world() -> pl.DataFrame:
    return small_world()


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # MLflow's own, about its own
def test_mlflow_keeps_runs_children_the_model_and_who_is_champion(
    model: Model, world: pl.DataFrame, tmp_path: Path
) -> None:
    tracking = Tracking(tmp_path / "mlflow.db", tmp_path / "mlruns")
    version = version_name(NOW, model.fingerprint)
    folder = save_version(model, {"model_version": version}, tmp_path / "models", figures={}, tested=TESTED)
    with tracking.run("train", tags={"dagster_run_id": "r1"}) as parent:
        with tracking.run("trial 0", tags={}, parent=parent) as child:
            tracking.log(child, parameters={"max_depth": 4}, metrics={"roc_auc": 0.8})
        tracking.log(parent, parameters=model.parameters.as_dict(), metrics={"roc_auc": 0.81}, files=[folder])
        tracking.register(parent, model, version)
    run = tracking.client.get_run(parent)
    assert (run.info.status, run.data.tags["dagster_run_id"]) == ("FINISHED", "r1")
    assert run.data.params["max_depth"] == "6"
    assert run.data.metrics == {"roc_auc": 0.81}
    children = tracking.client.search_runs([tracking.experiment_id], f"tags.mlflow.parentRunId = '{parent}'")
    assert [child.data.metrics["roc_auc"] for child in children] == [0.8]
    tracking.alias(CHAMPION, version)
    tracking.alias(CHALLENGER, None)
    assert tracking.aliases() == {CHAMPION: version}
    import mlflow
    import xgboost

    served = mlflow.xgboost.load_model("models:/intent@champion")
    matrix = xgboost.DMatrix(world.select("visit_count").cast(pl.Float32).to_numpy())
    assert np.array_equal(served.predict(matrix, output_margin=True), model.margins(world))
    with pytest.raises(ValueError, match="stopped"), tracking.run("broken", tags={}) as failed:
        raise ValueError("stopped")
    assert tracking.client.get_run(failed).info.status == "FAILED"
