"""The publications that this process may load, and how it goes with them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from compilespan.cache.housekeeping import mark_used
from compilespan.cache.roots import graph_key
from compilespan.cache.trials import Others, Trials
from compilespan.cache.trying import Trying
from compilespan.dynamo.graphs import GraphWatch
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from compilespan.cache.manifest import Manifest
    from compilespan.cache.space import Space


class Publications:
    """What others added to a store. Nothing here raises."""

    def __init__(self, space: Callable[[], Space], notes: Callable[[], Space]) -> None:
        """Begin with none.

        Args:
            space: Returns where they are, to mark those that are used; may raise anything.
            notes: Returns where trials are noted; may raise anything.
        """
        self._space = space
        self._notes = notes
        self._keys: dict[str, frozenset[str]] = {}
        """Keys of the graphs that each of them added."""
        self._marked: set[str] = set()
        self.others = Others({}, 0.0)
        """Trials of other starts, which may be dead."""
        self._trying = Trying(lambda: self.used, lambda: Trials(self._notes()))

    def update(self, named: Mapping[str, Manifest]) -> None:
        """Add those with these manifests."""
        for name, manifest in named.items():
            keys = (graph_key(entry.path) for entry in manifest.added)
            self._keys[name] = frozenset(key for _, key in filter(None, keys))

    @property
    def used(self) -> set[str]:
        """Those whose graphs torch has found."""
        return self.of(list(GraphWatch.hit_keys))

    def of(self, keys: Iterable[str]) -> set[str]:
        """Return those that added graphs with these keys."""
        wanted = frozenset(keys)
        return {name for name, added in list(self._keys.items()) if not added.isdisjoint(wanted)}

    def mark_used(self) -> None:
        """Mark those that were used, so that they are kept; in a thread, and what fails is not."""
        with contained("mark what was used of the compile cache"):
            new = self.used - self._marked
            self._marked |= new
            if new:
                marking = threading.Thread(
                    target=self._mark, args=(new,), name="compilespan-cache", daemon=True
                )
                marking.start()

    def _mark(self, names: set[str]) -> None:
        with contained("mark what was used of the compile cache"):
            space = self._space()
            for name in names:
                mark_used(space, name)

    def try_out(self, *, is_turn: bool = False) -> None:
        """Tell the next start what this one may load, in case that it dies of it.

        Args:
            is_turn: Whether a turn begins, whose end tells how it went.
        """
        names = [name for name, keys in list(self._keys.items()) if keys]
        if names:
            self._trying.begin(names, self.others, is_turn=is_turn)

    def tried(self) -> None:
        """End that, unless a turn goes on: what was loaded has worked."""
        self._trying.end()

    def turn_ended(self, failed_keys: Iterable[str], *, is_known: bool) -> None:
        """End that: what was loaded has worked, except for graphs with these keys.

        Args:
            failed_keys: Keys of graphs that failed.
            is_known: ``False`` if the program ends, which tells nothing.
        """
        failed = self.of(failed_keys)
        self._trying.end(has_worked=is_known, failed=failed, is_turn=True)

    def end_trial(self, timeout_s: float) -> None:
        """End it because the process ends, which tells nothing of what was loaded."""
        self._trying.end(has_worked=False, timeout_s=timeout_s)
