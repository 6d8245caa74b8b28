"""A model's version: its name, its hashes, its folder.

Belongs here: names and hashes that a version resolves to, reading and writing its files. Does not belong here: which
version serves (`records/activations.py`), tracking (`records/tracking.py`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from gesture_assets.errors import ModelMismatch, listing
from gesture_assets.models.training import Model

# Beside the model's own files: what the version resolves to, how good it is, and the rows that it was judged by.
CARD, FIGURES = "version.json", "training_metrics.json"
TESTED, OUTCOMES = "X_test.parquet", "y_test.parquet"


def version_name(now: datetime, fingerprint: str) -> str:
    """`vYYYYMMDD_HHMMSS_<8 hex>`: when it was trained, and the beginning of the model's hash."""
    return f"v{now:%Y%m%d_%H%M%S}_{fingerprint[:8]}"


def digest(value: object) -> str:
    """SHA-256 of a JSON value, the same whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def save_version(
    model: Model, card: Mapping[str, object], folder: Path, *, figures: Mapping[str, object], tested: pl.DataFrame
) -> Path:
    """Write the model, its card, its figures on the test part and that part into `folder`/<version>; whole or not."""
    target = folder / str(card["model_version"])
    part = folder / f".{target.name}.tmp"
    model.save(part)
    for name, content in ((CARD, card), (FIGURES, figures)):
        (part / name).write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
    outcome = [name for name in ("person_id", "label", "bought_on", "probability") if name in tested.columns]
    tested.drop(outcome).write_parquet(part / TESTED)
    tested.select("user_id", "feature_date", *outcome).write_parquet(part / OUTCOMES)
    if not target.exists():  # the same training in the same second has the same files
        part.replace(target)
    return target


def load_version(folder: Path, version: str) -> Model:
    """The model of a version. Raises `ModelMismatch` where its files are gone or are not what was trained."""
    path = folder / version
    if not path.is_dir():
        raise ModelMismatch(
            f"The model {version} cannot be loaded.",
            expected="its folder",
            found=listing(known_versions(folder)),
            where=str(folder),
            next_step="gesture models rollback, or train another:  gesture train",
        )
    model = Model.load(path)
    if not version.endswith(model.fingerprint[:8]):
        raise ModelMismatch(
            f"The model {version} cannot be used.",
            expected=f"a model whose hash begins with {version[-8:]}",
            found=model.fingerprint[:8],
            where=str(path),
            next_step="gesture models rollback: its files were changed after the training",
        )
    return model


def card_of(folder: Path, version: str) -> dict[str, Any]:
    """Everything that the version resolves to."""
    return json.loads((folder / version / CARD).read_text(encoding="utf-8"))


def figures_of(folder: Path, version: str) -> dict[str, Any]:
    """What was measured at the training: metric -> value of the test part, and the rest of `training_metrics.json`."""
    return json.loads((folder / version / FIGURES).read_text(encoding="utf-8"))


def largest_difference(folder: Path, version: str, figures: Mapping[str, float]) -> str:
    """How far `figures` of a test part are from those of the version, in words: "difference 0", or the largest."""
    before = figures_of(folder, version)["test"]
    differences = {name: abs(value - before.get(name, float("inf"))) for name, value in figures.items()}
    name = max(differences, key=lambda metric: differences[metric])
    return f"largest difference {differences[name]:g} ({name})" if differences[name] else "difference 0"


def judged_rows(folder: Path, version: str) -> pl.DataFrame:
    """The rows that the version was judged by, with every feature that a model may read, `person_id` and `label`.

    `probability` is what it was judged by: that of a model of other persons' earlier days.

    Raises `ModelMismatch` for a version that was trained before these rows were kept.
    """
    path = folder / version
    if not (path / TESTED).is_file():
        raise ModelMismatch(
            f"The test part of {version} cannot be read.",
            expected=f"{TESTED} and {OUTCOMES}, which trainings keep",
            found="a version of before",
            where=str(path),
            next_step=f"gesture train --from-version {version}",
        )
    key = ["user_id", "feature_date"]
    return pl.read_parquet(path / TESTED).join(pl.read_parquet(path / OUTCOMES), on=key, maintain_order="left")


def known_versions(folder: Path) -> list[str]:
    """Versions whose files are there, oldest first."""
    return sorted(path.parent.name for path in folder.glob(f"v*/{CARD}"))


def require_features(model: Model, features: Sequence[str], *, version: str) -> None:
    """Refuse to score with a model that was trained for another list of features, naming both differences."""
    missing = sorted(set(model.features) - set(features))
    if missing:
        raise ModelMismatch(
            f"The model {version} cannot score these features.",
            expected=f"every feature that it was trained for, among them {listing(missing)}",
            found=f"{len(set(features))} features without {listing(missing)}",
            where="user_features",
            next_step="gesture train: the features have changed since",
        )


def require_curve(model: Model, *, version: str) -> None:
    """Refuse a model that does not know what points mean: the score of whom it does not score would be on another
    scale.
    """
    if model.curve is None:
        raise ModelMismatch(
            f"The model {version} cannot score a day by itself.",
            expected="a model that was trained on rows with the points of the rules",
            found="one without",
            where="the model's files",
            next_step="train another:  gesture train",
        )
