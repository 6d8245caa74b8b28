"""What `kill -9` leaves of the steps of short videos: nothing half done, and a next run as if nothing had been."""

import json
import os
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import pytest

from gesture_assets_tests.forks import KILLED, environment, in_a_process, kill_at, run, yesterday

HERE = "gesture_assets_tests.assets.test_ping_crashes"
NIGHTS, WAREHOUSE = "gesture_assets.nights", "gesture_assets.warehouse"
# Moments of the four steps, in the order in which they come; each run goes on from what the one before has left.
MOMENTS = {
    "when the first index is up to date": (f"{NIGHTS}.pings", "ping_indexes", "after", 1),
    "while the catalogue is loaded": (f"{NIGHTS}.pings", "load_catalogues", "after", 1),
    "when interactions are matched with videos": (f"{NIGHTS}.pings", "accept.with_known_pings", "after", 1),
    "when three of five tables are staged": (f"{WAREHOUSE}.staging", "Staging.stage", "after", 3),
    "when two of five tables are in": (f"{WAREHOUSE}.promotion", "_replace", "after", 2),
    "when all stand in the ledger and nothing is committed": (f"{WAREHOUSE}.promotion", "ledger.append", "after", 5),
    "when the landed tables are live": (f"{WAREHOUSE}.promotion", "promote", "after", 1),
    "when the points are worked out": (f"{NIGHTS}.ping_lists", "room.user_ping_engagement", "after", 1),
    "while the lists are made": (f"{NIGHTS}.ping_lists", "recommendations", "after", 1),
    "before the lists are judged": (f"{NIGHTS}.ping_lists", "judged_lists", "before", 1),
}
TABLES = (
    *("ping_interactions", "pings", "ping_users", "quarantined_ping_rows", "ping_reconciliation", "ping_weights"),
    *("user_ping_engagement", "ping_engagement", "watch_time_stats", "new_vs_existing_users", "user_affinities"),
    *("ping_recommendations", "recommendation_evaluation", "recsys_health", "ping_insights"),
)


def land(data_dir: Path) -> None:
    """Two days of three people and four short videos; one interaction is with a video that nobody knows."""
    from gesture_assets_tests.ping_landing import land_users, land_videos, land_watched

    last, before = yesterday(), yesterday() - timedelta(days=1)
    land_videos(data_dir, "1.csv", *(f"p{n},c{n % 2},tag,k{n % 2},10,{before}" for n in range(4)))
    land_users(data_dir, *(f"u{n},GB,{before},30" for n in range(3)))
    seen = [f"u{n},p{n},view,9,{before} 10:00:{n:02}" for n in range(3)]
    land_watched(data_dir, "1.csv", *seen, *(f"u{n},p3,impression,0,{before} 11:00:{n:02}" for n in range(2)))
    later = [f"u{n % 3},p{(n + 1) % 4},share,0,{last} 10:00:{n:02}" for n in range(24)]
    land_watched(data_dir, "2.csv", *later, f"u0,p9,view,3,{last} 12:00:00")


def night() -> bool:
    """The steps of short videos for both days, without Dagster: whether they went well."""
    from gesture_assets.nights import runner
    from gesture_assets.settings import load_settings

    days, moment = [yesterday() - timedelta(days=1), yesterday()], yesterday() + timedelta(days=1)
    now = datetime.combine(moment, time_of_day(2))
    return runner.run_night(load_settings(), days, now=now, tables=TABLES).success


def standing(data_dir: Path) -> dict[str, Any]:
    """Rows of every table by day, with what passed; a table that is not there has none."""
    import duckdb

    if not (data_dir / "warehouse.duckdb").exists():
        return {"rows": [], "passed": []}
    with duckdb.connect(str(data_dir / "warehouse.duckdb"), read_only=True) as con:
        there = [
            name
            for (name,) in con.execute("select table_name from duckdb_tables() where schema_name = 'main'").fetchall()
        ]
        counted = [
            [table, str(day), count]
            for table in TABLES
            if table in there
            for day, count in con.execute(
                f"select as_of_date, count(*) from {table} group by all order by 1"
            ).fetchall()
        ]
        passed = con.execute(
            "select table_name, partition, arg_max(row_count, attempt), arg_max(content_hash, attempt) "
            "from gate_ledger where verdict = 'PASS' and list_contains(?, table_name) group by all order by all",
            [list(TABLES)],
        ).fetchall()
    return {
        "rows": sorted(counted),
        "passed": [[table, str(day), count, digest] for table, day, count, digest in passed],
    }


def killed_again_and_again(root: str) -> dict[str, Any]:
    """How each run ended and what stood there then, one after the other; at last, and where nobody was killed."""
    import gesture_assets.nights.runner

    del gesture_assets
    folder, log = Path(root), Path(root) / "log"

    def at(name: str) -> Path:
        os.environ["GESTURE_DATA_DIR"] = str(folder / name)
        land(folder / name)
        return folder / name

    def answered(data_dir: Path, *, after_a_night: bool) -> Any:
        answer = folder / "answer"

        def written() -> None:
            done = night() if after_a_night else True
            answer.write_text(json.dumps([done, standing(data_dir)]))

        assert run(written, log) == 0, log.read_text()
        return json.loads(answer.read_text())

    quiet = at("quiet")
    found: dict[str, Any] = {"quiet": answered(quiet, after_a_night=True), "ended": [], "stood": []}
    data_dir = at("disturbed")
    for module, function, when, nth in MOMENTS.values():

        def deadly(place: tuple[str, str, str, int] = (module, function, when, nth)) -> None:
            kill_at(place[0], place[1], when=place[2], nth=place[3])
            night()

        found["ended"].append(run(deadly, log))
        found["stood"].append(answered(data_dir, after_a_night=False)[1])
    found["next"] = answered(data_dir, after_a_night=True)
    found["log"] = log.read_text()[-3000:]
    return found


@pytest.mark.slow
def test_ten_kills_of_the_steps_of_short_videos_leave_nothing_half_done_and_the_next_run_makes_it_good(
    tmp_path: Path,
) -> None:
    found = in_a_process(HERE, "killed_again_and_again", tmp_path, environment=environment(tmp_path))
    log = found["log"]
    done, quiet = found["quiet"]
    assert done, log
    assert {row[0] for row in quiet["passed"]} == set(TABLES)
    for moment, ended, stood in zip(MOMENTS, found["ended"], found["stood"], strict=True):
        assert ended == KILLED, f"{moment} never came: {log}"
        # What is there is what passed, whole, and is what an undisturbed night has.
        assert stood["rows"] == [row[:3] for row in stood["passed"] if row[2]], moment
        assert [row for row in stood["passed"] if row not in quiet["passed"]] == [], moment
    landed = list(MOMENTS).index("when the landed tables are live")
    assert [bool(stood["passed"]) for stood in found["stood"]] == [number >= landed for number in range(len(MOMENTS))]
    assert found["next"] == [True, quiet], log
