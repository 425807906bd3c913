"""A sampler that keeps all spans of compilespan: they are rare, and each one matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.sampling import (
    DEFAULT_ON,
    Decision,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import get_current_span

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

_OURS = frozenset({semconv.TRIGGER, semconv.INSTANCE, semconv.STARTUP_PART, semconv.TARGET})
"""Attributes that identify our spans when they start; a sampler does not get the scope."""


class CompileSampler(Sampler):
    """Keeps compilespan's spans whatever the parent's flag says, and delegates all others."""

    def __init__(self, delegate: Sampler = DEFAULT_ON) -> None:
        """Set the sampler of other spans; the default follows the parent, and keeps root spans."""
        self._delegate = delegate

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide on one span."""
        if not _OURS.isdisjoint(attributes or ()):
            parent = get_current_span(parent_context).get_span_context()
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, parent.trace_state)
        return self._delegate.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Return a description in OpenTelemetry's form."""
        return f"CompileSampler{{{self._delegate.get_description()}}}"


def create_sampler(argument: str | float | None = None) -> CompileSampler:
    """Make the sampler for ``OTEL_TRACES_SAMPLER=compilespan``.

    Args:
        argument: ``OTEL_TRACES_SAMPLER_ARG``: the ratio of other traces to keep; ``None`` or an
            empty text keeps all.

    Raises:
        ValueError: It is not a number between 0 and 1.
    """
    if argument in (None, ""):
        return CompileSampler()
    try:
        return CompileSampler(ParentBasedTraceIdRatio(float(str(argument))))
    except ValueError as error:
        msg = f"OTEL_TRACES_SAMPLER_ARG is {argument!r}; give the ratio to keep, 0 to 1"
        raise ValueError(msg) from error
