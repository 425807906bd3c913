"""A monitor that is open and current for a block of code."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan.faults import contained
from compilespan.monitor.monitor import Monitor
from compilespan.monitor.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from opentelemetry.context import Context

    from compilespan.monitor.unit import Unit
    from compilespan.semconv import Outcome


class Window:
    """Opens a monitor for a block and surrounds the block with it.

    Its faults are contained: without the monitor the block runs as it would without us. An
    exception that leaves the block stays as it is, and so does an interrupt that arrives while
    the window opens or closes; the compile is then not left "in progress".
    """

    def __init__(self, unit: Unit) -> None:
        self.monitor = Monitor(unit)
        self.surroundings = Surroundings(component=self.monitor.stated, adopter=self.monitor)
        self._span_token: Token[Context] | None = None

    def __enter__(self) -> Monitor:
        """Open the monitor."""
        try:
            with contained("open a monitor"):
                self.surroundings.__enter__()
                self.monitor.open()
                if self.monitor.span.get_span_context().is_valid:
                    context = trace.set_span_in_context(self.monitor.span)
                    self._span_token = otel_context.attach(context)
        except BaseException:
            self.close(discarded=True)
            raise
        return self.monitor

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; the exception goes on unchanged."""
        self.close(error=error)

    def close(
        self,
        *,
        outcome: Outcome | None = None,
        error: BaseException | None = None,
        skip_reason: str | None = None,
        discarded: bool = False,
    ) -> None:
        """Close the monitor first, so that its clock is read first.

        Args:
            outcome: See `Monitor.close`.
            error: See `Monitor.close`.
            skip_reason: See `Monitor.close`.
            discarded: Leave no record.
        """
        try:
            if discarded:
                self.monitor.discard()
            else:
                self.monitor.close(outcome, error, skip_reason)
        except BaseException:
            self.monitor.discard()
            raise
        finally:
            self._end_surroundings()

    def _end_surroundings(self) -> None:
        token, self._span_token = self._span_token, None
        with contained("end what surrounds a compile"):
            if isinstance(token, Token):
                # OpenTelemetry's own detach logs an error for a block that is left in another
                # context than it was entered in, as async generators do.
                with suppress(ValueError):
                    token.var.reset(token)
            elif token is not None:
                otel_context.detach(token)
        self.surroundings.__exit__(None, None, None)


@contextmanager
def around(theirs: AbstractContextManager[Any], unit: Unit) -> Iterator[Any]:
    """Enter somebody's context manager inside a window of ours."""
    with Window(unit), theirs as value:
        yield value
