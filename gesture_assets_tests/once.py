"""What one test run builds once, however many workers it has.

Belongs here: who builds, and who waits. Does not belong here: what is built (`conftest.py` of the folders that use it).
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of this test run, filled by `build` in the worker that asks first; not to be changed."""
    root = factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / name
    folder.mkdir(exist_ok=True)
    is_built = folder / "is_built"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_built.exists():
            build(folder)
            is_built.touch()
    return folder
