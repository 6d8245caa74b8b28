"""A warehouse with history: everything before the night that is measured, built once and copied for each measurement.

Belongs here: building it with the product in ranges, and laying it out. Does not belong here: the rows that land
(`world.py`), measuring (`product.py`).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.models.tables import FEATURE_IMPORTANCE, TRAINING_SET
from gesture_assets.models.training import train
from gesture_assets.models.versions import save_version, version_name
from gesture_assets.nights.drift import _freeze
from gesture_assets.nights.night import open_night
from gesture_assets.nights.training_rows import model_inputs, training_frame
from gesture_assets.records.activations import activate
from gesture_assets.settings import load_settings
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets_tests.benchmarks import product
from gesture_assets_tests.benchmarks.world import LAST, Size, write_world

# Days before the measured one that are run whole, publication and all; of older days only what later ones are built on.
WHOLE_DAYS = 3
BASE = ("raw_events", "sessions", "daily_activity", "activity_to_date")
EVENTS_AT_ONCE = 10_000_000  # in one range of the history
LEARNS_FROM = 20_000  # people


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


def let_a_champion_serve() -> None:
    """Train a model of all inputs on people of the last whole day, and let it score from then on.

    Who of them bought is drawn by their visits to pricing pages: what a model costs does not depend on what it knows.
    """
    settings = load_settings()
    inputs = model_inputs(settings)
    before = LAST - timedelta(days=1)
    run = RunInfo("a champion", datetime.combine(LAST, datetime.min.time()), (before,), "training")
    with open_night(settings, run) as night:
        con = night.session.connection
        for contract in (TRAINING_SET, FEATURE_IMPORTANCE):
            night.session.ensure(contract)
        chance = "0.02 + least(pricing_page_view_count_30d, 10) * 0.05"
        con.execute(
            f"""insert into warehouse.main.training_set by name
            select {PARTITION}, user_id, {PARTITION} as feature_date, user_id as person_id,
                ((hash(user_id) >> 12) / 4503599627370496.0 < {chance})::int as label, {PARTITION} as matures_on,
                if(hash(user_id) % 4 = 0, 'test', 'train') as split, split as random_split,
                now()::timestamp as recorded_at, 'a champion' as run_id, false as is_backfill
            from warehouse.main.user_features where {PARTITION} = date '{before}'
            order by md5(user_id) limit {LEARNS_FROM}"""
        )
        placed = con.execute("select user_id, feature_date, person_id, label, split from warehouse.main.training_set")
        rows = training_frame(night, placed.pl().sort("user_id"), inputs)
        model = train(rows, "label", inputs)
        version = version_name(run.now, model.fingerprint)
        card = {PARTITION: before, "model_version": version, "features": json.dumps(inputs)}
        one = rows.drop("split").head(1)
        tested = one.with_columns(probability=model.probabilities(one))
        folder = save_version(model, card, settings.models, figures={}, tested=tested)
        _freeze(night, folder, model)  # what drift is measured against
        con.execute("delete from warehouse.main.training_set")  # no gate has seen it
        activate(con, version, since=LAST, now=run.now, action="activated", reason="a benchmark")
