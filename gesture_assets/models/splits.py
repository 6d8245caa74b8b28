"""Which days and users train, validate and test a model.

Belongs here: the choice of feature days, the split by time and user that decides, and the random one beside it. Does
not belong here: outcomes (`labels.py`).

A user is in one part only, whatever the day, or a model could know people again; and tests lie after all training, as
tonight lies after everything that is known. Rows of a user on another part's days are left out: of a set with one
validation day and one test day among many, about four in ten. Places depend on the user's id alone, so a later training
tests nobody whom an earlier one was trained on.
"""

from collections.abc import Collection
from datetime import date, timedelta

import numpy as np
import polars as pl

from gesture_assets.contracts.models import DAYS_APART, SPLITS
from gesture_assets.errors import TrainingRefused

SHARES = (0.6, 0.2, 0.2)  # of users that train, validate and test: document 003
LEFT_OUT = "left_out"
MOST_DAYS = 6
FEWEST_DAYS = 3
_FIRST, _FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a's constants


def feature_days(
    live: Collection[date], known_until: date, *, horizon_days: int, apart: int = DAYS_APART, at_most: int = MOST_DAYS,
    at_least: int = FEWEST_DAYS,
) -> list[date]:  # fmt: skip
    """Days of `live` whose outcomes are known at the end of `known_until`, newest first `apart` days from each other.

    Returned in order. Raises `TrainingRefused` for fewer than `at_least`.
    """
    newest = known_until - timedelta(days=horizon_days)
    chosen: list[date] = []
    for day in sorted((day for day in live if day <= newest), reverse=True):
        if len(chosen) < at_most and (not chosen or (chosen[-1] - day).days >= apart):
            chosen.append(day)
    if len(chosen) < at_least:
        raise TrainingRefused(
            f"A model cannot be trained on {known_until}.",
            expected=f"{at_least} days with features, {apart} days apart, on or before {newest} "
            f"(outcomes take {horizon_days} days)",
            found=f"{len(chosen)} of them among {len(live)} days with features",
            where="user_features",
            next_step=f"gesture run --from {newest - timedelta(days=apart * (at_least - 1))} --to {newest}, "
            "or wait until more nights have passed",
        )
    return chosen[::-1]


def places(ids: pl.Series, *, salt: str = "") -> np.ndarray:
    """A number in [0, 1) for each id, spread evenly and always the same: FNV-1a over its UTF-8 bytes, then mixed."""
    encoded = (salt + ids.cast(pl.String)).cast(pl.Binary)
    width = int(encoded.bin.size().max() or 0)  # pyright: ignore[reportArgumentType]
    sizes = encoded.bin.size().to_numpy()
    letters = np.zeros((len(ids), width), dtype=np.uint8)
    flat = np.frombuffer(b"".join(encoded.to_list()), dtype=np.uint8)
    letters[np.arange(width) < sizes[:, None]] = flat
    state = np.full(len(ids), _FIRST, dtype=np.uint64)
    for column in range(width):  # one step for each letter of the longest id, all users at once
        further = (state ^ letters[:, column]) * _FACTOR
        state = np.where(column < sizes, further, state)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _part(place: np.ndarray, shares: tuple[float, float, float]) -> np.ndarray:
    """The index of the part that each place falls in."""
    return np.searchsorted(np.cumsum(shares)[:-1], place, side="right")


def split(rows: pl.DataFrame, *, shares: tuple[float, float, float] = SHARES, seed: int = 42) -> pl.DataFrame:
    """`rows` (`user_id`, `feature_date`, `label`) with `split` and `random_split`, in order of day and user.

    `split`: the newest day tests, the one before validates, all others train; within each only users whose place is in
    that part. `random_split`: users by chance within each outcome (ever positive or never), all days: what document 003
    does, reported beside it.
    """
    rows = rows.sort("feature_date", "user_id")
    days = rows["feature_date"].unique().sort()
    of_day = np.zeros(len(rows), dtype=np.int64)
    of_day[(rows["feature_date"] == days[-2]).to_numpy()] = 1
    of_day[(rows["feature_date"] == days[-1]).to_numpy()] = 2
    of_user = _part(places(rows["user_id"]), shares)
    names = np.array([*SPLITS, LEFT_OUT])
    chosen = names[np.where(of_day == of_user, of_day, len(SPLITS))]
    users = rows.group_by("user_id").agg(pl.col("label").max()).sort("user_id")
    rank = places(users["user_id"], salt=f"{seed}:")
    ordered = users.with_columns(place=pl.Series(rank)).with_columns(
        share=(pl.col("place").rank("ordinal").over("label") - 0.5) / pl.len().over("label")
    )
    by_chance = np.array(SPLITS)[_part(ordered["share"].to_numpy(), shares)]
    random = ordered.select("user_id", random_split=pl.Series(by_chance, dtype=pl.String))
    return rows.with_columns(split=pl.Series(chosen, dtype=pl.String)).join(
        random, on="user_id", how="left", maintain_order="left"
    )
