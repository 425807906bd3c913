"""The length of a union of time intervals."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_INTERVALS = 16_384


class IntervalUnion:
    """The length of a union of time intervals, in bounded memory (16 bytes per interval).

    Exact up to `MAX_INTERVALS` disjoint intervals. Beyond that the shorter half of the gaps
    between them is closed, so the union is overstated by those gaps. It is never longer than the
    time from the first start to the last end.
    """

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")
        self.total_ns = 0
        """Length of the union in nanoseconds."""

    def add(self, start_ns: int, end_ns: int) -> None:
        """Add one interval; an empty one changes nothing."""
        if end_ns <= start_ns:
            return
        first = bisect_left(self._ends, start_ns)
        last = bisect_right(self._starts, end_ns)
        for index in range(first, last):
            self.total_ns -= self._ends[index] - self._starts[index]
        if first < last:
            start_ns = min(start_ns, self._starts[first])
            end_ns = max(end_ns, self._ends[last - 1])
        self._starts[first:last] = array("q", [start_ns])
        self._ends[first:last] = array("q", [end_ns])
        self.total_ns += end_ns - start_ns
        if len(self._starts) > MAX_INTERVALS:
            self._close_short_gaps(MAX_INTERVALS // 2)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Return start and end of each interval, oldest first."""
        return zip(self._starts, self._ends, strict=True)

    def update(self, other: IntervalUnion) -> None:
        """Add all intervals of another union."""
        for start_ns, end_ns in other.pairs():
            self.add(start_ns, end_ns)

    def copy(self) -> IntervalUnion:
        """Return a new union with the same intervals."""
        copied = IntervalUnion()
        copied._starts, copied._ends = self._starts[:], self._ends[:]
        copied.total_ns = self.total_ns
        return copied

    def flat(self, most: int) -> list[int]:
        """Return alternating starts and ends, oldest first, of at most ``most`` intervals."""
        union = self
        if len(self._starts) > most:
            union = self.copy()
            union._close_short_gaps(most - 1)
        return [time for pair in union.pairs() for time in pair]

    def _close_short_gaps(self, keep: int) -> None:
        gaps = [start - end for start, end in zip(self._starts[1:], self._ends[:-1], strict=True)]
        longest_last = sorted(range(len(gaps)), key=gaps.__getitem__)
        open_gaps = sorted(longest_last[len(gaps) - keep :])
        starts = [self._starts[0], *(self._starts[index + 1] for index in open_gaps)]
        ends = [*(self._ends[index] for index in open_gaps), self._ends[-1]]
        self._starts, self._ends = array("q", starts), array("q", ends)
        self.total_ns = sum(self._ends) - sum(self._starts)
