"""A monitor made current: what begins in its context is adopted, its span is the parent."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan import scope as scopes
from compilespan.monitor import Monitor
from compilespan.telemetry import active_telemetry

if TYPE_CHECKING:
    from types import TracebackType

    from compilespan.semconv import Outcome
    from compilespan.unit import Unit

_logger = logging.getLogger("compilespan")


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


class Around:
    """Somebody's context manager inside a window of ours; the exception stays as it is."""

    def __init__(self, theirs: Any, unit: Unit) -> None:
        self._theirs = theirs
        self._unit = unit
        self._window: Window | None = None

    def __enter__(self) -> Any:
        self._window = opened(self._unit)
        try:
            return self._theirs.__enter__()
        except BaseException as error:
            closed(self._window, error)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        try:
            return self._theirs.__exit__(exc_type, error, traceback)
        finally:
            closed(self._window, error)


def opened(unit: Unit) -> Window | None:
    """Open a window; ``None`` where that fails, which costs the record and nothing else."""
    try:
        return Window(Monitor(unit, active_telemetry()))
    except Exception:
        _logger.debug("compilespan: a %s went unseen", unit.trigger, exc_info=True)
        return None


def closed(
    window: Window | None, error: BaseException | None, outcome: Outcome | None = None
) -> None:
    """Close what `opened` returned; never raises."""
    try:
        if window is not None:
            window.close(outcome=outcome, error=error)
    except Exception:
        _logger.debug("compilespan: lost the end of a compile", exc_info=True)
