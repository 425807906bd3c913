"""The compiles in progress."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.semconv import Component, Stage


@dataclasses.dataclass(frozen=True, slots=True)
class CompileBegun:
    """A compile in progress.

    Attributes:
        key: Identifies it in its process.
        name: As in `CompileRecord`.
        component: As known at the start.
        start_ns: Nanoseconds since the epoch.
        started_ns: The same moment on the clock of ``time.perf_counter_ns()``.
        graphs: Number of graphs compiled so far.
        stage: The current stage; ``None`` in its first one.
    """

    key: int
    name: str
    component: Component
    start_ns: int
    started_ns: int
    graphs: int = 0
    stage: Stage | None = None

    @property
    def is_encoder(self) -> bool:
        """Whether it belongs to an encoder."""
        return self.component == "encoder"

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began; valid only in the process that compiles."""
        return (time.perf_counter_ns() - self.started_ns) / 1e9


class InterruptedCompile(Exception):  # noqa: N818  # it names what happened
    """The error of a compile that the end of its process interrupted; never raised."""


class ActiveCompiles:
    """The compiles of this process that are in progress. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._begun: dict[int, CompileBegun] = {}
        self._graphs: dict[int, int] = {}
        self._stages: dict[int, Stage] = {}
        self._interrupts: dict[int, Callable[[], object]] = {}

    def __bool__(self) -> bool:
        """Whether anything is compiling."""
        return bool(self._begun)

    def begin(self, begun: CompileBegun, interrupt: Callable[[], object] | None = None) -> None:
        """Add a compile; ``interrupt`` closes its monitor when the process ends."""
        with self._lock:
            self._begun[begun.key] = begun
            if interrupt is not None:
                self._interrupts[begun.key] = interrupt

    def progress(self, key: int, graphs: int) -> None:
        """Record how many graphs a compile has compiled so far."""
        with self._lock:
            if key in self._begun:
                self._graphs[key] = graphs

    def enter_stage(self, key: int, stage: Stage) -> None:
        """Record the stage that a compile enters."""
        with self._lock:
            if key in self._begun:
                self._stages[key] = stage

    def end(self, key: int) -> bool:
        """Remove a compile; return ``False`` if it had already ended."""
        with self._lock:
            self._interrupts.pop(key, None)
            self._graphs.pop(key, None)
            self._stages.pop(key, None)
            return self._begun.pop(key, None) is not None

    def now(self) -> tuple[CompileBegun, ...]:
        """Return the compiles in progress, oldest first."""
        with self._lock:
            return tuple(
                dataclasses.replace(
                    begun,
                    graphs=self._graphs.get(key, begun.graphs),
                    stage=self._stages.get(key),
                )
                for key, begun in self._begun.items()
            )

    def interrupt(self) -> None:
        """Close all compiles as failed, so that telemetry is complete when the process ends."""
        with self._lock:
            interrupts = list(self._interrupts.values())
        for interrupt in interrupts:
            interrupt()
