"""Two tails of distributions that SciPy knows, without the import of all its statistics.

Why: `scipy.stats` takes most of a CPU second to import, a tenth of a small night that needs five of its functions.
Three of them are a line of `scipy.special`; these two it keeps to itself, and its own objects around them take thirty
times as long as what they ask for. Versions: scipy 1.15 to 1.17. Upstream: none is open. Goes: when `scipy.special` has
them. Where it is not built as expected, `scipy.stats` is asked; tests hold every value against it, to the last bit.

Belongs here: finding these functions. Does not belong here: what they test (`monitoring/statistics.py`).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

PACKAGE = "scipy.stats"
KOLMOGOROV, HYPERGEOMETRIC = "kolmogn", ("_hypergeom_cdf", "_hypergeom_sf")


def kolmogorov_smirnov_tail(statistic: float, rows: int) -> float:
    """How often the two-sided statistic of `rows` rows exceeds this one: `scipy.stats.kstwo.sf`."""
    return float(_kolmogorov()(rows, statistic, cdf=False))


def hypergeometric_tails(drawn: Any, population: Any, marked: Any, draws: Any) -> tuple[Any, Any]:
    """How often `drawn` or fewer are marked, and `drawn` or more: `scipy.stats.hypergeom` of integer arrays.

    Of `population` things `marked` are, and `draws` are drawn, all of them possible; NaN where there is nothing.
    """
    functions: Any = import_module("scipy.special._ufuncs")
    if not all(hasattr(functions, name) for name in HYPERGEOMETRIC):
        hypergeom: Any = import_module("scipy.stats").hypergeom
        arguments = (population, marked, draws)
        return hypergeom.cdf(drawn, *arguments), hypergeom.sf(drawn - 1, *arguments)
    lowest, highest = np.maximum(draws - (population - marked), 0), np.minimum(marked, draws)
    fewer, more = (
        np.clip(getattr(functions, name)(np.clip(number, lowest, highest), marked, draws, population), 0, 1)
        for name, number in zip(HYPERGEOMETRIC, (drawn, drawn - 1), strict=True)
    )
    is_any = population > 0
    return (
        np.where(is_any, np.where(drawn >= highest, 1.0, fewer), np.nan),
        np.where(is_any, np.where(drawn - 1 < lowest, 1.0, more), np.nan),
    )


@cache
def _kolmogorov() -> Callable[..., Any]:
    """SciPy's function, of its module alone."""
    try:
        with _empty_package():
            return getattr(import_module("scipy.stats._ksstats"), KOLMOGOROV)
    except (ImportError, AttributeError):  # another version's
        kstwo: Any = import_module("scipy.stats").kstwo
        return lambda rows, statistic, cdf: kstwo.cdf(statistic, rows) if cdf else kstwo.sf(statistic, rows)


@contextmanager
def _empty_package() -> Iterator[None]:
    """Meanwhile modules of SciPy's statistics can be imported without all others, and are forgotten afterwards."""
    found = find_spec(PACKAGE)
    if PACKAGE in sys.modules or not found:
        yield
        return
    package = sys.modules[PACKAGE] = ModuleType(PACKAGE)
    package.__path__ = list(found.submodule_search_locations or ())
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
            del sys.modules[name]
