"""The clock: one monitor wraps each compile, and what lies inside becomes its events.

A monitor is open from its start to its end in one place of the program. Compiles that begin in
its context while it is open are *adopted*: they leave no span and no record, their graphs,
breaks and recompiles are events of the monitor. So nested work is never counted twice (rule 1).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, cast

from opentelemetry import trace

from compilespan import propagation, semconv
from compilespan import scope as scopes
from compilespan.ledger import get_ledger
from compilespan.records import CompileEvent, CompileRecord, InterruptedCompile
from compilespan.request import current_request
from compilespan.tally import Tally
from compilespan.telemetry import Telemetry, exception_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from compilespan.semconv import Outcome
    from compilespan.unit import Unit

_logger = logging.getLogger("compilespan")


class Monitor:
    """One compile while it is going on. Made by `monitor_torch_compile` and by the hooks."""

    def __init__(self, unit: Unit, telemetry: Telemetry) -> None:
        self._started_ns = time.perf_counter_ns()
        self._start_ns = time.time_ns()
        self._unit = unit
        self._telemetry = telemetry
        self._pid = os.getpid()
        self._thread_id = threading.get_ident()
        # Reentrant: a finalizer or a signal handler may compile, hence add events, meanwhile.
        self._lock = threading.RLock()
        self._duration_ns = 0
        self._closed = False
        self._tally = Tally()
        self._request = current_request()
        self._span: Span = trace.INVALID_SPAN
        self._scope = scopes.current()
        self._word = unit.word(self._surrounding(), self._scope.is_encoder)
        self._outer = self._adopter()
        if self._outer is None:
            if not unit.tentative:
                self._open()
        else:
            self._outer.add_event(
                semconv.EVENT_CUDAGRAPH if unit.kind == "capture" else semconv.EVENT_NESTED,
                {semconv.NAME: unit.name, semconv.TRIGGER: unit.trigger},
            )
        self.compile_id(unit.compile_id)

    @property
    def is_open(self) -> bool:
        """Whether it still adopts: not closed, and not inherited through a fork."""
        return not self._closed and self._pid == os.getpid()

    @property
    def word(self) -> bool | None:
        """Encoder or not, as this monitor was told; ``None`` where names have to say it."""
        return self._word

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Tell of something that happened inside the compile, now.

        Args:
            name: Event name, e.g. ``torch.compile.graph``; graphs, breaks and recompiles are
                counted by it.
            attributes: Plain values. One that is a duration by its name is left out: events
                account for no time (rule 3).
        """
        try:
            self._add_event(name, dict(attributes or {}))
        except Exception:
            _logger.debug("compilespan: lost an event %r", name, exc_info=True)

    def compile_id(self, compile_id: str | None) -> None:
        """Note Dynamo's id of the compile, as soon as it is known."""
        holder = self._holder()
        with holder._lock:
            holder._tally.compile_id(compile_id)

    def close(self, outcome: Outcome | None = None, error: BaseException | None = None) -> None:
        """End it: read the clock, make the record. Once; later calls do nothing.

        Args:
            outcome: ``None`` where what was seen inside decides.
            error: The exception that leaves the compile, if one does.
        """
        duration_ns = time.perf_counter_ns() - self._started_ns
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._duration_ns = duration_ns
            outcome = outcome or ("failed" if error is not None else self._tally.outcome)
        try:
            if self._outer is None:
                if self._unit.tentative and not self._open_late(outcome):
                    return
                self._finish(duration_ns, outcome, error)
            elif not self._outer._adopt(self, outcome, error):
                self._outlive(duration_ns, outcome, error)
        except Exception:
            _logger.debug("compilespan: lost the end of %r", self._unit.name, exc_info=True)

    @property
    def is_outermost(self) -> bool:
        """Whether it makes a record of its own rather than being an event of another."""
        return self._outer is None

    @property
    def span(self) -> Span:
        """Its span, invalid where an outer monitor has it."""
        return self._span

    @property
    def duration_s(self) -> float:
        """Seconds, once it is closed; the same number in every output."""
        return self._duration_ns / 1e9

    def _surrounding(self) -> bool | None:
        outer = self._scope.monitor
        return outer.word if outer is not None and outer.is_open else None

    def _adopter(self) -> Monitor | None:
        outer = self._scope.monitor
        while outer is not None and outer._outer is not None and outer._outer.is_open:
            outer = outer._outer
        return outer if outer is not None and outer.is_open else None

    def _holder(self) -> Monitor:
        """Return the monitor that events belong to now."""
        outer = self._outer
        return outer if outer is not None and outer.is_open else self

    def _open(self) -> None:
        self._is_encoder = bool(self._word if self._word is not None else self._unit.by_names)
        ledger = get_ledger()
        self._phase = self._scope.phase or propagation.phase_of_caller() or ledger.phase
        attributes: dict[str, AttributeValue] = {
            semconv.IS_ENCODER: self._is_encoder,
            semconv.NAME: self._unit.name,
            semconv.TRIGGER: self._unit.trigger,
            semconv.PHASE: self._phase,
            **self._unit.attributes,
        }
        if self._unit.kind is not None:
            attributes[semconv.KIND] = self._unit.kind
        try:
            self._span = self._telemetry.start_span(
                self._start_ns, attributes, ready=ledger.phase == "serving"
            )
        except Exception:
            _logger.debug("compilespan: no span for %r", self._unit.name, exc_info=True)
        begun = ledger.begin(
            self._unit.name,
            self._start_ns,
            self._started_ns,
            is_encoder=self._is_encoder,
            interrupt=lambda: self.close("failed", InterruptedCompile("the process ended")),
        )
        self._key = begun.key
        self._tell("begun", begun)

    def _open_late(self, outcome: Outcome) -> bool:
        """Open a tentative monitor at its end; ``False`` where nothing came of it."""
        if outcome == "failed":
            return False
        self._open()
        for event in self._tally.events:
            self._telemetry.add_event(self._span, event.name, event.attributes, event.time_ns)
        return True

    def _add_event(self, name: str, attributes: dict[str, AttributeValue]) -> None:
        holder = self._holder()
        for key in [key for key in attributes if semconv.is_duration(key)]:
            _logger.debug("compilespan: event attribute %r is a duration and left out", key)
            del attributes[key]
        with holder._lock:
            if holder._closed:
                return
            if name == semconv.EVENT_GRAPH:
                attributes.setdefault(semconv.GRAPH_INDEX, holder._tally.graphs)
            time_ns = holder._start_ns + time.perf_counter_ns() - holder._started_ns
            holder._tally.event(name, attributes, time_ns)
            graphs = holder._tally.graphs
        if holder._outer is not None or holder._unit.tentative:
            return  # outlived its block, or tentative: there is no span before its own end
        holder._telemetry.add_event(holder._span, name, attributes, time_ns)
        holder._tell("happened", holder._key, CompileEvent(name, time_ns, attributes))
        if name == semconv.EVENT_GRAPH:
            get_ledger().progress(holder._key, graphs)

    def _adopt(self, inner: Monitor, outcome: Outcome, error: BaseException | None) -> bool:
        word = inner._word if inner._word is not None else inner._unit.by_names
        with self._lock:
            if not self.is_open:
                return False
            self._tally.adopted(
                inner._unit.kind or inner._tally.kind,
                outcome,
                error_type=exception_type(error) if error is not None else None,
                is_encoder=bool(word),
            )
            return True

    def _outlive(self, duration_ns: int, outcome: Outcome, error: BaseException | None) -> None:
        """Make a record of what went on after the adopting monitor had closed.

        What lies before is that monitor's; counted again it would be counted twice.
        """
        outer = cast("Monitor", self._outer)
        end_ns = self._start_ns + duration_ns
        if outer._pid == os.getpid():
            self._start_ns = min(max(self._start_ns, outer._start_ns + outer._duration_ns), end_ns)
        self._outer = None
        self._open()
        self._finish(end_ns - self._start_ns, outcome, error)

    def _finish(self, duration_ns: int, outcome: Outcome, error: BaseException | None) -> None:
        self._duration_ns = duration_ns
        record = self._record(outcome, exception_type(error) if error is not None else None)
        try:
            self._telemetry.end_span(self._span, record, self._tally.graph_break_count, error)
            self._telemetry.metrics.measure(record, trace.set_span_in_context(self._span))
        finally:
            get_ledger().end(self._key, record)
        self._tell("ended", self._key, record)

    def _tell(self, what: Literal["begun", "happened", "ended"], *told: Any) -> None:
        if self._scope.listener is None:
            return
        try:
            getattr(self._scope.listener, what)(*told)
        except Exception:
            _logger.debug("compilespan: a listener failed", exc_info=True)

    def _record(self, outcome: Outcome, error_type: str | None) -> CompileRecord:
        unit, tally, context = self._unit, self._tally, self._span.get_span_context()
        is_encoder = self._is_encoder
        if self._word is None and unit.by_names is None:
            is_encoder = tally.all_encoder
        return CompileRecord(
            name=unit.name,
            is_encoder=is_encoder,
            kind=unit.kind or tally.kind,
            trigger=unit.trigger,
            phase=self._phase,
            outcome=outcome,
            error_type=error_type or tally.error_type if outcome == "failed" else None,
            start_ns=self._start_ns,
            duration_ns=self._duration_ns,
            trace_id=trace.format_trace_id(context.trace_id) if context.is_valid else "",
            span_id=trace.format_span_id(context.span_id) if context.is_valid else "",
            pid=self._pid,
            thread_id=self._thread_id,
            request=self._request,
            **tally.columns(),
        )
