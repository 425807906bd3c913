"""How much memory a process and its children have, and how much they may have.

A start that the kernel kills for its memory says nothing: the journal has to say it before.
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
    total = 0
    for process in descendants():
        with suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_bytes().split()[1]) * page
    return total
