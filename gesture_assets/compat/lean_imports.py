"""Libraries imported without what none of our work needs, which is most of what their import takes.

Why: one of Great Expectations' expectations, of Kullback–Leibler divergence, imports SciPy's statistics and Altair, and
all expectations are imported together. XGBoost imports scikit-learn where it is installed, for classes in its style
that we do not use, and that imports SciPy's statistics too. Together a CPU second of every night. Versions:
great_expectations 1.24, xgboost 3.2, and those before. Upstream: none is open. Goes: when they import them where they
use them.

In a process that has imported XGBoost this way `XGBClassifier` and the like are not to be had; whoever wants them
imports XGBoost before. MLflow and the models that it keeps work as they do.

Belongs here: what others import. Does not belong here: what they are asked.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

UNUSED_BY_GX = ("altair", "scipy.stats")
UNUSED_BY_XGBOOST = "sklearn"


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Meanwhile whoever imports one of `names` gets a module that is imported when something of it is asked for."""
    stand_ins = [_StandIn(name) for name in names if name not in sys.modules]
    for module in stand_ins:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for module in stand_ins:
            module.step_aside()


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Meanwhile it is as if `name` were not installed, but where it has been imported already."""
    if name in sys.modules:
        yield
        return
    vars(sys)["modules"][name] = None  # Python's own word for "not to be imported"
    try:
        yield
    finally:
        del sys.modules[name]


class _StandIn(ModuleType):
    """A module in place of the one of its name."""

    def step_aside(self) -> None:
        """Let the next import find the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        self.step_aside()
        return getattr(import_module(self.__name__), name)
