"""Kernels that Triton builds, and those that are tuned at their first launch.

Inside a compile they are a part of it. Outside, one delays whoever launches it first, and neither
Dynamo nor vLLM's or SGLang's own monitor accounts for it: it is a record of kind ``kernel``.

What Triton says to its listener (hit or miss of its cache) is taken over; there is one slot for
it, and whoever has it goes on being called.
"""

from __future__ import annotations

import functools
import inspect
import sys
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compilespan import semconv
from compilespan.dynamo import private
from compilespan.dynamo.tuning import Tunings
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

    is_recording: ClassVar[bool] = False
    """Of all: a kernel keeps the compiler that it has seen first, our wrapper and all."""

    def __init__(self) -> None:
        self._tunings = Tunings()

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is patched: both names by which programs and kernels call the compiler."""
        return (
            {private.TRITON_COMPILE: self._build},
            {private.TRITON_COMPILE_BOUND: self._build},
            {private.TRITON_SUBMIT: self._submit},
            {private.TRITON_PRUNE: self._pruned, private.TRITON_BENCH: self._bench},
        )

    def begin(self) -> None:
        """Record from now on, but not in a worker of inductor's, for which a compile waits."""
        Kernels.is_recording = not _is_inductors_worker()

    def end(self) -> None:
        """Record no more, and give the listener's slot back."""
        Kernels.is_recording = False
        knobs = private.TRITON_KNOBS.found()
        if knobs is not None and isinstance(knobs.listener, _Listener):
            knobs.listener = knobs.listener.previous

    def _build(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        window = _window(args[0] if args else kwargs.get("src"))
        if window is None:
            return wrapped(*args, **kwargs)
        with window as monitor, _listening(monitor):
            return wrapped(*args, **kwargs)

    def _submit(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        """Let what is built in a pool of Triton's be built in the surroundings of its launch."""
        if Kernels.is_recording and len(args) > 1 and callable(args[1]):
            key, build, *rest = args
            args = (key, functools.partial(copy_context().run, build), *rest)
        return wrapped(*args, **kwargs)

    def _pruned(self, wrapped: Callable[..., Any], tuner: Any, args: Any, kwargs: Any) -> Any:
        """Know how many configurations are about to be tried."""
        configs = wrapped(*args, **kwargs)
        with contained("begin to tune a kernel"):
            if Kernels.is_recording and type(configs) is list:
                return self._tunings.begin(tuner, configs, _unit(tuner, "autotune"))
        return configs

    def _bench(self, wrapped: Callable[..., Any], tuner: Any, args: Any, kwargs: Any) -> Any:
        tuning = self._tunings.of(tuner)
        if tuning is None:
            return wrapped(*args, **kwargs)
        with tuning.one():
            return wrapped(*args, **kwargs)


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


def _window(source: Any) -> Window | None:
    if Kernels.is_recording:
        with contained("name a kernel"):
            return Window(_unit(source, "kernel"))
    return None


def _unit(source: Any, trigger: Trigger) -> Unit:
    """Return what is known of a kernel: of its source, a file of an IR, or what tunes it."""
    code = getattr(_function(source), "__code__", None)
    if code is None:
        name = Path(source).name if isinstance(source, str) else getattr(source, "name", None)
        return Unit(semconv.name(name or "kernel"), trigger, kind="kernel")
    module = getattr(_function(source), "__module__", None)
    file = semconv.text(code.co_filename)
    return Unit(
        semconv.name(code.co_name),
        trigger,
        kind="kernel",
        file=file,
        line=code.co_firstlineno,
        attributes={
            semconv.CODE_FUNCTION_NAME: semconv.text(
                f"{module}.{code.co_name}" if module else code.co_name
            ),
            semconv.CODE_FILE_PATH: file,
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


def _is_inductors_worker() -> bool:
    main = sys.modules.get("__main__")
    file = str(getattr(main, "__file__", ""))
    return Path(file).parts[-3:] == ("_inductor", "compile_worker", "__main__.py")
