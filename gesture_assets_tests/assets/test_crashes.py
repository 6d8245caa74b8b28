"""What `kill -9` leaves at any moment of a night: a published file that is whole, and nothing that stops the next."""

import gzip
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import pytest

from gesture_assets_tests.forks import (
    KILLED,
    environment,
    gesture,
    import_everything,
    in_a_process,
    kill_at,
    run,
    write_world,
    yesterday,
)

HERE = "gesture_assets_tests.assets.test_crashes"
WAREHOUSE, PUBLISH = "gesture_assets.warehouse", "gesture_assets.publication.publish"
DRESSING = "gesture_assets.publication.dressing"
# Each step of a night's writing, and the moments around and inside it.
MOMENTS = {
    "before the first table is staged": (f"{WAREHOUSE}.staging", "Staging.stage", "before", 1),
    "after a table is staged": (f"{WAREHOUSE}.staging", "Staging.stage", "after", 9),
    "before an audit": (f"{WAREHOUSE}.window_audit", "audit", "before", 5),
    "after an audit": (f"{WAREHOUSE}.window_audit", "audit", "after", 5),
    "before a promotion": (f"{WAREHOUSE}.promotion", "promote", "before", 1),
    "in a promotion, when the first of four tables is in": (f"{WAREHOUSE}.promotion", "_replace", "after", 1),
    "in a promotion, when the ledger rows are in": (f"{WAREHOUSE}.promotion", "ledger.append", "after", 4),
    "after a promotion": (f"{WAREHOUSE}.promotion", "promote", "after", 3),
    "while the warehouse is explained": (DRESSING, "comments", "after", 3),
    "before the copy": (PUBLISH, "shutil.copyfile", "before", 1),
    "after the copy": (PUBLISH, "shutil.copyfile", "after", 1),
    "while the copy is dressed": (DRESSING, "_insert", "after", 1),
    "after the copy is dressed": (PUBLISH, "dress", "after", 1),
    "when the copy is verified and has no name": (PUBLISH, "verify", "after", 1),
    "when it has its name and is not flipped in": (PUBLISH, "flip", "before", 1),
    "with the new link made and not in place": (PUBLISH, "os.path.relpath", "before", 1),
    "when it is flipped in": (PUBLISH, "flip", "after", 1),
    "when old files are pruned": (PUBLISH, "_prune", "after", 1),
}


