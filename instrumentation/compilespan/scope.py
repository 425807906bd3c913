"""What surrounds a compile: the monitor that is open, and what a warmup says of its calls.

The one ContextVar of the package lives here, so it reaches tasks, ``asyncio.to_thread`` and
whatever else copies a context, and nothing that does not.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compilespan.monitor import Monitor
    from compilespan.records import CompileBegun, CompileEvent, CompileRecord
    from compilespan.semconv import Phase


class Listener(Protocol):
    """Is told of the compiles of a context in the compiling thread, so it has to be quick."""

    def begun(self, begun: CompileBegun) -> None:
        """A compile began."""

    def happened(self, key: int, event: CompileEvent) -> None:
        """Something happened in the compile with this key."""

    def ended(self, key: int, record: CompileRecord) -> None:
        """It ended."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """What holds for compiles that begin in this context.

    Attributes:
        monitor: The innermost monitor; it adopts compiles while it is open.
        is_encoder: What a warmup target said of its compiles, if it did.
        phase: The phase, where it is not the process's.
        listener: Is told of the compiles of this context.
    """

    monitor: Monitor | None = None
    is_encoder: bool | None = None
    phase: Phase | None = None
    listener: Listener | None = None


_NOTHING = Scope()
_scope: ContextVar[Scope] = ContextVar("compilespan_scope", default=_NOTHING)


def current() -> Scope:
    """Return what surrounds a compile that begins here."""
    return _scope.get()


def push(scope: Scope) -> Token[Scope]:
    """Make ``scope`` the current one; give the token to `pop`."""
    return _scope.set(scope)


def pop(token: Token[Scope]) -> None:
    """Undo a `push`; harmless where the block was left in another context than entered."""
    with suppress(ValueError):  # an async generator was finalized elsewhere: its context is gone
        _scope.reset(token)


@contextmanager
def entered(scope: Scope) -> Iterator[None]:
    """Make ``scope`` the current one for a block."""
    token = push(scope)
    try:
        yield
    finally:
        pop(token)
