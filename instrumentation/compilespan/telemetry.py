"""The OpenTelemetry side of a monitor: its span, its events, and its metrics.

Everything here uses the API only. Providers that are not given are the global ones, looked up
when they are needed, so that a program may set them after it was instrumented.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Literal

from opentelemetry import metrics, trace
from opentelemetry._logs import SeverityNumber, get_logger, get_logger_provider
from opentelemetry.trace import SpanKind, Status, StatusCode

from compilespan import propagation, semconv
from compilespan._version import __version__
from compilespan.flushing import at_once
from compilespan.ledger import get_ledger
from compilespan.metrics import CompileMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from compilespan.records import CompileRecord

EventChannel = Literal["span", "log", "both"]

SCOPE = "compilespan"
_MAX_STACKTRACE = 16_384


class Telemetry:
    """Instruments and a tracer, bound to providers."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        events: EventChannel = "span",
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._logger_provider = logger_provider
        self.tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        self._logger = get_logger(SCOPE, __version__, logger_provider)
        self._span_events = events in ("span", "both")
        self._log_events = events in ("log", "both")
        self._repaired: object = None
        self.metrics = CompileMetrics(metrics.get_meter(SCOPE, __version__, meter_provider))

    def start_span(
        self, start_ns: int, attributes: Mapping[str, AttributeValue], *, ready: bool
    ) -> Span:
        """Start the monitor's span at ``start_ns`` under the parent that SPEC §4 names."""
        self.repair_ids()
        parent, links = propagation.parent_for_compile(ready=ready)
        return self.tracer.start_span(
            semconv.SPAN_COMPILE,
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            links=links,
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )

    def flush(self, timeout_s: float) -> bool:
        """Export what the providers hold, all signals at once, within ``timeout_s``."""
        providers = (
            self._tracer_provider or trace.get_tracer_provider(),
            self._meter_provider or metrics.get_meter_provider(),
            self._logger_provider or get_logger_provider(),
        )
        flushes = [flush for p in providers if (flush := getattr(p, "force_flush", None))]
        return at_once(flushes, timeout_s)

    def repair_ids(self) -> None:
        """See to it that Dynamo's rewinding of ``random`` duplicates no span ids."""
        provider = self._tracer_provider or trace.get_tracer_provider()
        # Nobody has an SDK provider before the SDK is imported; the base install has none.
        if provider is not self._repaired and "opentelemetry.sdk.trace" in sys.modules:
            from compilespan.ids import repair  # noqa: PLC0415  # needs the SDK

            repair(provider)
            self._repaired = provider

    def add_event(
        self, span: Span, name: str, attributes: Mapping[str, AttributeValue], time_ns: int
    ) -> None:
        """Tell of something inside a compile, as a span event, a log-based event, or both.

        Log-based events carry the monitor span's context explicitly: inside a backend another
        span may be current.
        """
        if self._span_events:
            span.add_event(name, attributes, timestamp=time_ns)
        if self._log_events:
            self._logger.emit(
                event_name=name,
                timestamp=time_ns,
                severity_number=SeverityNumber.INFO,
                attributes=dict(attributes),
                context=trace.set_span_in_context(span),
            )

    def end_span(
        self,
        span: Span,
        record: CompileRecord,
        graph_breaks: int,
        error: BaseException | None,
    ) -> None:
        """End the span where the record ends, whatever time it is by now (rule 2)."""
        span.set_attributes(_end_attributes(record, graph_breaks))
        if record.outcome == "failed":
            if error is not None:
                # As an event of ours, in the chosen channel, not through the span's own method.
                self.add_event(span, semconv.EVENT_EXCEPTION, _exception(error), record.end_ns)
            span.set_status(Status(StatusCode.ERROR, record.error_type))
        dropped = getattr(span, "dropped_events", 0)
        if isinstance(dropped, int) and dropped > 0:
            span.set_attribute(semconv.EVENT_DROPPED, dropped)
            get_ledger().note_dropped("events", dropped)
        span.end(end_time=record.end_ns)


def _end_attributes(record: CompileRecord, graph_breaks: int) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.IS_ENCODER: record.is_encoder,
        semconv.KIND: record.kind,
        semconv.OUTCOME: record.outcome,
        semconv.COMPILE_IDS: record.compile_ids,
        semconv.GRAPH_COUNT: record.graphs,
        semconv.GRAPH_BREAK_COUNT: graph_breaks,
        semconv.IS_RECOMPILE: record.is_recompile,
    }
    if record.cache_result is not None:
        attributes[semconv.CACHE_RESULT] = record.cache_result
    if record.error_type is not None:
        attributes[semconv.ERROR_TYPE] = record.error_type
    return attributes


def exception_type(error: BaseException | type[BaseException]) -> str:
    """Return the qualified name of an exception's class, builtins without their module."""
    cls = error if isinstance(error, type) else type(error)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _exception(error: BaseException) -> dict[str, AttributeValue]:
    return {
        "exception.type": exception_type(error),
        "exception.message": semconv.cut(str(error)),
        "exception.stacktrace": "".join(traceback.format_exception(error))[-_MAX_STACKTRACE:],
    }


_active: Telemetry | None = None
_make: Callable[[], Telemetry] = Telemetry


def active_telemetry() -> Telemetry:
    """Return what the instrumentor set; bound to the global providers where it did not."""
    global _active  # noqa: PLW0603  # made once, when first needed
    if _active is None:
        _active = _make()
    return _active


def use_telemetry(telemetry: Telemetry | Callable[[], Telemetry] | None) -> None:
    """Make monitors from now on use these providers; ``None`` for the global ones.

    A function is called when it is first needed, and again in a forked child: exporters do not
    survive a fork.
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
