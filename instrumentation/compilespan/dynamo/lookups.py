"""The cache lookups of one graph, and why they missed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import key_parts
from compilespan.dynamo.known_keys import LookedUp, known_keys
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Sequence


class Lookups:
    """What the keys consist of by which a graph was looked up and not found.

    AOTAutograd's key covers everything but the graph that inductor gets; inductor's covers that,
    too, but neither grad mode nor how the module is wrapped.
    """

    def __init__(self) -> None:
        """Know of no lookup."""
        self._computed: tuple[Any, Any] | None = None
        self._parts: dict[str, str] = {}
        self._ended_ns = 0

    def computed(self, pickler: Any, details: Any) -> None:
        """Keep what AOTAutograd made a key of, until `ended` says what the lookup found."""
        self._computed = pickler, details

    def ended(self, cache: str, result: str, components: Any) -> None:
        """Note the components of the key of a miss.

        Args:
            cache: ``autograd`` or ``fx``.
            result: ``hit``, ``miss`` or ``bypass``.
            components: torch's description of the key; AOTAutograd's is empty since 2.13.
        """
        computed, self._computed = self._computed, None
        if result != "miss":
            return
        self._ended_ns = self._ended_ns or time.time_ns()
        with contained("note the components of a cache key"):
            if computed is not None and not components:
                self._parts = key_parts.of_autograd(*computed)
            elif isinstance(components, list):
                self._add(cache, components)

    def _add(self, cache: str, components: Sequence[Any]) -> None:
        parts = key_parts.of_lines(each for each in components if isinstance(each, str))
        if cache == "autograd" or not self._parts:
            self._parts = parts
        elif key_parts.GRAPH in parts:
            self._parts.setdefault(key_parts.GRAPH, parts[key_parts.GRAPH])

    def why_missed(self, key: object, name: str, *, is_kept: bool) -> str | None:
        """Return how the key differs from the nearest one that has an entry.

        Args:
            key: The key that was looked up first.
            name: Name of the compile.
            is_kept: Whether the graph was compiled, and not only looked up.
        """
        with contained("find out why a cache missed"):
            looked_up = LookedUp(str(key), self._parts, self._ended_ns)
            return known_keys.why_missed(looked_up, name, is_kept=is_kept)
        return None
