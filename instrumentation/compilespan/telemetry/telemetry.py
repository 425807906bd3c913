"""The OpenTelemetry side of a monitor: its span, its events, and its metrics.

This module uses the API only. Providers default to the global ones. They are looked up when they
are needed, so that a program may set them after it was instrumented.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, SpanKind, Status, StatusCode

from compilespan import semconv
from compilespan.ledger.ledger import get_ledger
from compilespan.ledger.records import CompileEvent
from compilespan.process import fork_safe_lock
from compilespan.process.faults import contained
from compilespan.telemetry.bindings import Bindings
from compilespan.telemetry.events import Events
from compilespan.telemetry.exceptions import exception_attributes
from compilespan.telemetry.flushing import CHILD_FLUSH_S, at_end_of_child
from compilespan.telemetry.metrics import CompileMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from compilespan.ledger.records import CompileRecord
    from compilespan.telemetry.events import EventChannel
    from compilespan.telemetry.propagation import Parent

_logger = logging.getLogger("compilespan")


class Telemetry:
    """Instruments and a tracer, bound to providers."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        events: EventChannel = "span",
    ) -> None:
        self._bindings = Bindings(tracer_provider, meter_provider, logger_provider)
        self._events = Events(self._bindings.logger(), events)
        self._is_warned = False
        self.metrics = CompileMetrics(self._bindings.meter())
        self.prepare()

    @property
    def tracer(self) -> Tracer:
        """Our tracer; another one if the program has set its provider meanwhile."""
        return self._bindings.tracer

    def prepare(self) -> None:
        """Adapt existing providers before a compile, so that it is not measured as part of it."""
        with contained("adapt existing providers"):
            self._bindings.adapt()

    def start_span(
        self, name: str, start_ns: int, attributes: Mapping[str, AttributeValue], parent: Parent
    ) -> Span:
        """Start the span of a compile at ``start_ns``, named after it."""
        span = self.tracer.start_span(
            self._span_name(name),
            context=parent.context,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            links=parent.links,
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        if not span.is_recording():
            self._warn_of_sampler()
        return span

    def rename_span(self, span: Span, name: str) -> None:
        """Change the name of a compile's span."""
        span.update_name(self._span_name(name))

    def _span_name(self, name: str) -> str:
        bounded = self.metrics.names.admit(name)
        known = bounded != semconv.OTHER
        return f"{semconv.SPAN_COMPILE} {bounded}" if known else semconv.SPAN_COMPILE

    def flush(self, timeout_s: float) -> bool:
        """Export all signals in parallel; ``True`` if this took at most ``timeout_s``."""
        return self._bindings.flush(timeout_s)

    def add_event(self, span: Span, event: CompileEvent) -> None:
        """Emit an event of a compile in the chosen channels."""
        self._events.add(span, event)

    def log_event(self, span: Span, event: CompileEvent) -> None:
        """Emit the event as a log record only, if its channel includes logs."""
        self._events.log(span, event)

    def _add_stages(self, span: Span, record: CompileRecord) -> None:
        """Add the stage events to a span that ends, as far as its event limit has room.

        A full span would drop its oldest events, which may be graphs.
        """
        stages = [event for event in record.events if event.name == semconv.EVENT_STAGE]
        limit = getattr(getattr(span, "_limits", None), "max_events", None)
        room = len(stages) if limit is None else max(0, limit - len(getattr(span, "events", ())))
        for event in stages[:room]:
            span.add_event(event.name, event.attributes, timestamp=event.time_ns)
        if room < len(stages):
            get_ledger().followers.note_dropped("stages", len(stages) - room)

    def end_span(
        self,
        span: Span,
        record: CompileRecord,
        graph_breaks: int,
        error: BaseException | None,
    ) -> None:
        """End the span at the end of the record, not at the current time (rule 2)."""
        span.set_attributes(_end_attributes(record, graph_breaks))
        if record.outcome == "failed":
            if error is not None:
                # Not with the span's own method: the event has to go to the chosen channel.
                event = CompileEvent(
                    semconv.EVENT_EXCEPTION, record.end_ns, exception_attributes(error)
                )
                self.add_event(span, event)
            span.set_status(Status(StatusCode.ERROR, record.error_type))
        if self._events.are_on_spans:
            self._add_stages(span, record)
        dropped = getattr(span, "dropped_events", 0)
        if isinstance(dropped, int) and dropped > 0:
            span.set_attribute(semconv.EVENT_DROPPED, dropped)
            get_ledger().followers.note_dropped("events", dropped)
        span.end(end_time=record.end_ns)

    def _warn_of_sampler(self) -> None:
        if not self._is_warned and hasattr(self.tracer, "sampler"):  # an SDK's
            self._is_warned = True
            _logger.warning(
                "compilespan: the span of a compile was dropped by the sampler (%s); totals and "
                "metrics are complete. OTEL_TRACES_SAMPLER=compilespan keeps all compiles.",
                os.environ.get("OTEL_TRACES_SAMPLER") or "set by the program",
            )


def _end_attributes(record: CompileRecord, graph_breaks: int) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.IS_ENCODER: record.is_encoder,
        semconv.COMPONENT: record.component,
        semconv.KIND: record.kind,
        semconv.OUTCOME: record.outcome,
        semconv.GRAPH_COUNT: record.graphs,
        semconv.GRAPH_BREAK_COUNT: graph_breaks,
        semconv.IS_RECOMPILE: record.is_recompile,
    }
    if record.compile_ids:
        attributes[semconv.COMPILE_IDS] = record.compile_ids
    if record.cache_result is not None:
        attributes[semconv.CACHE_RESULT] = record.cache_result
    if record.skip_reason is not None:
        attributes[semconv.SKIP_REASON] = record.skip_reason
    if record.error_type is not None:
        attributes[semconv.ERROR_TYPE] = record.error_type
    if record.cpu_s is not None and record.cpu_wait_s is not None:
        attributes[semconv.CPU_TIME] = record.cpu_s
        attributes[semconv.CPU_WAIT] = record.cpu_wait_s
    return attributes


