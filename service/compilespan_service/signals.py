"""Ends the process as its server does, and streams as soon as the server is told to stop.

A server waits for its open responses before it runs the lifespan's end, so a stream that only
ends there would keep it from stopping.
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
    """End this process as SIGTERM does: by its server's own handler, which drains it."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def drained_by_signals(drain: Callable[[], None]) -> Iterator[None]:
    """Call ``drain`` when SIGTERM or SIGINT comes, before the server's own handler.

    Elsewhere than in the main thread there are no handlers to set, and nothing is done.
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

    # A server that set none is ended by the signal at once; there is nobody to wait for streams.
    ours = {ending for ending, previous in before.items() if callable(previous)}
    for ending in ours:
        signal.signal(ending, handler)
    try:
        yield
    finally:
        for ending in ours:
            if signal.getsignal(ending) is handler:
                signal.signal(ending, before[ending])
