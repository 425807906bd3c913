"""Emission of events of a compile: as span events, as log records, or both."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import Logger
    from opentelemetry.trace import Span

    from compilespan.ledger.records import CompileEvent

EventChannel = Literal["span", "log", "both"]

EXCEPTIONS_OPT_IN = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
_EXCEPTIONS: Mapping[str, EventChannel] = {"logs": "log", "logs/dup": "both"}
"""Values of OpenTelemetry's variable for exceptions; it overrides the channel of other events."""
_SEVERITIES = {semconv.EVENT_EXCEPTION: SeverityNumber.ERROR}


class Events:
    """Emits events in the configured channel."""

    def __init__(self, logger: Logger, channel: EventChannel) -> None:
        """Select the channels.

        Args:
            logger: Emits log-based events.
            channel: Channel of all events, unless the environment sets another for exceptions.
        """
        self._logger = logger
        self._channel = channel
        chosen = os.environ.get(EXCEPTIONS_OPT_IN, "").strip().lower()
        self._of_exceptions = _EXCEPTIONS.get(chosen, channel)

    @property
    def are_on_spans(self) -> bool:
        """Whether events are added to spans."""
        return self._channel != "log"

    def add(self, span: Span, event: CompileEvent) -> None:
        """Emit an event in its channel."""
        if self._channel_of(event) != "log":
            span.add_event(event.name, event.attributes, timestamp=event.time_ns)
        self.log(span, event)

    def log(self, span: Span, event: CompileEvent) -> None:
        """Emit the event as a log record if its channel includes logs.

        The context of the monitor's span is passed explicitly, because inside a backend another
        span may be current.
        """
        if self._channel_of(event) != "span":
            self._logger.emit(
                event_name=event.name,
                body=event.name,  # for log stores that do not show event names
                timestamp=event.time_ns,
                severity_number=_SEVERITIES.get(event.name, SeverityNumber.INFO),
                attributes=dict(event.attributes),
                context=trace.set_span_in_context(span),
            )

    def _channel_of(self, event: CompileEvent) -> EventChannel:
        return self._of_exceptions if event.name == semconv.EVENT_EXCEPTION else self._channel
