"""The surroundings of a compile: an object that applies in its context until it is closed.

This module has the only ContextVar of the package. Its value reaches tasks, ``asyncio.to_thread``
and everything else that copies a context, but nothing more. A task keeps the surroundings in which
it was started as long as it lives, so every reader checks whether they are still open: they do not
apply to a task that outlives the warmup or block.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from compilespan.ledger.ledger import get_ledger
from compilespan.monitor.counts import Counts
from compilespan.monitor.request import current_request, phase_of_caller
from compilespan.process.faults import contained
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
    from compilespan.monitor.unit import Unit
    from compilespan.semconv import Component, Kind, Outcome, Phase
    from compilespan.telemetry.exceptions import Failure


class Listener(Protocol):
    """Called for the compiles of a context, in the compiling thread, so it has to be fast."""

    def begun(self, begun: CompileBegun) -> None:
        """A compile began."""

    def happened(self, key: int, event: CompileEvent) -> None:
        """An event happened in the compile with this key."""

    def ended(self, key: int, record: CompileRecord) -> None:
        """The compile with this key ended."""

    def adopted(self) -> None:
        """A compile ended as an event of a monitor around it, without a record."""


class Adopter(Protocol):
    """Interface of a monitor, for compiles that begin inside it.

    Attributes:
        clock: Clock of this monitor.
        unit: What it measures.
    """

    clock: Clock
    unit: Unit

    @property
    def stages(self) -> Stages:
        """The stages of the outermost monitor, which makes the record."""

    @property
    def is_open(self) -> bool:
        """Whether it still adopts compiles."""

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Record an event inside it."""

    def note_compile_id(self, compile_id: str | None) -> None:
        """Record Dynamo's id of a compile inside it."""

    def adopt(
        self,
        kind: Kind,
        outcome: Outcome,
        *,
        failure: Failure | None,
        component: Component | None,
    ) -> bool:
        """Count an adopted compile that ended; ``False`` if this monitor is already closed."""


class Surroundings:
    """What the opener states about compiles that begin in its context while this is open.

        with Surroundings(phase="warmup", component="encoder", listener=job):
            run()

    If a field is ``None``, the next outer surroundings decide.
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
        # By default those of the outer surroundings. The guard hook reads them even when closed.
        outer = self._outer.counts if self._outer is not None else None
        self.counts: Counts = counts or outer or Counts()
        self._pid = os.getpid()
        self._is_closed = False
        self._token: Token[Surroundings] | None = None

    @property
    def is_open(self) -> bool:
        """Whether they still apply: not closed, and not inherited through a fork.

        Those of a monitor end with it, even if an interrupt prevents their own closing.
        """
        if self._is_closed or self._pid != os.getpid():
            return False
        return self.adopter is None or self.adopter.is_open

    def __enter__(self) -> Self:
        """Apply to what begins in this context from now on."""
        self._token = _surroundings.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them, in every context that still has them."""
        self._is_closed = True
        self.listener = self.adopter = None
        if _surroundings.get(None) is self:  # else newer ones are set here
            undo(self._token)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Apply these to a further block; they stay open after it."""
        token = _surroundings.set(self)
        try:
            yield
        finally:
            undo(token)

    def outwards(self) -> list[Surroundings]:
        """Return these and the outer ones, innermost first, without closed ones."""
        found = []
        each: Surroundings | None = self
        while each is not None:
            if each.is_open:
                found.append(each)
            each = each._outer
        return found


_surroundings: ContextVar[Surroundings] = ContextVar("compilespan")

surroundings_here: Callable[[Surroundings], Surroundings] = _surroundings.get
"""Return the surroundings of this context, else the argument. Runs no Python code."""


def current() -> Surroundings | None:
    """Return the innermost open surroundings of this context."""
    innermost: Surroundings | None = _surroundings.get(None)
    while innermost is not None and not innermost.is_open:
        innermost = innermost._outer  # its own module
    return innermost


def current_adopter() -> Adopter | None:
    """Return the innermost open monitor of this context, to which current events belong."""
    each: Surroundings | None = _surroundings.get(None)
    while each is not None:
        adopter = each.adopter
        if adopter is not None and each.is_open:
            return adopter
        each = each._outer  # its own module
    return None


def undo(token: Token[Any] | None) -> None:
    """Undo what was set in a context, if possible: once, and only in that context.

    An async generator may be finalized in another context, when its own no longer exists.
    """
    if token is not None:
        with suppress(ValueError, RuntimeError):
            token.var.reset(token)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """What applies to one compile, resolved once when it begins.

    Attributes:
        component: What the surroundings state; ``None`` if they state nothing.
        phase: The phase of its record.
        parent: Parent and links of its span.
        request: Method and route of the request that waits for it.
        listener: Called for it; ``None`` if no surroundings have one.
        adopter: The outermost open monitor around it, whose event it becomes; ``None`` without one.
    """

    component: Component | None
    phase: Phase
    parent: Parent
    request: str | None
    listener: Listener | None
    adopter: Adopter | None


def resolve() -> Place:
    """Resolve what applies to a compile that begins now in this context."""
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
