"""Which gates stand between tables: for each edge of the asset graph the blocking checks that guard it.

Belongs here: comparing the graph that Dagster shows with the contracts and with what reading asks the ledger for. Does
not belong here: the checks (`contracts/`), the asking (`warehouse.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from gesture_assets.contracts.catalogue import ancestors
from gesture_assets.contracts.contract import Contract

# They ask for every table by themselves: publication/publish.py, require_night.
READERS_OF_ALL = ("published_warehouse", "validation_results")


@dataclass(frozen=True)
class Edge:
    """`reader` is built from `table`; `checks` block it, unless `gap` says why nothing holds it back."""

    reader: str
    table: str
    checks: tuple[str, ...]
    gap: str = ""


def edges(
    definitions: dg.Definitions, contracts: Sequence[Contract], readers_of_all: Sequence[str] = READERS_OF_ALL
) -> list[Edge]:
    """Every edge of the graph, in order of names. `readers_of_all` ask the ledger for every table by themselves."""
    graph = definitions.resolve_asset_graph()
    known = {contract.name: contract for contract in contracts}
    blocking: dict[str, set[str]] = {}
    for check in graph.asset_check_keys:
        if graph.get_check_spec(check).blocking:
            blocking.setdefault(check.asset_key.to_user_string(), set()).add(check.name)
    return [
        _edge(node.key.to_user_string(), parent.to_user_string(), known, blocking, readers_of_all)
        for node in sorted(graph.asset_nodes, key=lambda node: node.key)
        for parent in sorted(node.parent_keys)
    ]


def _edge(
    reader: str,
    table: str,
    contracts: Mapping[str, Contract],
    blocking: Mapping[str, set[str]],
    readers_of_all: Sequence[str],
) -> Edge:
    if table not in contracts:
        return Edge(reader, table, (), "the table has no contract, so nothing audits it")
    checks = tuple(check.name for check in contracts[table].checks if check.name in blocking.get(table, ()))
    if not checks:
        return Edge(reader, table, (), "no check of the table blocks")
    if reader not in readers_of_all and table not in ancestors(reader):
        return Edge(reader, table, checks, "reading does not ask the ledger: the contract does not name it as upstream")
    return Edge(reader, table, checks)
