"""Ctrl-C that was lost: Dagster drops one that comes while it changes its handlers, and so may a library under it.

Belongs here: remembering that a signal came, whoever handled it. Does not belong here: ending a run
(`defs/resource.py`).
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ears: list[socket.socket] = []  # of the command that runs in this process, if one does


@contextmanager
def listening() -> Iterator[None]:
    """Let `was_interrupted` know of what comes meanwhile. Without effect beside the main thread, which gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, mouth = socket.socketpair()
    ear.setblocking(False)
    mouth.setblocking(False)
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    _ears.append(ear)
    try:
        yield
    finally:
        _ears.remove(ear)
        signal.set_wakeup_fd(before)
        ear.close()
        mouth.close()


def was_interrupted() -> bool:
    """Whether the command that is listening was asked to end."""
    with suppress(BlockingIOError):
        return any(signal.SIGINT in ear.recv(4096, socket.MSG_PEEK) for ear in _ears)
    return False
