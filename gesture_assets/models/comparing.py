"""Two versions side by side on rows that neither has learnt from.

Belongs here: choosing the rows, the figures with the interval of their difference, what was trained differently. Does
not belong here: measures (`evaluation.py`), which of the two is to serve (`judgement.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from gesture_assets.models.evaluation import METRICS, best_threshold, compare
from gesture_assets.models.splits import TEST
from gesture_assets.models.versions import judged_rows, load_version, require_features


def compare_versions(folder: Path, card: Mapping[str, Any], other_card: Mapping[str, Any]) -> dict[str, Any]:
    """Two versions, by their cards, on the last day of the newer one's test part: no row of it taught either of them.

    Both as they serve, for both may have learnt from earlier days of these people. `metrics`: metric -> both
    values, the difference (newer less older) and the ends of its paired 95 % bootstrap interval; those that cannot be
    worked out are left out. `threshold` gives the newer one its highest F1. Raises `ModelMismatch` where a version's
    files are gone or it reads a feature that the rows have not.
    """
    older, newer = sorted((card, other_card), key=lambda version: (version["as_of_date"], version["model_version"]))
    names = older["model_version"], newer["model_version"]
    rows = judged_rows(folder, names[1]).filter(pl.col("split") == TEST)
    models = [load_version(folder, name) for name in names]
    for name, model in zip(names, models, strict=True):
        require_features(model, rows.columns, version=name)
    before, after = (model.probabilities(rows) for model in models)
    threshold = best_threshold(rows["label"], after)
    comparison = compare(rows["label"], before, after, threshold=threshold, groups=rows["person_id"])
    parameters = [json.loads(card["parameters"]) for card in (older, newer)]
    features = [set(json.loads(card["features"])) for card in (older, newer)]
    return {
        "older": names[0],
        "newer": names[1],
        "rows": len(rows),
        "buyers": int(rows["label"].sum()),
        "threshold": threshold,
        "metrics": {
            name: {
                "older": figures.champion,
                "newer": figures.challenger,
                "difference": figures.difference.value,
                "low": figures.difference.low,
                "high": figures.difference.high,
            }
            for name in METRICS
            for figures in [comparison.metrics[name]]
            if abs(figures.difference.value) < float("inf")
        },
        "parameters": {
            name: [parameters[0].get(name), parameters[1].get(name)]
            for name in sorted(parameters[0].keys() | parameters[1].keys())
            if parameters[0].get(name) != parameters[1].get(name)
        },
        "features_of_older_only": sorted(features[0] - features[1]),
        "features_of_newer_only": sorted(features[1] - features[0]),
    }