def whole(data_dir: Path) -> str:
    """The newest day of the published file, which opens and holds what passed."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.publish import verify
    from gesture_assets.settings import load_settings

    return str(verify((data_dir / "gesture.duckdb").resolve(), catalogue(load_settings().tags).tables)[1])


def in_child(work: Callable[[], Any], log: Path) -> Any:
    """What `work` returns, looked up in a child: the one that forks must not open a database."""
    answer = log.with_suffix(".answer")

    def written() -> None:
        answer.write_text(json.dumps(work(), default=str))

    assert run(written, log) == 0, log.read_text()
    return json.loads(answer.read_text())


def hashes(data_dir: Path) -> list[list[str]]:
    """Table, day and content hash of every newest PASS."""
    from gesture_assets_tests.running import content_hashes

    return [[table, str(day), digest] for (table, day), digest in sorted(content_hashes(data_dir).items())]


# ---- at each step ------------------------------------------------------------


def good_night(offset: int, *, steps: str = "commit publish") -> None:
    """Commit and publish the hand-written night, and those of the `offset` days after it."""
    from gesture_assets.records.opening import warehouse_of
    from gesture_assets.settings import load_settings
    from gesture_assets.warehouse.run_info import RunInfo
    from gesture_assets_tests.good_night import DAY, NIGHT, commit_good_night
    from gesture_assets_tests.unit.publication.test_publish import publish_from

    settings, later = load_settings(), timedelta(days=offset)
    days = tuple(DAY + timedelta(days=number) for number in range(offset + 1))
    night = RunInfo(f"run-{os.getpid()}", NIGHT + later, days, "a_night")
    if "commit" in steps:
        with warehouse_of(settings).open(night) as session:
            commit_good_night(session)
    if "publish" in steps:
        with warehouse_of(settings).open(night) as session:
            publish_from(session, settings)


def killed_at_each_step(root: str) -> dict[str, Any]:
    """For every moment: how the night ended, what was published then, and what the next run made of it."""
    import_everything()
    import gesture_assets_tests.unit.publication.test_publish

    del gesture_assets_tests
    folder, log = Path(root), Path(root) / "log"

    def at(data_dir: Path) -> Path:
        os.environ["GESTURE_DATA_DIR"] = str(data_dir)
        return data_dir

    base = at(folder / "base")
    base.mkdir()
    assert run(lambda: good_night(0), log) == 0, log.read_text()
    committed = at(shutil.copytree(base, folder / "committed", symlinks=True))
    assert run(lambda: good_night(1, steps="commit"), log) == 0, log.read_text()
    found: dict[str, Any] = {"undisturbed": in_child(lambda: hashes(committed), log)}
    for number, (moment, (module, function, when, nth)) in enumerate(MOMENTS.items()):
        # A publication writes no rows to the warehouse: what is killed there may find its tables committed.
        origin, steps = (base, "commit publish") if module.startswith(WAREHOUSE) else (committed, "publish")
        data_dir = at(shutil.copytree(origin, folder / str(number), symlinks=True))

        def deadly(place: tuple[str, str, str, int] = (module, function, when, nth), steps: str = steps) -> None:
            kill_at(place[0], place[1], when=place[2], nth=place[3])
            good_night(1, steps=steps)

        def looked_at(here: Path = data_dir, steps: str = steps) -> list[Any]:
            published = whole(here)
            good_night(1, steps=steps)
            left = [path.name for path in [*here.iterdir(), *(here / "published").iterdir()]]
            return [published, whole(here), hashes(here), left]

        found[moment] = [run(deadly, log), *in_child(looked_at, log)]
    found["log"] = log.read_text()[-3000:]
    return found


@pytest.mark.slow
def test_a_night_killed_at_any_step_of_its_writing_leaves_a_whole_file_and_is_made_good_by_the_next(
    tmp_path: Path,
) -> None:
    found = in_a_process(HERE, "killed_at_each_step", tmp_path, environment=environment(tmp_path))
    log, undisturbed = found.pop("log"), found.pop("undisturbed")
    assert list(found) == list(MOMENTS)
    old, new = "2026-03-09", "2026-03-10"
    for moment, (ended, published, after, hashes_after, left) in found.items():
        assert ended == KILLED, f"{moment} never came: {log}"
        flipped = moment in ("when it is flipped in", "when old files are pruned")
        assert published == (new if flipped else old), moment
        assert after == new, f"{moment}: {log}"
        assert hashes_after == undisturbed, moment
        assert [name for name in left if ".tmp" in name or name.startswith(".") or name.endswith(".wal")] == [], moment


# ---- while what landed is read, and while it is rejected ------------------------------------------------------------

INDEX, EVENTS = "gesture_assets.sources.landing_index", "gesture_assets.nights.events"
LANDING_MOMENTS = {
    "before the folder is looked at": (INDEX, "LandingIndex.refresh", "before", 1),
    "when the first file is read": (INDEX, "open_file", "after", 1),
    "while personal values are hidden": (INDEX, "hide_personal_values", "before", 1),
    "when the rows are counted and no file is noted": (INDEX, "LandingIndex._store", "before", 1),
    "while the first file is noted": (INDEX, "LandingIndex._delete", "after", 1),
    "when one of two files is noted": (INDEX, "LandingIndex._store", "after", 1),
    "when the folder is known": (INDEX, "LandingIndex.refresh", "after", 1),
    "when the rows are loaded": (INDEX, "LandingIndex.load", "after", 1),
    "when the quarantine is staged": (f"{WAREHOUSE}.staging", "Staging.stage", "after", 2),
    "when the quarantine is in and nothing stands in the ledger": (f"{WAREHOUSE}.promotion", "_replace", "after", 2),
}
REJECTION_MOMENTS = {
    "before the verdict": (f"{WAREHOUSE}.window_audit", "audit", "before", 1),
    "when the verdict is known": (f"{WAREHOUSE}.window_audit", "audit", "after", 1),
    "before anything of it is written": (f"{WAREHOUSE}.promotion", "promote", "before", 1),
    "when the day's own rows are left as they were": (f"{WAREHOUSE}.promotion", "_clear_rejected", "after", 1),
    "before the first rejected rows": (f"{WAREHOUSE}.promotion", "_reject", "before", 1),
    "when the rejected events are in": (f"{WAREHOUSE}.promotion", "_reject", "after", 1),
    "when the rejected quarantine is in": (f"{WAREHOUSE}.promotion", "_reject", "after", 2),
    "when the first table stands in the ledger": (f"{WAREHOUSE}.promotion", "ledger.append", "after", 1),
    "when all stand there and nothing is committed": (f"{WAREHOUSE}.promotion", "ledger.append", "after", 4),
    "after it": (f"{WAREHOUSE}.promotion", "promote", "after", 1),
}
ROWS = 40  # of each file, of which one is refused


def land(data_dir: Path, *, poisoned: bool) -> None:
    """Two files of yesterday, the second packed; of a `poisoned` one every second row is refused."""
    header = "event_id,user_id,event_type,event_at,city"
    for name, write in (
        ("a.csv", Path.write_bytes),
        ("b.csv.gz", lambda path, data: path.write_bytes(gzip.compress(data))),
    ):
        refused = range(0, ROWS, 2 if poisoned else ROWS)
        rows = [
            f"{name}{n},{'' if n in refused else f'u{n}'},page_view,{yesterday()} 10:00:{n:02},+49 151 2345678"
            for n in range(ROWS)
        ]
        path = data_dir / "landing" / "native" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, "\n".join([header, *rows]).encode())


def landed_night() -> None:
    """Read what landed for yesterday, without Dagster, and nothing else."""
    from gesture_assets.nights import runner
    from gesture_assets.settings import load_settings

    night = datetime.combine(yesterday() + timedelta(days=1), time_of_day(2))
    runner.run_night(load_settings(), [yesterday()], now=night, tables={"raw_events"}, rebuild=True)


def standing(data_dir: Path) -> dict[str, Any]:
    """What is said of yesterday: verdicts, rows and what was set aside, live and rejected, and the files known."""
    import duckdb

    if not (data_dir / "warehouse.duckdb").exists():
        return {}
    con = duckdb.connect(str(data_dir / "warehouse.duckdb"), read_only=True)
    has = {
        f"{schema}.{name}"
        for schema, name in con.execute("select table_schema, table_name from information_schema.tables").fetchall()
    }

    def rows(table: str, columns: str) -> list[list[Any]]:
        query = f"select {columns} from {table} order by all"
        return [list(map(str, row)) for row in con.execute(query).fetchall()] if table in has else []

    found: dict[str, Any] = {
        "verdicts": sorted({tuple(row) for row in rows("main.gate_ledger", "table_name, verdict, content_hash")}),
        "files": rows("main.landing_files", "landing_file, row_count"),
        "days": rows("main.landing_days", "as_of_date, row_count"),
    }
    for schema in ("main", "rejected"):
        found[f"{schema} events"] = rows(f"{schema}.raw_events", "event_id, user_id, city")
        found[f"{schema} quarantine"] = rows(
            f"{schema}.quarantined_events", "landing_file, landing_line, reason, masked_row"
        )
    con.close()
    return found


def killed_while_landing(root: str, moments: dict[str, list[Any]], poisoned: bool) -> dict[str, Any]:
    """How each night ended that was killed, one after the other, and what stood there then; and after an undisturbed
    one, there and where nobody was killed."""
    import great_expectations

    import gesture_assets.nights.runner

    del great_expectations, gesture_assets
    folder, log = Path(root), Path(root) / "log"

    def at(name: str) -> Path:
        data_dir = folder / name
        os.environ["GESTURE_DATA_DIR"] = str(data_dir)
        land(data_dir, poisoned=poisoned)
        return data_dir

    def undisturbed(data_dir: Path) -> list[Any]:
        before = standing(data_dir)
        landed_night()
        return [before, standing(data_dir)]

    quiet = at("quiet")
    found: dict[str, Any] = {"quiet": in_child(lambda: undisturbed(quiet), log)[1], "ended": [], "stood": []}
    data_dir = at("disturbed")
    for number, (module, function, when, nth) in enumerate(moments.values()):
        seen = folder / str(number)

        def deadly(place: tuple[str, str, str, int] = (module, function, when, nth), seen: Path = seen) -> None:
            seen.write_text(json.dumps(standing(data_dir)))
            kill_at(place[0], place[1], when=place[2], nth=place[3])
            landed_night()

        found["ended"].append(run(deadly, log))
        found["stood"].append(json.loads(seen.read_text()))
    last, found["next"] = in_child(lambda: undisturbed(data_dir), log)
    found["stood"] = [*found["stood"][1:], last]
    found["log"] = log.read_text()[-3000:]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("moments", "poisoned"), [(LANDING_MOMENTS, False), (REJECTION_MOMENTS, True)])
def test_a_night_killed_while_it_reads_or_rejects_claims_nothing_and_the_next_is_as_if_it_had_not_been(
    tmp_path: Path, moments: dict[str, tuple[str, str, str, int]], poisoned: bool
) -> None:
    found = in_a_process(HERE, "killed_while_landing", tmp_path, moments, poisoned, environment=environment(tmp_path))
    log, quiet = found["log"], found["quiet"]
    assert {verdict for _, verdict, _ in quiet["verdicts"]} == {"FAIL" if poisoned else "PASS"}, log
    assert len(quiet["rejected quarantine" if poisoned else "main quarantine"]) == (ROWS if poisoned else 2)
    for moment, ended, stood in zip(moments, found["ended"], found["stood"], strict=True):
        assert ended == KILLED, f"{moment} never came: {log}"
        known = sum(int(count) for _, count in stood.get("files", []))
        assert known == sum(int(count) for _, count in stood.get("days", [])), moment
        written = [what for what in stood if what.startswith(("main", "rejected")) and stood[what]]
        if moment == "after it":
            assert stood == quiet
        else:
            assert (stood.get("verdicts", []), written) == ([], []), moment
    assert found["next"] == quiet, log


# ---- at any moment, through the command line and Dagster ------------------------------------------------------------

KILLS = 20


def killed_at_random(root: str, seed: int) -> dict[str, Any]:
    """A nightly that is killed again and again, then run to its end; and the same one undisturbed."""
    import_everything()
    folder, log, day = Path(root), Path(root) / "log", str(yesterday())

    def at(data_dir: Path) -> Path:
        os.environ["GESTURE_DATA_DIR"] = str(data_dir)
        return data_dir

    base = at(folder / "base")
    assert run(lambda: write_world(base, days=2), log) == 0, log.read_text()
    assert run(gesture("run", "--date", str(yesterday() - timedelta(days=1))), log) == 0, log.read_text()
    undisturbed = at(shutil.copytree(base, folder / "undisturbed", symlinks=True))
    started = time.monotonic()
    assert run(gesture("run", "--date", day), log) == 0, log.read_text()
    length = time.monotonic() - started
    found: dict[str, Any] = {"undisturbed": in_child(lambda: hashes(undisturbed), log), "killed": [], "published": []}
    data_dir = at(shutil.copytree(base, folder / "disturbed", symlinks=True))
    choice = random.Random(seed)
    while found["killed"].count(KILLED) < KILLS and len(found["killed"]) < 3 * KILLS:
        started = time.monotonic()
        found["killed"].append(run(gesture("run", "--date", day), log, kill_after=choice.uniform(0.1, length)))
        if found["killed"][-1] == 0:  # it was faster than the one that was measured
            length = time.monotonic() - started
        found["published"].append(in_child(lambda: whole(data_dir), log))
    found["last"] = run(gesture("run", "--date", day), log)
    found["after"] = in_child(lambda: whole(data_dir), log)
    found["hashes"] = in_child(lambda: hashes(data_dir), log)
    found["runs"] = in_child(dagster_runs, log)
    found["turns"] = [path.name for path in (data_dir / "warehouse.runs").iterdir()]
    found["log"] = log.read_text()[-4000:]
    return found


def dagster_runs() -> list[str]:
    """The status of every run that Dagster remembers, the oldest first."""
    import dagster as dg

    from gesture_assets.cli.dagster_home import prepare
    from gesture_assets.settings import load_settings

    prepare(load_settings())
    with dg.DagsterInstance.get() as instance:
        return [run.status.value for run in instance.get_runs()][::-1]


@pytest.mark.proof
def test_twenty_kills_at_random_moments_lose_nothing_and_stop_nobody(tmp_path: Path) -> None:
    found = in_a_process(HERE, "killed_at_random", tmp_path, 20261121, environment=environment(tmp_path))
    ended = found["killed"]
    assert set(ended) <= {KILLED, 0}, found["log"]
    assert ended.count(KILLED) == KILLS, ended
    days = {str(yesterday() - timedelta(days=1)), str(yesterday())}
    assert set(found["published"]) <= days
    assert found["last"] == 0, found["log"]
    assert found["after"] == str(yesterday())
    assert found["hashes"] == found["undisturbed"]
    # Dagster knows of each killed run that it failed; none holds a place in its queue.
    assert set(found["runs"]) == {"SUCCESS", "FAILURE"}
    assert found["runs"][-1] == "SUCCESS"
    assert found["turns"] == []
