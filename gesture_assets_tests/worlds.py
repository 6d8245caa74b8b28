"""Worlds as snapshots: data folders that are built once for the code they are built by, and copied for each test.

Belongs here: the worlds that several tests need, when one has to be built anew, copying it. Does not belong here:
expectations, running nights (`running.py`).
"""

import fcntl
import hashlib
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from gesture_assets.demo.world import write_demo_world
from gesture_assets.features.feature_registry import feature_registry
from gesture_assets.settings import load_settings
from gesture_assets_tests import small_world
from gesture_assets_tests.conftest import use_settings
from gesture_assets_tests.running import failures, run_night, run_training

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOTS = ROOT / ".pytest_cache" / "worlds"
BUILT_BY = ("worlds.py", "small_world.py", "running.py")


@dataclass(frozen=True)
class World:
    """How a data folder is filled; `settings`: what is set, by environment variable, while it is built and used."""

    fill: Callable[[Path], None]
    settings: Callable[[], Mapping[str, str]] = dict


# ---- four days to read -----------------------------------------------------------------------------------------------

# One moment for every build: the CRM is undated in part, so what it says of a day depends on when it was read.
SMALL_MOMENT = datetime(2026, 3, 6, 2)


def _land_small(data_dir: Path) -> None:
    """The four days of `small_world.py` and its CRM, nothing built."""
    small_world.land(data_dir)
    small_world.write_crm(data_dir / "crm_database.sqlite")


def _small(data_dir: Path) -> None:
    """The same, built day by day, as nights do."""
    _land_small(data_dir)
    for day in small_world.DAYS:
        _night(day, now=SMALL_MOMENT)


# ---- a champion ------------------------------------------------------------------------------------------------------

CHAMPION_LAST, CHAMPION_DAYS = date(2026, 3, 10), 75
FIRST_MODEL = "a world with a model"  # a few hundred users do not show that it is better than the rules


def _champion(data_dir: Path) -> None:
    """Live but the last day; a model was trained on the day before and serves since: the last night is scored by it."""
    before = CHAMPION_LAST - timedelta(days=1)
    _land(data_dir, users=900, days=CHAMPION_DAYS, end=CHAMPION_LAST)
    _forget(data_dir / "crm_database.sqlite")
    _night(CHAMPION_LAST - timedelta(days=CHAMPION_DAYS - 1), before)
    _train(before, at="2026-03-10T03:00", force_reason=FIRST_MODEL)
    _night(CHAMPION_LAST)


def _challenged(data_dir: Path) -> None:
    """The champion's world and a training of the next night, whose model was not better and is kept."""
    copy_world("champion", data_dir)
    _train(CHAMPION_LAST, at="2026-03-11T03:00", parameters={"n_estimators": "20", "max_depth": "2"})


def _forget(crm: Path) -> None:
    """Take 45 % of what the CRM knows out of it, each column of other people: document 002 expects 35 to 50 %."""
    with closing(sqlite3.connect(crm)) as con, con:
        for seed, column in ((7919, "member_rating"), (6983, "country_code"), (5737, "optin_time")):
            con.execute(f"update Subscribers set {column} = null where mailchimp_id * {seed} % 100 < 45")


# ---- a champion that is watched --------------------------------------------------------------------------------------

HORIZON = 7
WATCHED_DAYS, WATCHED_LAST = 50, date(2026, 3, 10)
TRAINED = date(2026, 2, 27)
SERVED = tuple(TRAINED + timedelta(days=n) for n in range(HORIZON + 1))
# Few features, which a young world already knows: the others tell that its history grows.
WATCHED_FEATURES = (
    "account_balance_usd",
    "country",
    "gender",
    "meeting_attended_count_7d",
    "pricing_page_view_count_7d",
    "primary_device",
    "proposal_view_count_7d",
    "rule_score",
    "search_count_7d",
    "video_view_count_7d",
)


