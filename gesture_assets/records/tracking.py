"""What MLflow keeps of every training: parameters, metrics, plots, the model, and who is champion.

Belongs here: writing runs and the model registry of MLflow, on SQLite, offline. Does not belong here: which version
scores a day (`activations.py`: MLflow's aliases have no history), training.

MLflow takes seconds to import, so only trainings and commands about models do.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesture_assets.compat import mlflow_requirements
from gesture_assets.models.training import Model

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "intent"
REGISTERED_MODEL = "intent"
CHAMPION, CHALLENGER = "champion", "challenger"
VERSION_TAG = "gesture_version"
REPRODUCES, REPRODUCED = "reproduces", "reproduced"  # the version that was trained once more, and what came of it


@dataclass
class Tracking:
    """MLflow's database and the folder of its artefacts."""

    database: Path
    artifacts: Path
    _clients: list["MlflowClient"] = field(default_factory=list, repr=False)

    @property
    def uri(self) -> str:
        """What `mlflow ui --backend-store-uri` wants."""
        return f"sqlite:///{self.database.resolve()}"

    @property
    def client(self) -> "MlflowClient":
        """A client of this database; the first use creates it."""
        if not self._clients:
            import mlflow
            from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

            MLFLOW_DISABLE_TELEMETRY.set(True)

            self.database.parent.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            self._clients.append(mlflow.MlflowClient(self.uri, self.uri))
        return self._clients[0]

    @property
    def experiment_id(self) -> str:
        """The experiment of all trainings."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment:
            return experiment.experiment_id
        self.artifacts.mkdir(parents=True, exist_ok=True)
        return self.client.create_experiment(EXPERIMENT, artifact_location=self.artifacts.resolve().as_uri())

    def end_killed(self) -> None:
        """Mark runs that nobody ended. Trainings hold the warehouse's lock, so at the start of one nothing runs."""
        for run in self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'"):
            self.client.set_terminated(run.info.run_id, "KILLED")

    def seconds(self, run_id: str) -> float:
        """Seconds since the run began, by the moments that MLflow itself notes; kept as its metric `trained`."""
        self.client.log_metric(run_id, "trained", 1.0)
        (noted,) = self.client.get_metric_history(run_id, "trained")
        return (noted.timestamp - self.client.get_run(run_id).info.start_time) / 1000

    def reproduced(self, version: str) -> str:
        """What came of training `version` once more, the last time."""
        (newest,) = self.client.search_runs(
            [self.experiment_id],
            f"tags.{REPRODUCES} = '{version}'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return newest.data.tags[REPRODUCED]

    @contextmanager
    def run(self, name: str, *, tags: Mapping[str, str], parent: str | None = None) -> Iterator[str]:
        """A run that ends with the block, as failed when the block raises; yields its id."""
        all_tags = {"mlflow.runName": name, **tags} | ({"mlflow.parentRunId": parent} if parent else {})
        run_id = self.client.create_run(self.experiment_id, tags=all_tags, run_name=name).info.run_id
        try:
            yield run_id
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def log(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Any] = {},
        metrics: Mapping[str, float] = {},
        tags: Mapping[str, str] = {},
        images: Mapping[str, bytes] = {},
        files: Sequence[Path] = (),
    ) -> None:
        """Add to a run in one write; `images`: file name -> its bytes, `files` are copied."""
        from mlflow.entities import Metric, Param, RunTag

        step = 0
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, float(value), step, step) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            for name, content in images.items():
                path = Path(folder) / Path(name).name
                path.write_bytes(content)
                self.client.log_artifact(run_id, str(path), str(Path(name).parent))
        for path in files:
            (self.client.log_artifacts if path.is_dir() else self.client.log_artifact)(run_id, str(path), path.name)

    def register(self, run_id: str, model: Model, version: str) -> str:
        """Log the booster as MLflow's XGBoost model and register it; returns the number of MLflow's own version."""
        import mlflow
        import xgboost
        from mlflow import xgboost as flavour

        requirements = [f"xgboost-cpu=={xgboost.__version__}"]  # given: to work them out takes MLflow seconds
        with mlflow.start_run(run_id=run_id), mlflow_requirements.taken_as_given():
            flavour.log_model(
                model.booster,
                name="model",
                pip_requirements=requirements,
                model_format="json",
                registered_model_name=REGISTERED_MODEL,
                metadata={VERSION_TAG: version, "features": json.dumps(model.features)},
            )
        registered = self.client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
        number = str(max(int(entry.version) for entry in registered))
        self.client.set_model_version_tag(REGISTERED_MODEL, number, VERSION_TAG, version)
        return number

    def numbers(self) -> dict[str, str]:
        """Our version -> MLflow's own number of it."""
        registered = self.client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
        return {entry.tags[VERSION_TAG]: str(entry.version) for entry in registered if VERSION_TAG in entry.tags}

    def alias(self, name: str, version: str | None) -> None:
        """Let the alias (champion, challenger) point to our `version`, or to none."""
        number = self.numbers().get(version) if version else None
        if number:
            self.client.set_registered_model_alias(REGISTERED_MODEL, name, number)
        elif self.numbers():
            self.client.delete_registered_model_alias(REGISTERED_MODEL, name)

    def aliases(self) -> dict[str, str]:
        """Alias -> our version."""
        if not self.numbers():
            return {}
        by_number = {number: version for version, number in self.numbers().items()}
        numbers = self.client.get_registered_model(REGISTERED_MODEL).aliases
        return {alias: by_number[str(number)] for alias, number in numbers.items() if str(number) in by_number}
