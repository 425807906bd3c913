"""One row of totals, and the row while it is summed up.

Two sums are separate (rule 4). ``compile_s`` is work and may exceed the elapsed time if threads or
processes compile in parallel. ``wall_s`` is the union of the intervals and never exceeds it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from compilespan.ledger.intervals import IntervalUnion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.records import CompileRecord

MAX_KEPT_INTERVALS = 512


@dataclasses.dataclass(frozen=True, slots=True)
class TotalsRow:
    """The columns of one row of totals.

    Attributes:
        compile_s: Seconds of work in compiles that did not fail.
        wall_s: Seconds in the union of all intervals (also failures, loads, captures, kernels).
        failed_s: Seconds in records that failed, kernels excluded.
        load_s: Seconds in loads of artefacts.
        kernel_s: Seconds in which kernels were built or tuned outside a compile.
        longest_s: Seconds of the longest compile that did not fail.
        cpu_s: Seconds in which the threads of all these ran on a CPU; 0 if the operating system
            does not report it.
        cpu_wait_s: Seconds in which they were ready to run but had no CPU; 0 if not reported.
        compiles: Compiles that did not fail, skipped ones included.
        skipped: Number of these that Dynamo gave back to eager.
        failed: Records that failed, kernels excluded.
        loads: Loads of artefacts.
        captures: Cudagraph recordings.
        kernels: Kernels that were built or tuned outside a compile, failures included.
        recompiles: Compiles of a frame that its owner had compiled before.
        graphs: Graphs handed to a backend.
        cache_hits: Graphs from a cache.
        cache_misses: Graphs compiled and stored.
        cache_bypasses: Graphs compiled and not stored.
        cache_rebuilds: Graphs from a cache whose code was built again.
    """

    compile_s: float = 0.0
    wall_s: float = 0.0
    failed_s: float = 0.0
    load_s: float = 0.0
    kernel_s: float = 0.0
    longest_s: float = 0.0
    cpu_s: float = 0.0
    cpu_wait_s: float = 0.0
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
    cache_rebuilds: int = 0


class Row:
    """A row while it is summed up, in integer nanoseconds so that the sums are exact."""

    _SUMS_NS = ("compile_s", "failed_s", "load_s", "kernel_s", "cpu_s", "cpu_wait_s")
    _OF_GRAPHS = ("graphs", "cache_hits", "cache_misses", "cache_bypasses", "cache_rebuilds")
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
            sums["cpu_s"] += round((record.cpu_s or 0.0) * 1e9)
            sums["cpu_wait_s"] += round((record.cpu_wait_s or 0.0) * 1e9)
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
        for column in self._OF_GRAPHS:
            sums[column] += getattr(record, column)

    def update(self, other: Row) -> None:
        for column, value in other._sums.items():
            self._sums[column] += value
        self._longest_ns = max(self._longest_ns, other._longest_ns)
        self._wall.update(other._wall)

    def copy(self) -> Row:
        copied = Row()
        copied._sums = dict(self._sums)
        copied._longest_ns = self._longest_ns
        copied._wall = self._wall.copy()
        return copied

    def to_json(self) -> dict[str, Any]:
        return {
            "sums": dict(self._sums),
            "longest_ns": self._longest_ns,
            "wall_ns": self._wall.flat(MAX_KEPT_INTERVALS),
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
