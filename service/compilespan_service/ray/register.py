"""The named actor of a fleet: who leads, who is warm, and what it cost all of them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from compilespan import semconv
from compilespan.process.faults import contained
from compilespan.sdk import configure

ReplicaState = Literal["warming", "warm", "not warm", "lost"]

PERIOD_S = 5.0
"""Seconds between two reports of a replica."""
LOST_S = 3 * PERIOD_S
"""Seconds without a report, by the clock of the actor, after which a replica is lost."""
_MAX_REPLICAS = 1024
_MAX_WORKS = 256
_LOOK_S = 1.0


@dataclass
class Replica:
    """A replica as it describes itself.

    Attributes:
        id: Of its actor in Ray; its node and process outside one.
        node: Id of its node in Ray.
        pid: Its process.
        state: How its warmup ended; ``lost`` if it does not report any more.
        totals: Its sums, from `TotalsBuilder.to_json`.
    """

    id: str
    node: str
    pid: int
    state: ReplicaState = "warming"
    totals: dict[str, Any] | None = None


@dataclass
class _Entry:
    replica: Replica
    seen_s: float = field(default_factory=time.monotonic)


class Register:
    """Runs as an actor with several threads; no call waits for a replica."""

    def __init__(self, name: str) -> None:
        """Begin without replicas.

        Args:
            name: Of the fleet.
        """
        with contained("export the span of a fleet"):
            configure()
        self._name = name
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._epochs: dict[str, dict[int, dict[str, Any] | None]] = {}
        self._span: trace.Span | None = None
        threading.Thread(target=self._look_on, name="compilespan-fleet", daemon=True).start()

    def join(self, replica: Replica) -> dict[str, str]:
        """Add a replica that warms up now; return the trace context of the fleet's start.

        The span of a start ends when no replica is warming any more.
        """
        with self._lock:
            self._entries.pop(replica.id, None)
            while len(self._entries) >= _MAX_REPLICAS:
                self._entries.pop(next(iter(self._entries)))
            self._entries[replica.id] = _Entry(replica)
            if self._span is None:
                self._span = trace.get_tracer("compilespan_service").start_span(
                    semconv.SPAN_FLEET,
                    context=trace.set_span_in_context(trace.INVALID_SPAN),
                    attributes={semconv.FLEET_NAME: self._name},
                )
            carrier: dict[str, str] = {}
            context = trace.set_span_in_context(self._span)
            TraceContextTextMapPropagator().inject(carrier, context)
            return carrier

    def report(self, replica: Replica) -> None:
        """Take over how a replica is; a restarted actor learns of it so."""
        with self._lock:
            self._entries[replica.id] = _Entry(replica)
            self._end_span()

    def replicas(self) -> list[Replica]:
        """Return all replicas, those that are lost, too."""
        with self._lock:
            return [each.replica for each in self._entries.values()]

    def latest(self, work: str) -> int:
        """Return the epoch of some work that was begun last; 0 if none was."""
        with self._lock:
            return max(self._epochs.get(work, ()), default=0)

    def begin(self, work: str, epoch: int) -> bool:
        """Begin an epoch; ``False`` if another replica did."""
        with self._lock:
            epochs = self._epochs_of(work)
            if epoch <= max(epochs, default=0):
                return False
            epochs[epoch] = None
            return True

    def beat(self, work: str, epoch: int) -> dict[str, Any] | None:
        """Return the last beat of an epoch."""
        with self._lock:
            return self._epochs.get(work, {}).get(epoch)

    def show(self, work: str, epoch: int, beat: dict[str, Any]) -> None:
        """Keep a beat of an epoch; a restarted actor learns of the epoch so."""
        with self._lock:
            self._epochs_of(work)[epoch] = beat

    def _epochs_of(self, work: str) -> dict[int, dict[str, Any] | None]:
        if work not in self._epochs and len(self._epochs) >= _MAX_WORKS:
            self._epochs.pop(next(iter(self._epochs)))
        return self._epochs.setdefault(work, {})

    def _look_on(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                now_s = time.monotonic()
                for each in self._entries.values():
                    if now_s - each.seen_s > LOST_S:
                        each.replica.state = "lost"
                self._end_span()

    def _end_span(self) -> None:
        is_warming = any(each.replica.state == "warming" for each in self._entries.values())
        if self._span is not None and not is_warming:
            self._span.set_attribute(semconv.FLEET_REPLICAS, len(self._entries))
            self._span.end()
            self._span = None
