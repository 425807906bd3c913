"""The one place where records are added: a process's ledger.

What is being compiled, what was, and what it cost. `get_ledger` returns the only instance; a
forked child finds it empty.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from compilespan.entries import Ended, Entry, Ready
from compilespan.process import process_age_ns
from compilespan.records import CompileBegun, CompileRecord
from compilespan.subscription import Subscription
from compilespan.totals import CompileTotals, TotalsBuilder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from compilespan.journal import Journal
    from compilespan.semconv import Phase

MAX_RECORDS = 4096

_logger = logging.getLogger("compilespan")


class CompileLedger:
    """Counts and keeps what its process compiled. Safe to use from any thread."""

    on_first_begin: Callable[[], object] | None = None
    """Called before the first compile of a process; `compilespan.journal` opens its file there."""

    def __init__(self) -> None:
        self.journal: Journal | None = None
        self.phase_before_ready: Phase = "startup"
        self._reset()

    def _reset(self) -> None:
        if self.journal is not None:  # a forked child's is the parent's
            self.journal.abandon()
            self.journal = None
        self._began = False
        self.on_ready: Callable[[], object] | None = None
        """Called when the process is declared ready; `compilespan.startup` ends its span there."""
        # Reentrant: a finalizer or a signal handler may compile while we hold it.
        self._lock = threading.RLock()
        self._records: deque[CompileRecord] = deque(maxlen=MAX_RECORDS)
        self._builder = TotalsBuilder()
        self._active: dict[int, CompileBegun] = {}
        self._interrupts: dict[int, Callable[[], object]] = {}
        self._keys = itertools.count(1)
        self._subscriptions: tuple[Subscription[Any], ...] = ()
        self._given_up: weakref.WeakSet[CodeType] = weakref.WeakSet()
        self._dropped: dict[str, int] = {}
        self._startup: dict[str, float] = {}
        self._ready: Ready | None = None
        self.since_ns = time.time_ns() - process_age_ns()

    def totals(self) -> CompileTotals:
        """Return what this process's compiles cost so far."""
        with self._lock:
            return self._builder.build()

    def records(self) -> tuple[CompileRecord, ...]:
        """Return the last 4096 records, oldest first."""
        with self._lock:
            return tuple(self._records)

    def in_progress(self) -> tuple[CompileBegun, ...]:
        """Return what is compiling now, oldest first."""
        with self._lock:
            return tuple(self._active.values())

    @property
    def oldest_active_age_s(self) -> float:
        """Age in seconds of the oldest compile in progress; 0 when nothing compiles."""
        started = [begun.started_ns for begun in self.in_progress()]
        return (time.perf_counter_ns() - min(started)) / 1e9 if started else 0.0

    def add_totals_to(self, builder: TotalsBuilder) -> None:
        """Add this process's sums to those of others."""
        with self._lock:
            builder.update(self._builder)

    def subscribe(self, callback: Callable[[CompileRecord], object]) -> Callable[[], None]:
        """Call ``callback`` with each record from now on, in a thread of its own.

        The queue is bounded; what finds it full is dropped and counted in `dropped`.

        Returns:
            A function that ends the subscription after what is queued was delivered.
        """

        def records_only(entry: Entry) -> None:
            if isinstance(entry, Ended) and entry.record is not None:
                callback(entry.record)

        subscription = self.watch(records_only)

        def unsubscribe() -> None:
            self.unwatch(subscription)

        return unsubscribe

    def watch(
        self,
        callback: Callable[[Any], object],
        *,
        signal: str = "subscription",
        idle: Callable[[], float | None] | None = None,
    ) -> Subscription[Any]:
        """Like `subscribe`, for every entry: begun, ended, ready. See `Subscription`."""
        subscription = Subscription(callback, signal=signal, idle=idle)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def unwatch(self, subscription: Subscription[Any], timeout_s: float = 2.0) -> None:
        """End a subscription, delivering what is queued if ``timeout_s`` suffices."""
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
        subscription.close(timeout_s)

    def give_up(self, code: CodeType) -> None:
        """Note that Dynamo compiles this code no more: over its recompile limit."""
        with self._lock:
            self._given_up.add(code)

    def given_up(self) -> frozenset[CodeType]:
        """Return the code that runs eager for every shape that is not compiled yet."""
        with self._lock:
            return frozenset(self._given_up)

    @property
    def dropped(self) -> dict[str, int]:
        """What was lost, by signal: ``events`` of spans, ``subscription``, ``journal`` entries."""
        with self._lock:
            return dict(self._dropped)

    def note_dropped(self, signal: str, count: int = 1) -> None:
        """Count telemetry that was lost (rule 6)."""
        with self._lock:
            self._dropped[signal] = self._dropped.get(signal, 0) + count

    @property
    def phase(self) -> Phase:
        """``startup`` until `mark_ready`, ``serving`` afterwards (a warmup says so itself)."""
        return "serving" if self._ready else self.phase_before_ready

    @property
    def ready_after_s(self) -> float | None:
        """Seconds from the start of the process to `mark_ready`; ``None`` before."""
        return self._ready.after_s if self._ready else None

    @property
    def startup_s(self) -> dict[str, float]:
        """Seconds by startup phase: ``import``, ``load``, ``warmup``, and ``total`` when ready."""
        with self._lock:
            return dict(self._startup)

    def note_startup(self, phase: str, seconds: float, start_ns: int | None = None) -> None:
        """Note how long a startup phase took, and when it began (nanoseconds since the epoch)."""
        with self._lock:
            self._startup[phase] = seconds
            if self.journal is not None:
                told = {"phase": phase, "seconds": seconds, "start_ns": start_ns}
                self.journal.note("startup_phase", told)

    def mark_ready(self) -> None:
        """Declare the process ready: what compiles from now on delays requests."""
        with self._lock:
            if self._ready:
                return
            now_ns = time.time_ns()
            self._ready = Ready(now_ns, process_age_ns() / 1e9)
            self._startup["total"] = self._ready.after_s
            self._publish(self._ready)
        try:
            if self.on_ready is not None:
                self.on_ready()
        except Exception:
            _logger.debug("compilespan: the end of the start is not told", exc_info=True)

    def begin(
        self,
        name: str,
        start_ns: int,
        started_ns: int,
        *,
        is_encoder: bool,
        interrupt: Callable[[], object] | None = None,
    ) -> CompileBegun:
        """Note that a compile began.

        Args:
            name: See `CompileRecord`.
            start_ns: Nanoseconds since the epoch.
            started_ns: The same moment on the process's monotonic clock.
            is_encoder: As known by now.
            interrupt: Closes the compile's monitor as it is; see `interrupt`.

        Returns:
            What is in progress now; it has the key for `end`.
        """
        if not self._began:
            self._began = True
            try:
                if self.on_first_begin is not None:
                    self.on_first_begin()
            except Exception:
                _logger.debug("compilespan: the first compile is not prepared", exc_info=True)
        with self._lock:
            key = next(self._keys)
            begun = CompileBegun(key, name, is_encoder, start_ns, started_ns)
            self._active[key] = begun
            if interrupt is not None:
                self._interrupts[key] = interrupt
            self._publish(begun)
            return begun

    def progress(self, key: int, graphs: int) -> None:
        """Note how many graphs of an active compile are through."""
        with self._lock:
            if begun := self._active.get(key):
                self._active[key] = CompileBegun(
                    key, begun.name, begun.is_encoder, begun.start_ns, begun.started_ns, graphs
                )

    def end(self, key: int, record: CompileRecord | None) -> None:
        """Note that a compile is over, with its record if it is to leave one."""
        with self._lock:
            self._active.pop(key, None)
            self._interrupts.pop(key, None)
            if record is not None:
                self._records.append(record)
                self._builder.add(record)
            self._publish(Ended(key, record))

    def interrupt(self) -> None:
        """Close what compiles now as failed: the process ends, and its telemetry is to be whole."""
        for interrupt in list(self._interrupts.values()):
            interrupt()

    def _publish(self, entry: Entry) -> None:
        for subscription in self._subscriptions:
            if not subscription.put(entry):
                self.note_dropped(subscription.signal)


_ledger = CompileLedger()
# Only os.fork in Python comes here; a child starts with locks that nobody holds.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ledger._reset)  # noqa: SLF001  # its own module


def get_ledger() -> CompileLedger:
    """Return this process's ledger."""
    return _ledger


def mark_ready() -> None:
    """Declare this process ready to serve; its phase is ``serving`` from now on.

    Servers that warm up through `compilespan_service` need not call it.
    """
    _ledger.mark_ready()
