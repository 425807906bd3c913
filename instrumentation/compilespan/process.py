"""How old this process is, as the kernel knows it: from before Python began."""

from __future__ import annotations

import os
import time

_IMPORTED_NS = time.monotonic_ns()


def process_age_ns() -> int:
    """Age of this process in nanoseconds, from the kernel; since the import where it is silent."""
    try:
        with open("/proc/self/stat", "rb") as stat:  # noqa: PTH123  # pathlib costs an import here
            started_ticks = int(stat.read().rpartition(b")")[2].split()[19])
        started_s = started_ticks / os.sysconf("SC_CLK_TCK")
        return int((time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1e9)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic_ns() - _IMPORTED_NS
