"""Ctrl-C and SIGTERM while the service runs, starts and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTS = 2


class Stop(threading.Event):
    """Set by the first signal. While things are starting, which nothing else could interrupt, that signal is an
    interrupt."""

    starting = True


@contextmanager
def signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop` instead of interrupting a child's shutdown; a second one ends at once, and so does
    the first while things are starting. After `INTERRUPTS` of these nothing interrupts what ends the processes."""
    left = INTERRUPTS

    def on_signal(number: int, frame: object) -> None:
        nonlocal left
        again = stop.is_set()
        stop.set()
        if left and (again or getattr(stop, "starting", False)):
            left -= 1
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
