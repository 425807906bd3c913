"""Which owner compiled which frame before, without keeping owners alive."""

from __future__ import annotations

import dataclasses
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from types import CodeType

    from compilespan.monitor.unit import Unit
    from compilespan.semconv import Component

_MAX_FORWARDS = 4096
_MAX_CLOSURES = 256

_Frames: TypeAlias = "weakref.WeakKeyDictionary[CodeType, set[tuple[int, ...]]]"


@dataclasses.dataclass(frozen=True, slots=True)
class Forward:
    """What a lazy backward needs from its forward."""

    unit: Unit
    component: Component | None


class FrameKey:
    """A frame that Dynamo compiles: its code and its closure.

    Code is compared by value: resume functions of two breaks on one line differ, and the same
    resume function after a reset is equal. Two closures of one function are two frames.
    """

    def __init__(self, code: CodeType, closure: Any) -> None:
        self.code = code
        self.cells = tuple(id(cell) for cell in closure or ())


class OwnerMemory:
    """Frames by owner, which is held weakly, and a bounded number of forwards by compile id."""

    def __init__(self) -> None:
        # Reentrant, since a finalizer or signal handler may compile while this thread holds it.
        self._lock = fork_safe_lock()
        self._frames: dict[int, tuple[Any, _Frames]] = {}
        self._forwards: OrderedDict[str, Forward] = OrderedDict()

    def compiled_before(self, owner: Any, frame: FrameKey) -> bool:
        """Whether this owner compiled this frame before."""
        with self._lock:
            known = self._frames.get(id(owner))
            if known is None or known[0]() is not owner:
                return False
            return frame.cells in known[1].get(frame.code, ())

    def compiled(self, owner: Any, frame: FrameKey) -> None:
        """Remember that this owner compiled this frame."""
        identity = id(owner)
        with self._lock:
            known = self._frames.get(identity)
            if known is None or known[0]() is not owner:
                try:
                    reference = weakref.ref(owner, lambda _: self._frames.pop(identity, None))
                except TypeError:  # no weak reference possible: recompiles not detected
                    return
                known = self._frames[identity] = (reference, weakref.WeakKeyDictionary())
            closures = known[1].setdefault(frame.code, set())
            if len(closures) >= _MAX_CLOSURES:  # e.g. of a function that is defined repeatedly
                closures.clear()
            closures.add(frame.cells)

    def remember(self, forward: Forward) -> None:
        """Remember a forward for a later backward."""
        compile_id = forward.unit.compile_id or ""
        with self._lock:
            self._forwards[compile_id] = forward
            self._forwards.move_to_end(compile_id)
            if len(self._forwards) > _MAX_FORWARDS:
                self._forwards.popitem(last=False)

    def forward(self, compile_id: str) -> Forward | None:
        """Return the forward with this compile id; ``None`` if unknown."""
        with self._lock:
            return self._forwards.get(compile_id)
