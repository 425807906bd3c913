"""Leases: by files in the store, one of several processes builds what all of them need.

``lease/<work>/<epoch>`` is created exclusively by who leads, which then rewrites ``<epoch>.beat``
and at its end writes ``<epoch>.end``.
The moments of two machines are never compared: whether a leader lives is told by its beats.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from compilespan.cache.errors import CacheError
from compilespan.cache.manifest import INVALID

if TYPE_CHECKING:
    from compilespan.cache.space import Space

State = Literal["building", "built", "failed"]

_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of a leader.

    Attributes:
        leader: Who leads, for people.
        count: Number of its beats so far.
        state: Whether it still builds, and if not, whether what it built is in the store.
    """

    leader: str
    count: int
    state: State


class Epochs(Protocol):
    """Who builds some work: processes lead in it one after another, each in an epoch."""

    def latest(self) -> int:
        """Return the epoch that was begun last; 0 if none was."""

    def begin(self, epoch: int) -> bool:
        """Begin an epoch; ``False`` if another process did."""

    def beat(self, epoch: int) -> Beat | None:
        """Return the last beat of an epoch; ``None`` if it has none."""

    def show(self, epoch: int, beat: Beat) -> None:
        """Show a beat of an epoch that this process began."""


class Lease:
    """`Epochs` as files of the store: who creates one first, leads."""

    def __init__(self, space: Space, work: str) -> None:
        """Read nothing yet.

        Args:
            space: Where the leases are.
            work: A name that all processes with the same work find, and no others.
        """
        self._space = space
        self._folder = f"lease/{work}"

    def latest(self) -> int:
        """Return the epoch that was begun last; 0 if none was. A store may raise anything."""
        names = (name.rpartition("/")[2] for name in self._space.names(f"{self._folder}/"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def begin(self, epoch: int) -> bool:
        """Begin an epoch; ``False`` if another process did.

        Raises:
            CacheError: The store does not tell who was first.
        """
        self._probe()
        return self._space.create(self._name(epoch))

    def beat(self, epoch: int) -> Beat | None:
        """Return the last beat of an epoch; ``None`` if it has none that is whole and signed."""
        return self._read(f"{self._name(epoch)}.end") or self._read(f"{self._name(epoch)}.beat")

    def _read(self, name: str) -> Beat | None:
        try:
            values = self._space.read(name)
            leader, count, state = str(values["leader"]), int(values["count"]), values["state"]
        except (*INVALID, CacheError, FileNotFoundError):
            return None
        return Beat(leader[:_MAX_NAME], count, state) if state in get_args(State) else None

    def show(self, epoch: int, beat: Beat) -> None:
        """Write a beat of an epoch that this process began; the last one has a file of its own."""
        kind = "beat" if beat.state == "building" else "end"
        self._space.write(f"{self._name(epoch)}.{kind}", asdict(beat))

    def _name(self, epoch: int) -> str:
        return f"{self._folder}/{epoch:08d}"

    def _probe(self) -> None:
        """Raise unless the store refuses the second creation of a file."""
        name = f"probe/{secrets.token_hex(8)}"
        is_exclusive = self._space.create(name) and not self._space.create(name)
        with suppress(Exception):  # who may not remove leaves an empty file
            self._space.remove(name)
        if not is_exclusive:
            msg = "this store creates a file twice"
            raise CacheError(msg)
