"""Which gates stand between tables: what each table was seen to read, and the blocking checks that guard it.

Belongs here: comparing what the ledger says was read with what contracts declare. Does not belong here: the checks
(`contracts/`), asking for a gate (`warehouse/`), Dagster's picture of it.

The evidence is the ledger's `input_hashes`: a step that reads a table behind its gate leaves the key `<table>@<day>`
there. Before a step is built the gates of all that is declared are asked, which leaves nothing.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

import duckdb

from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import GateClosed
from gesture_assets.publication.reading import private_ledger, read_published
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.severity import Severity, severity_of
from gesture_assets.warehouse.ledger import LEDGER, Verdict
from gesture_assets.warehouse.promotion import BEFORE

# They ask for every table by themselves: publication/publish.py, require_night.
READERS_OF_ALL = ("published_warehouse", "validation_results")
NIGHTS = 7  # newest audited days of a table that are looked at: some steps read some tables on some days only


@dataclass(frozen=True)
class AuditedDay:
    """The newest audit of a table's day: which run made it, and of what (`input_hashes` of the ledger)."""

    table: str
    day: date
    run_id: str
    input_hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> frozenset[str]:
        """The tables that were read for it."""
        return frozenset(key.partition("@")[0] for key in self.input_hashes if "@" in key)

    @property
    def step(self) -> tuple[object, ...]:
        """The same for tables that were committed together: they were made of the same in the same run."""
        made_of = frozenset((key, digest) for key, digest in self.input_hashes.items() if key != BEFORE)
        return self.day, self.run_id, made_of


class Evidence(StrEnum):
    """What the ledger says about an edge."""

    READ = "read in the newest audit"
    READ_BEFORE = "read in an earlier audit"
    ASKED = f"its gate was asked, and no row of it was read in the last {NIGHTS} audits"
    NEVER_AUDITED = "the reader was never audited"
    ASKS_FOR_ALL = "asks for every table by itself"


@dataclass(frozen=True)
class Edge:
    """`reader` is made of `table`; `checks` of `table` block it, unless `gap` says why nothing holds it back."""

    table: str
    reader: str
    evidence: Evidence
    checks: tuple[str, ...] = ()
    gap: str = ""

    @property
    def is_read(self) -> bool:
        """Whether an audit was seen whose rows were made of `table`."""
        return self.evidence in (Evidence.READ, Evidence.READ_BEFORE)


def look(settings: Settings) -> list[AuditedDay]:
    """The `audited_days` of the private file, or of the published one where only that is here.

    Raises `GateClosed` where there is none: what was never run was never looked at.
    """
    audited = list[AuditedDay]()
    if settings.warehouse.exists():
        with private_ledger(settings) as con:
            audited = audited_days(con, ledger=LEDGER)
    elif settings.published.exists():
        with closing(read_published(settings.published)) as con:
            audited = audited_days(con)
    if not audited:
        raise GateClosed(
            "No night has run yet, so nobody has seen what a table reads.",
            expected="a table that was audited",
            found="none",
            where=f"{settings.warehouse}, table gate_ledger",
            next_step="gesture run",
        )
    return audited


def audited_days(
    connection: duckdb.DuckDBPyConnection, *, ledger: str = "gate_ledger", nights: int = NIGHTS
) -> list[AuditedDay]:
    """The newest audit of each of the newest `nights` days of every table, newest first.

    Gates that were opened by hand, and sources that are not there, are no audits.
    """
    rows = connection.execute(
        f"""select table_name, partition, run_id, input_hashes from (
            select * from {ledger} where verdict in ('{Verdict.PASS}', '{Verdict.FAIL}')
            qualify row_number() over (partition by table_name, partition order by attempt desc) = 1)
        qualify row_number() over (partition by table_name order by partition desc) <= ?
        order by partition desc, table_name""",
        [nights],
    ).fetchall()
    return [AuditedDay(table, day, run_id, json.loads(inputs)) for table, day, run_id, inputs in rows]


def edges(audited: Iterable[AuditedDay], contracts: Sequence[Contract], blocking: Collection[str] = ()) -> list[Edge]:
    """Every edge that was read or is declared, by reader and table; `blocking` checks block that would only report.

    `audited` is in the order of `audited_days`. An edge that was read in the newest audit and is declared by none of
    the tables of the step is a gap: nobody asks for the gates behind it, and a change of it builds nothing anew. A step
    may read what it wrote itself on earlier days; that is no edge.
    """
    known = {contract.name: contract for contract in contracts}
    by_table: dict[str, list[AuditedDay]] = {}
    steps: dict[tuple[object, ...], set[str]] = {}
    for audit in audited:
        by_table.setdefault(audit.table, []).append(audit)
        steps.setdefault(audit.step, set()).add(audit.table)
    result = [
        Edge(contract.name, reader, Evidence.ASKS_FOR_ALL, _guards(contract, blocking), _no_guards(contract, blocking))
        for reader in READERS_OF_ALL
        for contract in contracts
        if contract.is_nightly
    ]
    for contract in contracts:
        days = by_table.get(contract.name, [])
        newest = days[0] if days else AuditedDay(contract.name, date.min, "")
        together = {contract.name, *steps.get(newest.step, ())}
        declared = {table for name in together if name in known for table in known[name].upstream}
        result += [
            _edge(table, contract.name, _evidence(table, days), known, declared, blocking)
            for table in {*contract.upstream, *newest.read - together}
        ]
    return sorted(result, key=lambda edge: (edge.reader, edge.table))


def _evidence(table: str, days: Sequence[AuditedDay]) -> Evidence:
    if not days:
        return Evidence.NEVER_AUDITED
    if table in days[0].read:
        return Evidence.READ
    return Evidence.READ_BEFORE if any(table in day.read for day in days) else Evidence.ASKED


def _edge(
    table: str,
    reader: str,
    evidence: Evidence,
    known: Mapping[str, Contract],
    declared: Collection[str],
    blocking: Collection[str],
) -> Edge:
    if table not in known:
        return Edge(table, reader, evidence, (), "the table has no contract, so nothing audits it")
    checks, gap = _guards(known[table], blocking), _no_guards(known[table], blocking)
    if not gap and table not in declared:
        gap = "it was read, and the contract does not name it as upstream: nobody asks for what stands behind it"
    return Edge(table, reader, evidence, checks, gap)


def _guards(contract: Contract, blocking: Collection[str]) -> tuple[str, ...]:
    return tuple(check.name for check in contract.checks if severity_of(check.name, blocking) is Severity.ERROR)


def _no_guards(contract: Contract, blocking: Collection[str]) -> str:
    return "" if _guards(contract, blocking) else "no check of the table blocks"
