"""Ctrl-C is known of whoever handles it, and only while a command listens."""

import os
import signal
import threading

from gesture_assets.compat.dagster_interrupts import listening, was_interrupted


def interrupt() -> None:
    """Ctrl-C, which something swallows."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_something_swallows_is_known_until_the_command_ends() -> None:
    with listening():
        assert not was_interrupted()
        interrupt()
        assert was_interrupted()
        assert was_interrupted()
    assert not was_interrupted()
    with listening():
        assert not was_interrupted()


def test_beside_the_main_thread_nothing_is_heard() -> None:
    heard: list[bool] = []

    def work() -> None:
        with listening():
            heard.append(was_interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
