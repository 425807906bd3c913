"""The one clock of a compile: when it began and ended, in which stages, and with how much CPU."""

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
    """What the clock says of a compile that ended.

    Attributes:
        start_ns: Nanoseconds since the epoch.
        duration_ns: Nanoseconds on a monotonic clock.
        stages_ns: Nanoseconds of each stage; they add up to the duration.
        cpu_s: Seconds in which its thread ran on a CPU; ``None`` if the kernel does not say.
        cpu_wait_s: Seconds in which its thread could have run and had no CPU.
        thread_id: Its thread.
    """

    start_ns: int
    duration_ns: int
    stages_ns: Mapping[Stage, int]
    cpu_s: float | None
    cpu_wait_s: float | None
    thread_id: int


class Clock:
    """Is started once and stopped once, by the monitor that owns it."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.started_ns = self.ended_ns = 0
        """As ``time.perf_counter_ns()``; 0 before."""
        self._cpu_ns: tuple[int, int] | None = None

    def start(self, *, reads_cpu: bool) -> None:
        """Start it; what is another compile's event has no need of its thread's CPU time."""
        if reads_cpu:
            self._cpu_ns = _cpu_ns()
        self.started_ns = time.perf_counter_ns()
        self.stages.start(self.started_ns)

    def start_later(self, earliest_ns: int) -> None:
        """Correct the start: until then the time was another's."""
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
        """Return what it says, after it was stopped."""
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
    """Return for how long this thread ran, and waited for a CPU, by now; ``None`` if unknown.

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
