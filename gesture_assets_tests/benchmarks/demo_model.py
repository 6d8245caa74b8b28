"""How good a model of the demo world is, beside the oracle that knows what everybody is about to do.

Belongs here: the world, the days that a training reads, and the figures. Does not belong here: their limits
(`suite.py`). The whole path is the product's: landing files, warehouse, training set, `gesture train`.

Chance decides at a few hundred buyers: with 360 of them in the test part (40,000 users) the ROC AUC is known to
± 0.018, the sum of probabilities to ± 10 %. Smaller worlds settle nothing.
"""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.world import LAST, Size

SEED = 11
HORIZON, APART = 30, 14
SHOWN = ("roc_auc", "pr_auc", "lift_top_20", "precision_top_20", "ece", "sum_ratio")


def demo_model(folder: Path, size: Size) -> dict[str, Any]:
    """Train on a demo world of `size.users` and `size.days`, and judge the model and the oracle on its test part."""
    from gesture_assets.definitions import defs
    from gesture_assets.defs.common import NOW_TAG
    from gesture_assets.models.evaluation import evaluate
    from gesture_assets.models.versions import card_of, judged_rows, known_versions, load_version
    from gesture_assets.settings import load_settings
    from gesture_assets.sources.demo_world import write_demo_world
    from gesture_assets_tests.nights import failures, run_night, warehouse

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        data_dir = Path(own) / "data"
        product.use(data_dir)
        truth, first = data_dir / "demo_truth.parquet", LAST - timedelta(days=size.days - 1)
        write_demo_world(
            landing=data_dir / "landing", crm=data_dir / "crm_database.sqlite", truth=truth, users=size.users,
            days=size.days, seed=SEED, end=LAST,
        )  # fmt: skip
        newest = LAST - timedelta(days=HORIZON)
        days = [newest - timedelta(days=ago) for ago in range(0, (newest - first).days - APART, APART)]
        nights = [(first, LAST, "+key:daily_activity or key:activity_to_date or key:validated_subscribers")]
        nights += [(day, day, "key:user_features or key:rule_scores") for day in [*reversed(days[:8]), LAST]]
        for start, end, select in nights:  # features of days that no training reads would take most of the time
            done = run_night(start, end, select=select)
            assert done.success, failures(done)
        trained = defs.resolve_job_def("train").execute_in_process(
            partition_key=str(LAST), tags={NOW_TAG: f"{LAST + timedelta(days=1)}T03:00"}, raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
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
        con.close()
        found = {}
        probabilities = load_version(models, version).probabilities(rows)
        for name, values in (("model", probabilities), ("oracle", oracle), ("rules", rows["rule_score"] / 100)):
            judged = evaluate(rows["label"], values, groups=rows["person_id"], bootstrap=1000)
            found[name] = {metric: list(vars(judged.metrics[metric]).values()) for metric in SHOWN}
        return {
            "seconds": time.perf_counter() - started,
            "rows": len(rows), "buyers": int(rows["label"].sum()), "base_rate": float(rows["label"].mean()),  # pyright: ignore
            "expected_buyers": float(oracle.sum()), "suspects": suspects[0] if suspects else -1,
            "trained_in": card["training_seconds"], "data": f"{card['data_verdict']}: {card['data_because']}", **found,
        }  # fmt: skip
