"""Where a compile's span hangs, and what a child process inherits.

A compile belongs to what is current. Before the process is ready the environment's W3C trace
context stands in (a launcher's, or `child_environment`'s of a parent); afterwards a compile
without a current span is a trace of its own that only links to it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from compilespan.process import INSTANCE_ID, instance_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, SpanContext

_PHASE = "compilespan.phase"

_propagator = TraceContextTextMapPropagator()
_own_start: SpanContext = trace.INVALID_SPAN_CONTEXT


def environment_context(environ: Mapping[str, str] | None = None) -> Context | None:
    """Return the context of ``TRACEPARENT`` and ``TRACESTATE``, lower-case names too, if any."""
    environ = os.environ if environ is None else environ
    carrier = {
        name: value
        for name in ("traceparent", "tracestate")
        if (value := environ.get(name.upper()) or environ.get(name))
    }
    if "traceparent" not in carrier:
        return None
    context = _propagator.extract(carrier, context=Context())
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    return None


def warmup_context() -> Context:
    """Return the current context, marked for other processes as part of a warmup."""
    return baggage.set_baggage(_PHASE, "warmup")


def has_ended(span: Span) -> bool:
    """Whether a span is known to have ended; only the SDK's spans know."""
    return getattr(span, "end_time", None) is not None


def is_caller_warming() -> bool:
    """Whether the caller marked this context as part of its warmup."""
    return baggage.get_baggage(_PHASE) == "warmup"


class Parent(NamedTuple):
    """Where a span hangs.

    Attributes:
        context: Of the parent; ``None`` for the current one.
        links: What the span only links to.
    """

    context: Context | None
    links: tuple[trace.Link, ...] = ()


def link_to_start(context: SpanContext) -> None:
    """Link compiles after ready that have no parent span to this span."""
    global _own_start  # noqa: PLW0603  # a process starts once
    _own_start = context


def parent_for_compile(*, ready: bool) -> Parent:
    """Return where the span of a compile hangs that begins here and now.

    Below the current span, unless that one has ended: a task outlives the request or block that
    started it, and what it compiles then only links to that. Without a current span the
    environment's context is the parent until the process is ready; afterwards it links to the start
    of this process, or to the environment's context if the start has no span.
    """
    span = trace.get_current_span()
    links: list[trace.Link] = []
    if span.get_span_context().is_valid:
        if not has_ended(span):
            return Parent(None)
        links.append(trace.Link(span.get_span_context()))
    inherited = environment_context()
    if inherited is not None and not ready:
        return Parent(inherited, tuple(links))
    start = _own_start
    if inherited is not None and not start.is_valid:
        start = trace.get_current_span(inherited).get_span_context()
    if ready and start.is_valid and start not in [link.context for link in links]:
        links.append(trace.Link(start))
    return Parent(Context() if links else None, tuple(links))


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for a child process that continues this trace and instance.

    Args:
        environ: What to add to; defaults to this process's environment.

    Returns:
        A copy with ``TRACEPARENT``, ``TRACESTATE`` and ``COMPILESPAN_INSTANCE_ID``.
    """
    child = dict(os.environ if environ is None else environ)
    child[INSTANCE_ID] = instance_id()
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    child.update({name.upper(): value for name, value in carrier.items()})
    return child
