"""The part ``wait`` of a start: the server waits for a ``POST /warmup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan import get_ledger

if TYPE_CHECKING:
    from compilespan.ledger.entries import Mark

REQUEST = "POST /warmup"
"""Name of the marks."""


class Waiting:
    """Marks the time of waiting, which may begin and end several times."""

    def __init__(self) -> None:
        self._mark: Mark | None = None

    def begin(self) -> None:
        """Begin to wait."""
        self.end()
        self._mark = get_ledger().readiness.begin("wait", REQUEST)

    def end(self) -> None:
        """Stop waiting, because a job runs."""
        if self._mark is not None:
            get_ledger().readiness.end(self._mark)
            self._mark = None
