"""The one clock of a compile: its begin and end, its stages, and its CPU time."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from compilespan.process import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.monitor.stages import Stages
    from compilespan.semconv import Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """The times of a compile that ended.

    Attributes:
        start_ns: Nanoseconds since the epoch.
        duration_ns: Nanoseconds on a monotonic clock.
        stages_ns: Nanoseconds of each stage; they add up to the duration.
        cpu_s: Seconds in which its thread ran on a CPU; ``None`` if unknown.
        cpu_wait_s: Seconds in which its thread was ready to run but had no CPU; ``None`` if
            unknown.
        thread_id: Its thread, as from ``threading.get_ident()``.
    """

    start_ns: int
    duration_ns: int
    stages_ns: Mapping[Stage, int]
    cpu_s: float | None
    cpu_wait_s: float | None
    thread_id: int


class Clock:
    """A clock that its monitor starts once and stops once."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.started_ns = self.ended_ns = 0
        """Values of ``time.perf_counter_ns()``; 0 until then."""
        self._cpu_ns: tuple[int, int] | None = None

    def start(self, *, reads_cpu: bool) -> None:
        """Start the clock; an adopted compile does not read the CPU time, as it has no record."""
        if reads_cpu:
            self._cpu_ns = _cpu_ns()
        self.started_ns = time.perf_counter_ns()
        self.stages.start(self.started_ns)

    def start_later(self, earliest_ns: int) -> None:
        """Move the start to ``earliest_ns``: the time before belongs to another monitor."""
        self.started_ns = min(max(self.started_ns, earliest_ns), self.ended_ns)
        self._cpu_ns = None

    @property
    def start_ns(self) -> int:
        """The start in nanoseconds since the epoch."""
        return epoch_ns(self.started_ns)

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from start to end; the same number in every output."""
        return self.ended_ns - self.started_ns

    def timing(self) -> Timing:
        """Return the times; call it after the end is set."""
        cpu_ns = _cpu_ns() if threading.get_ident() == self.stages.thread_id else None
        cpu_s = cpu_wait_s = None
        if cpu_ns is not None and self._cpu_ns is not None:
            cpu_s, cpu_wait_s = (
                min(max(0, after - before), self.duration_ns) / 1e9
                for before, after in zip(self._cpu_ns, cpu_ns, strict=True)
            )
        return Timing(
            self.start_ns,
            self.duration_ns,
            self.stages.stop(self.started_ns, self.ended_ns),
            cpu_s,
            cpu_wait_s,
            self.stages.thread_id,
        )


def _cpu_ns() -> tuple[int, int] | None:
    """Return how long this thread has run, and has waited for a CPU; ``None`` if unknown.

    https://docs.kernel.org/scheduler/sched-stats.html
    """
    with suppress(OSError, ValueError, IndexError):
        descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            ran, waited, *_ = os.read(descriptor, 128).split()
        finally:
            os.close(descriptor)
        return int(ran), int(waited)
    return None
