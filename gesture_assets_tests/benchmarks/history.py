"""A warehouse with history: everything before the night that is measured, built once and copied for each measurement.

Belongs here: building it with the product in ranges, and laying it out. Does not belong here: the rows that land
(`world.py`), measuring (`product.py`).
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.world import LAST, Size, write_world

# Days before the measured one that are run whole, publication and all; of older days only what later ones are built on.
WHOLE_DAYS = 3
BASE = ("raw_events", "sessions", "daily_activity", "activity_to_date")
EVENTS_AT_ONCE = 10_000_000  # in one range of the history


def warm_up() -> None:
    """Run a night of a tiny world, so that no measurement pays for imports."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        write_world(Size(2_000, 100, 1), data_dir)
        product.use(data_dir)
        product.run(LAST)


def built(size: Size, folder: Path) -> Path:
    """The data folder of `size` below `folder`: all nights but the last are done, the last file has landed.

    It is built where it is not there yet; the warehouse does not know of the last file.
    """
    done = folder / size.name
    if done.is_dir():
        return done
    data_dir = folder / f"{done.name}.part"
    shutil.rmtree(data_dir, ignore_errors=True)
    write_world(size, data_dir)
    landed = data_dir / "landing" / "native" / f"events-{LAST}.parquet"
    waiting = data_dir / landed.name
    landed.replace(waiting)
    product.use(data_dir)
    days = size.dates[:-1]
    old = days[:-WHOLE_DAYS]
    at_once = max(1, EVENTS_AT_ONCE * size.days // size.events)
    for n in range(0, len(old), at_once):
        product.run(old[n], old[n : n + at_once][-1], tables=BASE)
    for day in days[-WHOLE_DAYS:]:
        product.run(day)
    waiting.replace(landed)
    for leftover in ("published", "gesture.duckdb"):
        path = data_dir / leftover
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    data_dir.replace(done)
    return done


@contextmanager
def copied(history: Path, folder: Path) -> Iterator[Path]:
    """A data folder that starts as `history` and is thrown away afterwards; landing files are shared with it."""
    data_dir = Path(tempfile.mkdtemp(prefix="night-", dir=folder)) / "data"
    landing = data_dir / "landing" / "native"
    landing.mkdir(parents=True)
    for path in (history / "landing" / "native").iterdir():
        os.link(path, landing / path.name)
    for name in ("crm_database.sqlite", "warehouse.duckdb"):
        if (history / name).exists():
            shutil.copyfile(history / name, data_dir / name)
    try:
        yield data_dir
    finally:
        shutil.rmtree(data_dir.parent, ignore_errors=True)
