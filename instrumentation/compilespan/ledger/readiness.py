"""When this process began, and when it was ready to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.faults import contained
from compilespan.ledger.entries import Ready
from compilespan.process import fork_safe_lock, now_ns, process_age_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.ledger.entries import Part
    from compilespan.semconv import Phase

_MAX_PARTS = 64


class Readiness:
    """The start of this process: its parts, and the moment when it was declared ready."""

    def __init__(self, before: Phase = "startup") -> None:
        self.since_ns = now_ns() - process_age_ns()
        """When the process was created, in nanoseconds since the epoch."""
        self.before: Phase = before
        """The phase until then; vLLM's profiling runs are a warmup."""
        self.on_ready: Callable[[], object] | None = None
        """Called once, when the process is declared ready."""
        self.ready: Ready | None = None
        self._lock = fork_safe_lock()
        self._parts: list[Part] = []

    @property
    def phase(self) -> Phase:
        """The phase of a compile that begins now, unless its surroundings say another."""
        return "serving" if self.ready else self.before

    @property
    def after_s(self) -> float | None:
        """Seconds from the start of the process until it was ready; ``None`` before."""
        return self.ready.after_s if self.ready else None

    @property
    def parts_s(self) -> dict[str, float]:
        """Seconds by startup phase: ``import``, ``load``, ``warmup``, and ``total`` when ready."""
        seconds = {part.name: part.seconds for part in self.parts}
        return {**seconds, "total": self.ready.after_s} if self.ready else seconds

    @property
    def parts(self) -> list[Part]:
        """The parts of the start, in the order in which they ended; the first 64."""
        with self._lock:
            return list(self._parts)

    def note(self, part: Part) -> None:
        """Note how long a part of the start took."""
        with self._lock:
            if len(self._parts) < _MAX_PARTS:
                self._parts.append(part)

    def mark(self) -> Ready | None:
        """Declare the process ready; ``None`` if it was ready before."""
        with self._lock:
            if self.ready:
                return None
            self.ready = Ready(now_ns(), process_age_ns() / 1e9)
        if self.on_ready is not None:
            with contained("end the span of the start"):
                self.on_ready()
        return self.ready
