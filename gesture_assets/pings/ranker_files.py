"""A ranker's files: what `recs train` writes and lists are made by.

Belongs here: writing and reading them, and refusing files that are not what was trained. Does not belong here: training
(`ranker_training.py`), which version serves when (`records/activations.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from gesture_assets.compat.lean_imports import UNUSED_BY_XGBOOST, absent
from gesture_assets.errors import ModelMismatch, listing
from gesture_assets.models.versions import CARD, known_versions, version_name
from gesture_assets.pings.ranker import Ranker, Settings

BOOSTER, ABOUT = "ranker.json", "about.json"


def ranker_version(ranker: Ranker, now: datetime) -> str:
    """As a model's: when it was trained, and the beginning of its hash."""
    return version_name(now, ranker.fingerprint)


def save_ranker(ranker: Ranker, card: Mapping[str, Any], folder: Path) -> Path:
    """Write the ranker and its card into `folder`/<card's ranker_version>; whole or not."""
    target = folder / str(card["ranker_version"])
    part = folder / f".{target.name}.tmp"
    part.mkdir(parents=True, exist_ok=True)
    about = {
        "objective": ranker.objective,
        "settings": asdict(ranker.settings),
        "features": ranker.features,
        "row_count": ranker.row_count,
    }
    (part / BOOSTER).write_bytes(bytes(ranker.booster.save_raw("json")))
    for name, content in ((ABOUT, about), (CARD, card)):
        text = json.dumps(content, indent=1, sort_keys=True, default=str)
        (part / name).write_text(text + "\n", encoding="utf-8")
    if not target.exists():  # the same training in the same second has the same files
        part.replace(target)
    return target


def load_ranker(folder: Path, version: str) -> Ranker:
    """The ranker of a version. Raises `ModelMismatch` where its files are gone or are not what was trained."""
    path = folder / version
    if missing := [name for name in (BOOSTER, ABOUT) if not (path / name).is_file()]:
        raise ModelMismatch(
            f"The ranker {version} cannot be loaded.",
            expected=f"{BOOSTER} and {ABOUT}",
            found=f"no {listing(missing)}; other versions: {listing(known_versions(folder)) or 'none'}",
            where=str(path),
            next_step='gesture recs activate heuristic --reason "its files are gone", or  gesture recs train',
        )
    with absent(UNUSED_BY_XGBOOST):
        import xgboost
    try:
        return _verified(_read(path), version, path)
    except (ValueError, TypeError, KeyError, xgboost.core.XGBoostError) as error:  # no JSON, or not what was written
        raise _unusable(version, path, "files as they were written", str(error).splitlines()[0][:200]) from error


def _read(path: Path) -> Ranker:
    with absent(UNUSED_BY_XGBOOST):
        import xgboost

    about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    booster = xgboost.Booster()
    booster.load_model(bytearray((path / BOOSTER).read_bytes()))  # pyright: ignore[reportUnknownMemberType]: its stub leaves PathLike open
    return Ranker(
        booster, about["objective"], Settings(**about["settings"]), tuple(about["features"]), about["row_count"]
    )


def _verified(ranker: Ranker, version: str, path: Path) -> Ranker:
    if version.endswith(ranker.fingerprint[:8]):
        return ranker
    raise _unusable(version, path, f"one whose hash begins with {version[-8:]}", ranker.fingerprint[:8])


def _unusable(version: str, path: Path, expected: str, found: str) -> ModelMismatch:
    return ModelMismatch(
        f"The ranker {version} cannot be used.",
        expected=expected,
        found=found,
        where=str(path),
        next_step='gesture recs activate heuristic --reason "its files were changed", or  gesture recs train',
    )