def _watched_settings() -> dict[str, str]:
    names = [feature.name for feature in feature_registry(load_settings({}).tags)]
    left_out = [name for name in names if name not in WATCHED_FEATURES]
    return {
        "GESTURE_LABEL_HORIZON_DAYS": str(HORIZON),
        "GESTURE_EXCLUDED_FEATURES": ", ".join(left_out),
        "GESTURE_MODEL_RECIPE": "document_001",  # which goes by each of these features, however few people buy
    }


def _watched(data_dir: Path) -> None:
    """A champion of few features has served from the day it was trained on until its first outcomes."""
    _land(data_dir, users=900, days=WATCHED_DAYS, end=WATCHED_LAST)
    _night(WATCHED_LAST - timedelta(days=WATCHED_DAYS - 1), TRAINED, select="+model_scores")
    _train(TRAINED, at=f"{TRAINED + timedelta(days=1)}T03:00", force_reason=FIRST_MODEL)
    _night(SERVED[0], SERVED[-1], select="+alerts")


WORLDS = {
    "small_landed": World(_land_small),
    "small": World(_small),
    "champion": World(_champion),
    "challenged": World(_challenged),
    "watched": World(_watched, _watched_settings),
}


# ---- building and copying --------------------------------------------------------------------------------------------


def copy_world(name: str, data_dir: Path) -> Path:
    """Copy the world `name` to `data_dir`; whoever asks first for it builds it, and the others wait."""
    snapshots = SNAPSHOTS / name
    snapshots.mkdir(parents=True, exist_ok=True)
    origin = snapshots / _code() / "data"
    is_built = origin.with_name("is_built")
    with (snapshots / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_built.exists():
            for old in snapshots.glob("*/"):
                shutil.rmtree(old)
            with _in_force(name, origin), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's own, about its own
                origin.mkdir(parents=True)
                WORLDS[name].fill(origin)
            is_built.touch()
        shutil.copytree(origin, data_dir, symlinks=True, dirs_exist_ok=True)
    _move_runs(origin, data_dir)
    return data_dir


@contextmanager
def world_in_use(name: str, folder: Path) -> Iterator[Path]:
    """A copy of the world `name` in `folder`, with the settings that go with it."""
    data_dir = copy_world(name, folder / "data")
    with _in_force(name, data_dir):
        yield data_dir


@contextmanager
def _in_force(name: str, data_dir: Path) -> Iterator[None]:
    """The settings of the world `name`, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        use_settings(patch, data_dir, WORLDS[name].settings())
        yield


@cache
def _code() -> str:
    """What snapshots depend on: the package, the modules that build them, Python."""
    package = [path for kind in ("*.py", "*.sql", "*.toml") for path in (ROOT / "gesture_assets").rglob(kind)]
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted([*package, *(Path(__file__).with_name(name) for name in BUILT_BY)]):
        digest.update(f"{path.relative_to(ROOT)}:{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:16]


def _move_runs(origin: Path, data_dir: Path) -> None:
    """MLflow keeps absolute places: those of the copy are its own."""
    if not (data_dir / "mlflow.db").exists():
        return
    with closing(sqlite3.connect(data_dir / "mlflow.db")) as con, con:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            con.execute(f"update {table} set {column} = replace({column}, ?, ?)", [str(origin), str(data_dir)])


def _land(data_dir: Path, *, users: int, days: int, end: date) -> None:
    write_demo_world(
        landing=data_dir / "landing",
        crm=data_dir / "crm_database.sqlite",
        truth=data_dir / "demo_truth.parquet",
        users=users,
        days=days,
        seed=5,
        end=end,
    )


def _night(first: date, last: date | None = None, *, select: str | None = None, now: datetime | None = None) -> None:
    result = run_night(first, last, select=select, now=now)
    assert result.success, failures(result)


def _train(day: date, *, at: str, **options: object) -> None:
    result = run_training(day, at=at, **options)
    assert result.success, failures(result)
