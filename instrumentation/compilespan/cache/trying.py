"""The trial of this process: from its first compile until what it loaded has worked."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from compilespan.cache.bounded import within_s
from compilespan.dynamo.graphs import GraphWatch
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from compilespan.cache.trials import Trial

WORKED_S = 60.0
"""Seconds after the last load of a graph in which a process must not die."""
_LOOK_S = 5.0
_STORE_S = 10.0


class Trying:
    """Begins and ends a trial, at most one at a time; nothing here raises."""

    def __init__(self) -> None:
        """Begin nothing yet."""
        self._lock = threading.Lock()
        self._trial: Trial | None = None
        self._is_over = threading.Event()

    def begin(self, begin: Callable[[], Trial | None]) -> None:
        """Begin a trial, unless one goes on.

        Args:
            begin: Writes it; ``None`` if there is nothing to try. A store may raise anything.
        """
        with contained("note that the compile cache is tried out"), self._lock:
            if self._trial is not None:
                return
            self._trial = within_s(_STORE_S, begin)
            if self._trial is not None:
                self._is_over = over = threading.Event()
                watching = threading.Thread(
                    target=self._watch, args=(over,), name="compilespan-cache-trial", daemon=True
                )
                watching.start()

    def end(self, failed: Iterable[str] = ()) -> None:
        """End it: what was loaded has worked, or what these publications added has failed."""
        with contained("note that the compile cache was tried out"), self._lock:
            trial, self._trial = self._trial, None
            self._is_over.set()
            if trial is None:
                return
            names = list(failed)
            if names:
                within_s(_STORE_S, lambda: trial.failed(names))
            else:
                within_s(_STORE_S, trial.worked)

    def _watch(self, over: threading.Event) -> None:
        """End it some time after the last load; before the first one, nothing was tried."""
        loads, seen_s = 0, time.monotonic()
        while not over.wait(_LOOK_S):
            if len(GraphWatch.hit_keys) != loads:
                loads, seen_s = len(GraphWatch.hit_keys), time.monotonic()
            elif loads and time.monotonic() - seen_s > WORKED_S:
                self.end()
                return
