"""Kernels that Triton builds, and those that are tuned at their first launch.

Inside a compile they are a part of it. Outside, one delays whoever launches it first, and neither
Dynamo nor vLLM's or SGLang's own monitor accounts for it: it is a record of kind ``kernel``.

What Triton says to its listener (hit or miss of its cache) is taken over; there is one slot for
it, and whoever has it goes on being called.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from compilespan import semconv
from compilespan.dynamo import private
from compilespan.faults import contained
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compilespan.dynamo.patches import Group
    from compilespan.monitor.monitor import Monitor
    from compilespan.semconv import Trigger

_building: ContextVar[Monitor | None] = ContextVar("compilespan_kernel", default=None)
"""The monitor of the kernel that is being built."""


class Kernels:
    """The wrappers around what builds and tunes kernels."""

    def __init__(self, is_active: Callable[[], bool]) -> None:
        """Take who says whether the patches are wanted: a kernel keeps the wrapper it has bound."""
        self._is_active = is_active
        self._tunings: WeakKeyDictionary[Any, _Tuning] = WeakKeyDictionary()

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is patched: both names by which programs and kernels call the compiler."""
        return (
            {private.TRITON_COMPILE: self._build},
            {private.TRITON_COMPILE_BOUND: self._build},
            {private.TRITON_PRUNE: self._pruned, private.TRITON_BENCH: self._bench},
            {private.INDUCTOR_TUNE: self._tune},
        )

    def release(self) -> None:
        """Give the listener's slot back."""
        knobs = private.TRITON_KNOBS.found()
        if knobs is not None and isinstance(knobs.listener, _Listener):
            knobs.listener = knobs.listener.previous

    def _build(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        if not self._is_active():
            return wrapped(*args, **kwargs)
        window: Window | None = None
        with contained("name a kernel that is built"):
            window = Window(_unit(args[0] if args else kwargs.get("src"), "kernel"))
        if window is None:
            return wrapped(*args, **kwargs)
        with window as monitor, _listening(monitor):
            return wrapped(*args, **kwargs)

    def _pruned(self, wrapped: Callable[..., Any], tuner: Any, args: Any, kwargs: Any) -> Any:
        """Know how many configurations are about to be tried."""
        configs = wrapped(*args, **kwargs)
        with contained("begin to tune a kernel"):
            if self._is_active():
                self._tunings[tuner] = _Tuning(_unit(tuner, "autotune"), len(configs))
        return configs

    def _bench(self, wrapped: Callable[..., Any], tuner: Any, args: Any, kwargs: Any) -> Any:
        tuning = self._tunings.get(tuner)
        if tuning is None:
            return wrapped(*args, **kwargs)
        with tuning.one():
            return wrapped(*args, **kwargs)

    def _tune(self, wrapped: Callable[..., Any], tuner: Any, args: Any, kwargs: Any) -> Any:
        window: Window | None = None
        with contained("name a kernel that is tuned"):
            if self._is_active():
                window = Window(_unit(tuner, "autotune"))
        if window is None:
            return wrapped(*args, **kwargs)
        with window:
            return wrapped(*args, **kwargs)


class _Tuning:
    """Tries configurations of one kernel, one after another: one record for all of them."""

    def __init__(self, unit: Unit, count: int) -> None:
        self._unit = unit
        self._left = count
        self._window: Window | None = None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Surround one try; the first opens the window, the last or an exception closes it."""
        if self._window is None and self._left > 0:
            self._window = Window(self._unit)
            self._window.__enter__()
        self._left -= 1
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            if self._window is not None and (error is not None or self._left <= 0):
                window, self._window, self._left = self._window, None, 0
                window.close(error=error)


class _Listener:
    """What has Triton's slot for a listener."""

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self.previous = previous

    def __call__(self, **said: Any) -> None:
        """Take over whether the kernel came from Triton's cache; then it is the other's turn."""
        with contained("read what Triton says of a kernel"):
            if (monitor := _building.get()) is not None:
                monitor.note_cache("hit" if said.get("cache_hit") else "miss")
        if self.previous is not None:
            self.previous(**said)


@contextmanager
def _listening(monitor: Monitor) -> Iterator[None]:
    with contained("listen to Triton"):
        knobs = private.TRITON_KNOBS.found()
        if knobs is not None and not isinstance(knobs.listener, _Listener):
            knobs.listener = _Listener(knobs.listener)
    token = _building.set(monitor)
    try:
        yield
    finally:
        _building.reset(token)


def _unit(source: Any, trigger: Trigger) -> Unit:
    """Return what is known of a kernel: of its source, a file of an IR, or what tunes it."""
    code = getattr(_function(source), "__code__", None)
    if code is None:
        name = Path(source).name if isinstance(source, str) else getattr(source, "name", None)
        return Unit(semconv.name(name or "kernel"), trigger, kind="kernel")
    module = getattr(_function(source), "__module__", None)
    return Unit(
        semconv.name(code.co_name),
        trigger,
        kind="kernel",
        file=code.co_filename,
        line=code.co_firstlineno,
        attributes={
            semconv.CODE_FUNCTION_NAME: f"{module}.{code.co_name}" if module else code.co_name,
            semconv.CODE_FILE_PATH: code.co_filename,
            semconv.CODE_LINE_NUMBER: code.co_firstlineno,
        },
    )


def _function(source: Any) -> Any:
    """Return the Python function of a kernel, which its wrappers have one in another."""
    for _ in range(8):
        if inspect.isfunction(source):
            break
        source = getattr(source, "fn", None)
    return source
