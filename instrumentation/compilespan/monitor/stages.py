"""Which stage a compile is in, and how much of its time each stage had.

Torch names what it does while it compiles; `compilespan.dynamo.stages` says what begins and ends.
At each moment the innermost name decides, so the seconds of all stages add up to the compile's.
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
    """Return the stage of a unit while torch names nothing in it; ``None`` for a block's own."""
    if kind == "load":
        return "cache"
    if trigger == "explicit":
        return None
    return _OF_TRIGGER.get(trigger, "trace")  # a window of Dynamo's


class Stages:
    """The stages of one compile: those of the thread that opened it.

    Names that other threads begin are not its own, e.g. of inductor's compile pool. While a
    compile of another thread is adopted, and this thread does nothing that torch names, it waits
    for the other's kernels.
    """

    def __init__(
        self,
        base: Stage,
        lock: AbstractContextManager[bool],
        changed: Callable[[Stage, int], object],
    ) -> None:
        """Divide nothing yet.

        Args:
            base: The stage outside of everything that torch names.
            lock: Of the monitor that owns this.
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
        """Begin with what torch names nothing of."""
        self._started_ns = self._since_ns = started_ns

    def enter(self, name: str, stage: Stage | None) -> None:
        """Torch begins what it calls ``name``; ``None`` is no stage of its own."""
        if threading.get_ident() != self.thread_id:
            return
        if len(self._stack) < MAX_DEPTH:  # only this thread changes it
            self._stack.append((name, stage or self._innermost))
        if self._stack[-1][1] != self._current:
            with self._lock:
                begun = self._begun()
            self._tell(begun)

    def leave(self, name: str) -> bool:
        """It ended, and whatever began inside it: an exception ends several at once.

        Returns:
            Whether it began here.
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
        """A compile begins that is adopted; one of another thread is waited for."""
        if threading.get_ident() == self.thread_id:
            self.enter(name, stage)
        else:
            self._await(1)

    def release(self, name: str) -> None:
        """It ended."""
        if threading.get_ident() == self.thread_id:
            self.leave(name)
        else:
            self._await(-1)

    def stop(self, started_ns: int, ended_ns: int) -> dict[Stage, int]:
        """Return the nanoseconds of each stage; they add up to those from start to end.

        Args:
            started_ns: Later than `start` was told if it belonged to another until then.
            ended_ns: When the compile ended.
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
        """Whether torch names nothing of what goes on."""
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
        """Return what begins now; with the first change, what began at the start, too."""
        if self._is_over or self._innermost == self._current:
            return []
        now_ns = time.perf_counter_ns()
        self._spend(now_ns)
        begun = [] if self._has_changed else [(self._current, self._started_ns)]
        self._has_changed = True
        self._current = self._innermost
        return [*begun, (self._current, now_ns)]

    def _tell(self, begun: list[tuple[Stage, int]]) -> None:
        for stage, begun_ns in begun:  # not under the lock: it comes to processors of the program
            self._changed(stage, begun_ns)

    def _spend(self, until_ns: int) -> None:
        spent_ns = until_ns - self._since_ns
        self._spent_ns[self._current] = self._spent_ns.get(self._current, 0) + spent_ns
        self._since_ns = until_ns
