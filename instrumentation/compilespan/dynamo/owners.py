"""Who compiled what before, without keeping anybody alive."""

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
    """What a lazy backward needs to know of its forward."""

    unit: Unit
    component: Component | None


class FrameKey:
    """A frame that Dynamo compiles: its code and its closure.

    Code counts by its value: a resume function of another break on the same line differs in it,
    the same one after a reset does not. Two closures of one function are two frames.
    """

    def __init__(self, code: CodeType, closure: Any) -> None:
        self.code = code
        self.cells = tuple(id(cell) for cell in closure or ())


class OwnerMemory:
    """Frames by owner, and forwards by compile id; both bounded, both weak."""

    def __init__(self) -> None:
        # A weak reference's callback may run in the middle of anything, hence reentrant.
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
                except TypeError:  # takes no weak references: never a recompile for us
                    return
                known = self._frames[identity] = (reference, weakref.WeakKeyDictionary())
            closures = known[1].setdefault(frame.code, set())
            if len(closures) >= _MAX_CLOSURES:  # of functions that are made anew again and again
                closures.clear()
            closures.add(frame.cells)

    def remember(self, forward: Forward) -> None:
        """Remember a forward for the backward that may come."""
        compile_id = forward.unit.compile_id or ""
        with self._lock:
            self._forwards[compile_id] = forward
            self._forwards.move_to_end(compile_id)
            if len(self._forwards) > _MAX_FORWARDS:
                self._forwards.popitem(last=False)

    def forward(self, compile_id: str) -> Forward | None:
        """Return the forward with this compile id."""
        with self._lock:
            return self._forwards.get(compile_id)
