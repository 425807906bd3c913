"""Kernels that Triton builds, and those that are tuned at their first launch.

Inside a compile they are part of it. Outside, a kernel delays its first launch, and neither Dynamo
nor the monitors of vLLM and SGLang account for it, so it is a record of kind ``kernel``.

Triton reports hits and misses of its cache to a listener. It has one slot for it, so our listener
calls the previous one.
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
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compilespan.dynamo.patches import Group
    from compilespan.monitor.monitor import Monitor
    from compilespan.semconv import Trigger

_building: ContextVar[Monitor | None] = ContextVar("compilespan_kernel", default=None)
"""The monitor of the kernel that is being built."""


class Kernels:
    """The wrappers around the functions that build and tune kernels."""

    is_recording: ClassVar[bool] = False
    """Shared by all instances, since a kernel keeps the first compiler it saw, with our wrapper."""

    def __init__(self, built: Callable[[], object]) -> None:
        """Prepare the wrappers.

        Args:
            built: Called when Triton's cache did not have a kernel, in the thread that built it.
        """
        self._tunings = Tunings()
        self._built = built

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is patched; programs and kernels call the compiler by two names."""
        return (
            {private.TRITON_COMPILE: self._build},
            {private.TRITON_COMPILE_BOUND: self._build},
            {private.TRITON_SUBMIT: self._submit},
            {private.TRITON_PRUNE: self._pruned, private.TRITON_BENCH: self._bench},
        )

    def begin(self) -> None:
        """Start recording, except in a worker of inductor: a compile already waits for it."""
        Kernels.is_recording = not _is_inductors_worker()

    def end(self) -> None:
        """Stop recording and restore the previous listener."""
        Kernels.is_recording = False
        knobs = private.TRITON_KNOBS.found()
        if knobs is not None and isinstance(knobs.listener, _Listener):
            knobs.listener = knobs.listener.previous

    def _build(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        window = _window(args[0] if args else kwargs.get("src"))
        if window is None:
            return wrapped(*args, **kwargs)
        with window as monitor, _listening(monitor, self._built):
            return wrapped(*args, **kwargs)

    def _submit(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        """Make Triton's pool build each kernel in the surroundings of its launch."""
        if Kernels.is_recording and len(args) > 1 and callable(args[1]):
            key, build, *rest = args
            args = (key, functools.partial(copy_context().run, build), *rest)
        return wrapped(*args, **kwargs)

    def _pruned(self, wrapped: Callable[..., Any], tuner: Any, args: Any, kwargs: Any) -> Any:
        """Begin the tuning of the configurations that are about to be tried."""
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
    """Our listener in Triton's slot."""

    def __init__(self, previous: Callable[..., Any] | None, built: Callable[[], object]) -> None:
        self.previous = previous
        self._built = built

    def __call__(self, **said: Any) -> None:
        """Note whether the kernel came from Triton's cache, then call the previous listener."""
        with contained("note whether a kernel came from Triton's cache"):
            if (monitor := _building.get()) is not None:
                monitor.note_cache("hit" if said.get("cache_hit") else "miss")
                if not said.get("cache_hit"):
                    self._built()
        if self.previous is not None:
            self.previous(**said)


@contextmanager
def _listening(monitor: Monitor, built: Callable[[], object]) -> Iterator[None]:
    with contained("install a listener in Triton"):
        knobs = private.TRITON_KNOBS.found()
        if knobs is not None and not isinstance(knobs.listener, _Listener):
            knobs.listener = _Listener(knobs.listener, built)
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
    """Return the unit of a kernel, from its source, its IR file or its autotuner."""
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
    """Return the Python function of a kernel, inside its nested wrappers."""
    for _ in range(8):
        if inspect.isfunction(source):
            break
        source = getattr(source, "fn", None)
    return source


def _is_inductors_worker() -> bool:
    main = sys.modules.get("__main__")
    file = str(getattr(main, "__file__", ""))
    return Path(file).parts[-3:] == ("_inductor", "compile_worker", "__main__.py")
