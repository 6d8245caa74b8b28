"""Promotion: what passed goes live, what did not is kept for inspection, and the ledger says so. All of it or nothing.

Belongs here: replacing rows, rejecting them, restating published ones. Does not belong here: deciding what passed
(`window_audit.py`), how published rows differ (`restatement.py`).
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from gesture_assets.contracts.contract import PARTITION, Contract
from gesture_assets.vocabulary.personal_data import masked_sql, may_be_personal_sql
from gesture_assets.vocabulary.sql import identifier
from gesture_assets.warehouse import ledger, restatement
from gesture_assets.warehouse.commits import DayVerdict
from gesture_assets.warehouse.ledger import LedgerRow, Verdict, Verdicts
from gesture_assets.warehouse.memory import writing
from gesture_assets.warehouse.relations import EMPTY_HASH, content, days_sql, has_table, hashes
from gesture_assets.warehouse.run_info import RunInfo
from gesture_assets.warehouse.schemas import LIVE, REJECTED, STAGE, SUPERSEDED
from gesture_assets.warehouse.transaction import transaction
from gesture_assets.warehouse.window_audit import Audits

log = logging.getLogger(__name__)

# Among the input hashes of a ledger row: all that the day was built from (unchanged.py), the table's days before it.
BUILD, BEFORE = "build", "before"


@dataclass(frozen=True)
class Origin:
    """What the rows of a commit come from: the run, what it read, and the key of each day's build, where it has one."""

    run: RunInfo
    inputs: Mapping[str, str]
    keys: Mapping[date, str]
    version: str | None = None  # of the rules or the model


@dataclass(frozen=True)
class Readers:
    """The link `file` to what is published, and how its content hashes are found: table -> day -> hash."""

    file: Path
    have: Callable[[], Mapping[str, Mapping[date, str]]]


def promote(
    connection: duckdb.DuckDBPyConnection,
    contracts: Sequence[Contract],
    audits: Mapping[date, Audits],
    origin: Origin,
    readers: Readers | None,
    latest: Callable[[str], Verdicts],
) -> list[tuple[DayVerdict, ...]]:
    """The verdicts of each of `contracts`, after one transaction: rows of good days and the ledger rows of all days.

    `audits`: day -> what was found; `latest`: table -> its verdicts so far. Raises `ContractBreach` for a day that
    `readers` have and that would change without a reason.
    """
    old = [day for day in _good(audits) if origin.run.is_backfill(day)]
    has = readers.have() if old and readers else {}
    with transaction(connection):
        results = [
            _promote(
                connection,
                contract,
                audits,
                origin,
                readers,
                {day: has.get(contract.name, {}).get(day) for day in old},
                latest(contract.name),
            )
            for contract in contracts
        ]
    for contract, verdicts in zip(contracts, results, strict=True):
        live_count = sum(verdict.passed for verdict in verdicts)
        log.info("%s: %s of %s days live", contract.name, live_count, len(verdicts))
    return results


def _good(audits: Mapping[date, Audits]) -> list[date]:
    """The days on which every table passed."""
    return [day for day, tables in audits.items() if all(audit.passed for audit in tables.values())]


def _promote(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    audits: Mapping[date, Audits],
    origin: Origin,
    readers: Readers | None,
    readers_have: Mapping[date, str | None],
    latest: Verdicts,
) -> tuple[DayVerdict, ...]:
    """One table; the caller owns the transaction. `readers_have`: old day -> its published hash, None for none."""
    days, good = list(audits), _good(audits)
    is_structured = audits[days[0]][contract.name].is_structured
    staged = hashes(connection, f"{STAGE}.{contract.name}", days) if is_structured else {}
    live = _live_hashes(connection, contract, staged, latest)
    attempts = ledger.next_attempts(latest, days)
    verdicts = []
    for day in days:
        count, digest = staged.get(day, (0, EMPTY_HASH))
        is_changed = day in good and live.get(day, EMPTY_HASH if count == 0 else None) != digest
        outcomes = audits[day][contract.name].outcomes
        verdicts.append(DayVerdict(day, day in good, count, digest, attempts[day], is_changed, outcomes))
    passed = {verdict.day: verdict.content_hash for verdict in verdicts if verdict.passed}
    rejected = [verdict.day for verdict in verdicts if not verdict.passed]
    changed = [verdict.day for verdict in verdicts if verdict.is_changed]
    restated = {
        day: (before, passed[day])
        for day in changed
        if (before := readers_have.get(day)) is not None and before != passed[day]
    }
    if restated and readers:
        _restate(connection, readers.file, contract, restated, origin.run)
    _replace(connection, contract, changed, origin.run)
    _clear_rejected(connection, contract, passed)
    _reject(connection, contract, rejected, origin.run, is_structured=is_structured)
    before = ledger.earlier_days(live | passed, days)
    keys = {day: {BUILD: origin.keys[day], BEFORE: before[day]} if day in origin.keys else {} for day in days}
    ledger.append(
        connection,
        [
            LedgerRow.of_run(
                origin.run,
                table_name=contract.name,
                partition=verdict.day,
                attempt=verdict.attempt,
                verdict=Verdict.PASS if verdict.passed else Verdict.FAIL,
                row_count=verdict.row_count,
                content_hash=verdict.content_hash,
                input_hashes={**origin.inputs, **keys[verdict.day]},
                checks=audits[verdict.day][contract.name].outcomes,
                version=origin.version,
            )
            for verdict in verdicts
        ],
    )
    return tuple(verdicts)


