"""A backfill as the Dagster UI starts one: thirty days of user features, asked for over GraphQL of `gesture dev`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gesture_assets_tests.forks import ROOT, environment, in_a_process, write_world, yesterday
from gesture_assets_tests.running import content_hashes, warehouse

HERE = "gesture_assets_tests.assets.test_ui_backfill"
DAYS = 30
PATIENCE_SECONDS = 240
LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LOOK = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs(limit: 50) { status } error { message } } } }"""


def land(data_dir: str) -> str:
    """Land the world and build all that features are made of; says what failed."""
    write_world(Path(data_dir), days=DAYS)
    return build("*activity_to_date") + build("validated_subscribers")


def build(select: str) -> str:
    """Build a part of all days as one range; says what failed."""
    from gesture_assets_tests.running import failures, run_night

    return failures(run_night(yesterday() - timedelta(days=DAYS - 1), yesterday(), select=select))


def ask(port: int, query: str, **variables: Any) -> dict[str, Any]:
    """The data that the UI's server answers with."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def is_loaded(port: int) -> bool:
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    try:
        return bool(ask(port, query)["repositoriesOrError"].get("nodes"))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def wait_for(what: str, is_so: Any, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen: {log.read_text()[-3000:]}"
        time.sleep(1)


@pytest.mark.proof
def test_a_backfill_of_thirty_days_from_the_ui_succeeds_as_one_run(tmp_path: Path) -> None:
    data_dir, log = tmp_path / "data", tmp_path / "dev.log"
    surroundings = environment(data_dir)
    assert in_a_process(HERE, "land", data_dir, environment=surroundings) == ""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gesture_assets.cli", "dev", "--port", str(port)]
    with log.open("w") as out:
        dev = subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for("the code location", lambda: is_loaded(port), log)
        days = [str(yesterday() - timedelta(days=n)) for n in reversed(range(DAYS))]
        params = {"partitionNames": days, "assetSelection": [{"path": ["user_features"]}], "fromFailure": False}
        launched = ask(port, LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        seen: dict[str, Any] = {}

        def is_over() -> bool:
            seen.update(ask(port, LOOK, id=launched["backfillId"])["partitionBackfillOrError"])
            return seen["status"].startswith(("COMPLETED", "FAILED", "CANCELED"))

        wait_for("the end of the backfill", is_over, log)
    finally:
        os.killpg(dev.pid, signal.SIGTERM)
        try:
            dev.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(dev.pid, signal.SIGKILL)
    assert (seen["status"], seen["runs"]) == ("COMPLETED_SUCCESS", [{"status": "SUCCESS"}]), seen
    found = content_hashes(data_dir)
    assert sum(table == "user_features" for table, _ in found) == DAYS
    assert in_a_process(HERE, "build", "user_features", environment=surroundings) == ""
    with closing(warehouse(data_dir)) as con:
        verdicts = con.execute(
            "select attempt, count(*), bool_and(verdict = 'PASS') from gate_ledger "
            "where table_name = 'user_features' group by all order by all"
        ).fetchall()
    assert verdicts == [(1, DAYS, True), (2, DAYS, True)]
    assert content_hashes(data_dir) == found
