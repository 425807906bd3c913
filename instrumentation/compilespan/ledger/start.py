"""What a start was made of: consecutive segments, one part each, which sum to the whole.

At a moment several things may go on, in several threads and processes; the most specific counts.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from typing import TYPE_CHECKING, NamedTuple, get_args

from compilespan.semconv import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan.ledger.entries import Mark
    from compilespan.ledger.intervals import IntervalUnion
    from compilespan.semconv import Component

_ORDER: tuple[Part, ...] = ("compile", "capture", "load", "import", "wait", "boot")
"""Of what holds at once the first counts; without any it is ``other``."""
LEAST_NS = 50_000_000
MAX_SEGMENTS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A time of the start in which one part counts.

    Attributes:
        part: What it was.
        start_ns: Nanoseconds since the epoch.
        end_ns: Nanoseconds since the epoch.
        name: What was imported or loaded; ``None`` if nobody knows.
        component: Of a compile.
    """

    part: Part
    start_ns: int
    end_ns: int
    name: str | None = None
    component: Component | None = None

    @property
    def duration_ns(self) -> int:
        """Its length."""
        return self.end_ns - self.start_ns


class Doer(NamedTuple):
    """A process that had a part in a start."""

    marks: Sequence[Mark]
    intervals: Mapping[tuple[Part, Component], IntervalUnion]
    compiling: Sequence[tuple[Component, int, int | None]] = ()
    """Component, begin and end of what has no record; ``None`` if it goes on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """A start in segments, from the creation of a process until it was ready or until now."""

    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, start_ns: int, end_ns: int, doers: Iterable[Doer]) -> Start:
        """Cut a time into segments.

        Args:
            start_ns: Nanoseconds since the epoch.
            end_ns: Nanoseconds since the epoch.
            doers: All processes that had a part in it.
        """
        found = [each for doer in doers for each in _done(doer, end_ns)]
        clipped = (
            dataclasses.replace(
                each, start_ns=max(each.start_ns, start_ns), end_ns=min(each.end_ns, end_ns)
            )
            for each in found
        )
        inside = [each for each in clipped if each.start_ns < each.end_ns]
        return cls(tuple(_cut(start_ns, max(start_ns, end_ns), inside)))

    @property
    def parts_s(self) -> dict[Part, float]:
        """Seconds by part, none of them 0; they sum to the whole."""
        spent_ns = dict.fromkeys(get_args(Part), 0)
        for segment in self.segments:
            spent_ns[segment.part] += segment.duration_ns
        return {part: spent / 1e9 for part, spent in spent_ns.items() if spent}

    @property
    def compile_s(self) -> dict[Component, float]:
        """Seconds of the part ``compile`` by component."""
        spent_ns: dict[Component, int] = {}
        for segment in self.segments:
            if segment.part == "compile" and segment.component is not None:
                spent = spent_ns.get(segment.component, 0) + segment.duration_ns
                spent_ns[segment.component] = spent
        return {component: spent / 1e9 for component, spent in spent_ns.items()}

    @property
    def imports_s(self) -> dict[str, float]:
        """Seconds of the part ``import`` by package, longest first."""
        spent_ns: dict[str, int] = {}
        for segment in self.segments:
            if segment.part == "import" and segment.name is not None:
                spent_ns[segment.name] = spent_ns.get(segment.name, 0) + segment.duration_ns
        longest_first = sorted(spent_ns.items(), key=lambda item: -item[1])
        return {name: spent / 1e9 for name, spent in longest_first}

    def joined(self, least_ns: int = LEAST_NS, most: int = MAX_SEGMENTS) -> list[Segment]:
        """Return at most so many segments without gaps, for people and traces.

        A short one joins its predecessor, the first its successor.
        """
        joined: list[Segment] = []
        for segment in self.segments:
            last = joined[-1] if joined else None
            if last is not None and (segment.duration_ns < least_ns or _are_alike(last, segment)):
                joined[-1] = dataclasses.replace(last, end_ns=segment.end_ns)
            elif last is not None and last.duration_ns < least_ns:
                joined[-1] = dataclasses.replace(segment, start_ns=last.start_ns)
            else:
                joined.append(segment)
        if len(joined) > most:
            lengths = sorted((each.duration_ns for each in joined), reverse=True)
            return self.joined(max(least_ns + 1, lengths[most - 1]), most)
        return joined


def _are_alike(one: Segment, other: Segment) -> bool:
    return (one.part, one.name, one.component) == (other.part, other.name, other.component)


def _done(doer: Doer, end_ns: int) -> list[Segment]:
    """Return what a process did, each by itself."""
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
        found += _without([each for by, each in loads if by == thread], inside)
    if not loads:
        found += _inferred_load(
            [each for _, each in imports], [each for each in compiled if each.start_ns < end_ns]
        )
    return found


def _without(loads: Sequence[Segment], imports: Sequence[Segment]) -> list[Segment]:
    """Return what is left of a thread's loads if what it imported meanwhile is none of them."""
    left: list[Segment] = []
    holes = _disjoint(imports)
    first = 0
    for load in _disjoint(loads):
        start_ns = load.start_ns
        while first < len(holes) and holes[first].end_ns <= start_ns:
            first += 1
        for hole in itertools.islice(holes, first, None):
            if hole.start_ns >= load.end_ns:
                break
            left.append(dataclasses.replace(load, start_ns=start_ns, end_ns=hole.start_ns))
            start_ns = hole.end_ns
        left.append(dataclasses.replace(load, start_ns=start_ns))
    return [each for each in left if each.start_ns < each.end_ns]


def _disjoint(segments: Iterable[Segment]) -> list[Segment]:
    """Return them in order, those that overlap joined."""
    joined: list[Segment] = []
    for each in sorted(segments, key=lambda segment: segment.start_ns):
        if joined and each.start_ns < joined[-1].end_ns:
            end_ns = max(joined[-1].end_ns, each.end_ns)
            joined[-1] = dataclasses.replace(joined[-1], end_ns=end_ns)
        else:
            joined.append(each)
    return joined


def _inferred_load(imports: Sequence[Segment], compiled: Sequence[Segment]) -> list[Segment]:
    """Return what lies between the first import and the first compile, if nobody says more."""
    if not imports or not compiled:
        return []
    first_ns = min(each.start_ns for each in compiled)
    imported_ns = min(each.end_ns for each in imports)
    return _without([Segment("load", imported_ns, first_ns)], imports)


def _cut(start_ns: int, end_ns: int, done: Sequence[Segment]) -> list[Segment]:
    """Return consecutive segments; neighbours differ."""
    begins = sorted(done, key=lambda each: each.start_ns)
    bounds = {moment for each in done for moment in (each.start_ns, each.end_ns)}
    moments = sorted({start_ns, end_ns, *bounds})
    segments: list[Segment] = []
    # Of each part what goes on, that which began last in front; what is over is removed there.
    active: dict[Part, list[tuple[int, int, Segment]]] = {part: [] for part in _ORDER}
    upcoming = 0
    for moment, following in itertools.pairwise(moments):
        while upcoming < len(begins) and begins[upcoming].start_ns <= moment:
            each = begins[upcoming]
            heapq.heappush(active[each.part], (-each.start_ns, upcoming, each))
            upcoming += 1
        here = dataclasses.replace(_first(active, moment), start_ns=moment, end_ns=following)
        if segments and _are_alike(segments[-1], here):
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
