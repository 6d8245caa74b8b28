"""`validation_results.json`: what the last step found, for people and tools that read neither Dagster nor DuckDB.

Belongs here: writing the file from the gate ledger. Does not belong here: any verdict. Each step writes it, also one
that failed: a report that needs a good night would be missing when it is wanted.
"""

import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from gesture_assets.warehouse.ledger import LEDGER
from gesture_assets.warehouse.run_info import RunInfo


def write(
    connection: duckdb.DuckDBPyConnection, path: Path, run: RunInfo, days: Sequence[date] | None = None
) -> dict[str, Any]:
    """Write the latest verdict of every table on `days` to `path`, in one step; returns what was written.

    `days` are those of `run` unless others are given.
    `success` is true when no table's latest audit failed, which is when no check that blocks did.
    """
    days = run.days if days is None else days
    rows = connection.execute(
        f"""select table_name, partition, attempt, verdict, row_count, content_hash, run_id, recorded_at, checks
        from {LEDGER} where partition between ? and ?
        qualify row_number() over (partition by table_name, partition order by attempt desc) = 1
        order by partition, recorded_at, table_name""",
        [days[0], days[-1]],
    ).fetchall()
    results = [
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
    document = {
        "run_id": run.run_id,
        "step": run.step,
        "run_started_at": run.now.isoformat(),
        "days": [str(days[0]), str(days[-1])],
        "success": all(result["success"] for result in results),
        "results": results,
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
    beside.replace(path)
    return document
