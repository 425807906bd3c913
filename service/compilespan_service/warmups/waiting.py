"""The part ``wait`` of a start: for a ``POST /warmup``, or for another replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan import get_ledger
from compilespan.process import now_ns

if TYPE_CHECKING:
    from compilespan.ledger.entries import Mark

_REQUEST = "POST /warmup"


class Waiting:
    """Marks the time of waiting, which may begin and end several times."""

    def __init__(self) -> None:
        self._mark: Mark | None = None

    def begin(self) -> None:
        """Begin to wait."""
        self.end()
        self._mark = get_ledger().readiness.begin("wait", _REQUEST)

    def end(self) -> None:
        """Stop waiting, because a job runs."""
        if self._mark is not None:
            get_ledger().readiness.end(self._mark)
            self._mark = None


def awaited_replica() -> str | None:
    """Return which replica this process waits for, and for how long; ``None`` if for none."""
    for mark in get_ledger().readiness.marks:
        if mark.part == "wait" and mark.end_ns is None and mark.name != _REQUEST:
            return f"waiting for {mark.name}, {(now_ns() - mark.start_ns) / 1e9:.0f} s"
    return None
