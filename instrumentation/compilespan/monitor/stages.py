"""The current stage of a compile, and the time spent in each stage.

Torch names its steps while it compiles; `compilespan.dynamo.stages` reports their begin and end.
At each moment the innermost step decides, so the seconds of all stages sum to the duration.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from compilespan.semconv import Kind, Stage, Trigger

MAX_DEPTH = 256
_OF_TRIGGER: dict[Trigger, Stage] = {
    "cudagraph": "other",
    "standalone": "lower",
    "cache_load": "cache",
    "aot_load": "cache",
    "kernel": "kernels",
    "autotune": "autotune",
}


def stage_of_unit(trigger: Trigger, kind: Kind | None) -> Stage | None:
    """Return the stage of a unit outside of the steps that torch names; ``None`` for a block."""
    if kind == "load":
        return "cache"
    if trigger == "explicit":
        return None
    return _OF_TRIGGER.get(trigger, "trace")  # a unit that Dynamo traces


class Stages:
    """The stages of one compile, in the thread that opened it.

    Steps of other threads are ignored, e.g. in inductor's compile pool. While an adopted compile
    runs in another thread, and torch names no step in this one, the stage is ``kernels``: this
    thread waits for the kernels of the other.
    """

    def __init__(
        self,
        base: Stage,
        lock: AbstractContextManager[bool],
        changed: Callable[[Stage, int], object],
    ) -> None:
        """Prepare the stages; `start` begins the first one.

        Args:
            base: The stage outside of all steps that torch names.
            lock: Lock of the monitor that owns this object.
            changed: Called with each stage that begins and its ``time.perf_counter_ns()``.
        """
        self.thread_id = threading.get_ident()
        self._base = base
        self._lock = lock
        self._changed = changed
        self._stack: list[tuple[str, Stage]] = []
        self._awaited = 0
        self._spent_ns: dict[Stage, int] = {}
        self._current = base
        self._started_ns = self._since_ns = 0
        self._has_changed = self._is_over = False

    def start(self, started_ns: int) -> None:
        """Begin with the base stage."""
        self._started_ns = self._since_ns = started_ns

    def enter(self, name: str, stage: Stage | None) -> None:
        """Enter a step that torch names; with ``None`` the stage stays the same."""
        if threading.get_ident() != self.thread_id:
            return
        if len(self._stack) < MAX_DEPTH:  # only this thread changes it
            self._stack.append((name, stage or self._innermost))
        if self._stack[-1][1] != self._current:
            with self._lock:
                begun = self._begun()
            self._tell(begun)

    def leave(self, name: str) -> bool:
        """Leave a step and all steps inside it: an exception ends several at once.

        Returns:
            Whether the step was entered in this compile.
        """
        if threading.get_ident() != self.thread_id:
            return False
        stack = self._stack
        for index in range(len(stack) - 1, -1, -1):
            if stack[index][0] == name:
                del stack[index:]
                break
        else:
            return False
        if self._innermost != self._current:
            with self._lock:
                begun = self._begun()
            self._tell(begun)
        return True

    def adopt(self, name: str, stage: Stage | None) -> None:
        """Enter an adopted compile; one in another thread counts as waiting for kernels."""
        if threading.get_ident() == self.thread_id:
            self.enter(name, stage)
        else:
            self._await(1)

    def release(self, name: str) -> None:
        """Leave an adopted compile."""
        if threading.get_ident() == self.thread_id:
            self.leave(name)
        else:
            self._await(-1)

    def stop(self, started_ns: int, ended_ns: int) -> dict[Stage, int]:
        """Return the nanoseconds of each stage; they sum to ``ended_ns - started_ns``.

        Args:
            started_ns: Later than in `start` if the time until then belongs to another monitor.
            ended_ns: End of the compile.
        """
        with self._lock:
            self._is_over = True
            self._spend(ended_ns)
            spent_ns = dict(self._spent_ns)
        spent_ns[self._base] = spent_ns.get(self._base, 0) - (started_ns - self._started_ns)
        if min(spent_ns.values()) < 0:  # another thread closed it while this one changed its stage
            return {self._base: ended_ns - started_ns}
        return {stage: spent for stage, spent in spent_ns.items() if spent}

    @property
    def is_outside(self) -> bool:
        """Whether no step that torch names is in progress."""
        return not self._stack

    @property
    def _innermost(self) -> Stage:
        if self._stack:
            return self._stack[-1][1]
        return "kernels" if self._awaited else self._base

    def _await(self, more: int) -> None:
        with self._lock:
            self._awaited = max(0, self._awaited + more)
            begun = self._begun()
        self._tell(begun)

    def _begun(self) -> list[tuple[Stage, int]]:
        """Return the stage that begins now; at the first change also the one from the start."""
        if self._is_over or self._innermost == self._current:
            return []
        now_ns = time.perf_counter_ns()
        self._spend(now_ns)
        begun = [] if self._has_changed else [(self._current, self._started_ns)]
        self._has_changed = True
        self._current = self._innermost
        return [*begun, (self._current, now_ns)]

    def _tell(self, begun: list[tuple[Stage, int]]) -> None:
        for stage, begun_ns in begun:  # without the lock: it runs processors of the program
            self._changed(stage, begun_ns)

    def _spend(self, until_ns: int) -> None:
        spent_ns = until_ns - self._since_ns
        self._spent_ns[self._current] = self._spent_ns.get(self._current, 0) + spent_ns
        self._since_ns = until_ns
