"""The trial of this process: from its first compile until what it loaded has worked."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compilespan.cache.bounded import within
from compilespan.cache.errors import CacheError
from compilespan.cache.trials import DEAD_S, Others, Trials, beaten
from compilespan.ledger.ledger import get_ledger
from compilespan.process import fork_safe_lock
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from compilespan.cache.trials import Trial

WORKED_S = 60.0
"""Seconds after the last compile or load in which a process must not die."""
BEAT_S = DEAD_S / 3
"""Seconds between two signs of life."""
_LOOK_S = 1.0
_STORE_S = 10.0


class Trying:
    """Begins and ends a trial, at most one at a time; nothing here raises.

    A forked child has neither the trial of its parent nor the thread that shows it.
    """

    def __init__(self, loaded: Callable[[], set[str]], trials: Callable[[], Trials]) -> None:
        """Begin nothing yet.

        Args:
            loaded: Returns the publications of which a graph was loaded.
            trials: Returns where trials are written; may raise anything.
        """
        self._loaded = loaded
        self._place = trials
        self._lock: Any = fork_safe_lock()
        self._now: _Going | None = None
        self._turns = 0

    def begin(self, publications: Iterable[str], others: Others, *, is_turn: bool = False) -> None:
        """Begin a trial of these publications, or add them to the one that goes on.

        Args:
            publications: What may be loaded.
            others: Trials of other starts, which may be dead.
            is_turn: Whether it ends with a turn only.
        """
        with contained("note that the compile cache is tried out"), self._lock:
            self._turns += is_turn
            if self._now is None or self._now.pid != os.getpid():
                self._now = _Going(self._loaded, others, self._watched)
            names = set(publications) - set(self._now.trial.may)
            try:
                if names:
                    self._now.show_first(self._place, names)
            except CacheError:
                self._now = None
                raise

    def end(
        self,
        *,
        has_worked: bool = True,
        failed: Iterable[str] = (),
        is_turn: bool = False,
        timeout_s: float = _STORE_S,
    ) -> None:
        """End it, unless a turn goes on.

        Args:
            has_worked: Whether what was loaded has worked; else nothing is known of it.
            failed: What has failed.
            is_turn: Whether the turn ends.
            timeout_s: Seconds that this may take.
        """
        deadline_s = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            return
        try:
            self._turns = max(0, self._turns - is_turn)
            now = self._now
            if (self._turns and has_worked) or now is None or now.pid != os.getpid():
                return
            self._now = None
        finally:
            self._lock.release()
        with contained("note that the compile cache was tried out"):
            bad = set(failed)
            now.end(self._loaded() - bad if has_worked else set(), bad, deadline_s)

    def _watched(self) -> None:
        """End it, since what was loaded has worked long enough."""
        self.end(timeout_s=_LOOK_S)


class _Going:
    """A trial that goes on."""

    def __init__(
        self, loaded: Callable[[], set[str]], others: Others, worked: Callable[[], object]
    ) -> None:
        self.pid = os.getpid()
        self.trial: Trial = Trials.new()
        self.is_shown = False
        self._loaded, self._others, self._worked = loaded, others, worked
        self._name = Trials.new_name()
        self._place: Trials | None = None
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._watch, name="compilespan-cache-trial", daemon=True
        )

    def show_first(self, place: Callable[[], Trials], names: set[str]) -> None:
        """Write it before the first compile, with what may be loaded."""
        with self._lock:
            self.trial = replace(self.trial, may=(*self.trial.may, *sorted(names)))

        def show() -> None:
            self._place = self._place or place()
            self._show(self._place)

        try:
            within(time.monotonic() + _STORE_S, show)
        except CacheError:
            self._is_over.set()  # what is written late is removed
            raise
        if not self.is_shown:
            self.is_shown = True
            self._thread.start()

    def end(self, worked: set[str], failed: set[str], deadline_s: float) -> None:
        """End it: first its own note, then what is known of others."""
        self._is_over.set()
        place = self._place
        if place is None:
            return
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        within(deadline_s, lambda: place.end(self._name, self.trial, worked, failed))
        if worked:
            within(deadline_s, lambda: place.settle(self._others, worked))

    def _show(self, place: Trials) -> None:
        with self._lock:
            place.show(self._name, self.trial)
            if self._is_over.is_set():
                place.end(self._name, self.trial, (), ())

    def _watch(self) -> None:
        """Show signs of life, and end it some time after the last compile."""
        changed_s = shown_s = time.monotonic()
        while not self._is_over.wait(_LOOK_S):
            with contained("show that the compile cache is tried out"):
                now_s = time.monotonic()
                loaded, ended = self._loaded(), len(get_ledger().records())
                if (len(loaded), ended) != (len(self.trial.loaded), self.trial.ended):
                    changed_s, shown_s = now_s, 0.0
                if now_s - shown_s >= BEAT_S and self._place is not None:
                    shown_s = now_s
                    with self._lock:
                        self.trial = beaten(self.trial, loaded, ended)
                    self._show(self._place)
                    if self._others.are_due:
                        others, self._others = self._others, Others({}, now_s)
                        self._place.settle(others)
                if ended and now_s - changed_s > WORKED_S:
                    self._worked()
