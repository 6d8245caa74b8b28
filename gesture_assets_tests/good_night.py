"""A small good night: rows for every table that satisfy every check of its contract.

Belongs here: committing those rows as assets would. Used by `gates/`, `unit/` and the published schema. Does not
belong here: the rows (`gates/<domain>.py`), whole nights of the real assets (`running.py`).
"""

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter

import duckdb
import narwhals as nw

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import Contract
from gesture_assets.settings import Settings
from gesture_assets.warehouse.session import Session
from gesture_assets_tests.gates.collected import GOOD, ON_SEVERAL_DAYS
from gesture_assets_tests.gates.faults import Rows
from gesture_assets_tests.gates.world import DAY, NIGHT, NOON, VERSION

__all__ = ["CONTRACTS", "DAY", "GOOD", "NIGHT", "VERSION", "commit_good_night", "create_good_table", "good_table"]

CONTRACTS = {contract.name: contract for contract in catalogue(Settings.model_fields["tags"].default).tables}
BY_TYPE = {"DATE": DAY, "TIMESTAMP": NOON, "VARCHAR": "x", "BOOLEAN": False}


def mentions(contract: Contract, schema: str) -> list[str]:
    """The tables of `{staged}` or `{live}` that the checks of `contract` look at, itself included."""
    queries = [check.arguments.get("unexpected_rows_query", "") for check in contract.checks]
    return list(dict.fromkeys(re.findall(rf"\{{{schema}\}}\.(\w+)", " ".join(queries))))


def committed_together(contracts: Mapping[str, Contract]) -> list[tuple[str, ...]]:
    """The tables in an order of a night; together are those of a group that are made of the same, and those whose
    checks look at each other before anything is live."""
    step = {name: (name,) for name in contracts}
    for name, contract in contracts.items():
        made_of_the_same = [
            table
            for table, other in contracts.items()
            if (other.group, set(other.upstream)) == (contract.group, set(contract.upstream))
        ]
        for other in (*made_of_the_same, *mentions(contract, "staged")):
            joined = tuple(table for table in contracts if table in (*step[name], *step[other]))
            step |= dict.fromkeys(joined, joined)
    sorter = TopologicalSorter[tuple[str, ...]]()
    for name, contract in contracts.items():
        sorter.add(step[name], *(step[table] for table in contract.upstream if step[table] != step[name]))
    return list(sorter.static_order())


def create_good_table(con: duckdb.DuckDBPyConnection, contract: Contract, good: Rows, where: str) -> None:
    """Create the table `where` of the good rows: what they do not name is null where it may be, else usual."""
    rows = [
        tuple(row.get(c.name, None if c.nullable else BY_TYPE.get(c.type, 0)) for c in contract.columns) for row in good
    ]
    con.execute(f"create table {where} ({', '.join(f'{c.name} {c.type}' for c in contract.columns)})")
    con.executemany(f"insert into {where} values ({', '.join('?' for _ in contract.columns)})", rows)


def good_table(session: Session, name: str, where: str) -> None:
    """Create `where` with the good rows of the table `name`."""
    create_good_table(session.connection, CONTRACTS[name], GOOD[name], where)


def commit_good_night(session: Session, *, changes: Mapping[str, str] | None = None) -> None:
    """Commit every table for the days of the run; each day has the good rows, dated to it.

    `changes`: table -> what is done to its good rows first, a statement about `{rows}`.
    """
    con = session.connection
    con.execute("create schema if not exists memory.good")
    days = ", ".join(f"(date '{day}')" for day in session.run.days)
    for names in committed_together(CONTRACTS):
        frames = []
        for name in names:
            good_table(session, name, f"memory.good.{name}")
            con.execute((changes or {}).get(name, "").format(rows=f"memory.good.{name}"))
            moved = [
                f"{c.name} + (t.day - date '{DAY}')::integer as {c.name}"
                if c.type == "DATE"
                else f"{c.name} + (t.day - date '{DAY}')::integer * interval 1 day as {c.name}"
                for c in CONTRACTS[name].columns
                if c.type in ("DATE", "TIMESTAMP")
            ]
            dated = (
                f"select * exclude (day) replace ({', '.join(moved)}) "
                f"from memory.good.{name}, (values {days}) as t(day)"
            )
            query = f"with dated as ({dated}) {ON_SEVERAL_DAYS.get(name, 'from dated')}"
            frames.append((CONTRACTS[name], nw.from_native(con.sql(query))))
        commits = session.commit(*frames)
        assert [commit.bad_days for commit in commits] == [()] * len(commits), commits
    con.execute("drop schema memory.good cascade")
