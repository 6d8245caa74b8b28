"""How good a model of the demo world is, beside the oracle that knows what everybody is about to do.

Belongs here: the world, the days that a training reads, and the figures. Does not belong here: their limits
(`suite.py`). The whole path is the product's: landing files, warehouse, training set, training.

Chance decides at a few hundred buyers: with 360 of them in the test part (40,000 users) the ROC AUC is known to
± 0.018, the sum of probabilities to ± 10 %. Smaller worlds settle nothing.
"""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.world import LAST, Size

if TYPE_CHECKING:
    from gesture_assets.models.training import Model

SEED = 11
STEPS = 20  # of a blend's weights from 0 to 1
HORIZON, APART = 30, 14
SHOWN = ("roc_auc", "pr_auc", "lift_top_20", "precision_top_20", "ece", "sum_ratio")


def demo_model(folder: Path, size: Size) -> dict[str, Any]:
    """Train on a demo world of `size.users` and `size.days`, and judge the model and the oracle on its test part."""
    from gesture_assets.demo.world import write_demo_world
    from gesture_assets.models.evaluation import evaluate
    from gesture_assets.models.versions import card_of, judged_rows, known_versions, load_version
    from gesture_assets.settings import load_settings
    from gesture_assets_tests.running import failures, run_night, run_training, warehouse

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        product.use(data_dir)
        truth, first = data_dir / "demo_truth.parquet", LAST - timedelta(days=size.days - 1)
        write_demo_world(
            landing=data_dir / "landing",
            crm=data_dir / "crm_database.sqlite",
            truth=truth,
            users=size.users,
            days=size.days,
            seed=SEED,
            end=LAST,
        )
        newest = LAST - timedelta(days=HORIZON)
        days = [newest - timedelta(days=ago) for ago in range(0, (newest - first).days - APART, APART)]
        nights = [(first, LAST, "+key:daily_activity or key:activity_to_date or key:validated_subscribers")]
        nights += [(day, day, "key:user_features or key:rule_scores") for day in [*reversed(days[:8]), LAST]]
        for start, end, select in nights:  # features of days that no training reads would take most of the time
            done = run_night(start, end, select=select)
            assert done.success, failures(done)
        trained = run_training(LAST, at=f"{LAST + timedelta(days=1)}T03:00")
        assert trained.success, failures(trained)
        models = load_settings().models
        (version,) = known_versions(models)
        rows, card = judged_rows(models, version), card_of(models, version)
        known = pl.scan_parquet(truth).select(
            "user_id", pl.col("day").alias("feature_date"), pl.col("conversion_probability_30d").alias("oracle")
        )
        # Bots and people who have not been seen yet are not in the truth: it expects nothing of them.
        rows = rows.join(known.collect(), on=["user_id", "feature_date"], how="left", maintain_order="left")
        oracle = rows["oracle"].fill_null(0)
        con = warehouse(data_dir)
        suspects = con.execute("select count(*) from feature_screening where verdict <> 'fine'").fetchone()
        before = con.execute(
            "select features.*, rules.score as rule_score, placed.person_id, label, split "
            "from (select *, feature_date as day from training_set where split in ('train', 'validation')) as placed "
            "join user_features as features on features.as_of_date = day and features.user_id = placed.user_id "
            "join rule_scores as rules on rules.as_of_date = day and rules.user_id = placed.user_id "
            "order by day, placed.user_id"
        ).pl()
        con.close()
        found = {}
        model = load_version(models, version)
        pieces = {part: before.filter(pl.col("split") == part) for part in ("train", "validation")} | {"test": rows}
        probabilities = model.probabilities(rows)
        for name, values in (("model", probabilities), ("oracle", oracle), ("rules", rows["rule_score"] / 100)):
            judged = evaluate(rows["label"], values, groups=rows["person_id"], bootstrap=1000)
            found[name] = {metric: list(vars(judged.metrics[metric]).values()) for metric in SHOWN}
        return {
            "seconds": time.perf_counter() - started,
            "rows": len(rows),
            "buyers": int(rows["label"].sum()),
            "base_rate": float(rows["label"].mean()),  # pyright: ignore
            "expected_buyers": float(oracle.sum()),
            "suspects": suspects[0] if suspects else -1,
            "trained_in": card["training_seconds"],
            "data": f"{card['data_verdict']}: {card['data_because']}",
            **found,
            "ensembles": _ensembles(model, pieces),
            "segments": _segments(model, pieces),
        }


