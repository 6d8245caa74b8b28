"""Ctrl-C ends a run without tracebacks of Dagster's helpers.

Why: while a step runs, Dagster mirrors what it prints by two `tail` processes, each with a Python process that watches
over it. Ctrl-C reaches the whole group, and each watcher ends with a traceback among the lines that say what happened.
Versions: dagster 1.13. Upstream: none is open. Goes: when the watchers ignore it, as they are ended anyway.

Run as a script this is such a watcher.

Belongs here: the watcher, and naming it to Dagster. Does not belong here: what an interrupted run says (`cli/run.py`).
"""

import os
import signal
import sys
from contextlib import suppress
from threading import Event


def watch_in_silence() -> None:
    """Let Dagster, which is imported by now, start this file where it starts its own watcher."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("dagster.") and name.endswith(".watch_orphans"):
            module.__file__ = __file__


def watch(parent: int, tail: int) -> None:
    """End the process `tail` once `parent` is no longer the parent of this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    never = Event()
    while os.getppid() == parent:
        never.wait(timeout=1)
    with suppress(OSError):  # it has ended by itself
        os.kill(tail, signal.SIGTERM)


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]))
