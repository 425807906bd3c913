"""Records added up: rows, and the union of their intervals.

Two sums are kept apart (rule 4): ``compile_s`` is work and may exceed the time that passed when
threads or processes compile at once; ``wall_s`` is the union of the intervals and may not.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any, get_args

from compilespan import semconv
from compilespan.ledger.intervals import IntervalUnion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.records import CompileRecord

_MAX_KEPT_INTERVALS = 512


@dataclasses.dataclass(frozen=True, slots=True)
class TotalsRow:
    """The columns of one row of totals.

    Attributes:
        compile_s: Sum of the compiles that did not fail, in seconds of work.
        wall_s: Union of all intervals (failed ones and loads too): seconds that one waited.
        failed_s: Seconds in records that failed.
        load_s: Seconds in loads of artefacts.
        kernel_s: Seconds in which kernels were built or tuned outside a compile.
        longest_s: The longest single compile.
        compiles: Compiles that did not fail, skipped ones included.
        skipped: How many of these Dynamo gave back to eager.
        failed: Records that failed.
        loads: Loads of artefacts.
        captures: Cudagraph recordings.
        kernels: Kernels that were built or tuned outside a compile, or could not be.
        recompiles: Compiles of a frame that its owner had compiled before.
        graphs: Graphs handed to a backend.
        cache_hits: Graphs from a cache.
        cache_misses: Graphs compiled and stored.
        cache_bypasses: Graphs compiled and not stored.
    """

    compile_s: float = 0.0
    wall_s: float = 0.0
    failed_s: float = 0.0
    load_s: float = 0.0
    kernel_s: float = 0.0
    longest_s: float = 0.0
    compiles: int = 0
    skipped: int = 0
    failed: int = 0
    loads: int = 0
    captures: int = 0
    kernels: int = 0
    recompiles: int = 0
    graphs: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_bypasses: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class CompileTotals:
    """What compiling cost, by component, phase, name and process.

    ``encoder`` + ``language_model`` + ``other`` = ``total`` in every column but ``wall_s`` (a
    union) and ``longest_s`` (a maximum).
    """

    encoder: TotalsRow
    language_model: TotalsRow
    other: TotalsRow
    total: TotalsRow
    by_phase: Mapping[str, TotalsRow]
    by_name: Mapping[str, TotalsRow]
    by_process: Mapping[str, TotalsRow]


class _Row:
    """A row while it grows: integers in nanoseconds, so that sums are exact."""

    _SUMS_NS = ("compile_s", "failed_s", "load_s", "kernel_s")
    _COUNTS = tuple(
        field.name for field in dataclasses.fields(TotalsRow) if not field.name.endswith("_s")
    )

    def __init__(self) -> None:
        self._sums: dict[str, int] = dict.fromkeys((*self._SUMS_NS, *self._COUNTS), 0)
        self._longest_ns = 0
        self._wall = IntervalUnion()

    def add(self, record: CompileRecord) -> None:
        sums = self._sums
        if record.kind != "empty":
            self._wall.add(record.start_ns, record.end_ns)
        if record.kind == "kernel":
            sums["kernels"] += 1
            sums["kernel_s"] += record.duration_ns
        elif record.outcome == "failed":
            sums["failed"] += 1
            sums["failed_s"] += record.duration_ns
        elif record.kind == "compile":
            sums["compiles"] += 1
            sums["skipped"] += record.outcome == "skipped"
            sums["compile_s"] += record.duration_ns
            self._longest_ns = max(self._longest_ns, record.duration_ns)
        elif record.kind == "load":
            sums["loads"] += 1
            sums["load_s"] += record.duration_ns
        elif record.kind == "capture":
            sums["captures"] += 1
        sums["recompiles"] += record.is_recompile
        for column in ("graphs", "cache_hits", "cache_misses", "cache_bypasses"):
            sums[column] += getattr(record, column)

    def update(self, other: _Row) -> None:
        for column, value in other._sums.items():
            self._sums[column] += value
        self._longest_ns = max(self._longest_ns, other._longest_ns)
        self._wall.update(other._wall)

    def copy(self) -> _Row:
        copied = _Row()
        copied._sums = dict(self._sums)
        copied._longest_ns = self._longest_ns
        copied._wall = self._wall.copy()
        return copied

    def to_json(self) -> dict[str, Any]:
        return {
            "sums": dict(self._sums),
            "longest_ns": self._longest_ns,
            "wall_ns": self._wall.flat(_MAX_KEPT_INTERVALS),
        }

    def add_json(self, values: Mapping[str, Any]) -> None:
        for column in self._sums:
            self._sums[column] += values["sums"].get(column, 0)
        self._longest_ns = max(self._longest_ns, values["longest_ns"])
        times = iter(values["wall_ns"])
        for start_ns, end_ns in zip(times, times, strict=False):
            self._wall.add(start_ns, end_ns)

    def freeze(self) -> TotalsRow:
        seconds: dict[str, Any] = {column: self._sums[column] / 1e9 for column in self._SUMS_NS}
        counts: dict[str, Any] = {column: self._sums[column] for column in self._COUNTS}
        return TotalsRow(
            wall_s=self._wall.total_ns / 1e9,
            longest_s=self._longest_ns / 1e9,
            **seconds,
            **counts,
        )


class TotalsBuilder:
    """Adds records up, and other builders' sums (those of other processes)."""

    def __init__(self) -> None:
        self._components = {component: _Row() for component in get_args(semconv.Component)}
        self._total = _Row()
        self._by_phase: defaultdict[str, _Row] = defaultdict(_Row)
        self._by_name: defaultdict[str, _Row] = defaultdict(_Row)
        self._by_process: defaultdict[str, _Row] = defaultdict(_Row)

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

    def update(self, other: TotalsBuilder) -> None:
        """Add the sums of another builder."""
        self._total.update(other._total)
        for component, row in other._components.items():
            self._components[component].update(row)
        for mine, theirs in (
            (self._by_phase, other._by_phase),
            (self._by_process, other._by_process),
        ):
            for key, row in theirs.items():
                mine[key].update(row)
        for name, row in other._by_name.items():
            self._by_name[self._name(name)].update(row)

    def copy(self) -> TotalsBuilder:
        """Return another with the same sums."""
        copied = TotalsBuilder()
        copied._total = self._total.copy()
        for mine, theirs in (
            (self._components, copied._components),
            (self._by_phase, copied._by_phase),
            (self._by_name, copied._by_name),
            (self._by_process, copied._by_process),
        ):
            theirs.update({key: row.copy() for key, row in mine.items()})
        return copied

    def to_json(self) -> dict[str, Any]:
        """Return the components' sums as JSON values; short gaps of many intervals are closed."""
        return {component: row.to_json() for component, row in self._components.items()}

    def add_json(self, values: Mapping[str, Any]) -> None:
        """Add what `to_json` returned, to the components and to the total."""
        for component, row in self._components.items():
            row.add_json(values[component])
            self._total.add_json(values[component])

    def build(self) -> CompileTotals:
        """Return the sums as they stand now."""
        return CompileTotals(
            **{component: row.freeze() for component, row in self._components.items()},
            total=self._total.freeze(),
            by_phase={key: row.freeze() for key, row in self._by_phase.items()},
            by_name={key: row.freeze() for key, row in self._by_name.items()},
            by_process={key: row.freeze() for key, row in self._by_process.items()},
        )

    def _name(self, name: str) -> str:
        return semconv.bounded(name, self._by_name)
