"""The search for parameters: within document 003's space, the same from one seed, and taken up again after a kill."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gesture_assets.errors import ConfigError, TrainingRefused
from gesture_assets.models.evaluation import best_threshold, evaluate
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import train
from gesture_assets.models.tuning import SPACE, Trial, tune

FEATURES = ["strong", "weak", "idle"]


def visitors(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    strong, weak, idle = random.normal(size=(3, rows))
    bought = random.random(rows) < 1 / (1 + np.exp(2 - 1.5 * strong - 0.5 * weak))
    return pl.DataFrame({"strong": strong, "weak": weak, "idle": idle, "bought": bought})


TRAINING, VALIDATION = visitors(400, 1), visitors(400, 2)


def search(**arguments) -> list[Trial]:
    """The trials of a search, without what the clock says of them."""
    tuning = tune(TRAINING, VALIDATION, "bought", FEATURES, **arguments)
    return [replace(trial, seconds=0.0) for trial in tuning.trials]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_trials_stay_in_the_space_and_the_best_has_the_highest_auc(sampler: str) -> None:
    seen: list[Trial] = []
    base = Parameters(min_child_weight=3)
    tuning = tune(TRAINING, VALIDATION, "bought", FEATURES, sampler=sampler, parameters=base, on_trial=seen.append)
    assert len(tuning.trials) == 24
    assert seen == list(tuning.trials)
    for trial in tuning.trials:
        chosen = trial.parameters.as_dict()
        assert all(low <= chosen[name] <= high for name, (low, high) in SPACE.items())
        assert (trial.parameters.min_child_weight, trial.parameters.seed) == (3, 42)
    for name in SPACE:
        assert len({trial.parameters.as_dict()[name] for trial in tuning.trials}) > 3
    assert tuning.best.roc_auc == max(trial.roc_auc for trial in tuning.trials)
    assert tuning.sampler == sampler


def test_trials_are_models_of_the_encoding_that_is_trained_with() -> None:
    """A gap that says who buys: only a search that fills it as training does finds the same scores."""
    hidden = (pl.col("bought") & (pl.col("idle") > 0)) | (pl.col("idle") > 1)
    gappy = [rows.with_columns(strong=pl.when(~hidden).then("strong")) for rows in (TRAINING, VALIDATION)]
    tuning = tune(*gappy, "bought", FEATURES, missing="imputed", trials=3)
    for trial in tuning.trials:
        model = train(
            gappy[0],
            "bought",
            FEATURES,
            parameters=trial.parameters,
            missing="imputed",
            min_rows=1,
            validation=gappy[1],
            calibration="none",
        )
        assert "imputed_strong" in model.encoding.names
        scored = evaluate(gappy[1]["bought"], model.probabilities(gappy[1]), bootstrap=0).metrics
        assert trial.roc_auc == scored["roc_auc"].value


def test_the_space_is_that_of_the_source_document() -> None:
    assert SPACE == {
        "max_depth": (3, 8),
        "learning_rate": (0.01, 0.3),
        "n_estimators": (50, 200),
        "subsample": (0.7, 1.0),
        "colsample_bytree": (0.7, 1.0),
    }


def test_a_trial_s_figures_are_those_of_its_model() -> None:
    best = tune(TRAINING, VALIDATION, "bought", FEATURES, trials=3).best
    model = train(TRAINING, "bought", FEATURES, parameters=best.parameters)
    y, p = VALIDATION["bought"], model.probabilities(VALIDATION)
    metrics = evaluate(y, p, threshold=best.threshold, bootstrap=1).metrics
    assert best.threshold == best_threshold(y, p)
    assert (best.roc_auc, best.f1, best.recall) == (
        metrics["roc_auc"].value,
        metrics["f1"].value,
        metrics["recall"].value,
    )


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_seed_and_one_worker_make_the_same_trials(sampler: str) -> None:
    assert search(sampler=sampler, trials=12) == search(sampler=sampler, trials=12)
    first, other_seed = search(sampler=sampler, trials=1)[0], search(sampler=sampler, trials=1, seed=43)[0]
    assert first.parameters != other_seed.parameters


def test_the_random_search_is_the_same_with_any_number_of_workers() -> None:
    alone, together = (search(sampler="random", trials=9, workers=workers) for workers in (1, 6))
    assert [trial.number for trial in together] == list(range(9))
    assert alone == together


def test_the_two_samplers_differ_once_tpe_has_learnt() -> None:
    tpe, random = (search(sampler=sampler, trials=14) for sampler in ("tpe", "random"))
    assert [trial.parameters for trial in tpe[10:]] != [trial.parameters for trial in random[10:]]


SCRIPT = """
import importlib.util
import sys
import time

