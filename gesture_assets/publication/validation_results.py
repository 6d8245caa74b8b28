"""`validation_results.json`: what the last run found, for people and tools that read neither Dagster nor DuckDB.

Belongs here: writing the file from the gate ledger, and holding what lies on the disk against the ledger. Does not
belong here: any verdict. Each run writes it, also one that failed: a report that needs a good night would be missing
when it is wanted.
"""

import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from gesture_assets.errors import listing
from gesture_assets.publication.checks import PublicationCheck
from gesture_assets.vocabulary.severity import Severity
from gesture_assets.warehouse.ledger import LEDGER
from gesture_assets.warehouse.run_info import RunInfo

SAYS_WHAT_CHECKS_SAY = "success_is_what_the_checks_say"


def write(
    connection: duckdb.DuckDBPyConnection, path: Path, run: RunInfo, days: Sequence[date] | None = None
) -> dict[str, Any]:
    """Write the latest verdict of every table on `days` to `path`, in one step; returns what was written.

    `days` are those of `run` unless others are given.
    `success` is true when no table's latest audit failed, which is when no check that blocks did.
    """
    days = run.days if days is None else days
    results = _results(connection, days)
    document = {
        "run_id": run.run_id,
        "step": run.step,
        "run_started_at": run.now.isoformat(),
        "days": [str(days[0]), str(days[-1])],
        "success": all(result["success"] for result in results),
        "results": results,
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return document


def says_what_checks_say(
    connection: duckdb.DuckDBPyConnection, path: Path, run: RunInfo, days: Sequence[date] | None = None
) -> PublicationCheck:
    """Whether the file at `path` is of `run`, tells the ledger's latest audits, and its flag follows from their checks.

    A file that is missing or cannot be read fails the check.
    """
    results = _results(connection, run.days if days is None else days)
    blocked = [
        f"{result['table']}@{result['day']} {check['name']}"
        for result in results
        for check in result["checks"]
        if not check["passed"] and check["severity"] == Severity.ERROR.value
    ]
    metadata: dict[str, Any] = {"file": path.name, "audits": len(results), "failed_checks_that_block": len(blocked)}
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        metadata["success"], of_run, told = written["success"], written["run_id"], list(written["results"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return PublicationCheck(SAYS_WHAT_CHECKS_SAY, passed=False, metadata={**metadata, "unreadable": repr(error)})
    wrong = []
    if of_run != run.run_id:
        wrong.append(f"it is of run {of_run}, not of {run.run_id}")
    if told != results:
        missing = {f"{result['table']}@{result['day']}" for result in results if result not in told}
        wrong.append(f"it does not tell the latest audits of {listing(missing)}, or tells of others")
    if written["success"] is not (not blocked):
        wrong.append(f"its flag is {written['success']}, and what failed and blocks is {listing(blocked)}")
    if wrong:
        metadata["differences"] = "; ".join(wrong)
    return PublicationCheck(SAYS_WHAT_CHECKS_SAY, not wrong, metadata=metadata)


def _results(connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> list[dict[str, Any]]:
    """The latest audit of every table on `days`, as the file tells it."""
    rows = connection.execute(
        f"""select table_name, partition, attempt, verdict, row_count, content_hash, run_id, recorded_at, checks
        from {LEDGER} where partition between ? and ?
        qualify row_number() over (partition by table_name, partition order by attempt desc) = 1
        order by partition, recorded_at, table_name""",
        [days[0], days[-1]],
    ).fetchall()
    return [
        {
            "table": table,
            "day": str(day),
            "attempt": attempt,
            "verdict": verdict,
            "success": verdict != "FAIL",
            "row_count": count,
            "content_hash": digest,
            "run_id": run_id,
            "recorded_at": at.isoformat(),
            "checks": json.loads(checks),
        }
        for table, day, attempt, verdict, count, digest, run_id, at, checks in rows
    ]
