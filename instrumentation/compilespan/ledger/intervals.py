"""The length of a union of time intervals."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

MAX_INTERVALS = 16_384


class IntervalUnion:
    """The length of a union of time intervals, in bounded memory (16 bytes an interval).

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
        """Take in one interval; one without a length changes nothing."""
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
            self._close_short_gaps()

    def update(self, other: IntervalUnion) -> None:
        """Take in all intervals of another union."""
        for start_ns, end_ns in zip(other._starts, other._ends, strict=True):
            self.add(start_ns, end_ns)

    def _close_short_gaps(self) -> None:
        gaps = [start - end for start, end in zip(self._starts[1:], self._ends[:-1], strict=True)]
        limit = sorted(gaps)[len(gaps) // 2]
        open_gaps = [index for index, gap in enumerate(gaps) if gap > limit]
        starts = [self._starts[0], *(self._starts[index + 1] for index in open_gaps)]
        ends = [*(self._ends[index] for index in open_gaps), self._ends[-1]]
        self._starts, self._ends = array("q", starts), array("q", ends)
        self.total_ns = sum(self._ends) - sum(self._starts)
