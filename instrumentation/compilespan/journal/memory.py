"""How much memory a process and its children have, and how much they may have.

A start that the kernel kills for its memory says nothing: the journal has to say it before.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PROCESSES = 512
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_NEAR = 0.9
_UNLIMITED = 1 << 60
"""What version 1 calls unlimited is a number near 2**63."""


class Memory(NamedTuple):
    """Bytes of memory.

    Attributes:
        peak_bytes: The most that the process and its living descendants had at once, each with
            what it shares with others.
        limit_bytes: What they may have: of their cgroup, else of the machine; ``None`` if unknown.
    """

    peak_bytes: int
    limit_bytes: int | None

    @property
    def is_near_limit(self) -> bool:
        """Whether the peak is so high that the kernel may have ended the process for it."""
        return self.limit_bytes is not None and self.peak_bytes >= _NEAR * self.limit_bytes

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Memory:
        """Take the values of a journal's line."""
        return cls(values["peak_bytes"], values.get("limit_bytes"))


def resident_bytes() -> int:
    """Return what this process and its living descendants have now; 0 if the kernel is silent."""
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    pending, total = ["self"], 0
    for _ in range(_MAX_PROCESSES):
        if not pending:
            break
        process = Path("/proc", pending.pop())
        with suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_bytes().split()[1]) * page
            for thread in (process / "task").iterdir():
                pending += (thread / "children").read_text("ascii").split()
    return total


def limit_bytes() -> int | None:
    """Return what this process may have at most; ``None`` if unknown."""
    limits = []
    with suppress(OSError, ValueError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError):
        for line in _OWN_CGROUP.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                limits += _limits(_CGROUPS, path, "memory.max")
            elif "memory" in controllers.split(","):
                limits += _limits(_CGROUPS / "memory", path, "memory.limit_in_bytes")
    return min(limits, default=None)


def _limits(root: Path, path: str, name: str) -> list[int]:
    """Return the limits of a cgroup and of those around it; the root has none."""
    inner = root / path.strip("/")
    found = []
    for directory in (inner, *inner.parents):
        with suppress(OSError, ValueError):  # "max" is no number
            found.append(int((directory / name).read_text("ascii")))
        if directory == root:
            break
    return [limit for limit in found if limit < _UNLIMITED]
