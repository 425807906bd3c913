"""Counts of compiled code that runs, kept while a warmup's verify pass asks for them."""

from __future__ import annotations

import itertools


class Seen:
    """Counts of compiled code that was entered, of calls that no compiled code fits.

    Counted by the C iterators of `compilespan.dynamo.guards`; reading a count consumes it.
    """

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits = itertools.count(1)
        self.misses = itertools.count(1)

    def read(self) -> tuple[int, int]:
        """Return hits and misses, once."""
        return next(self.hits) - 1, next(self.misses) - 1


UNSEEN = Seen()
"""Takes the counts that nobody asks for."""


class Counts:
    """Where calls of compiled code are counted, for some surroundings and those inside them."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = UNSEEN
