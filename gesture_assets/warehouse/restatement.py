"""Restatements: rows of an old day that readers already have change only for a reason, and the difference is kept.

Belongs here: which days have been published, how staged rows differ from them, the table that remembers it.
Does not belong here: deciding what is staged (`promotion.py`), giving the reason (`cli/`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.errors import ContractBreach, listing
from gesture_assets.vocabulary.sql import literal
from gesture_assets.warehouse.ledger import IS_WHOLE
from gesture_assets.warehouse.relations import create_table, days_sql
from gesture_assets.warehouse.schemas import LIVE

TABLE = f"{LIVE}.restatements"

# Column, type, meaning: analysts read it.
RESTATEMENT_COLUMNS = (
    ("table_name", "VARCHAR not null", "Table that was restated."),
    ("partition", "DATE not null", "As-of day of the rows."),
    ("rows_before", "BIGINT not null", "Rows that were published."),
    ("rows_after", "BIGINT not null", "Rows that took their place."),
    ("added", "BIGINT not null", "Keys that only the new rows have."),
    ("removed", "BIGINT not null", "Keys that only the old rows had."),
    ("changed", "BIGINT not null", "Keys with other values."),
    ("changed_columns", "VARCHAR not null", "JSON: column -> rows in which it changed."),
    ("hash_before", "VARCHAR not null", "Content hash of the old rows."),
    ("hash_after", "VARCHAR not null", "Content hash of the new rows."),
    ("reason", "VARCHAR not null", "Why, as given."),
    ("run_id", "VARCHAR not null", "Dagster run."),
    ("recorded_at", "TIMESTAMP not null", "When (UTC)."),
)


@dataclass(frozen=True)
class Difference:
    """How the new rows of one table and day differ from the published ones."""

    table: str
    day: date
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    changed_columns: dict[str, int] = field(default_factory=dict)

    @property
    def in_short(self) -> str:
        """`rule_scores@2026-03-04: 1 added, 0 removed, 12 changed (score, points)`."""
        most = sorted(self.changed_columns, key=lambda name: (-self.changed_columns[name], name))
        columns = f" ({listing(most, 3)})" if most else ""
        counts = f"{self.added:,} added, {self.removed:,} removed, {self.changed:,} changed"
        return f"{self.table}@{self.day}: {counts}{columns}"


def create_restatements(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table where there is none."""
    create_table(connection, TABLE, RESTATEMENT_COLUMNS)


def published_hashes(
    connection: duckdb.DuckDBPyConnection, published: Path, *, with_provisional: bool = False
) -> dict[str, dict[date, str]]:
    """Table -> day -> content hash in the published file at the link `published`; empty where there is no file.

    Rows of a day that was not over are provisional, and count as none unless they are asked for: they are to change.
    """
    if not published.exists():
        return {}
    _attach(connection, published)
    rows = connection.execute(
        "select table_name, partition, arg_max(content_hash, attempt) from published.main.gate_ledger "
        f"where verdict = 'PASS' and ({with_provisional} or {IS_WHOLE}) group by all"
    ).fetchall()
    found: dict[str, dict[date, str]] = {}
    for table, day, content_hash in rows:
        found.setdefault(table, {})[day] = content_hash
    return found


def _attach(connection: duckdb.DuckDBPyConnection, published: Path) -> None:
    connection.execute(f"attach if not exists {literal(published.resolve())} as published (read_only)")


def differences(
    connection: duckdb.DuckDBPyConnection, published: Path, contract: Contract, days: Sequence[date], *, staged: str
) -> list[Difference]:
    """How the rows of `days` in the table `staged` differ from those of `published`, day by day, matched by the key."""
    _attach(connection, published)
    key = list(dict.fromkeys((PARTITION, *contract.key)))
    others = [name for name in contract.column_names if name not in key]
    known = {row[0] for row in connection.execute(f"describe published.main.{contract.name}").fetchall()}
    columns = ", ".join(name if name in known else f"null as {name}" for name in contract.column_names)
    window = f"{PARTITION} in ({days_sql(days)})"
    matched = " and ".join(f"old.{name} is not distinct from new.{name}" for name in key)
    # A row is there where its day is: the day is never unknown on the side that has the row.
    both = f"old.{PARTITION} is not null and new.{PARTITION} is not null"
    differs = [f"count(*) filter ({both} and old.{name} is distinct from new.{name})" for name in others]
    any_differs = " or ".join(f"old.{name} is distinct from new.{name}" for name in others) or "false"
    rows = connection.execute(
        f"""select coalesce(new.{PARTITION}, old.{PARTITION}) as day, count(old.{PARTITION}), count(new.{PARTITION}),
            count(*) filter (old.{PARTITION} is null), count(*) filter (new.{PARTITION} is null),
            count(*) filter ({both} and ({any_differs})), {", ".join(differs) or "0"}
        from (select {columns} from published.main.{contract.name} where {window}) as old
        full join (from {staged} where {window}) as new on {matched}
        group by day order by day"""
    ).fetchall()
    return [
        Difference(contract.name, *row[:6], changed_columns={n: c for n, c in zip(others, row[6:], strict=False) if c})
        for row in rows
    ]


def refusal(step: str, differences: Sequence[Difference]) -> ContractBreach:
    """The error for a change of published rows that nobody gave a reason for."""
    days = sorted({difference.day for difference in differences})
    window = f"--date {days[0]}" if len(days) == 1 else f"--from {days[0]} --to {days[-1]}"
    return ContractBreach(
        f"{step} would change what has been published for {listing(days)}; nothing was changed.",
        expected="the rows that readers already have: an old day changes only for a reason",
        found=listing((difference.in_short for difference in differences), 4),
        where=f"data/warehouse.duckdb, {listing({difference.table for difference in differences})}",
        next_step=f'gesture run {window} --restate --reason "why"',
    )


def last_reasons(connection: duckdb.DuckDBPyConnection, days: Iterable[date]) -> dict[date, str]:
    """Day -> the reason for which rows of it were last replaced, for those of `days` that have one."""
    return dict(
        connection.execute(
            f"select partition, arg_max(reason, rowid) from {TABLE} where list_contains(?, partition) group by all",
            [list(days)],
        ).fetchall()
    )


def record(
    connection: duckdb.DuckDBPyConnection,
    difference: Difference,
    *,
    hashes: tuple[str, str],
    reason: str,
    run_id: str,
    now: datetime,
) -> None:
    """Remember a restatement; the caller owns the transaction. `hashes` are those of the old and the new rows."""
    marks = ", ".join("?" for _ in RESTATEMENT_COLUMNS)
    connection.execute(
        f"insert into {TABLE} values ({marks})",
        [
            difference.table,
            difference.day,
            difference.rows_before,
            difference.rows_after,
            difference.added,
            difference.removed,
            difference.changed,
            json.dumps(difference.changed_columns, sort_keys=True),
            *hashes,
            reason,
            run_id,
            now,
        ],
    )
