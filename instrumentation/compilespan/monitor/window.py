"""A monitor that is open and current for a block of code."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan.monitor.monitor import Monitor
from compilespan.monitor.surroundings import Surroundings, undo
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context

    from compilespan.monitor.unit import Unit
    from compilespan.semconv import Outcome


class Window:
    """Opens a monitor for a block and makes it current in the block.

    Its faults are contained: the block then runs without a monitor. An exception that leaves the
    block propagates unchanged. So does an interrupt that arrives while the window opens or closes;
    the compile does not stay "in progress" then.
    """

    def __init__(self, unit: Unit) -> None:
        self.monitor = Monitor(unit)
        self.surroundings = Surroundings(component=self.monitor.stated, adopter=self.monitor)
        self._context: Context | None = None
        self._span_token: Token[Context] | None = None

    def __enter__(self) -> Monitor:
        """Open the monitor."""
        try:
            with contained("open a monitor"):
                self.surroundings.__enter__()
                self.monitor.open()
                if self.monitor.span.get_span_context().is_valid:
                    self._context = trace.set_span_in_context(self.monitor.span)
                    self._span_token = otel_context.attach(self._context)
            return self.monitor  # noqa: TRY300  # an interrupt may arrive until the last line
        except BaseException:
            self.discard()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the monitor; the exception propagates unchanged."""
        self.close(error=error)

    def close(
        self,
        *,
        outcome: Outcome | None = None,
        error: BaseException | None = None,
        skip_reason: str | None = None,
    ) -> None:
        """Close the monitor first, so that its clock is read first. See `Monitor.close`."""
        try:
            self.monitor.close(outcome, error, skip_reason)
            self._end_surroundings()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Close everything that is open, after an interrupt in our code."""
        self.monitor.discard()
        self._end_surroundings()

    def _end_surroundings(self) -> None:
        self.surroundings.__exit__(None, None, None)
        with contained("restore the previous OpenTelemetry context"):
            # Else others were attached since, or the window was entered in another context.
            if otel_context.get_current() is self._context:
                undo(self._span_token)


@contextmanager
def around(theirs: AbstractContextManager[Any], unit: Unit) -> Iterator[Any]:
    """Enter the context manager of other code inside a window."""
    with Window(unit), theirs as value:
        yield value
