"""Flushing with a timeout, and at the end of child processes that do not run ``atexit``."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHILD_FLUSH_S = 3.0


def at_once(calls: Sequence[Callable[[], Any]], timeout_s: float) -> bool:
    """Run all calls in parallel; ``True`` if all returned within ``timeout_s``.

    A call that hangs stays behind in a daemon thread; an exception is logged at DEBUG.
    """
    return joined(in_parallel(calls), timeout_s)


def in_parallel(calls: Sequence[Callable[[], Any]]) -> list[threading.Thread]:
    """Start a daemon thread for each call, and return the threads."""
    threads = [
        threading.Thread(target=_quietly, args=(call,), daemon=True, name="compilespan-flush")
        for call in calls
    ]
    for thread in threads:
        thread.start()
    return threads


def joined(threads: Sequence[threading.Thread], timeout_s: float) -> bool:
    """Wait for threads; ``True`` if all ended within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def at_end_of_child(flush: Callable[[], object]) -> None:
    """Call ``flush`` when this process ends, if it is a child of multiprocessing.

    Such children do not run ``atexit``, on which OpenTelemetry's providers rely, but they run
    multiprocessing's own finalizers.
    """
    multiprocessing = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and process is not None and process.parent_process():
        multiprocessing.Finalize(None, flush, exitpriority=5)


def _quietly(call: Callable[[], Any]) -> None:
    with contained("flush"):
        call()