def _ensembles(model: "Model", pieces: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """Rules and a small neural network alone, and blends of them with the model, weighted on the validation part: their
    ROC AUC on the test part, and the paired difference from the model alone with its interval.
    """
    from sklearn.metrics import roc_auc_score

    from gesture_assets.models.calibration import fit_calibrator
    from gesture_assets.models.evaluation import compare

    outcome = {part: rows["label"].to_numpy() for part, rows in pieces.items()}
    raw = {part: {"rules": rows["rule_score"].fill_null(0).to_numpy()} for part, rows in pieces.items()}
    for part, margins in _network(model, pieces).items():
        raw[part]["network"] = margins
    said = {part: {"model": model.probabilities(pieces[part])} for part in ("validation", "test")}
    for name in ("rules", "network"):  # on the model's scale, or weights would mean nothing
        calibrator = fit_calibrator(raw["validation"][name], outcome["validation"], choice="sigmoid")
        for part in said:
            said[part][name] = calibrator.probabilities(raw[part][name])
    found = {}
    blends = (("model", "rules"), ("model", "network"), ("model", "rules", "network"))
    for names in (("rules",), ("network",), *blends):
        shares = np.array(list(np.ndindex(*[STEPS + 1] * len(names)))) / STEPS
        values = {part: np.stack([one[name] for name in names]) for part, one in said.items()}
        weights = max(
            shares[np.isclose(shares.sum(axis=1), 1)],
            key=lambda one: roc_auc_score(outcome["validation"], one @ values["validation"]),
        )
        judged = compare(
            outcome["test"], said["test"]["model"], weights @ values["test"], groups=pieces["test"]["person_id"]
        )
        figures = judged.metrics["roc_auc"]
        found[" + ".join(names)] = {
            "weights": weights.tolist(),
            "roc_auc": figures.challenger,
            "verdict": judged.verdict,
            "difference": list(vars(figures.difference).values()),
        }
    return found


def _network(model: "Model", pieces: dict[str, pl.DataFrame]) -> dict[str, np.ndarray]:
    """The log odds of a small neural network of the model's inputs, in units of their spread, missing ones average."""
    from sklearn.neural_network import MLPClassifier

    from gesture_assets.models.matrix import encode

    matrices = {part: encode(rows, model.encoding).astype(np.float64) for part, rows in pieces.items()}
    middle, spread = (how(matrices["train"], axis=0) for how in (np.nanmean, np.nanstd))
    inputs = {
        part: np.nan_to_num(np.clip((one - middle) / np.where(spread > 0, spread, 1), -5, 5))
        for part, one in matrices.items()
    }
    network = MLPClassifier((32,), alpha=0.01, early_stopping=True, random_state=SEED)
    network.fit(inputs["train"], pieces["train"]["label"].to_numpy())
    chances = {part: np.clip(network.predict_proba(one)[:, 1], 1e-9, 1 - 1e-9) for part, one in inputs.items()}
    return {part: np.log(one / (1 - one)) for part, one in chances.items()}


def _segments(model: "Model", pieces: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """By column: what became of each segment, and what the members bring on the test part."""
    from gesture_assets.models.evaluation import compare
    from gesture_assets.models.judgement import directions
    from gesture_assets.models.segments import with_segments
    from gesture_assets.vocabulary.scoring import SEGMENTS

    found, test = {}, pieces["test"]
    for column in SEGMENTS:
        own, said = with_segments(model, column, pieces, pieces["validation"], monotone=directions(model.features))
        judged = compare(test["label"], model.probabilities(test), own.probabilities(test), groups=test["person_id"])
        found[column] = {
            "difference": list(vars(judged.metrics["roc_auc"].difference).values()),
            "said": {scope: one.sentence for scope, one in said.items()},
        }
    return found
