"""Ends the process through its server, and ends streams as soon as a stop signal arrives.

A server waits for open responses before it runs the end of its lifespan, so a stream that ended
only there would keep the server from stopping.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENDING = (signal.SIGTERM, signal.SIGINT)


def terminate() -> None:
    """Send SIGTERM to this process, so that its server's own handler drains it."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def drained_by_signals(drain: Callable[[], None]) -> Iterator[None]:
    """Call ``drain`` on SIGTERM or SIGINT, before the server's own handler.

    Does nothing outside the main thread, because handlers cannot be set there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {ending: signal.getsignal(ending) for ending in _ENDING}

    def handler(number: int, frame: Any) -> None:
        drain()
        previous = before[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    # Without a handler, the signal ends the server at once, so it does not wait for streams.
    ours = {ending for ending, previous in before.items() if callable(previous)}
    for ending in ours:
        signal.signal(ending, handler)
    try:
        yield
    finally:
        for ending in ours:
            if signal.getsignal(ending) is handler:
                signal.signal(ending, before[ending])
