"""What surrounds a compile: one object, pushed by who opens it, that ends when it is closed.

The one ContextVar of the package lives here. It reaches tasks, ``asyncio.to_thread`` and whatever
else copies a context, and nothing that does not. A task keeps what it was started in for as long
as it lives, so every reader asks whether it is still open: whatever outlives a warmup, a block or
a request is surrounded by it no more.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from compilespan.faults import contained
from compilespan.ledger.ledger import get_ledger
from compilespan.monitor.counts import Counts
from compilespan.monitor.request import current_request, phase_of_caller
from compilespan.telemetry.propagation import Parent, parent_for_compile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from compilespan.ledger.active import CompileBegun
    from compilespan.ledger.records import CompileEvent, CompileRecord
    from compilespan.monitor.clock import Clock
    from compilespan.monitor.stages import Stages
    from compilespan.semconv import Component, Kind, Outcome, Phase
    from compilespan.telemetry.exceptions import Failure


class Listener(Protocol):
    """Is called for the compiles of a context, in the compiling thread: it has to be quick."""

    def begun(self, begun: CompileBegun) -> None:
        """A compile began."""

    def happened(self, key: int, event: CompileEvent) -> None:
        """Something happened in the compile with this key."""

    def ended(self, key: int, record: CompileRecord) -> None:
        """It ended."""

    def adopted(self) -> None:
        """A compile ended as an event of a monitor around it: there is no record of it."""


class Adopter(Protocol):
    """A monitor, as those see it that begin inside it.

    Attributes:
        clock: Its own.
    """

    clock: Clock

    @property
    def stages(self) -> Stages:
        """The stages of the record that it belongs to."""

    @property
    def is_open(self) -> bool:
        """Whether it still adopts."""

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Record that something happened inside it."""

    def note_compile_id(self, compile_id: str | None) -> None:
        """Note Dynamo's id of a compile inside it."""

    def adopt(
        self,
        kind: Kind,
        outcome: Outcome,
        *,
        failure: Failure | None,
        component: Component | None,
    ) -> bool:
        """Count a compile that ended inside; ``False`` if it was closed before."""


class Surroundings:
    """What its opener states for compiles that begin in its context while it is open.

        with Surroundings(phase="warmup", component="encoder", listener=job):
            run()

    A field that is ``None`` states nothing: the next surroundings outwards do.
    """

    __slots__ = (
        *("_is_closed", "_outer", "_pid", "_token"),
        *("adopter", "component", "counts", "listener", "phase"),
    )

    def __init__(
        self,
        *,
        component: Component | None = None,
        phase: Phase | None = None,
        listener: Listener | None = None,
        adopter: Adopter | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.component = component
        self.phase = phase
        self.listener = listener
        self.adopter = adopter
        self._outer = current()
        # Of what surrounds them, if they have none of their own, when they are closed, too.
        outer = self._outer.counts if self._outer is not None else None
        self.counts: Counts = counts or outer or Counts()
        self._pid = os.getpid()
        self._is_closed = False
        self._token: Token[Surroundings] | None = None

    @property
    def is_open(self) -> bool:
        """Whether they still surround: not closed, and not inherited through a fork.

        Those of a monitor end with it, whatever interrupts its closing.
        """
        if self._is_closed or self._pid != os.getpid():
            return False
        return self.adopter is None or self.adopter.is_open

    def __enter__(self) -> Self:
        """Surround what begins in this context from now on."""
        self._token = _surroundings.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all of them, in every context that still has them."""
        self._is_closed = True
        self.listener = self.adopter = None
        if _surroundings.get(None) is self:  # else others were opened since, and are still there
            undo(self._token)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Surround a further block with these; they stay open behind it."""
        token = _surroundings.set(self)
        try:
            yield
        finally:
            undo(token)

    def outwards(self) -> list[Surroundings]:
        """Return these and what surrounds them, innermost first, closed ones left out."""
        found = []
        each: Surroundings | None = self
        while each is not None:
            if each.is_open:
                found.append(each)
            each = each._outer
        return found


_surroundings: ContextVar[Surroundings] = ContextVar("compilespan")

surroundings_here: Callable[[Surroundings], Surroundings] = _surroundings.get
"""Return the surroundings of this context, else the argument. It runs no Python code."""


def current() -> Surroundings | None:
    """Return the innermost surroundings that are open here."""
    innermost: Surroundings | None = _surroundings.get(None)
    while innermost is not None and not innermost.is_open:
        innermost = innermost._outer  # its own module
    return innermost


def current_adopter() -> Adopter | None:
    """Return the innermost monitor that is open here: what happens now is its event."""
    each: Surroundings | None = _surroundings.get(None)
    while each is not None:
        adopter = each.adopter
        if adopter is not None and each.is_open:
            return adopter
        each = each._outer  # its own module
    return None


def undo(token: Token[Any] | None) -> None:
    """Take back what was set in a context, if it can be: once, and in that context.

    An async generator may be finalized in another context; its own is gone then.
    """
    if token is not None:
        with suppress(ValueError, RuntimeError):
            token.var.reset(token)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """What holds for one compile, resolved once when it begins.

    Attributes:
        component: What the surroundings state; ``None`` if they state nothing.
        phase: The phase of its record.
        parent: Where its span hangs.
        request: Method and route of the request that waits for it.
        listener: Is called for it.
        adopter: The outermost open monitor around it, whose event it becomes.
    """

    component: Component | None
    phase: Phase
    parent: Parent
    request: str | None
    listener: Listener | None
    adopter: Adopter | None


def resolve() -> Place:
    """Resolve what surrounds a compile that begins here and now."""
    innermost = current()
    around = innermost.outwards() if innermost is not None else []
    readiness = get_ledger().readiness
    parent = Parent(None)
    with contained("find the parent of a compile's span"):
        parent = parent_for_compile(ready=readiness.ready is not None)
    phase: Phase = phase_of_caller() or readiness.phase
    adopters = [s.adopter for s in around if s.adopter is not None]
    return Place(
        component=next((s.component for s in around if s.component is not None), None),
        phase=next((s.phase for s in around if s.phase is not None), phase),
        parent=parent,
        request=current_request(),
        listener=next((s.listener for s in around if s.listener is not None), None),
        adopter=adopters[-1] if adopters else None,
    )
