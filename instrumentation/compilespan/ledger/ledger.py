"""The ledger of a process: the only place to which records are added.

`get_ledger` returns the only instance; in a forked child it starts empty.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from compilespan.ledger.active import ActiveCompiles, CompileBegun
from compilespan.ledger.entries import Ended, Entry, Mark, Ready
from compilespan.ledger.followers import Followers
from compilespan.ledger.readiness import Readiness
from compilespan.ledger.segments import Doer
from compilespan.ledger.start import Start
from compilespan.ledger.totals import CompileTotals, TotalsBuilder
from compilespan.process import now_ns, renewed_after_fork
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from compilespan.ledger.cache_use import CacheUse
    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.subscription import Subscription

MAX_RECORDS = 4096
_MAX_UNSUMMED = 64


class LedgerFile(Protocol):
    """Interface of this process's journal, for code that only adds lines to it."""

    directory: Path
    path: Path
    end_reason: str

    def note(self, line_type: str, values: Mapping[str, Any]) -> None:
        """Queue a line; does not wait."""

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until everything recorded so far is written; return ``True`` if it is."""

    def close(self, reason: str | None = None, timeout_s: float = 2.0) -> None:
        """Write the queued lines, and the reason why this process ends."""

    def abandon(self) -> None:
        """Close the file without writing: in a forked child it belongs to the parent."""


class CompileLedger:
    """Keeps and sums up the records of its process. Safe to use from any thread.

    Attributes:
        active: The compiles in progress.
        readiness: When the process began and when it became ready.
        followers: Subscriptions to what is published here.
        journal: The file that this process writes; ``None`` if it writes none.
    """

    def __init__(self) -> None:
        self.journal: LedgerFile | None = None
        self._before_first: list[Callable[[], object]] = []
        self.readiness = Readiness(self._publish)
        self._missing: dict[str, str] = {}
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Forget everything: a forked child has not compiled anything yet."""
        if self.journal is not None:
            self.journal.abandon()
            self.journal = None
        self.active = ActiveCompiles()
        self.readiness = Readiness(self._publish, self.readiness.before)
        self.followers = Followers()
        # Reentrant: a finalizer or a signal handler may compile while we hold it.
        self._lock = threading.RLock()
        self._records: deque[CompileRecord] = deque(maxlen=MAX_RECORDS)
        self._builder = TotalsBuilder()
        self._unsummed: deque[CompileRecord] = deque()
        self._keys = itertools.count(1)
        self._is_prepared = False

    def totals(self) -> CompileTotals:
        """Return the totals of this process so far."""
        with self._lock:
            return self._sums().build()

    def records(self) -> tuple[CompileRecord, ...]:
        """Return the last 4096 records, oldest first."""
        with self._lock:
            return tuple(self._records)

    def add_totals_to(self, builder: TotalsBuilder) -> None:
        """Add this process's sums to ``builder``."""
        with self._lock:
            builder.update(self._sums())

    def subscribe(self, callback: Callable[[CompileRecord], object]) -> Callable[[], None]:
        """Call ``callback`` with each record from now on, in a separate thread.

        The queue is bounded; when it is full, records are dropped and counted.

        Returns:
            A function that ends the subscription, after up to 2 s for what is queued.
        """
        followers = self.followers
        subscription = followers.follow(_records_only(callback))
        return lambda: followers.unfollow(subscription)

    def feed(self, callback: Callable[[CompileRecord], object]) -> Subscription[Entry]:
        """Call ``callback`` once with each of the last 4096 records and with each later one.

        It is called in a separate thread, as by `subscribe`.
        """
        with self._lock:  # so that no compile ends between the two steps
            known = [Ended(0, record) for record in self._records]
            return self.followers.follow(_records_only(callback), first=lambda: known)

    def before_first_compile(self, call: Callable[[], object]) -> None:
        """Call ``call`` before the first compile, in this process and in each forked child.

        If something has already compiled, call it at once. Adding it again does nothing.
        """
        if call not in self._before_first:
            self._before_first.append(call)
            if self._is_prepared:
                _prepare(call)

    def prepare(self) -> int:
        """Prepare for a compile that is about to begin, and return its key."""
        if not self._is_prepared:
            self._is_prepared = True
            for call in self._before_first:
                _prepare(call)
        return next(self._keys)

    def begin(self, begun: CompileBegun, interrupt: Callable[[], object] | None = None) -> None:
        """Record that a compile began; ``interrupt`` closes its monitor when the process ends."""
        with self._lock:
            self.active.begin(begun, interrupt)
            self.followers.publish(begun)

    def end(self, key: int, record: CompileRecord | None) -> None:
        """Record that a compile ended, with its record if it leaves one; once for each key."""
        with self._lock:
            if not self.active.end(key):
                return
            if record is not None:
                self._records.append(record)
                self._unsummed.append(record)
                if len(self._unsummed) >= _MAX_UNSUMMED:
                    self._sums()
            # The process may end right after its last compile.
            self.followers.publish(Ended(key, record), at_once=not self.active)

    def note_cache_use(self, use: CacheUse) -> None:
        """Record how far the shared compile cache has helped; the last word counts."""
        with self._lock:
            self._builder.cache_use = use
            self.followers.publish(use)

    def mark_ready(self, *, by_program: bool = False) -> None:
        """Declare the process ready: compiles from now on delay requests.

        Args:
            by_program: Whether its program does that, and not compilespan's service.
        """
        self.readiness.mark(by_program=by_program)

    def start(self, others: Iterable[Doer] = (), end_ns: int | None = None) -> Start:
        """Return the start of this process in segments.

        Args:
            others: Other processes that took part in the start.
            end_ns: End of the start, in nanoseconds since the epoch; defaults to when the process
                was ready, else to now.
        """
        readiness = self.readiness
        since_ns = readiness.since_ns
        if end_ns is None:
            end_ns = readiness.ready_ns or now_ns()
        return Start.of(since_ns, end_ns, [self.doer, *others])

    @property
    def doer(self) -> Doer:
        """What this process did during its start."""
        with self._lock:
            intervals = {key: union.copy() for key, union in self._sums().intervals.items()}
        going_on = [(begun.component, begun.start_ns, None) for begun in self.active.now()]
        return Doer(self.readiness.marks, intervals, going_on)

    def _publish(self, entry: Mark | Ready) -> None:
        self.followers.publish(entry)

    def missing(self) -> Mapping[str, str]:
        """Return the private names of torch and servers that the installed versions lack.

        Returns:
            What the telemetry lacks, by missing name, e.g.
            ``torch._dynamo.utils.ChromiumEventLogger.log_instant_event``.
        """
        return dict(self._missing)

    def note_missing(self, name: str, lost: str) -> None:
        """Record that a private name does not exist, and what the telemetry lacks without it."""
        self._missing[name] = lost

    def _sums(self) -> TotalsBuilder:
        """Add queued records and return the sums; a compiling thread does so every 64 records."""
        while self._unsummed:
            self._builder.add(self._unsummed.popleft())
        return self._builder


def _records_only(callback: Callable[[CompileRecord], object]) -> Callable[[Entry], None]:
    def deliver(entry: Entry) -> None:
        if isinstance(entry, Ended) and entry.record is not None:
            callback(entry.record)

    return deliver


def _prepare(call: Callable[[], object]) -> None:
    with contained("prepare the first compile"):
        call()


_ledger = CompileLedger()


def get_ledger() -> CompileLedger:
    """Return this process's ledger."""
    return _ledger


def mark_ready() -> None:
    """Declare this process ready to serve; its phase is ``serving`` from now on.

    Servers that warm up through `compilespan_service` need not call it.
    """
    _ledger.mark_ready(by_program=True)
