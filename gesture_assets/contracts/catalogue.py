"""The catalogue: every table of the product, collected from the domains, and what follows from what they are made of.

Belongs here: finding the tables, their order, which table stands on which. Does not belong here: any table
(`<domain>/tables.py` names its own in `TABLES`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

from gesture_assets.contracts.contract import Contract
from gesture_assets.errors import listing

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Catalogue:
    """Every table, by name, in an order in which each stands after what it is made of."""

    by_name: Mapping[str, Contract]

    def __getitem__(self, name: str) -> Contract:
        """The contract of the table `name`."""
        return self.by_name[name]

    @cached_property
    def tables(self) -> tuple[Contract, ...]:
        """Every table, in order."""
        return tuple(self.by_name.values())

    @cached_property
    def nightly(self) -> tuple[Contract, ...]:
        """The tables that a night must fill to be whole."""
        return tuple(contract for contract in self.tables if contract.is_nightly)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Every table that `name` is built from, directly or not, in order; none of a table that is not here."""
        waiting, reached = [name], set[str]()
        while waiting:
            table = self.by_name.get(waiting.pop())
            new = set(table.upstream if table else ()) - reached
            reached |= new
            waiting += new
        return tuple(other for other in self.by_name if other in reached)


@cache
def catalogue(tags: tuple[str, ...] = ()) -> Catalogue:
    """The tables of a company whose CRM tags `tags` have columns of their own; names and lineage do not depend on them.

    Raises `ValueError` where two tables have one name, or one is made of a table that no domain has.
    """
    declared = [contract.for_tags(tags) if contract.for_tags else contract for contract in _declared()]
    by_name = {contract.name: contract for contract in declared}
    if len(by_name) != len(declared):
        names = [contract.name for contract in declared]
        raise ValueError(f"tables {listing(name for name in by_name if names.count(name) > 1)} are declared twice")
    missing = {name for contract in declared for name in contract.upstream} - set(by_name)
    if missing:
        raise ValueError(f"tables are made of {listing(missing)}, which no domain has")
    order = TopologicalSorter({contract.name: contract.upstream for contract in declared}).static_order()
    return Catalogue({name: by_name[name] for name in order})


def ancestors(table: str) -> tuple[str, ...]:
    """Every table that `table` is built from, directly or not."""
    return catalogue().ancestors(table)


def domains_of(tables: Iterable[str]) -> set[str]:
    """The rooms that have `tables` and every table behind them; none of a table that is not in the catalogue."""
    behind = {name for table in tables for name in (table, *ancestors(table))}
    return {domain for domain in domains() if behind.intersection(table.name for table in _tables_of(domain))}


def domains() -> tuple[str, ...]:
    """The rooms that have tables, in the order of the alphabet."""
    return tuple(sorted(path.parent.name for path in PACKAGE.glob("*/tables.py")))


def _declared() -> tuple[Contract, ...]:
    return tuple(contract for domain in domains() for contract in _tables_of(domain))


def _tables_of(domain: str) -> tuple[Contract, ...]:
    # By name: a domain stands on the contracts, so contracts cannot import one.
    return import_module(f"gesture_assets.{domain}.tables").TABLES
