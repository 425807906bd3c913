"""Span and trace ids that Dynamo cannot duplicate (needs the SDK).

Dynamo saves Python's process-global ``random`` state before it compiles a frame and restores it
afterwards. So OpenTelemetry's default generator repeats the ids that it drew meanwhile, in any
thread. The operating system's randomness has no state to restore.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import INVALID_SPAN_ID, INVALID_TRACE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

_system = random.SystemRandom()


class _Reused(threading.local):
    """Ids for the next span of this thread; 0 if they are to be drawn."""

    trace_id = 0
    span_id = 0


_reused = _Reused()


@contextmanager
def reused(trace_id: int, span_id: int) -> Iterator[None]:
    """Give the one span that is started in this block ids that were drawn before."""
    _reused.trace_id, _reused.span_id = trace_id, span_id
    try:
        yield
    finally:
        _reused.trace_id = _reused.span_id = 0


class SystemRandomIdGenerator(IdGenerator):
    """Draws ids from the operating system; entry point ``compilespan`` of the id generators."""

    def generate_span_id(self) -> int:
        """Return 64 random bits that are not all zero."""
        while (drawn := _reused.span_id or _system.getrandbits(64)) == INVALID_SPAN_ID:
            pass
        return drawn

    def generate_trace_id(self) -> int:
        """Return 128 random bits that are not all zero."""
        while (drawn := _reused.trace_id or _system.getrandbits(128)) == INVALID_TRACE_ID:
            pass
        return drawn

    def is_trace_id_random(self) -> bool:
        """Return ``True``: all bits are drawn (W3C Trace Context level 2)."""
        return True


def repair(provider: object) -> bool:
    """Make an existing provider draw its ids from the operating system.

    The generator object is repaired, not replaced, because each existing tracer keeps a reference
    to it. A generator that is not OpenTelemetry's default was chosen on purpose and is not changed.

    Returns:
        Whether the generator was repaired.
    """
    generator = getattr(provider, "id_generator", None)
    if type(generator) is not RandomIdGenerator or "generate_span_id" in vars(generator):
        return False
    ours = SystemRandomIdGenerator()
    vars(generator).update(
        generate_span_id=ours.generate_span_id, generate_trace_id=ours.generate_trace_id
    )
    return True
