"""The memory that a process and its children use, and their limit.

A process that the kernel kills for its memory cannot report it, so the journal does beforehand.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from compilespan.process.descendants import descendants

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEAR = 0.9


class Memory(NamedTuple):
    """Bytes of memory.

    Attributes:
        peak_bytes: Peak resident memory of the process and its living descendants together;
            pages that they share count for each of them.
        limit_bytes: The lower limit of their cgroup and the machine; ``None`` if unknown.
    """

    peak_bytes: int
    limit_bytes: int | None

    @property
    def is_near_limit(self) -> bool:
        """Whether the peak is so high that the kernel may have killed the process for it."""
        return self.limit_bytes is not None and self.peak_bytes >= _NEAR * self.limit_bytes

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Memory:
        """Make one from the values of a journal's line."""
        return cls(values["peak_bytes"], values.get("limit_bytes"))


def resident_bytes() -> int:
    """Return the resident memory of this process and its living descendants; 0 if unknown."""
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    total = 0
    for process in descendants():
        with suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_bytes().split()[1]) * page
    return total
