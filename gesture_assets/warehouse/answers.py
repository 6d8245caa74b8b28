"""What the checks of a staged table find, with as few statements as that takes.

Belongs here: the SQL that answers them: what DuckDB says of the columns, one pass over the rows for every check that
has a screen, and a statement for each other one. Does not belong here: what is asked (`contracts/`), whether an answer
is good enough (`suites.py`). Planning a statement takes longer than running it on a small table, which is why checks
share one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract, Expectation
from gesture_assets.warehouse.schemas import AUDIT_SCHEMA, LIVE

# More failing rows than this teach nobody anything; counts are exact whatever the cap.
FETCHED_ROWS = 1_000
FEW_ROWS = 5


@dataclass(frozen=True)
class Answer:
    """What a check found: its unexpected rows, the first of them, and how many rows there are; or that it broke."""

    found: int = 0
    rows: tuple[Mapping[str, Any], ...] = ()
    of: int = 0
    columns: tuple[str, ...] = ()  # that the table has
    error: duckdb.Error | None = None


def filled_in(sql: str, table: str) -> str:
    """`sql` of a check of `table` with what its placeholders stand for."""
    places = {"batch": f"{AUDIT_SCHEMA}.{table}", "staged": AUDIT_SCHEMA, "live": LIVE}
    for name, place in (places | {"days": f"{AUDIT_SCHEMA}.requested_days"}).items():
        sql = sql.replace("{" + name + "}", place)
    return sql


def answers_by_day(
    connection: duckdb.DuckDBPyConnection, contract: Contract, check: Expectation, days: Collection[date]
) -> dict[date, Answer] | None:
    """Day -> what `check` finds of it, by the day that its rows name; None where they name none, or another one."""
    asking = _Asking(connection, contract)
    query = filled_in(check.query, contract.name)
    if PARTITION not in [name for name, *_ in connection.execute(f"describe {query}").fetchall()]:
        return None
    found = dict(asking.rows(f"select {PARTITION}, count(*) from ({query}) group by all", len(days) + 1))
    if not found or not set(found) <= set(days):
        return None
    of = dict(asking.rows(f"select {PARTITION}, count(*) from {{batch}} group by all", len(days)))
    named = asking.ask(check).rows
    answered = {}
    for day in days:
        rows = [row for row in named if row[PARTITION] == day]
        if day in found and not rows:  # others have so many
            rows = asking.named(f"select * from ({query}) where {PARTITION} = date '{day}' limit {FEW_ROWS}")
        answered[day] = Answer(found.get(day, 0), tuple(rows), of.get(day, 0))
    return answered


def answers(
    connection: duckdb.DuckDBPyConnection, contract: Contract, checks: Sequence[Expectation]
) -> dict[str, Answer]:
    """Check -> what it finds in `scratch.audit.<table>`; where the columns are not as contracted, that alone.

    Raises what DuckDB raises of the machine: no memory, no disk, an interrupt.
    """
    asking = _Asking(connection, contract)
    answered = {check.name: asking.of_columns(check) for check in checks if check in contract.structure}
    if any(answer.found or answer.error for answer in answered.values()):
        return answered
    rest = [check for check in checks if check.name not in answered]
    row_count, clean = asking.screen(rest)
    for check in rest:
        answered[check.name] = Answer(of=row_count) if check.name in clean else asking.ask(check, row_count)
    return answered


class _Asking:
    """Questions about one staged table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
        self.connection, self.table = connection, contract.name
        self.contracted = {column.name: column.type for column in contract.columns}
        described = connection.execute(f"describe {AUDIT_SCHEMA}.{contract.name}").fetchall()
        self.types = {name: kind for name, kind, *_ in described}

    def of_columns(self, check: Expectation) -> Answer:
        """What `check`, one of the structure, finds."""
        columns = tuple(self.types)
        if not check.query:
            return Answer(found=int(columns != tuple(self.contracted)), columns=columns)
        same = all(self.contracted.get(name, kind) == kind for name, kind in self.types.items())
        return Answer() if same else self.ask(check)

    def screen(self, checks: Sequence[Expectation]) -> tuple[int, set[str]]:
        """The number of rows, and which of `checks` can find nothing in them."""
        screens = [check for check in checks if check.screen]
        columns = ", ".join(["count(*)", *(check.screen for check in screens)])
        try:
            counted, *raised = self.rows(f"select {columns} from {{batch}}")[0]
        except duckdb.Error as error:
            _raise_of_machine(error)
            return self.rows("select count(*) from {batch}")[0][0], set()  # each says whether it is the one
        return counted, {check.name for check, is_raised in zip(screens, raised, strict=True) if not is_raised}

    def ask(self, check: Expectation, row_count: int = 0) -> Answer:
        """What `check` finds, whatever its screen says."""
        try:
            rows = self.named(check.query)
            found = len(rows)
            if found == FETCHED_ROWS:
                found = self.rows(f"select count(*) from ({check.query})")[0][0]
        except duckdb.Error as error:
            _raise_of_machine(error)
            return Answer(of=row_count, error=error)
        return Answer(found, tuple(rows), row_count)

    def named(self, sql: str) -> list[dict[str, Any]]:
        """The first rows that `sql` gives, each by the names of its columns."""
        rows = self.rows(sql, FETCHED_ROWS)
        names = [name for name, *_ in self.connection.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def rows(self, sql: str, most: int = 1) -> list[tuple[Any, ...]]:
        """At most so many of the rows that `sql` gives."""
        return self.connection.execute(filled_in(sql, self.table)).fetchmany(most)


def _raise_of_machine(error: duckdb.Error) -> None:
    """Raise an `error` that says nothing of the check: the same night may pass on a machine with more room."""
    if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException | duckdb.InterruptException):
        raise error