def _live_hashes(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    staged: Mapping[date, tuple[int, str]],
    latest: Verdicts,
) -> dict[date, str]:
    """Day -> content hash of the newest PASS; where equal rows are staged, of the rows that really are live.

    Otherwise a day that somebody edited by hand would pass for unchanged, and a re-run would not mend it.
    """
    recorded = ledger.live_hashes(latest)
    repeated = [day for day, (_, digest) in staged.items() if recorded.get(day) == digest]
    if repeated:
        live = hashes(connection, content(contract), repeated)
        recorded |= {day: live.get(day, (0, EMPTY_HASH))[1] for day in repeated}
    return recorded


def _restate(
    connection: duckdb.DuckDBPyConnection,
    published: Path,
    contract: Contract,
    hashes_by_day: Mapping[date, tuple[str, str]],
    run: RunInfo,
) -> None:
    """Note how days that readers already have will differ; refuse it where no reason was given."""
    staged, days = f"{STAGE}.{contract.name}", list(hashes_by_day)
    differences = restatement.differences(connection, published, contract, days, staged=staged)
    if not run.restate_reason:
        raise restatement.refusal(run.step, differences)
    for difference in differences:
        restatement.record(
            connection,
            difference,
            hashes=hashes_by_day[difference.day],
            reason=run.restate_reason,
            run_id=run.run_id,
            now=run.now,
        )
        log.warning("restated %s", difference.in_short)


def _replace(connection: duckdb.DuckDBPyConnection, contract: Contract, days: Sequence[date], run: RunInfo) -> None:
    """Let the staged rows of `days` take the place of the live ones."""
    if not days:
        return
    live, window = f"{LIVE}.{contract.name}", f"{PARTITION} in ({days_sql(days)})"
    if contract.keeps_history:
        connection.execute(
            f"insert into {SUPERSEDED}.{contract.name} by name "
            f"select *, ?::timestamp as superseded_at from {live} where {window}",
            [run.now],
        )
    connection.execute(f"delete from {live} where {window}")
    newest_complete = run.now.date() - timedelta(days=1)
    columns = dict.fromkeys((PARTITION, *(contract.key if contract.is_sorted else ())))
    # Rows of one day that need no order are not put into one: of millions that takes as long as to write them.
    order = f"order by {', '.join(columns)}" if contract.is_sorted or len(days) > 1 else ""
    with writing(connection, len(contract.columns), run):
        connection.execute(
            f"""insert into {live} by name select *, ?::timestamp as recorded_at, ? as run_id,
            {PARTITION} < ?::date as is_backfill from {STAGE}.{contract.name} where {window}
            {order}""",
            [run.now, run.run_id, newest_complete],
        )


def _clear_rejected(connection: duckdb.DuckDBPyConnection, contract: Contract, days: Collection[date]) -> None:
    """Forget the rejected rows of `days`, which have passed since; rows of another structure belong to no day."""
    table = f"{REJECTED}.{contract.name}"
    if not days or not has_table(connection, table):
        return
    if _columns(connection, table)[:-2] == [(column.name, column.type) for column in contract.columns]:
        connection.execute(f"delete from {table} where {PARTITION} in ({days_sql(list(days))})")
    else:
        connection.execute(f"drop table {table}")


def _reject(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    days: Sequence[date],
    run: RunInfo,
    *,
    is_structured: bool,
) -> None:
    """Keep the rows of `days` for whoever looks into the matter; a second rejection of a day replaces the first."""
    if not days:
        return
    table, staged = f"{REJECTED}.{contract.name}", f"{STAGE}.{contract.name}"
    columns = _columns(connection, staged)
    if has_table(connection, table) and (_columns(connection, table)[:-2] != columns or not is_structured):
        connection.execute(f"drop table {table}")
    only = f" where {PARTITION} in ({days_sql(days)})" if is_structured else ""
    # Rows may be rejected because they hold an address; it must not stay in the warehouse for that.
    masked = ", ".join(
        f"case when {may_be_personal_sql(identifier(name))} then {masked_sql(identifier(name))} "
        f"else {identifier(name)} end as {identifier(name)}"
        if kind == "VARCHAR"
        else identifier(name)
        for name, kind in columns
    )
    if has_table(connection, table):
        connection.execute(f"delete from {table}{only}")
    else:
        connection.execute(
            f"create table {table} as select *, null::timestamp as rejected_at, null::varchar as run_id "
            f"from {staged} limit 0"
        )
    connection.execute(
        f"insert into {table} select {masked}, ?::timestamp, ? from {staged}{only}", [run.now, run.run_id]
    )


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    """Name and type of each column of `table`."""
    return [(row[0], row[1]) for row in connection.execute(f"describe {table}").fetchall()]