import optuna

spec = importlib.util.spec_from_file_location("the_test", sys.argv[1])
the_test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(the_test)
from gesture_assets.models import tuning

def wait_in_the_eleventh(trial):
    if trial.number == 9:
        optuna.load_study(study_name="tuning", storage=tuning._storage(sys.argv[2])).ask()
        print("killable", flush=True)
        time.sleep(600)

tuning.tune(the_test.TRAINING, the_test.VALIDATION, "bought", the_test.FEATURES, storage=sys.argv[2],
            on_trial=wait_in_the_eleventh)
"""


def kill_a_search_in_its_eleventh_trial(storage: str) -> None:
    """Start a search in a process of its own, and kill it when ten trials are finished and one is under way."""
    command = [sys.executable, "-c", SCRIPT, __file__, storage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout
        assert process.stdout.readline() == "killable\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("form", ["journal", "sqlite"])
def test_a_search_killed_after_trial_10_makes_the_other_14_when_it_is_resumed(tmp_path: Path, form: str) -> None:
    storage = str(tmp_path / "tuning.log") if form == "journal" else f"sqlite:///{tmp_path / 'tuning.db'}"
    kill_a_search_in_its_eleventh_trial(storage)
    seen: list[Trial] = []
    tuning = tune(TRAINING, VALIDATION, "bought", FEATURES, storage=storage, on_trial=seen.append)
    assert (tuning.resumed, len(seen), len(tuning.trials)) == (10, 14, 24)
    uninterrupted = search()
    assert [trial.parameters for trial in tuning.trials] == [trial.parameters for trial in uninterrupted]
    again = tune(TRAINING, VALIDATION, "bought", FEATURES, storage=storage, on_trial=seen.append)
    assert (again.resumed, len(seen), again.best) == (24, 14, tuning.best)


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_workers_share_the_trials(tmp_path: Path, kind: str) -> None:
    seen: list[Trial] = []
    tuning = tune(
        TRAINING,
        VALIDATION,
        "bought",
        FEATURES,
        workers=3,
        kind=kind,
        trials=8,
        storage=str(tmp_path / "tuning.log"),
        on_trial=seen.append,
    )
    assert sorted(trial.number for trial in seen) == [trial.number for trial in tuning.trials] == list(range(8))
    assert len({trial.parameters for trial in tuning.trials}) == 8


def test_a_study_of_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    storage = str(tmp_path / "tuning.log")
    search(trials=1, storage=storage)
    with pytest.raises(ConfigError, match="another sampler, seed"):
        search(trials=2, storage=storage, sampler="random", seed=1)
    with pytest.raises(ConfigError, match="another features"):
        tune(TRAINING, VALIDATION, "bought", ["strong"], storage=storage)
    with pytest.raises(ConfigError, match="another missing_numbers"):
        search(trials=2, storage=storage, missing="-999")
    assert len(search(trials=2, storage=storage, study="another", seed=1)) == 2


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ConfigError, match="storage that worker processes can share"):
        search(workers=2, kind="processes")
    with pytest.raises(ConfigError, match="0 trials"):
        search(trials=0)
    with pytest.raises(TrainingRefused, match="all with outcome 0"):
        tune(TRAINING, VALIDATION.filter(~pl.col("bought")), "bought", FEATURES)
    with pytest.raises(TrainingRefused, match="found: 99 rows"):
        tune(TRAINING[:99], VALIDATION, "bought", FEATURES)
