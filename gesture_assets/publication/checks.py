"""The checks of the published file: it holds what passed, and ends with the last complete day.

Belongs here: judging a file as it lies on the disk. Does not belong here: writing or flipping it (`publish.py`), the
report on a day's checks (`validation_results.py`), telling Dagster.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import listing
from gesture_assets.vocabulary.severity import Severity

HOLDS_WHAT_PASSED = "the_published_file_holds_what_passed"
IS_UP_TO_DATE = "the_newest_day_is_the_last_complete_day"


@dataclass(frozen=True)
class PublicationCheck:
    """How a check of what was written ended. `name` is a sentence that is true when it passes."""

    name: str
    passed: bool
    severity: Severity = Severity.ERROR
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A day of a table whose rows in the file are not as many as passed their audit."""

    table: str
    day: date
    row_count: int
    passed_count: int

    @property
    def in_short(self) -> str:
        """`rule_scores@2026-03-09: 2 rows, 3 passed`."""
        return f"{self.table}@{self.day}: {self.row_count:,} rows, {self.passed_count:,} passed"


def as_an_analyst(path: Path) -> closing[duckdb.DuckDBPyConnection]:
    """The file at `path`, opened as an analyst would: a process that wrote to it might find more than is in it."""
    return closing(duckdb.connect(str(path), read_only=True))


def differences(con: duckdb.DuckDBPyConnection, contracts: Sequence[Contract]) -> tuple[Difference, ...]:
    """Where the file that `con` has open differs from its own ledger, in order of tables and days.

    Raises `duckdb.Error` where it lacks a table or a view.
    """
    result = []
    found: dict[str, dict[date, int]] = {}
    for table, day, count in con.execute(
        "select table_name, partition, arg_max(row_count, attempt) from gate_ledger where verdict = 'PASS' group by all"
    ).fetchall():
        found.setdefault(table, {})[day] = count
    for contract in contracts:
        counted = dict(con.execute(f"select {PARTITION}, count(*) from {contract.name} group by all").fetchall())
        passed = found.get(contract.name, {})
        result += [
            Difference(contract.name, day, counted.get(day, 0), passed.get(day, 0))
            for day in sorted({*counted, *passed})
            if counted.get(day, 0) != passed.get(day, 0)
        ]
    con.execute("select * from analytics.current_scores limit 1")
    return tuple(result)


def newest_day(con: duckdb.DuckDBPyConnection) -> date | None:
    """The newest day of any table in the file that `con` has open, by its manifest; None where no day has a verdict.

    The day in progress, of which a refresh has made lists, is not one yet.
    """
    ((newest,),) = con.execute(
        "select coalesce(max(as_of_date) filter (where as_of_date < published_at::date), max(as_of_date)) from manifest"
    ).fetchall()
    return newest


def holds_what_passed(path: Path, contracts: Sequence[Contract]) -> tuple[PublicationCheck, date | None]:
    """Whether the file at `path` holds a day, and of each day of `contracts` as many rows as passed; its newest day.

    Raises `duckdb.Error` where it cannot be opened or lacks a table or a view.
    """
    with as_an_analyst(path) as con:
        wrong, newest = differences(con, contracts), newest_day(con)
    metadata = {"file": path.name, "tables": len(contracts), "newest_day": str(newest)}
    if wrong:
        metadata["differences"] = listing(difference.in_short for difference in wrong)
    return PublicationCheck(HOLDS_WHAT_PASSED, not wrong and newest is not None, metadata=metadata), newest


def is_up_to_date(newest: date | None, now: datetime) -> PublicationCheck:
    """Whether a file whose `newest` day this is ends with the day before `now` (UTC), or later."""
    last_complete = now.date() - timedelta(days=1)
    return PublicationCheck(
        IS_UP_TO_DATE,
        newest is not None and newest >= last_complete,
        Severity.WARN,
        {"newest_day": str(newest), "last_complete_day": str(last_complete)},
    )
