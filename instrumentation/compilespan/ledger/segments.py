"""Segments of a start: what each process did, and which part counts at each moment.

Several threads and processes may be active at one moment; the most specific activity counts.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan.ledger.entries import Mark
    from compilespan.ledger.intervals import IntervalUnion
    from compilespan.semconv import Component, Part

_ORDER: tuple[Part, ...] = ("compile", "capture", "load", "import", "wait", "boot")
"""If several parts overlap, the first of these counts; if none is active, ``other`` does."""


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """An interval in which one part of the start counts.

    Attributes:
        part: The part that counts.
        start_ns: Nanoseconds since the epoch.
        end_ns: Nanoseconds since the epoch.
        name: What was imported or loaded; ``None`` if unknown.
        component: Of a compile, load or capture; ``None`` if unknown.
    """

    part: Part
    start_ns: int
    end_ns: int
    name: str | None = None
    component: Component | None = None

    @property
    def duration_ns(self) -> int:
        """Length in nanoseconds."""
        return self.end_ns - self.start_ns


class Doer(NamedTuple):
    """A process that took part in a start."""

    marks: Sequence[Mark]
    intervals: Mapping[tuple[Part, Component], IntervalUnion]
    compiling: Sequence[tuple[Component, int, int | None]] = ()
    """Component, begin and end (ns; ``None`` while in progress) of compiles without a record."""


def clipped(done: Iterable[Segment], start_ns: int, end_ns: int) -> list[Segment]:
    """Return the segments, cut to the time between two moments."""
    found = (
        dataclasses.replace(
            each, start_ns=max(each.start_ns, start_ns), end_ns=min(each.end_ns, end_ns)
        )
        for each in done
    )
    return [each for each in found if each.start_ns < each.end_ns]


def are_alike(one: Segment, other: Segment) -> bool:
    """Whether two consecutive segments can be joined."""
    return (one.part, one.name, one.component) == (other.part, other.name, other.component)


def done(doer: Doer, end_ns: int) -> list[Segment]:
    """Return what a process did, as segments that may overlap."""
    compiled = [
        Segment(part, start, end, None, component)
        for (part, component), union in doer.intervals.items()
        for start, end in union.pairs()
    ]
    compiled += [
        Segment("compile", begun_ns, end_ns if over_ns is None else over_ns, None, component)
        for component, begun_ns, over_ns in doer.compiling
    ]
    done = [
        (mark, Segment(mark.part, mark.start_ns, mark.end_ns or end_ns, mark.name))
        for mark in doer.marks
    ]
    imports = [(mark.thread_id, each) for mark, each in done if mark.part == "import"]
    loads = [(mark.thread_id, each) for mark, each in done if mark.part == "load"]
    found = [*compiled, *(each for mark, each in done if mark.part != "load")]
    for thread in {thread for thread, _ in loads}:
        inside = [each for by, each in imports if by == thread]
        found += without([each for by, each in loads if by == thread], inside)
    if not loads:
        found += _inferred_load(
            [each for _, each in imports], [each for each in compiled if each.start_ns < end_ns]
        )
    return found


def without(segments: Sequence[Segment], others: Sequence[Segment]) -> list[Segment]:
    """Return the segments, overlapping ones joined, without the time that ``others`` cover."""
    left: list[Segment] = []
    holes = disjoint(others)
    first = 0
    for each in disjoint(segments):
        start_ns = each.start_ns
        while first < len(holes) and holes[first].end_ns <= start_ns:
            first += 1
        for hole in itertools.islice(holes, first, None):
            if hole.start_ns >= each.end_ns:
                break
            left.append(dataclasses.replace(each, start_ns=start_ns, end_ns=hole.start_ns))
            start_ns = hole.end_ns
        left.append(dataclasses.replace(each, start_ns=start_ns))
    return [each for each in left if each.start_ns < each.end_ns]


def disjoint(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments in order, overlapping ones joined."""
    joined: list[Segment] = []
    for each in sorted(segments, key=lambda segment: segment.start_ns):
        if joined and each.start_ns < joined[-1].end_ns:
            end_ns = max(joined[-1].end_ns, each.end_ns)
            joined[-1] = dataclasses.replace(joined[-1], end_ns=end_ns)
        else:
            joined.append(each)
    return joined


def _inferred_load(imports: Sequence[Segment], compiled: Sequence[Segment]) -> list[Segment]:
    """Return the time from the first import to the first compile as a load, imports excluded."""
    if not imports or not compiled:
        return []
    first_ns = min(each.start_ns for each in compiled)
    imported_ns = min(each.end_ns for each in imports)
    return without([Segment("load", imported_ns, first_ns)], imports)


def cut(start_ns: int, end_ns: int, done: Sequence[Segment]) -> list[Segment]:
    """Return consecutive segments without gaps; neighbours differ."""
    begins = sorted(done, key=lambda each: each.start_ns)
    bounds = {moment for each in done for moment in (each.start_ns, each.end_ns)}
    moments = sorted({start_ns, end_ns, *bounds})
    segments: list[Segment] = []
    # What is active by part, the latest begin first; `_first` removes what has ended.
    active: dict[Part, list[tuple[int, int, Segment]]] = {part: [] for part in _ORDER}
    upcoming = 0
    for moment, following in itertools.pairwise(moments):
        while upcoming < len(begins) and begins[upcoming].start_ns <= moment:
            each = begins[upcoming]
            heapq.heappush(active[each.part], (-each.start_ns, upcoming, each))
            upcoming += 1
        here = dataclasses.replace(_first(active, moment), start_ns=moment, end_ns=following)
        if segments and are_alike(segments[-1], here):
            segments[-1] = dataclasses.replace(segments[-1], end_ns=following)
        else:
            segments.append(here)
    return segments


def _first(active: Mapping[Part, list[tuple[int, int, Segment]]], moment: int) -> Segment:
    for part in _ORDER:
        going_on = active[part]
        while going_on and going_on[0][2].end_ns <= moment:
            heapq.heappop(going_on)
        if going_on:
            return going_on[0][2]
    return _OTHER


_OTHER = Segment("other", 0, 0)
