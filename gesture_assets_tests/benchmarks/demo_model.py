"""How good the scores of demo worlds are, by what is true of people in other worlds: rules, trees, blend and oracle.

Belongs here: the worlds, the days that a training reads, and the figures. Does not belong here: their limits
(`suite.py`). The whole path is the product's: landing files, warehouse, training set, training, its own decision.

A demo world knows everybody's probability to buy within the horizon, so nothing has to be drawn: an AUC by the truth
counts each person as a buyer by that much. A few thousand people of other worlds settle it to the third digit.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.world import LAST, Size

SEEDS = (11, 12, 13)
JUDGES, JUDGE_SEED = 8_000, 99  # people of another world, and its seed
HORIZON, APART = 30, 14
CALLS = 100  # as many people of the list as get called


def demo_model(folder: Path, size: Size) -> dict[str, Any]:
    """For each of `SEEDS` a world of `size.users` and `size.days` to train on; judged on one that no training saw."""
    from gesture_assets.models.versions import load_version

    started = time.perf_counter()
    with _world(folder, users=JUDGES, days=size.days, seed=JUDGE_SEED, feature_days=[LAST]) as (data_dir, truth):
        people = _people(data_dir, truth)
    oracle = _figures(people, people["oracle"])
    rules = _figures(people, people["rule_score"].fill_null(0))
    newest = LAST - timedelta(days=HORIZON)
    first = LAST - timedelta(days=size.days - 1)
    ago = range(0, (newest - first).days, APART)
    days = [*(newest - timedelta(days=back) for back in [*ago][:8]), LAST]
    worlds = []
    for seed in SEEDS:
        with _world(folder, users=size.users, days=size.days, seed=seed, feature_days=days) as (data_dir, _):
            cards = {recipe: _trained(recipe, minute) for minute, recipe in enumerate(("blend", "document_001"))}
            models = {
                recipe: load_version(data_dir / "models", card["model_version"]) for recipe, card in cards.items()
            }
        said = {recipe: _figures(people, model.probabilities(people)) for recipe, model in models.items()}
        serves = "blend" if cards["blend"]["decision"] == "promoted" else "rules"
        worlds.append(
            {
                "seed": seed,
                "rules": rules,
                **said,
                "serves": serves,
                "acted_on": said["blend"] if serves == "blend" else rules,
                "because": cards["blend"]["because"],
                "rule_weight": cards["blend"]["rule_weight"],
                "sum_ratio": float(models["blend"].probabilities(people).sum() / people["oracle"].sum()),
            }
        )
    names = ("rules", "document_001", "blend", "acted_on")
    mean = {
        name: {figure: statistics.fmean(world[name][figure] for world in worlds) for figure in ("roc_auc", "called")}
        for name in names
    }
    return {
        "seconds": time.perf_counter() - started,
        "people": len(people),
        "oracle": oracle,
        "mean": mean,
        "worlds": worlds,
    }


@contextmanager
def _world(folder: Path, *, users: int, days: int, seed: int, feature_days: list[date]) -> Iterator[tuple[Path, Path]]:
    """A demo world whose nights were made as far as `feature_days` need them; its folder, and what is true of it."""
    from gesture_assets.demo.world import write_demo_world
    from gesture_assets_tests.running import failures, run_night

    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        product.use(data_dir)
        truth, first = data_dir / "demo_truth.parquet", LAST - timedelta(days=days - 1)
        write_demo_world(
            landing=data_dir / "landing",
            crm=data_dir / "crm_database.sqlite",
            truth=truth,
            users=users,
            days=days,
            seed=seed,
            end=LAST,
        )
        nights = [(first, LAST, "+key:daily_activity or key:activity_to_date or key:validated_subscribers")]
        # Features of days that no training reads would take most of the time.
        nights += [(day, day, "key:user_features or key:rule_scores") for day in sorted(feature_days)]
        for start, end, select in nights:
            done = run_night(start, end, select=select)
            assert done.success, failures(done)
        yield data_dir, truth


def _trained(recipe: str, minute: int) -> dict[str, Any]:
    """What the version resolves to that a training with `recipe` makes."""
    from gesture_assets.models.versions import card_of, known_versions
    from gesture_assets.settings import load_settings
    from gesture_assets_tests.running import failures, run_training

    os.environ["GESTURE_MODEL_RECIPE"] = recipe
    try:
        trained = run_training(LAST, at=f"{LAST + timedelta(days=1)}T03:{minute:02}")
    finally:
        del os.environ["GESTURE_MODEL_RECIPE"]
    assert trained.success, failures(trained)
    folder = load_settings().models
    return card_of(folder, known_versions(folder)[-1])


def _people(data_dir: Path, truth: Path) -> pl.DataFrame:
    """Everybody of the last day who could still buy, with features, points and what is true of them (`oracle`)."""
    from gesture_assets.models.labels import exclusions
    from gesture_assets_tests.running import warehouse

    con = warehouse(data_dir)
    rows = con.execute(
        "select features.*, rules.score as rule_score from user_features as features "
        "join rule_scores as rules using (as_of_date, user_id) where as_of_date = ? order by user_id",
        [LAST],
    ).pl()
    con.close()
    out = exclusions(nw.from_native(rows.lazy())).filter(~nw.col("reason").is_null()).collect().to_native()
    rows = rows.join(pl.DataFrame(out), on="user_id", how="anti", maintain_order="left")
    known = pl.scan_parquet(truth).filter(pl.col("day") == LAST)
    known = known.select("user_id", oracle="conversion_probability_30d").collect()
    # Bots and whoever has not been seen yet are not in the truth: it expects nothing of them.
    return rows.join(known, on="user_id", how="left", maintain_order="left").with_columns(pl.col("oracle").fill_null(0))


def _figures(people: pl.DataFrame, score: pl.Series | np.ndarray) -> dict[str, float]:
    """The ROC AUC of `score` by the truth, and how many of the first `CALLS` are expected to buy."""
    from sklearn.metrics import roc_auc_score

    chance, score = people["oracle"].to_numpy(), np.asarray(score, dtype=np.float64)
    outcome = np.repeat([1, 0], len(chance))
    area = roc_auc_score(outcome, np.tile(score, 2), sample_weight=np.concatenate([chance, 1 - chance]))
    first = np.lexsort((np.arange(len(score)), -score))[:CALLS]
    return {"roc_auc": float(area), "called": float(chance[first].sum())}
