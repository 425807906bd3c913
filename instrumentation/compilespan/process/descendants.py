"""The descendants of a process, as the kernel lists them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_PROCESSES = 512


def descendants(pid: int | str = "self") -> Iterator[Path]:
    """Return the directories in ``/proc`` of a process and its descendants, at most 512.

    Args:
        pid: The process; by default this one.
    """
    pending = [str(pid)]
    for _ in range(_MAX_PROCESSES):
        if not pending:
            break
        process = Path("/proc", pending.pop())
        with suppress(OSError, ValueError):
            for thread in (process / "task").iterdir():
                pending += (thread / "children").read_text("utf-8").split()
            yield process
