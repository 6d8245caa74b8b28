"""A model's version: its name, its hashes, its folder.

Belongs here: names and hashes that a version resolves to, reading and writing its files. Does not belong here: which
version serves (`warehouse/registry.py`), tracking (`tracking.py`).
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from gesture_assets.errors import ModelMismatch, listing
from gesture_assets.models.training import Model

CARD = "version.json"  # beside the model's own files: everything that the version resolves to


def version_name(now: datetime, fingerprint: str) -> str:
    """`vYYYYMMDD_HHMMSS_<8 hex>`: when it was trained, and the beginning of the model's hash."""
    return f"v{now:%Y%m%d_%H%M%S}_{fingerprint[:8]}"


def digest(value: object) -> str:
    """SHA-256 of a JSON value, the same whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def save_version(model: Model, card: dict[str, object], folder: Path) -> Path:
    """Write the model and its card into `folder`/<version>; whole or not at all."""
    target = folder / str(card["model_version"])
    part = folder / f".{target.name}.tmp"
    model.save(part)
    (part / CARD).write_text(json.dumps(card, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
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


def card_of(folder: Path, version: str) -> dict[str, object]:
    """Everything that the version resolves to."""
    return json.loads((folder / version / CARD).read_text(encoding="utf-8"))


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
