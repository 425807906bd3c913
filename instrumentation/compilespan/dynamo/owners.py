"""Who compiled what before, without keeping anybody alive."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

    from opentelemetry.util.types import AttributeValue

_MAX_FORWARDS = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Forward:
    """What a lazy backward needs to know of its forward."""

    name: str
    is_encoder: bool | None
    attributes: Mapping[str, AttributeValue]


class OwnerMemory:
    """Frames by owner, and forwards by compile id; both bounded, both weak."""

    def __init__(self) -> None:
        # A weak reference's callback may run in the middle of anything, hence reentrant.
        self._lock = threading.RLock()
        self._frames: dict[int, tuple[Any, set[tuple[str, int, str]]]] = {}
        self._forwards: OrderedDict[str, Forward] = OrderedDict()

    def compiled_before(self, owner: Any, code: CodeType) -> bool:
        """Whether this owner compiled this frame before."""
        with self._lock:
            known = self._frames.get(id(owner))
            return known is not None and known[0]() is owner and _key(code) in known[1]

    def compiled(self, owner: Any, code: CodeType) -> None:
        """Remember that this owner compiled this frame."""
        identity = id(owner)
        with self._lock:
            known = self._frames.get(identity)
            if known is None or known[0]() is not owner:
                try:
                    reference = weakref.ref(owner, lambda _: self._frames.pop(identity, None))
                except TypeError:  # takes no weak references: never a recompile for us
                    return
                known = self._frames[identity] = (reference, set())
            known[1].add(_key(code))

    def remember(self, compile_id: str, forward: Forward) -> None:
        """Remember a forward for the backward that may come."""
        with self._lock:
            self._forwards[compile_id] = forward
            self._forwards.move_to_end(compile_id)
            if len(self._forwards) > _MAX_FORWARDS:
                self._forwards.popitem(last=False)

    def forward(self, compile_id: str) -> Forward | None:
        """Return the forward with this compile id."""
        with self._lock:
            return self._forwards.get(compile_id)


def _key(code: CodeType) -> tuple[str, int, str]:
    return code.co_filename, code.co_firstlineno, code.co_name
