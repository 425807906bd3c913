"""The one place where records are added: a process's ledger.

`get_ledger` returns the only instance; a forked child finds it empty.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from compilespan.faults import contained
from compilespan.ledger.active import ActiveCompiles, CompileBegun
from compilespan.ledger.entries import Ended, Entry, Mark, Ready
from compilespan.ledger.followers import Followers
from compilespan.ledger.readiness import Readiness
from compilespan.ledger.segments import Doer
from compilespan.ledger.start import Start
from compilespan.ledger.totals import CompileTotals, TotalsBuilder
from compilespan.process import now_ns, renewed_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.subscription import Subscription

MAX_RECORDS = 4096
_MAX_UNSUMMED = 64


class LedgerFile(Protocol):
    """The journal of this process, as those see it who only add lines to it."""

    directory: Path
    path: Path
    end_reason: str

    def note(self, line_type: str, values: Mapping[str, Any]) -> None:
        """Add a line. Does not wait."""

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until what was recorded up to now is written."""

    def close(self, reason: str | None = None, timeout_s: float = 2.0) -> None:
        """Write what is queued, and why this process ends."""

    def abandon(self) -> None:
        """Close the file without a line: in a forked child it is the parent's."""


class CompileLedger:
    """Counts and keeps what its process compiled. Safe to use from any thread.

    Attributes:
        active: What is compiling now.
        readiness: When the process began and when it was ready.
        followers: Who follows what is published here.
        journal: The file that this process writes, if it has one.
    """

    def __init__(self) -> None:
        self.journal: LedgerFile | None = None
        self._before_first: list[Callable[[], object]] = []
        self.readiness = Readiness(self._publish)
        self._missing: dict[str, str] = {}
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Forget everything: a forked child compiled nothing yet."""
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
        """Return what this process's compiles cost so far."""
        with self._lock:
            return self._sums().build()

    def records(self) -> tuple[CompileRecord, ...]:
        """Return the last 4096 records, oldest first."""
        with self._lock:
            return tuple(self._records)

    def add_totals_to(self, builder: TotalsBuilder) -> None:
        """Add this process's sums to those of others."""
        with self._lock:
            builder.update(self._sums())

    def subscribe(self, callback: Callable[[CompileRecord], object]) -> Callable[[], None]:
        """Call ``callback`` with each record from now on, in a thread of its own.

        The queue is bounded; records that find it full are dropped and counted.

        Returns:
            A function that ends the subscription after what is queued was delivered.
        """
        followers = self.followers
        subscription = followers.follow(_records_only(callback))
        return lambda: followers.unfollow(subscription)

    def feed(self, callback: Callable[[CompileRecord], object]) -> Subscription[Entry]:
        """Call ``callback`` with the last 4096 records, and with each from now on, once each.

        In a thread of its own, as `subscribe` does.
        """
        with self._lock:  # nothing ends between the two
            known = [Ended(0, record) for record in self._records]
            return self.followers.follow(_records_only(callback), first=lambda: known)

    def before_first_compile(self, call: Callable[[], object]) -> None:
        """Call this before the first compile of a process, forked ones too.

        Now, if something compiled already; once, however often it is asked for.
        """
        if call not in self._before_first:
            self._before_first.append(call)
            if self._is_prepared:
                _prepare(call)

    def prepare(self) -> int:
        """Make ready for a compile that is about to begin; returns the key for it."""
        if not self._is_prepared:
            self._is_prepared = True
            for call in self._before_first:
                _prepare(call)
        return next(self._keys)

    def begin(self, begun: CompileBegun, interrupt: Callable[[], object] | None = None) -> None:
        """Note that a compile began; ``interrupt`` closes its monitor at the process's end."""
        with self._lock:
            self.active.begin(begun, interrupt)
            self.followers.publish(begun)

    def end(self, key: int, record: CompileRecord | None) -> None:
        """Note that a compile is over, with its record if it leaves one. Once for each key."""
        with self._lock:
            if not self.active.end(key):
                return
            if record is not None:
                self._records.append(record)
                self._unsummed.append(record)
                if len(self._unsummed) >= _MAX_UNSUMMED:
                    self._sums()
            # The last that compiled may be followed by the process's end.
            self.followers.publish(Ended(key, record), at_once=not self.active)

    def mark_ready(self) -> None:
        """Declare the process ready: what compiles from now on delays requests."""
        self.readiness.mark()

    def start(self, others: Iterable[Doer] = (), end_ns: int | None = None) -> Start:
        """Return what the start of this process was made of.

        Args:
            others: Processes that had a part in it.
            end_ns: When it ended; defaults to when it was ready, else to now.
        """
        readiness = self.readiness
        since_ns = readiness.since_ns
        if end_ns is None:
            end_ns = readiness.ready_ns or now_ns()
        return Start.of(since_ns, end_ns, [self.doer, *others])

    @property
    def doer(self) -> Doer:
        """What this process had to do with its start."""
        with self._lock:
            intervals = {key: union.copy() for key, union in self._sums().intervals.items()}
        going_on = [(begun.component, begun.start_ns, None) for begun in self.active.now()]
        return Doer(self.readiness.marks, intervals, going_on)

    def _publish(self, entry: Mark | Ready) -> None:
        self.followers.publish(entry)

    def missing(self) -> Mapping[str, str]:
        """Return the private names of torch and vLLM that this version lacks.

        Returns:
            By name, e.g. ``torch._dynamo.utils.ChromiumEventLogger.log_instant_event``: what the
            telemetry lacks without it.
        """
        return dict(self._missing)

    def note_missing(self, name: str, lost: str) -> None:
        """Note that a private name is not there, and what is lost without it."""
        self._missing[name] = lost

    def _sums(self) -> TotalsBuilder:
        """Return the sums. Records are added up for who asks, not in the compiling thread."""
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
    _ledger.mark_ready()
