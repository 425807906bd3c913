"""Where a compile's span hangs, and what a child process inherits.

A compile belongs to what is current. Before the process is ready the environment's W3C trace
context stands in (a launcher's, or `child_environment`'s of a parent); afterwards a compile
without a current span is a trace of its own that only links to it.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from compilespan import process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.semconv import Phase

INSTANCE_ID = "COMPILESPAN_INSTANCE_ID"
_PHASE = "compilespan.phase"

_propagator = TraceContextTextMapPropagator()


def instance_id() -> str:
    """Return the id of this start of the server, shared by all its processes.

    The first process to ask draws it and leaves it in the environment, where its children find
    it. Workers whose parent does not know us (uvicorn's and gunicorn's masters import no app)
    derive it from that parent, so that all come to the same.
    """
    found = os.environ.get(INSTANCE_ID)
    if not found:
        found = process.siblings_id() or secrets.token_hex(8)
        os.environ[INSTANCE_ID] = found
    return found


def environment_context(environ: Mapping[str, str] | None = None) -> Context | None:
    """Return the context of ``TRACEPARENT`` and ``TRACESTATE``, lower-case names too, if any."""
    environ = os.environ if environ is None else environ
    carrier = {
        name: value
        for name in ("traceparent", "tracestate")
        if (value := environ.get(name.upper()) or environ.get(name))
    }
    context = _propagator.extract(carrier, context=Context())
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    return None


def warmup_context() -> Context:
    """Return the current context with word, for other processes, that this is a warmup."""
    return baggage.set_baggage(_PHASE, "warmup")


def phase_of_caller() -> Phase | None:
    """Return ``warmup`` where the request that is served here belongs to another process's."""
    return "warmup" if baggage.get_baggage(_PHASE) == "warmup" else None


def parent_for_compile(*, ready: bool) -> tuple[Context | None, list[trace.Link]]:
    """Return the parent context of a compile that begins now (``None``: current), and its links."""
    if trace.get_current_span().get_span_context().is_valid:
        return None, []
    inherited = environment_context()
    if inherited is None:
        return None, []
    if not ready:
        return inherited, []
    return Context(), [trace.Link(trace.get_current_span(inherited).get_span_context())]


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for a child process that continues this trace and instance.

    Args:
        environ: What to add to; this process's environment where it is left out.

    Returns:
        A copy with ``TRACEPARENT``, ``TRACESTATE`` and ``COMPILESPAN_INSTANCE_ID``.
    """
    child = dict(os.environ if environ is None else environ)
    child[INSTANCE_ID] = instance_id()
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    child.update({name.upper(): value for name, value in carrier.items()})
    return child
