"""The part of a start in which nobody works: the server waits for a ``POST /warmup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan import get_ledger

if TYPE_CHECKING:
    from compilespan.ledger.entries import Mark


class Waiting:
    """Begins and ends again and again, until the process is ready."""

    def __init__(self) -> None:
        self._mark: Mark | None = None

    def begin(self) -> None:
        """What comes now is nobody's work."""
        self.end()
        self._mark = get_ledger().readiness.begin("wait", "POST /warmup")

    def end(self) -> None:
        """A job runs."""
        if self._mark is not None:
            get_ledger().readiness.end(self._mark)
            self._mark = None
