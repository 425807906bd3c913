"""A monitor made current: what begins in its context is adopted, its span is the parent."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan import scope as scopes

if TYPE_CHECKING:
    from compilespan.monitor import Monitor
    from compilespan.semconv import Outcome


class Window:
    """Pushes a monitor onto the context, and takes it off when it is closed."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._scope_token = scopes.push(dataclasses.replace(scopes.current(), monitor=monitor))
        self._span_token = None
        if monitor.span.get_span_context().is_valid:
            self._span_token = otel_context.attach(trace.set_span_in_context(monitor.span))

    def close(self, *, outcome: Outcome | None = None, error: BaseException | None = None) -> None:
        """Close the monitor first, so that its clock is read first."""
        self.monitor.close(outcome, error)
        if self._span_token is not None:
            otel_context.detach(self._span_token)
        scopes.pop(self._scope_token)
