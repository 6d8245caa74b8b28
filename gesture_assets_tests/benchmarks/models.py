"""Models beside XGBoost's own calls: training, predicting, and reasons, from a frame against from a ready matrix.

Belongs here: the frame of features, and the three runs. Does not belong here: their limits (`suite.py`), how good a
model is (`reference/test_models.py`).

In each run ours and XGBoost's own call take turns in one process, chunk by chunk or time by time, so that whatever else
the machine does falls on both. The memory is that of both together.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gesture_assets.models.matrix import encode
from gesture_assets.models.parameters import Parameters
from gesture_assets.models.reasons import CHUNK, reasons
from gesture_assets.models.training import Model, fit_booster, train
from gesture_assets_tests.benchmarks.world import Size

Figures = dict[str, Any]
COUNTS, RATES, FLAGS, CATEGORIES = 40, 14, 2, 4
FEATURES = [
    *(f"count_{place}" for place in range(COUNTS)),
    *(f"rate_{place}" for place in range(RATES)),
    *(f"is_{place}" for place in range(FLAGS)),
    *(f"city_{place}" for place in range(CATEGORIES)),
]
TRAINED = 200_000  # rows at most: four as-of days of 50,000 eligible users
TIMES = 3


def frame_of(users: int, seed: int = 1) -> pl.DataFrame:
    """Sixty features like `user_features`': counts that are mostly small, rates with gaps, flags, categories."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {"user_id": np.char.add("user-", np.arange(users).astype(str))}
    for place in range(COUNTS):
        columns[f"count_{place}"] = random.negative_binomial(1, 0.25 + 0.5 * place / COUNTS, users).astype(np.int32)
    for place in range(RATES):
        rate = random.beta(2, 5, users)
        columns[f"rate_{place}"] = np.where(random.random(users) < 0.2, np.nan, rate)
    for place in range(FLAGS):
        columns[f"is_{place}"] = random.random(users) < 0.3
    for place in range(CATEGORIES):
        columns[f"city_{place}"] = np.char.add("city ", random.zipf(1.5, users).clip(1, 80).astype(str))
    margin = -5 + sum(0.15 * columns[f"count_{place}"] for place in range(0, COUNTS, 4))
    margin = margin + 2 * np.nan_to_num(columns["rate_0"]) + columns["is_0"]
    columns["bought"] = random.random(users) < 1 / (1 + np.exp(-margin))
    return pl.DataFrame(columns).with_columns(pl.col("^rate_.*$").fill_nan(None))


def trained(size: Size) -> tuple[Model, pl.DataFrame]:
    """A model of document 001's parameters, and the users to score."""
    users = frame_of(size.users)
    training = users[: min(size.users * 3 // 4, TRAINED)]
    validation = users[-size.users // 4 :][:50_000]
    return train(training, "bought", FEATURES, validation=validation), users


def model_training(folder: Path, size: Size) -> Figures:
    """`train` from a frame, against XGBoost's own fit on the same matrix."""
    users = frame_of(min(size.users, TRAINED))
    model = train(users, "bought", FEATURES)
    matrix, outcome = encode(users, model.encoding), users["bought"].cast(pl.Float32).to_numpy()
    ours, theirs = _in_turn(
        lambda: train(users, "bought", FEATURES), lambda: fit_booster(matrix, outcome, Parameters())
    )
    return {"seconds": ours, "xgboost_seconds": theirs, "rows": len(users), "inputs": matrix.shape[1]}


def model_scoring(folder: Path, size: Size) -> Figures:
    """Calibrated probabilities from a frame, against XGBoost's own prediction on the ready matrix."""
    import xgboost

    model, users = trained(size)
    matrix = encode(users, model.encoding)
    ours, theirs = _in_turn(lambda: model.probabilities(users), lambda: model.booster.inplace_predict(matrix))
    with_matrix, _ = _in_turn(lambda: model.booster.predict(xgboost.DMatrix(matrix)), lambda: None)
    encoding, _ = _in_turn(lambda: encode(users, model.encoding), lambda: None)
    return {
        "seconds": ours,
        "xgboost_seconds": theirs,
        "xgboost_dmatrix_seconds": with_matrix,
        "rows": len(users),
        "steps": {"encoding": encoding},
    }


def model_reasons(folder: Path, size: Size) -> Figures:
    """The reasons of everybody from a frame, against XGBoost's own contributions on the ready matrix."""
    import xgboost

    model, users = trained(size)
    ours = theirs = 0.0
    rows = 0
    for start in range(0, len(users), CHUNK):
        part = users[start : start + CHUNK]
        ready = xgboost.DMatrix(encode(part, model.encoding))
        started = time.perf_counter()
        model.booster.predict(ready, pred_contribs=True)
        between = time.perf_counter()
        rows += sum(len(found) for found in reasons(model, part))
        ours, theirs = ours + time.perf_counter() - between, theirs + between - started
    return {"seconds": ours, "xgboost_seconds": theirs, "rows": len(users), "reasons": rows}


def _in_turn(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Seconds of each, the fastest of a few; they take turns."""
    fastest = [float("inf")] * 2
    for _ in range(TIMES):
        for place, call in enumerate((first, second)):
            started = time.perf_counter()
            call()
            fastest[place] = min(fastest[place], time.perf_counter() - started)
    return fastest[0], fastest[1]
