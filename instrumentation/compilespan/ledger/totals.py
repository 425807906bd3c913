"""Sums of records: in rows by component, phase, name and process, and by stage."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any, get_args

from compilespan import semconv
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.intervals import IntervalUnion
from compilespan.ledger.rows import MAX_KEPT_INTERVALS, Row, TotalsRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import CacheState, Component, Kind, Part, Stage

MAX_KEYS = 1024
_PARTS: Mapping[Kind, Part] = {
    "compile": "compile",
    "kernel": "compile",
    "capture": "capture",
    "load": "load",
}


@dataclasses.dataclass(frozen=True, slots=True)
class CompileTotals:
    """Totals of compiles by component, phase, name and process.

    ``encoder`` + ``language_model`` + ``other`` = ``total`` in every column except ``wall_s`` (a
    union) and ``longest_s`` (a maximum). ``by_stage`` splits ``compile_s`` plus ``failed_s`` of the
    total by stage. ``cache`` is what the shared compile cache saved, and what it cost.
    """

    encoder: TotalsRow
    language_model: TotalsRow
    other: TotalsRow
    total: TotalsRow
    by_phase: Mapping[str, TotalsRow]
    by_name: Mapping[str, TotalsRow]
    by_process: Mapping[str, TotalsRow]
    by_stage: Mapping[Stage, float]
    cache: CacheUse = dataclasses.field(default_factory=CacheUse)


def cache_state(row: TotalsRow, *, is_over: bool) -> CacheState:
    """Return how well caches worked in a start, in the word that every output shows.

    Args:
        row: Total of the compiles in the start.
        is_over: Whether the start is ready or has ended.
    """
    if not is_over:
        return "unknown"
    if row.cache_misses:
        return "cold"
    return "warm" if row.cache_hits or row.loads else "no cache"


class TotalsBuilder:
    """Adds up records, and the sums of other builders (of other processes)."""

    def __init__(self) -> None:
        self._components = {component: Row() for component in get_args(semconv.Component)}
        self._total = Row()
        self._by_phase: defaultdict[str, Row] = defaultdict(Row)
        self._by_name: defaultdict[str, Row] = defaultdict(Row)
        self._by_process: defaultdict[str, Row] = defaultdict(Row)
        self._by_stage: defaultdict[Stage, int] = defaultdict(int)
        self.intervals: defaultdict[tuple[Part, Component], IntervalUnion] = defaultdict(
            IntervalUnion
        )
        """Intervals of compiles, loads and captures, by part of a start and component."""
        self.cache_use = CacheUse()
        self.graph_keys: dict[str, None] = {}
        """Cache keys of the first 1024 graphs that are now in a cache, in order."""

    def add(self, record: CompileRecord) -> None:
        """Add one record to each row that it belongs to."""
        for row in (
            self._components[record.component],
            self._total,
            self._by_phase[record.phase],
            self._by_name[self._name(record.name)],
            self._by_process[str(record.pid)],
        ):
            row.add(record)
        if (part := _PARTS.get(record.kind)) is not None:
            self.intervals[part, record.component].add(record.start_ns, record.end_ns)
        if record.cache_hits or record.cache_misses:
            self._note_keys(record)
        if record.is_work:
            for stage, spent_ns in record.stages_ns.items():
                self._by_stage[stage] += spent_ns

    def _note_keys(self, record: CompileRecord) -> None:
        for event in record.events:
            key = event.attributes.get(semconv.CACHE_KEY)
            if key is not None and len(self.graph_keys) < MAX_KEYS:
                self.graph_keys[str(key)] = None

    def update(self, other: TotalsBuilder) -> None:
        """Add the sums of another builder."""
        self.graph_keys.update(other.graph_keys)
        self.cache_use += other.cache_use
        self._total.update(other._total)
        for component, row in other._components.items():
            self._components[component].update(row)
        for mine, theirs in (
            (self._by_phase, other._by_phase),
            (self._by_process, other._by_process),
        ):
            for key, row in theirs.items():
                mine[key].update(row)
        for stage, spent_ns in other._by_stage.items():
            self._by_stage[stage] += spent_ns
        for whose, union in other.intervals.items():
            self.intervals[whose].update(union)
        for name, row in other._by_name.items():
            self._by_name[self._name(name)].update(row)

    @property
    def serving_s(self) -> float:
        """Seconds of work in phase ``serving``: compiles, failures and kernels."""
        row = self._by_phase["serving"].freeze() if "serving" in self._by_phase else TotalsRow()
        return row.compile_s + row.failed_s + row.kernel_s

    def copy(self) -> TotalsBuilder:
        """Return a new builder with the same sums."""
        copied = TotalsBuilder()
        copied._total = self._total.copy()
        for mine, theirs in (
            (self._components, copied._components),
            (self._by_phase, copied._by_phase),
            (self._by_name, copied._by_name),
            (self._by_process, copied._by_process),
        ):
            theirs.update({key: row.copy() for key, row in mine.items()})
        copied._by_stage.update(self._by_stage)
        copied.graph_keys.update(self.graph_keys)
        copied.cache_use = self.cache_use
        copied.intervals.update({key: union.copy() for key, union in self.intervals.items()})
        return copied

    def to_json(self) -> dict[str, Any]:
        """Return the components' sums as JSON; short gaps between many intervals are closed."""
        return {
            component: {
                **row.to_json(),
                "intervals_ns": {
                    part: union.flat(MAX_KEPT_INTERVALS)
                    for (part, whose), union in self.intervals.items()
                    if whose == component
                },
            }
            for component, row in self._components.items()
        }

    def add_json(self, values: Mapping[str, Any]) -> None:
        """Add what `to_json` returned to the components and to the total."""
        for component, row in self._components.items():
            row.add_json(values[component])
            self._total.add_json(values[component])
            for part, flat in (values[component].get("intervals_ns") or {}).items():
                times = iter(flat)
                for start_ns, end_ns in zip(times, times, strict=False):
                    self.intervals[part, component].add(start_ns, end_ns)

    def build(self) -> CompileTotals:
        """Return the current sums."""
        return CompileTotals(
            **{component: row.freeze() for component, row in self._components.items()},
            total=self._total.freeze(),
            by_phase={key: row.freeze() for key, row in self._by_phase.items()},
            by_name={key: row.freeze() for key, row in self._by_name.items()},
            by_process={key: row.freeze() for key, row in self._by_process.items()},
            by_stage={
                stage: self._by_stage[stage] / 1e9
                for stage in get_args(semconv.Stage)
                if self._by_stage.get(stage)
            },
            cache=self.cache_use,
        )

    def _name(self, name: str) -> str:
        return semconv.bounded(name, self._by_name)
