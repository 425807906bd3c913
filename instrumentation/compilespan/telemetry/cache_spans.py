"""Spans of the shared compile cache: fetching, waiting for another process, publishing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from compilespan import semconv
from compilespan.ledger.ledger import get_ledger
from compilespan.process import now_ns
from compilespan.process.faults import contained
from compilespan.telemetry.propagation import parent_for_compile
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span

    from compilespan.semconv import WaitOutcome


@contextmanager
def cache_span(name: str) -> Iterator[CacheSpan]:
    """Run a block in a span; its parent is found as that of a compile."""
    span: Span = trace.INVALID_SPAN
    with contained("start a span of the compile cache"):
        parent = parent_for_compile(ready=get_ledger().readiness.ready is not None)
        span = active_telemetry().tracer.start_span(
            name,
            context=parent.context,
            links=parent.links,
            start_time=now_ns(),
        )
    try:
        yield CacheSpan(span)
    finally:
        with contained("end a span of the compile cache"):
            span.end(end_time=now_ns())


class CacheSpan:
    """What is known of an operation at its end."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def moved(self, entries: int, size: int, error: str | None) -> None:
        """Say how many files of how many bytes were moved, and why it ended early."""
        with contained("describe a span of the compile cache"):
            self._span.set_attribute(semconv.CACHE_ENTRIES, entries)
            self._span.set_attribute(semconv.CACHE_SIZE, size)
            if error is not None:
                self._span.set_status(Status(StatusCode.ERROR, semconv.text(error)))

    def waited(self, leader: str, outcome: WaitOutcome) -> None:
        """Say for whom it waited, and what became of them."""
        with contained("describe a span of the compile cache"):
            self._span.set_attribute(semconv.CACHE_LEADER, semconv.name(leader))
            self._span.set_attribute(semconv.CACHE_WAIT_OUTCOME, outcome)
