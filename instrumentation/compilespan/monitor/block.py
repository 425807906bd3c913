"""`monitor_torch_compile`: an explicit block around code that compiles."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from compilespan import semconv
from compilespan.components.marks import stated
from compilespan.monitor.surroundings import current
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from types import TracebackType

    from compilespan.monitor.monitor import Monitor
    from compilespan.semconv import Kind

F = TypeVar("F", bound=Callable[..., Any])

_logger = logging.getLogger("compilespan")


class monitor_torch_compile:  # noqa: N801  # used like a function, as contextlib's are
    """Record a block of code as one compile, however much compiles inside it.

    A context manager and a decorator, also of coroutine functions. The duration is wall time.
    While the block is open, it adopts the compiles of its context and of contexts copied from it:
    they become its events. A block inside another open block becomes an event of the outer one.
    Several threads and tasks may enter one object at once; each entry is a separate block.

        with monitor_torch_compile("vision_tower", is_encoder=True) as monitor:
            model(pixels)
            monitor.add_event("torch.compile.graph", {"torch.compile.cache.result": "hit"})

    Args:
        name: Name of the record. Defaults to a decorated function's qualified name, and to
            ``torch.compile`` for a block.
        is_encoder: ``True`` for an encoder, ``False`` for a language model. ``None`` takes the
            component of the surroundings, else of what compiles inside.
        kind: ``compile``, ``load``, ``capture``, ``kernel`` or ``empty``. ``None`` decides at the
            end: a block in which nothing compiled is ``empty`` and is not counted as a compile.
        message: Logged once at INFO when the outermost block ends, with its seconds.

    Raises:
        TypeError: ``name`` is not a string (the decorator needs parentheses), or the decorated
            function is a generator: the time in which it is suspended is not its own.
        ValueError: ``kind`` is not one of these.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        is_encoder: bool | None = None,
        kind: Kind | None = None,
        message: str = "torch.compile took %.2f s in total",
    ) -> None:
        if name is not None and not isinstance(name, str):
            msg = (
                f"the name of a monitor is {name!r}, not a string; "
                "as a decorator write @monitor_torch_compile() with parentheses"
            )
            raise TypeError(msg)
        if kind is not None and kind not in _KINDS:
            msg = f"kind is {kind!r}; use one of {', '.join(_KINDS)}, or None to detect it"
            raise ValueError(msg)
        self._name = name
        self._is_encoder = is_encoder
        self._kind = kind
        self._message = message
        self._windows: list[tuple[int, Window]] = []

    def __enter__(self) -> Monitor:
        """Open the monitor."""
        unit = Unit(
            semconv.name(self._name or semconv.SPAN_COMPILE),
            "explicit",
            kind=self._kind,
            stated=stated(is_encoder=self._is_encoder),
        )
        window = Window(unit)
        try:
            self._windows.append((id(sys._getframe(1)), window))  # noqa: SLF001
            return window.__enter__()
        except BaseException:
            window.discard()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the monitor; the exception propagates unchanged."""
        try:
            self._close(self._own_window(id(sys._getframe(1))), error)  # noqa: SLF001
        except BaseException:  # an interrupt arrived in our code
            self._own_window(id(sys._getframe(1))).discard()  # noqa: SLF001
            raise
        finally:
            self._windows = [each for each in self._windows if each[1].monitor.is_open]

    def _close(self, window: Window, error: BaseException | None) -> None:
        is_own = window.monitor.is_outermost
        window.close(error=error)
        if is_own and self._message and window.monitor.clock.ended_ns:
            with contained("log the duration of a block"):
                _logger.info("%s", _worded(self._message, window.monitor.duration_s))

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call is a separate block."""
        if _is_generator_function(function):
            msg = (
                f"monitor_torch_compile cannot decorate the generator {_name_of(function)}: its "
                "call returns at once; put `with monitor_torch_compile(...)` around the code"
            )
            raise TypeError(msg)

        def block() -> monitor_torch_compile:
            return monitor_torch_compile(
                self._name or _name_of(function),
                is_encoder=self._is_encoder,
                kind=self._kind,
                message=self._message,
            )

        if _is_coroutine_function(function):

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

    def _own_window(self, frame: int) -> Window:
        """Return the window that an exit has to close.

        The last one opened in the same frame (compared by id, so that no frame is kept), else the
        innermost one of this context, else the last one opened.
        """
        for entered_in, window in reversed(self._windows):
            if entered_in == frame:
                return window
        innermost = current()
        for surroundings in innermost.outwards() if innermost is not None else ():
            for _, window in self._windows:
                if window.surroundings is surroundings:
                    return window
        return self._windows[-1][1]


_KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(semconv.Kind))


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    return any(map(inspect.iscoroutinefunction, _called(function)))


def _is_generator_function(function: Callable[..., Any]) -> bool:
    called = _called(function)
    return any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in called)


def _called(function: Callable[..., Any]) -> list[Any]:
    """Return the functions that a call may run: itself, its ``__func__``, its ``__call__``."""
    inner = getattr(function, "__func__", None)
    return [function, inner, getattr(type(function), "__call__", None)]  # noqa: B004


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _worded(message: str, duration_s: float) -> str:
    try:
        return message % duration_s
    except (TypeError, ValueError):  # the message has no placeholder for the seconds
        return message
