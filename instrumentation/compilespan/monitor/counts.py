"""Counts of calls of compiled code, kept during the verify pass of a warmup."""

from __future__ import annotations

import itertools


class Seen:
    """Calls that entered compiled code (hits), and calls that no compiled code fitted (misses).

    Counted by the C iterators of `compilespan.dynamo.guards`; each read adds one, too.
    """

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits = itertools.count(1)
        self.misses = itertools.count(1)

    def read(self) -> tuple[int, int]:
        """Return hits and misses. Call it once, since reading adds one to both."""
        return next(self.hits) - 1, next(self.misses) - 1


UNSEEN = Seen()
"""Takes the counts of surroundings in which no verify pass runs."""


class Counts:
    """Where calls of compiled code are counted: shared by surroundings and those inside them."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = UNSEEN
