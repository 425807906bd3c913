"""Rule 6 in one place: a fault of ours costs telemetry and nothing else."""

from __future__ import annotations

import functools
import logging
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, TracebackType

_logger = logging.getLogger("compilespan")


class contained:  # noqa: N801  # used like contextlib.suppress
    """Keep an exception of ours from the program: log it at DEBUG and go on.

    Only `Exception` is contained. ``KeyboardInterrupt`` and ``SystemExit`` are the program's own,
    wherever they arrive, and so is whatever a signal handler of the program raises.

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
        if not isinstance(error, Exception) or _is_of_a_signal_handler(traceback):
            return False
        try:
            _logger.debug("compilespan: failed to %s", self._task, exc_info=error)
        except Exception:  # a handler or filter of the program that raises
            return True
        return True


def _is_of_a_signal_handler(traceback: TracebackType | None) -> bool:
    """Whether an exception came out of a signal handler: it may run in the middle of our code."""
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    code = getattr(handler, "__code__", None)
    if code is None:
        code = getattr(getattr(type(handler), "__call__", None), "__code__", None)  # noqa: B004
    return code
