"""Fourteen days across a month's end, built in four orders: the same rows every time."""

import json
import random
import shutil
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from gesture_assets_tests import forks

LAST = date(2026, 3, 9)
DAYS = [LAST - timedelta(days=n) for n in reversed(range(14))]
# One moment for every build: the CRM is undated in part, so what it says of a day depends on when it was read.
MOMENT = datetime.combine(LAST + timedelta(days=1), datetime.min.time()) + timedelta(hours=2)
PAIRS = [DAYS[n : n + 2] for n in range(0, len(DAYS), 2)]
SHUFFLED = random.Random(7).sample(PAIRS, len(PAIRS))


def build(folder: Path, orders: dict[str, Sequence[Sequence[date]]]) -> None:
    """Build the world in `folder` in one order after the other, and write each order's content hashes beside it."""
    from gesture_assets_tests.running import content_hashes, failures, run_night

    for name, runs in orders.items():
        for days in runs:
            result = run_night(days[0], days[-1], now=MOMENT)
            assert result.success, failures(result)
        hashes = {f"{table}@{day}": digest for (table, day), digest in content_hashes(folder).items()}
        (folder.parent / f"{name}.json").write_text(json.dumps(hashes))


def in_every_order(base: str) -> dict[str, dict[str, str]]:
    """Order -> content hash by table and day; two worlds at a time."""
    import os

    forks.import_everything()
    origin = Path(base) / "origin"
    origin.mkdir()

    def world() -> None:  # in a child: whatever has started threads cannot be forked any more
        from gesture_assets.demo.world import write_demo_world

        write_demo_world(
            landing=origin / "landing",
            crm=origin / "crm_database.sqlite",
            truth=origin / "demo_truth.parquet",
            users=60,
            days=len(DAYS),
            seed=5,
            end=LAST,
        )

    assert forks.run(world, Path(base) / "world.log") == 0, (Path(base) / "world.log").read_text()
    children = []
    for name, orders in (
        ("one", {"forwards": [[day] for day in DAYS], "backwards": PAIRS[::-1]}),
        ("two", {"range": [DAYS], "shuffled": SHUFFLED}),
    ):
        folder = Path(shutil.copytree(origin, Path(base) / name / "data"))

        def work(folder: Path = folder, orders: dict[str, Sequence[Sequence[date]]] = orders) -> None:  # type: ignore[assignment]
            os.environ["GESTURE_DATA_DIR"] = str(folder)
            build(folder, orders)

        children.append((forks.fork(work, Path(base) / f"{name}.log"), Path(base) / f"{name}.log"))
    for pid, log in children:
        assert forks.end_of(pid) == 0, log.read_text()[-4000:]
    return {path.stem: json.loads(path.read_text()) for path in sorted(Path(base).glob("*/*.json"))}


@pytest.mark.proof
def test_fourteen_days_are_the_same_in_whatever_order_they_are_built(tmp_path: Path) -> None:
    environment = forks.environment(tmp_path / "unused")
    built = forks.in_a_process(__name__, "in_every_order", tmp_path, environment=environment)
    assert set(built) == {"forwards", "backwards", "range", "shuffled"}
    forwards = built["forwards"]
    assert len({key.split("@")[1] for key in forwards}) == len(DAYS)
    assert forwards["activity_to_date@2026-02-28"] != forwards["activity_to_date@2026-02-27"]  # a month ends
    for order, hashes in built.items():
        assert {key for key in forwards if hashes.get(key) != forwards[key]} == set(), order
        assert set(hashes) == set(forwards), order
