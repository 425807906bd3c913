"""Limits of this process: memory and CPUs, from its cgroup and the machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""Cgroups of version 1 report no limit as a number near 2**63."""
_MOST_THREADS = 32


def memory_bytes() -> int | None:
    """Return how much memory this process may use, in bytes; ``None`` if unknown."""
    limits = []
    with suppress(OSError, ValueError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for directory in _own_cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is not a number
                limits.append(int((directory / name).read_text("utf-8")))
    return min((limit for limit in limits if limit < _UNLIMITED), default=None)


def cpus() -> float:
    """Return how many CPUs this process may use: the least of quota, affinity and machine."""
    try:
        limits = [float(len(os.sched_getaffinity(0)))]
    except (OSError, AttributeError):
        limits = [float(os.cpu_count() or 1)]
    for directory in _own_cgroups("cpu"):
        with suppress(OSError, ValueError):
            quota, period = (directory / "cpu.max").read_text("utf-8").split()
            limits.append(int(quota) / int(period))
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota_us = int((directory / "cpu.cfs_quota_us").read_text("utf-8"))
            period_us = int((directory / "cpu.cfs_period_us").read_text("utf-8"))
            if quota_us > 0:
                limits.append(quota_us / period_us)
    return min(limits)


class Throttled:
    """How long the kernel has throttled this process's cgroup since this object was made."""

    def __init__(self) -> None:
        self._before_s = _throttled_s()

    @property
    def spent_s(self) -> float | None:
        """Seconds; ``None`` if unknown."""
        now_s = _throttled_s()
        return None if now_s is None or self._before_s is None else now_s - self._before_s


def _throttled_s() -> float | None:
    found = []
    for directory in _own_cgroups("cpu"):
        with suppress(OSError, ValueError):
            words = (directory / "cpu.stat").read_text("utf-8").split()
            values = dict(zip(words[::2], map(int, words[1::2]), strict=False))
            if "throttled_usec" in values:
                found.append(values["throttled_usec"] / 1e6)
            if "throttled_time" in values:
                found.append(values["throttled_time"] / 1e9)
    return max(found, default=None)


def compile_threads() -> int:
    """Return how many threads or processes inductor uses for kernels, if its config is unchanged.

    Its default counts CPUs and ignores quotas: ``torch._inductor.config.decide_compile_threads``.
    """
    named = os.environ.get("TORCHINDUCTOR_COMPILE_THREADS", "")
    if named.isdecimal():
        return int(named)
    try:
        return min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    except (OSError, AttributeError):
        return min(_MOST_THREADS, os.cpu_count() or 1)


def _own_cgroups(controller: str) -> list[Path]:
    """Return the directories of this process's cgroups and of their ancestors."""
    found: list[Path] = []
    with suppress(OSError, ValueError):
        for line in _OWN_CGROUP.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = _CGROUPS / controller if controllers else _CGROUPS
            inner = root / path.strip("/")
            found += [each for each in (inner, *inner.parents) if each.is_relative_to(root)]
    return found
