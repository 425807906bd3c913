"""Measure how long imports take: those that no other import of their thread waits for.

It needs only the interpreter: ``compilespan run`` loads it before anything else in a program.

Python calls the finders of ``sys.meta_path`` when it imports a module, and meanwhile holds a lock
that exists only during this import (``importlib._bootstrap._module_locks``). So a finder that
finds nothing sees when an import begins, and a weak reference to the lock shows when it ends. No
module, spec, loader or frame is touched.
"""

from __future__ import annotations

import _thread
import sys
import time
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_KEPT = 512
_LEAST_NS = 1_000_000


class ImportTimer:
    """An import finder that finds nothing, and times what others find."""

    def __init__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        """When this timer was made, as ``time.perf_counter_ns()``."""
        self.kept: list[tuple[str, int, int, int]] = []
        """Package, begin, end (``time.perf_counter_ns()``) and thread of each, oldest first."""
        self.note: Callable[[str, int, int, int], object] | None = None
        """If set, called with each import instead of keeping it."""
        self._open: dict[int, tuple[Any, str, int]] = {}
        """By thread, of the import that is timed: a weak reference to its lock, package, begin."""

    def begin(self) -> None:
        """Time imports from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)  # type: ignore[arg-type]  # has all that a finder needs

    def end(self) -> None:
        """Stop timing imports."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)  # type: ignore[arg-type]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002
        """Find nothing; note the begin of an import that no other one of this thread waits for."""
        thread = _thread.get_ident()
        if thread in self._open:
            return
        try:
            lock = sys.modules["_frozen_importlib"]._module_locks[name]()  # noqa: SLF001
            if lock is not None and lock.owner == thread:  # else a caller only looks for a spec
                self._time(lock, name.partition(".")[0], thread)
        except Exception:  # another Python implementation: time nothing
            return

    def _time(self, lock: Any, package: str, thread: int) -> None:
        began_ns = time.perf_counter_ns()
        lock_ref = ref(lock, lambda _: self._ended(package, began_ns, thread))
        self._open[thread] = (lock_ref, package, began_ns)

    @property
    def going_on(self) -> list[tuple[str, int, int]]:
        """Package, begin and thread of each import that has not ended."""
        opened = list(self._open.items())
        return [(package, began_ns, thread) for thread, (_, package, began_ns) in opened]

    def _ended(self, package: str, began_ns: int, thread: int) -> None:
        ended_ns = time.perf_counter_ns()
        self._open.pop(thread, None)
        if ended_ns - began_ns < _LEAST_NS:
            return
        if self.note is not None:
            self.note(package, began_ns, ended_ns, thread)
        elif len(self.kept) < MAX_KEPT:
            self.kept.append((package, began_ns, ended_ns, thread))


def import_timer() -> ImportTimer:
    """Return the timer that is installed in this process, else a new one."""
    for finder in sys.meta_path:
        # The timer of `compilespan run` is of another class with the same name.
        if type(finder).__name__ == ImportTimer.__name__:
            return finder  # type: ignore[return-value]
    return ImportTimer()
