"""Rule 6 in one place: a fault of ours costs telemetry and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_logger = logging.getLogger("compilespan")


class contained:  # noqa: N801  # used like contextlib.suppress
    """Keep an exception of ours from the program: log it at DEBUG and go on.

    Only `Exception` is contained. ``KeyboardInterrupt`` and ``SystemExit`` are the program's own,
    wherever they arrive.

        with contained("record a graph break"):
            monitor.add_event(...)

    Args:
        task: What was tried, as it reads after "failed to".
    """

    __slots__ = ("_task",)

    def __init__(self, task: str) -> None:
        self._task = task

    def __enter__(self) -> None:
        """Begin to contain."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Log what was raised; ``True`` suppresses it."""
        if not isinstance(error, Exception):
            return False
        try:
            _logger.debug("compilespan: failed to %s", self._task, exc_info=error)
        except Exception:  # a handler or filter of the program that raises
            return True
        return True
