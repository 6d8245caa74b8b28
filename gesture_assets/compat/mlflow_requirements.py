"""MLflow, which believes the requirements that a model is logged with.

Why: it holds each requirement against what is installed, and to find that out reads the list of files of every package
there is: half a CPU second of a training, for a version that was asked of the installed library itself. Versions:
mlflow 3.17, and those before. Upstream: none is open. Goes: when the check can be switched off.

Belongs here: the patch. Does not belong here: logging models (`records/tracking.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def taken_as_given() -> Iterator[None]:
    """Meanwhile requirements are written down as they are given."""
    from mlflow.utils import environment

    module: Any = environment  # which does not export what it calls
    check = module.warn_dependency_requirement_mismatches
    module.warn_dependency_requirement_mismatches = lambda model_requirements: None
    try:
        yield
    finally:
        module.warn_dependency_requirement_mismatches = check
