"""`monitor_torch_compile`: an explicit block around code that compiles."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from compilespan.monitor import Monitor
from compilespan.telemetry import active_telemetry
from compilespan.unit import Unit
from compilespan.window import Window

if TYPE_CHECKING:
    from types import TracebackType

    from compilespan.semconv import Kind

F = TypeVar("F", bound=Callable[..., Any])

_logger = logging.getLogger("compilespan")


class monitor_torch_compile:  # noqa: N801  # used like a function, as contextlib's are
    """Account for a block of code as one compile, whatever compiles inside it.

    A context manager and a decorator (a coroutine function is awaited inside). Its duration is
    its wall time. It adopts the compiles whose context descends from it while it is open: they
    become its events. A block inside another open block is an event of that one.

        with monitor_torch_compile("vision_tower", is_encoder=True) as monitor:
            model(pixels)
            monitor.add_event("torch.compile.graph", {"torch.compile.cache.result": "hit"})

    Args:
        name: What the record is called; a decorated function's qualified name where it is left
            out, and ``torch.compile`` for a block.
        is_encoder: Whether this is an encoder's compile; ``None`` lets what compiles inside say.
        kind: ``compile``, ``load``, ``capture``, ``empty``; ``None`` is decided at the end by
            what was seen: a block in which nothing compiled is ``empty`` and counts nowhere.
        message: Logged once at INFO when the block ends, with its seconds.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        is_encoder: bool | None = None,
        kind: Kind | None = None,
        message: str = "torch.compile took %.2f s in total",
    ) -> None:
        self._name = name
        self._is_encoder = is_encoder
        self._kind = kind
        self._message = message
        self._windows: list[Window] = []

    def __enter__(self) -> Monitor:
        """Open the monitor."""
        unit = Unit(
            self._name or "torch.compile", "explicit", kind=self._kind, said=self._is_encoder
        )
        window = Window(Monitor(unit, active_telemetry()))
        self._windows.append(window)
        return window.monitor

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; the exception goes on unchanged."""
        window = self._windows.pop()
        window.close(error=error)
        if window.monitor.is_outermost:
            _log(self._message, window.monitor.duration_s)

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call is a block."""

        def block() -> monitor_torch_compile:
            return monitor_torch_compile(
                self._name or function.__qualname__,
                is_encoder=self._is_encoder,
                kind=self._kind,
                message=self._message,
            )

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with block():
                    return await function(*args, **kwargs)

            return cast("F", awaited)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with block():
                return function(*args, **kwargs)

        return cast("F", called)


def _log(message: str, duration_s: float) -> None:
    try:
        text = message % duration_s
    except (TypeError, ValueError):  # a message without a place for the number is fine too
        text = message
    if text:
        _logger.info("%s", text)
