"""The right to build some work, given by the actor of a fleet and not by files of the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from compilespan.cache.lease import Beat

if TYPE_CHECKING:
    from compilespan_service.ray.fleet import Fleet


class ActorLease:
    """A `Lease` of the compile cache, for stores that create no file exclusively, too."""

    def __init__(self, fleet: Fleet, work: str) -> None:
        """Ask nothing yet.

        Args:
            fleet: Whose actor decides.
            work: A name that all replicas with the same work find, and no others.
        """
        self._fleet = fleet
        self._work = work

    def latest(self) -> int:
        """Return the epoch that was begun last; 0 if none was."""
        return int(self._fleet.call("latest", self._work))

    def begin(self, epoch: int) -> bool:
        """Begin an epoch; ``False`` if another replica did."""
        return bool(self._fleet.call("begin", self._work, epoch))

    def beat(self, epoch: int) -> Beat | None:
        """Return the last beat of an epoch; ``None`` if it has none."""
        found = self._fleet.call("beat", self._work, epoch)
        return Beat(**found) if found is not None else None

    def show(self, epoch: int, beat: Beat) -> None:
        """Show a beat of an epoch that this process began."""
        self._fleet.call("show", self._work, epoch, asdict(beat))