_making = fork_safe_lock()
_active: Telemetry | None = None
_make: Callable[[], Telemetry] = Telemetry


def active_telemetry() -> Telemetry:
    """Return the telemetry that was set, else one that is bound to the global providers.

    If its providers cannot be created, e.g. because an ``OTEL_*`` variable has a typo, one warning
    is logged, and compiles leave records without spans.
    """
    global _active  # noqa: PLW0603  # made once, when first needed
    if _active is None:
        with _making:  # two would create the instruments twice
            if _active is None:
                _active = made_or_silent(_make)
    return _active


def made_or_silent(make: Callable[[], Telemetry]) -> Telemetry:
    """Return ``make()``; if it raises, log a warning and return one that emits nothing."""
    try:
        return make()
    except Exception as error:
        _logger.warning(
            "compilespan: no spans or metrics are emitted: %s. "
            "Totals are still counted. Correct the OTEL_* variables of this process.",
            str(error) or repr(error),
        )
        return Telemetry(NoOpTracerProvider(), NoOpMeterProvider(), NoOpLoggerProvider())


def use_telemetry(telemetry: Telemetry | Callable[[], Telemetry] | None) -> None:
    """Make monitors that begin from now on use these providers; ``None`` for the global ones.

    A function is called at the first use, and again in a forked child: exporters do not survive a
    fork.
    """
    global _active, _make  # noqa: PLW0603
    _active, _make = None, Telemetry
    if isinstance(telemetry, Telemetry):
        _active = telemetry
    elif telemetry is not None:
        _make = telemetry


def _after_fork() -> None:
    global _active  # noqa: PLW0603
    if _make is not Telemetry:
        _active = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def flush_at_end_of_child() -> None:
    """Flush when this process ends, if it is a child of multiprocessing."""
    at_end_of_child(lambda: active_telemetry().flush(CHILD_FLUSH_S))
