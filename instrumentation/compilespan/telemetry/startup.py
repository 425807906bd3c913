"""The span of a server's start: from the creation of the process until it is ready.

It has one child per segment of the start, without gaps; the warmup and its compiles are further
descendants. The span can only be exported at its end, so its ids are written to the journal at
once: if a start dies, the next one reports it (`compilespan.sdk.deaths`).
"""

from __future__ import annotations

import functools
import os
import secrets
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags

from compilespan import semconv
from compilespan.ledger.ledger import get_ledger
from compilespan.process import fork_safe_lock, instance_id, now_ns, renewed_after_fork
from compilespan.process.faults import contained
from compilespan.telemetry.prompt_export import prompt_export
from compilespan.telemetry.propagation import (
    child_environment,
    environment_context,
    link_to_start,
)
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.util.types import AttributeValue

    from compilespan.ledger.start import Start

StartupOutcome = Literal["ready", "failed", "shutdown", "died"]


class Startup:
    """The ``startup`` span of this process. Nothing here raises."""

    def __init__(self) -> None:
        """Create it without a span; `begin` starts one."""
        self._lock = fork_safe_lock()
        self._span: Span = trace.INVALID_SPAN
        self._over = True
        self._reserved_under: Context | None = None
        self.context: Context = Context()
        """Parent context of everything that belongs to the start."""

    def begin(self, *, deferred: bool = False) -> None:
        """Start the span at the creation of the process, under the ``TRACEPARENT`` of its launcher.

        Args:
            deferred: Only draw its ids now, and create the span at its end. A process that still
                forks workers must not have an exporter yet: gRPC does not survive a fork.
        """
        parent = environment_context() or Context()
        self.context = parent
        with contained("begin the span of the start"):
            self._span = _reserved(parent) if find_spec("opentelemetry.sdk") else trace.INVALID_SPAN
            self._reserved_under = parent if deferred else None
            if not deferred:
                self._span = _made(parent, self._span.get_span_context())
            link_to_start(self._span.get_span_context())
            self._over = False
            self.context = trace.set_span_in_context(self._span, parent)
            readiness = get_ledger().readiness
            readiness.on_ready = functools.partial(self.end, "ready")
            readiness.time_imports()
            self._journal(parent)
            if readiness.ready is not None:  # its program was faster
                self.end("ready")

    def hand_down(self) -> None:
        """Put context and instance id into the environment, for children that start from now on."""
        with self.as_parent():
            os.environ.update(child_environment())

    @contextmanager
    def as_parent(self) -> Iterator[None]:
        """Make the span of the start the parent of spans that begin in a block."""
        token = otel_context.attach(self.context)
        try:
            yield
        finally:
            otel_context.detach(token)

    def end(self, outcome: StartupOutcome, why: str | None = None) -> None:
        """End the span, once: ``ready`` from `Readiness.mark`, else the outcome and its cause."""
        with self._lock:
            if self._over:
                return
            self._over = True
        if self._reserved_under is not None:
            self._span = _made(self._reserved_under, self._span.get_span_context())
        self._span.set_attribute(semconv.STARTUP_OUTCOME, outcome)
        if outcome == "failed":
            self._span.set_attribute(semconv.ERROR_TYPE, outcome)
            self._span.set_status(Status(StatusCode.ERROR, semconv.text(why or outcome)))
        end_ns = get_ledger().readiness.ready_ns or now_ns()
        if self._reserved_under is None:
            self.report_parts(get_ledger().start(end_ns=end_ns))
        self._span.end(end_time=end_ns)
        prompt_export.ended()

    def report_parts(self, start: Start) -> None:
        """Create a child for each segment of the start; call it once."""
        report_parts(self._span, start)

    def _journal(self, parent: Context) -> None:
        if (journal := get_ledger().journal) is None:
            return
        ids: dict[str, str | None] = {}  # none without a provider; the line is written anyway
        context = self._span.get_span_context()
        if context.is_valid:
            parent_id = trace.get_current_span(parent).get_span_context().span_id
            ids = {
                "trace_id": trace.format_trace_id(context.trace_id),
                "span_id": trace.format_span_id(context.span_id),
                "parent_id": trace.format_span_id(parent_id) if parent_id else None,
            }
        journal.note("startup", ids)


def report_parts(span: Span, start: Start) -> None:
    """Create a child of the span of a start for each of its segments."""
    with contained("report the parts of a start"):
        context = trace.set_span_in_context(span)
        for segment in start.joined():
            attributes: dict[str, AttributeValue] = {semconv.STARTUP_PART: segment.part}
            if segment.name is not None:
                attributes[semconv.STARTUP_PART_NAME] = segment.name
            if segment.component is not None:
                attributes[semconv.IS_ENCODER] = segment.component == "encoder"
                attributes[semconv.COMPONENT] = segment.component
            active_telemetry().tracer.start_span(
                f"{semconv.SPAN_STARTUP}.{segment.part}",
                context=context,
                attributes=attributes,
                start_time=segment.start_ns,
            ).end(end_time=segment.end_ns)


def startup_trace_id() -> int:
    """Return the trace id of this process's start: the launcher's, else a new one."""
    launcher = trace.get_current_span(environment_context() or Context()).get_span_context()
    return launcher.trace_id if launcher.is_valid else _drawn.trace_id


class _Drawn:
    """A trace id for a start without a launcher."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Generate another id in a forked child."""
        self.trace_id = secrets.randbits(128) or 1


_drawn = _Drawn()


def _made(parent: Context, ids: SpanContext) -> Span:
    """Start the span, with the reserved ids if the SDK is imported."""
    telemetry = active_telemetry()
    telemetry.prepare()

    def start() -> Span:
        return telemetry.tracer.start_span(
            semconv.SPAN_STARTUP,
            context=parent,
            attributes={semconv.INSTANCE: instance_id()},
            start_time=get_ledger().readiness.since_ns,
        )

    if "opentelemetry.sdk.trace" not in sys.modules:
        return start()
    from compilespan.telemetry.ids import reused  # noqa: PLC0415  # needs the SDK

    with reused(ids.trace_id, ids.span_id):
        return start()


def _reserved(parent: Context) -> Span:
    """Draw the ids of a span that is created later."""
    state = trace.get_current_span(parent).get_span_context().trace_state
    span_id = secrets.randbits(64) or 1
    flags = TraceFlags(TraceFlags.SAMPLED)
    return NonRecordingSpan(SpanContext(startup_trace_id(), span_id, False, flags, state))
