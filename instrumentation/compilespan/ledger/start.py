"""A start as consecutive segments of one part each, which sum to the whole."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, get_args

from compilespan.ledger.intervals import IntervalUnion
from compilespan.ledger.segments import (
    Doer,
    Segment,
    are_alike,
    clipped,
    cut,
    disjoint,
    done,
    without,
)
from compilespan.semconv import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan.semconv import Component

_WORK: tuple[Part, ...] = ("compile", "capture", "load", "import")
LEAST_NS = 50_000_000
MAX_SEGMENTS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """A start in segments, from the creation of a process until it was ready or until now.

    Attributes:
        segments: Consecutive, without gaps.
        beside_s: Seconds by part that a process spent while another part counted; they did not
            delay readiness.
        inside_s: Seconds of imports during compiles, by package, longest first.
    """

    segments: tuple[Segment, ...]
    beside_s: Mapping[Part, float] = dataclasses.field(default_factory=dict)
    inside_s: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, start_ns: int, end_ns: int, doers: Iterable[Doer]) -> Start:
        """Cut the time between two moments into segments.

        Args:
            start_ns: Nanoseconds since the epoch.
            end_ns: Nanoseconds since the epoch.
            doers: All processes that took part in the start.
        """
        end_ns = max(start_ns, end_ns)
        by_doer = [clipped(done(doer, end_ns), start_ns, end_ns) for doer in doers]
        segments = cut(start_ns, end_ns, list(itertools.chain.from_iterable(by_doer)))
        alone = [cut(start_ns, end_ns, each) for each in by_doer if len(by_doer) > 1]
        return cls(tuple(segments), _beside(segments, alone), _inside(by_doer))

    @property
    def parts_s(self) -> dict[Part, float]:
        """Seconds by part, without parts of 0 s; they sum to the whole."""
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
        """Return at most ``most`` segments without gaps, for people and traces.

        A segment shorter than ``least_ns`` joins its predecessor; the first one, its successor.
        """
        joined: list[Segment] = []
        for segment in self.segments:
            last = joined[-1] if joined else None
            if last is not None and (segment.duration_ns < least_ns or are_alike(last, segment)):
                joined[-1] = dataclasses.replace(last, end_ns=segment.end_ns)
            elif last is not None and last.duration_ns < least_ns:
                joined[-1] = dataclasses.replace(segment, start_ns=last.start_ns)
            else:
                joined.append(segment)
        if len(joined) > most:
            lengths = sorted((each.duration_ns for each in joined), reverse=True)
            return self.joined(max(least_ns + 1, lengths[most - 1]), most)
        return joined


def _beside(segments: Iterable[Segment], alone: Iterable[Iterable[Segment]]) -> dict[Part, float]:
    """Return the seconds by part that a process spent while another part counted.

    Args:
        segments: Segments of the start.
        alone: Segments of each process, as if it were the only one.
    """
    found: dict[Part, IntervalUnion] = {part: IntervalUnion() for part in _WORK}
    for each in itertools.chain.from_iterable(alone):
        if each.part in found:
            found[each.part].add(each.start_ns, each.end_ns)
    spent_ns = {part: union.total_ns for part, union in found.items()}
    for each in segments:
        if spent_ns.get(each.part):
            spent_ns[each.part] -= each.duration_ns
    return {part: spent / 1e9 for part, spent in spent_ns.items() if spent > 0}


def _inside(by_doer: Iterable[Sequence[Segment]]) -> dict[str, float]:
    """Return the seconds of imports by package while the same process compiled."""
    spent_ns: dict[str, int] = {}
    for found in by_doer:
        compiled = [each for each in found if each.part == "compile"]
        first_ns = min((each.start_ns for each in compiled), default=0)
        by_name: dict[str, list[Segment]] = {}
        for each in found:
            if each.part == "import" and each.name is not None and each.end_ns > first_ns:
                by_name.setdefault(each.name, []).append(each)
        for name, imports in by_name.items() if compiled else ():
            whole_ns = sum(each.duration_ns for each in disjoint(imports))
            left_ns = sum(each.duration_ns for each in without(imports, compiled))
            if whole_ns > left_ns:
                spent_ns[name] = spent_ns.get(name, 0) + whole_ns - left_ns
    longest_first = sorted(spent_ns.items(), key=lambda item: -item[1])
    return {name: spent / 1e9 for name, spent in longest_first}
