"""Parents of compile spans, and the trace context that a child process inherits.

The parent of a compile is the current span. Without one, it is the W3C trace context in the
environment (of a launcher, or of a parent's `child_environment`) until the process is ready.
Afterwards such a compile begins a new trace, which only links to the start.
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
    """Return the context of ``TRACEPARENT`` and ``TRACESTATE``, or of their lower-case names."""
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
    """Whether a span is known to have ended; only the SDK's spans record it."""
    return getattr(span, "end_time", None) is not None


def is_caller_warming() -> bool:
    """Whether the caller marked this context as part of its warmup."""
    return baggage.get_baggage(_PHASE) == "warmup"


class Parent(NamedTuple):
    """Parent and links of a span.

    Attributes:
        context: Context of the parent; ``None`` for the current one.
        links: Links to spans that are not the parent.
    """

    context: Context | None
    links: tuple[trace.Link, ...] = ()


def link_to_start(context: SpanContext) -> None:
    """Link compiles that have no parent span, after the process is ready, to this span."""
    global _own_start  # noqa: PLW0603  # a process starts once
    _own_start = context


def parent_for_compile(*, ready: bool) -> Parent:
    """Return parent and links for the span of a compile that begins now in this context.

    The parent is the current span, unless it has ended: a task may outlive the request or block
    that started it, and its compiles then only link to that span. Without such a span, the context
    of the environment is the parent until the process is ready; afterwards the new span links to
    the start of this process, or to the context of the environment if the start has no span.
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
        environ: The environment to add to; defaults to that of this process.

    Returns:
        A copy with ``TRACEPARENT``, ``TRACESTATE`` and ``COMPILESPAN_INSTANCE_ID``.
    """
    child = dict(os.environ if environ is None else environ)
    child[INSTANCE_ID] = instance_id()
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    child.update({name.upper(): value for name, value in carrier.items()})
    return child
