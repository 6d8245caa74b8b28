"""The search for better training parameters, with Optuna.

Belongs here: the search space, samplers, workers, and the storage from which a killed search goes on. Does not belong
here: training (`training.py`), the record of trials in MLflow (the caller's `on_trial`).

A trial's parameters come from the seed, its place in the search and the trials before it, never from how often the
search was started: a search that was killed and taken up again makes the trials it would have made. The random sampler
looks at no trials before it, so its trials are the same with any number of workers; TPE's are with one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from gesture_assets.errors import ConfigError
from gesture_assets.models.calibration import Calibrator
from gesture_assets.models.evaluation import best_threshold, evaluate
from gesture_assets.models.matrix import Matrix, encode, fit_encoding
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.training import Outcomes, fit_booster, monotone_signs, outcomes, refuse_too_few_outcomes
from gesture_assets.vocabulary.scoring import Missing

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "random"]
Workers = Literal["threads", "processes"]

TRIALS = 24
WORKERS: dict[Sampler, int] = {"random": 6, "tpe": 1}  # document 003's six where they change nothing
PLACE = "place"  # of a trial in its search, from 0: a killed one leaves it to another
# Document 003's search space: name -> lowest and highest, both included.
SPACE: dict[str, tuple[int, int] | tuple[float, float]] = {
    "max_depth": (3, 8),
    "learning_rate": (0.01, 0.3),
    "n_estimators": (50, 200),
    "subsample": (0.7, 1.0),
    "colsample_bytree": (0.7, 1.0),
}
STRIDE = 100_003  # between the seeds of one search's trials and those of a search whose seed is one more


@dataclass(frozen=True)
class Trial:
    """A finished trial: its place in the search, its parameters, and how its model does on the validation part.

    `f1`, `recall` at `threshold`, which gives the highest F1 there. `seconds` that the trial took.
    """

    number: int
    parameters: Parameters
    roc_auc: float
    f1: float
    recall: float
    threshold: float
    seconds: float


@dataclass(frozen=True)
class Tuning:
    """What `tune` found: all finished trials by place, and the parameters of the one with the highest ROC AUC.

    `resumed` trials were there already when the search was taken up.
    """

    best: Trial
    trials: tuple[Trial, ...]
    resumed: int
    sampler: Sampler


@dataclass(frozen=True)
class _Work:
    """What a worker needs to make trials; it travels to worker processes once."""

    matrix: Matrix
    outcome: Outcomes
    validation: Matrix
    judged: Outcomes
    base: Parameters
    monotone: tuple[int, ...]
    sampler: Sampler
    seed: int
    study: str
    storage: Any  # Optuna's own, or the address from which a process opens it
    threads: int | None


def tune(
    frame: pl.DataFrame,
    validation: pl.DataFrame,
    target: str,
    features: Sequence[str],
    *,
    parameters: Parameters | None = None,
    sampler: Sampler = "tpe",
    trials: int = TRIALS,
    workers: int = 1,
    kind: Workers = "threads",
    storage: str | None = None,
    study: str = "tuning",
    seed: int = 42,
    monotone: Mapping[str, Literal[-1, 0, 1]] | None = None,
    ordinal: Mapping[str, Sequence[str]] | None = None,
    missing: Missing = "native",
    threads: int | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuning:
    """Search for the parameters whose model, trained on `frame`, has the highest ROC AUC on `validation`.

    `parameters` are kept but for those of `SPACE`; `ordinal` and `missing` are as for `train`. `storage`: an address
    such as sqlite:///tuning.db, or the path of a journal file; a `study` found there goes on until it has `trials`
    finished trials, so that nothing is done twice after a kill. Without it the search lives in memory. `threads` are
    those of one trial (with several workers: 1). `on_trial` is called here, not in the worker, for each trial that
    finishes now. Raises as `train` does, and `ConfigError` for processes without a storage or a study of another
    sampler, seed or training set.
    """
    import optuna

    _refuse_impossible(trials, workers, kind, storage)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    outcome, judged = outcomes(frame, target, features), outcomes(validation, target)
    refuse_too_few_outcomes(outcome, target)
    refuse_too_few_outcomes(judged, target, min_rows=1)
    encoding = fit_encoding(frame, features, ordinal=ordinal, missing=missing)
    opened = _storage(storage)
    search = optuna.create_study(storage=opened, study_name=study, direction="maximize", load_if_exists=True)
    matrix = encode(frame, encoding)
    _same_search(
        search,
        study,
        {
            "sampler": sampler,
            "seed": seed,
            "features": list(encoding.names),
            "missing_numbers": missing,
            "rows": len(matrix),
            "positives": int(outcome.sum()),
        },
    )
    places = _free_places(search, trials)
    work = _Work(
        matrix,
        outcome,
        encode(validation, encoding),
        judged,
        parameters or Parameters(),
        monotone_signs(encoding, monotone),
        sampler,
        seed,
        study,
        storage if kind == "processes" and workers > 1 else opened,
        threads if workers == 1 else 1,
    )
    before = _finished(search, work.base)
    for trial in _trials(work, places, workers, kind):
        if on_trial:
            on_trial(trial)
    finished = _finished(search, work.base)
    best = max(finished, key=lambda trial: (trial.roc_auc, -trial.number))  # of equals the first
    return Tuning(best, tuple(finished), len(before), sampler)


def _trials(work: _Work, places: Sequence[int], workers: int, kind: Workers) -> Iterator[Trial]:
    if workers == 1:
        for place in places:
            yield _run_trial(work, place)
        return
    executor: Executor
    if kind == "threads":
        executor = ThreadPoolExecutor(workers)
        tasks = [executor.submit(_run_trial, work, place) for place in places]
    else:
        # Not forked: XGBoost's threads do not survive a fork.
        executor = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(work,)
        )
        tasks = [executor.submit(_run_trial_in_worker, place) for place in places]
    try:
        for task in as_completed(tasks):
            yield task.result()
    finally:
        executor.shutdown(cancel_futures=True)


_WORKER_STATE: list[_Work] = []


def _start_worker(work: _Work) -> None:
    _WORKER_STATE[:] = [work]


def _run_trial_in_worker(place: int) -> Trial:
    return _run_trial(_WORKER_STATE[0], place)


def _run_trial(work: _Work, place: int) -> Trial:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = _storage(work.storage) if isinstance(work.storage, str) else work.storage
    # A study object of its own: the sampler of another worker must not come between.
    study = optuna.load_study(study_name=work.study, storage=storage)
    trial = study.ask()
    trial.set_user_attr(PLACE, place)
    study.sampler = _sampler(work.sampler, work.seed * STRIDE + place)
    try:
        return _judge(work, study, trial)
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise


def _judge(work: _Work, study: "optuna.Study", trial: "optuna.Trial") -> Trial:
    chosen: dict[str, Any] = {}
    for name, (low, high) in SPACE.items():
        if isinstance(low, int):
            chosen[name] = trial.suggest_int(name, low, int(high))
        else:
            chosen[name] = trial.suggest_float(name, low, high, log=name == "learning_rate")
    parameters = work.base.overridden(chosen)
    booster = fit_booster(work.matrix, work.outcome, parameters, monotone=work.monotone, threads=work.threads)
    predicted = Calibrator().probabilities(booster.inplace_predict(work.validation, predict_type="margin"))
    threshold = best_threshold(work.judged, predicted)
    metrics = evaluate(work.judged, predicted, threshold=threshold, bootstrap=0).metrics
    for name in ("f1", "recall"):
        trial.set_user_attr(name, metrics[name].value)
    trial.set_user_attr("threshold", threshold)
    return _trial(study.tell(trial, metrics["roc_auc"].value), work.base)


def _finished(study: "optuna.Study", base: Parameters) -> list[Trial]:
    from optuna.trial import TrialState

    trials = [_trial(frozen, base) for frozen in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    return sorted(trials, key=lambda trial: trial.number)


def _trial(frozen: "optuna.trial.FrozenTrial", base: Parameters) -> Trial:
    return Trial(
        number=frozen.user_attrs[PLACE],
        parameters=base.overridden(frozen.params),
        roc_auc=float(frozen.value if frozen.value is not None else "nan"),
        f1=frozen.user_attrs["f1"],
        recall=frozen.user_attrs["recall"],
        threshold=frozen.user_attrs["threshold"],
        seconds=frozen.duration.total_seconds() if frozen.duration else 0.0,
    )


def _sampler(kind: Sampler, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    seed = seed % 2**32
    return optuna.samplers.RandomSampler(seed) if kind == "random" else optuna.samplers.TPESampler(seed=seed)


def _storage(storage: str | None) -> Any:
    from optuna.storages import InMemoryStorage, JournalStorage, get_storage
    from optuna.storages.journal import JournalFileBackend

    if storage is None:
        return InMemoryStorage()
    return get_storage(storage) if "://" in storage else JournalStorage(JournalFileBackend(storage))


def _free_places(study: "optuna.Study", trials: int) -> list[int]:
    """The places without a finished trial; what a killed search left running is marked as failed."""
    from optuna.trial import TrialState

    for unfinished in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(unfinished.number, state=TrialState.FAIL)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    taken = {trial.user_attrs[PLACE] for trial in finished}
    return [place for place in range(trials) if place not in taken]


def _same_search(study: "optuna.Study", name: str, search: Mapping[str, object]) -> None:
    """Remember what the study searches; refuse to mix its trials with those of another search."""
    before = study.user_attrs.get("search")
    if before is None:
        study.set_user_attr("search", dict(search))
    elif before != search:
        differing = sorted(key for key in search if before.get(key) != search[key])
        raise ConfigError.bad_value(
            f"The study {name!r}",
            expected="a new study, or one of the same sampler, seed and training set",
            found=f"one with another {', '.join(differing)}",
            where="the storage of the search",
            next_step="give the search another study name",
        )


def _refuse_impossible(trials: int, workers: int, kind: Workers, storage: str | None) -> None:
    if trials < 1 or workers < 1:
        expected, found = "at least one trial and one worker", f"{trials} trials, {workers} workers"
    elif kind == "processes" and workers > 1 and storage is None:
        expected, found = "a storage that worker processes can share", "none"
    else:
        return
    raise ConfigError.bad_value(
        "The search",
        expected=expected,
        found=found,
        where="the arguments of the tuning",
        next_step="correct them:  gesture train --tune --help",
    )
