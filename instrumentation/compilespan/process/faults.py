"""Rule 6 in one place: a fault of compilespan may lose telemetry, but never harms the program."""

from __future__ import annotations

import functools
import logging
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, TracebackType

_logger = logging.getLogger("compilespan")


class contained:  # noqa: N801  # used like contextlib.suppress
    """Suppress an exception of ours and log it at DEBUG, so that the program continues.

    Only `Exception` is suppressed. ``KeyboardInterrupt``, ``SystemExit`` and everything that a
    signal handler of the program raises belong to the program, and propagate.

        with contained("record a graph break"):
            monitor.add_event(...)

    Args:
        task: The attempted action, worded to follow "failed to".
    """

    __slots__ = ("_task",)

    def __init__(self, task: str) -> None:
        self._task = task

    def __enter__(self) -> None:
        """Set up nothing; `__exit__` does the work."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Log the exception; return ``True`` to suppress it."""
        if not isinstance(error, Exception) or _is_of_a_signal_handler(traceback):
            return False
        try:
            _logger.debug("compilespan: failed to %s", self._task, exc_info=error)
        except Exception:  # a logging handler or filter of the program raised
            return True
        return True


def _is_of_a_signal_handler(traceback: TracebackType | None) -> bool:
    """Whether a signal handler raised the exception; one may interrupt our code at any line."""
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
