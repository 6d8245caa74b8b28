"""What the domains' modules state about their tables, collected: good rows, faults, boundaries.

Belongs here: finding it. Does not belong here: any table (`<domain>.py`, one for each domain that has tables).
"""

from importlib import import_module
from itertools import chain

from gesture_assets.contracts.catalogue import domains
from gesture_assets_tests.gates.faults import Faults, Rows

_MODULES = [import_module(f"gesture_assets_tests.gates.{domain}") for domain in domains()]

# Table -> what distinguishes its good rows, and the faults that its domain states.
GOOD: dict[str, Rows] = {name: rows for module in _MODULES for name, rows in module.GOOD.items()}
STATED: dict[str, Faults] = {name: faults for module in _MODULES for name, faults in module.FAULTS.items()}
# Table, a change of its good rows, the checks that fail then: where a check draws its line.
BOUNDARIES: list[tuple[str, str, set[str]]] = list(
    chain.from_iterable(getattr(module, "BOUNDARIES", ()) for module in _MODULES)
)
# Table -> the query over its good rows, repeated for each day, that makes them right for all days together.
ON_SEVERAL_DAYS: dict[str, str] = {
    name: query for module in _MODULES for name, query in getattr(module, "ON_SEVERAL_DAYS", {}).items()
}
