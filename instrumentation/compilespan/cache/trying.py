"""The trial of this process: from its first compile until what it loaded has worked."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from compilespan.cache.bounded import within_s
from compilespan.cache.trials import beaten
from compilespan.ledger.ledger import get_ledger
from compilespan.process import fork_safe_lock
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from compilespan.cache.trials import Trial, Trials

WORKED_S = 60.0
"""Seconds after the last compile or load in which a process must not die."""
BEAT_S = 5.0
"""Seconds between two signs of life."""
DEAD_S = 3 * BEAT_S
"""Seconds without one, by the clock of who looks, after which a process is dead."""
_LOOK_S = 1.0
_STORE_S = 10.0


class Trying:
    """Begins and ends a trial, at most one at a time; nothing here raises.

    A forked child has neither the trial of its parent nor the thread that shows it.
    """

    def __init__(self, loaded: Callable[[], set[str]]) -> None:
        """Begin nothing yet.

        Args:
            loaded: Returns the publications of which a graph was loaded.
        """
        self._loaded = loaded
        self._lock = fork_safe_lock()
        self._pid = 0
        self._trials: Trials | None = None
        self._name = ""
        self._others: dict[str, Trial] = {}
        self._is_over = threading.Event()
        self._watching: threading.Thread | None = None

    def begin(
        self,
        trials: Callable[[], Trials],
        publications: Iterable[str],
        others: Mapping[str, Trial] | None = None,
    ) -> None:
        """Begin a trial of these publications, unless one goes on.

        Args:
            trials: Returns where it is written; may raise anything.
            publications: What may be loaded.
            others: Trials of other starts, which may be dead.
        """
        with contained("note that the compile cache is tried out"), self._lock:
            if self._pid == os.getpid():
                return
            self._is_over = over = threading.Event()
            place = within_s(_STORE_S, trials)
            self._name, trial = within_s(_STORE_S, lambda: place.begin(publications))
            self._trials, self._pid = place, os.getpid()
            self._others = dict(others or {})
            self._watching = threading.Thread(
                target=self._watch,
                args=(over, place, self._name, trial),
                name="compilespan-cache-trial",
                daemon=True,
            )
            self._watching.start()

    def end(
        self,
        *,
        has_worked: bool = True,
        failed: Iterable[str] = (),
        timeout_s: float = _STORE_S,
    ) -> None:
        """End it.

        Args:
            has_worked: Whether what was loaded has worked; else nothing is known of it.
            failed: What has failed.
            timeout_s: Seconds that this may take.
        """
        with contained("note that the compile cache was tried out"), self._lock:
            if self._pid != os.getpid():
                return
            trials, self._trials, self._pid = self._trials, None, 0
            self._is_over.set()
            assert trials is not None
            if self._watching is not None and self._watching is not threading.current_thread():
                self._watching.join(timeout_s)  # what it still writes must not come after the end
            bad = set(failed)
            good = self._loaded() - bad if has_worked else set()
            others, self._others = self._others, {}
            if has_worked:
                within_s(timeout_s, lambda: trials.settle(others, good))
            within_s(timeout_s, lambda: trials.end(self._name, good, bad))

    def _watch(self, over: threading.Event, trials: Trials, name: str, trial: Trial) -> None:
        """Show signs of life, and end it some time after the last compile."""
        began_s = changed_s = shown_s = time.monotonic()
        while not over.wait(_LOOK_S):
            with contained("show that the compile cache is tried out"):
                now_s = time.monotonic()
                loaded, ended = self._loaded(), len(get_ledger().records())
                if (len(loaded), ended) != (len(trial.loaded), trial.ended):
                    changed_s, shown_s = now_s, 0.0
                if now_s - shown_s >= BEAT_S:
                    shown_s, trial = now_s, beaten(trial, loaded, ended)
                    trials.show(name, trial)
                if self._others and now_s - began_s > DEAD_S:
                    others, self._others = self._others, {}
                    trials.settle(others)
                if ended and now_s - changed_s > WORKED_S:
                    self.end()
