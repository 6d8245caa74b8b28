"""Two versions side by side on rows that neither has learnt from.

Belongs here: choosing the rows, the figures with the interval of their difference, what was trained differently. Does
not belong here: measures (`evaluation.py`), which of the two is to serve (`judgement.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gesture_assets.models.evaluation import METRICS, best_threshold, compare
from gesture_assets.models.versions import judged_rows, load_version, require_features


def compare_versions(folder: Path, card: Mapping[str, Any], other_card: Mapping[str, Any]) -> dict[str, Any]:
    """Two versions, by their cards, on the test part of the newer one, whose outcomes were known when it was trained.

    The newer one by the probabilities that it was judged by, which are those of others' earlier days; the older as it
    served. `metrics`: metric -> both
    values, the difference (newer less older) and the ends of its paired 95 % bootstrap interval; those that cannot be
    worked out are left out. `threshold` gives the newer one its highest F1. Raises `ModelMismatch` where a version's
    files are gone or it reads a feature that the rows have not.
    """
    older, newer = sorted((card, other_card), key=lambda version: (version["as_of_date"], version["model_version"]))
    names = older["model_version"], newer["model_version"]
    rows = judged_rows(folder, names[1])
    model = load_version(folder, names[0])
    require_features(model, rows.columns, version=names[0])
    before, after = model.probabilities(rows), rows["probability"]
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
