"""A recorded run of a program."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from compilespan.ledger.totals import cache_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compilespan import CompileRecord, CompileTotals
    from compilespan.findings.finding import Finding
    from compilespan.ledger.segments import Segment
    from compilespan.ledger.start import Start
    from compilespan.semconv import CacheState, Component, Part, Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """What a start was made of.

    Attributes:
        parts_s: Seconds by part; they sum to the whole.
        compile_s: Seconds of the part ``compile`` by component.
        imports_s: Seconds of the part ``import`` by package, longest first.
        segments: The parts in order, at most 64 segments.
        beside_s: Seconds by part of work in other processes at the same time.
    """

    parts_s: Mapping[Part, float]
    compile_s: Mapping[Component, float]
    imports_s: Mapping[str, float]
    segments: Sequence[Segment]
    beside_s: Mapping[Part, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, start: Start) -> Parts:
        """Return the parts of a start."""
        return cls(start.parts_s, start.compile_s, start.imports_s, start.joined(), start.beside_s)


@dataclasses.dataclass(frozen=True, slots=True)
class Interrupted:
    """A compile without an end.

    Attributes:
        name: See `CompileRecord`.
        component: As known at the start.
        pid: Of its process.
        start_ns: Nanoseconds since the epoch.
        elapsed_s: Seconds until the process last gave a sign of life.
        graphs: Graphs compiled by then.
        stage: What it was doing; ``None`` if unknown.
        is_running: Whether its process is still running.
        peak_bytes: Peak memory of its process and the children, in bytes; ``None`` if unknown.
        limit_bytes: Their memory limit, in bytes; ``None`` if unknown.
    """

    name: str
    component: Component
    pid: int
    start_ns: int
    elapsed_s: float
    graphs: int
    stage: Stage | None
    is_running: bool
    peak_bytes: int | None
    limit_bytes: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Dump:
    """The page of tlparse, or the log of torch, that describes a compile.

    Attributes:
        pid: Of the process.
        compile_id: Dynamo's id.
        path: The page; torch's log if tlparse made no pages.
    """

    pid: int
    compile_id: str
    path: str


@dataclasses.dataclass(frozen=True, slots=True)
class Capture:
    """One run of a program, over all its processes.

    Attributes:
        command: The program and its arguments; values that look like secrets are left out.
        began_ns: When it was started, in nanoseconds since the epoch.
        wall_s: Seconds from the start until the end, or until now.
        exit_code: Negative for a signal; ``None`` while the program runs.
        host: ``name``, ``system``, ``machine``, ``cpus``, ``memory_bytes``.
        versions: Of compilespan, Python, torch, vllm and transformers.
        processes: Number of processes that compiled.
        saw_torch: Whether any of them imported torch.
        totals: What compiling cost.
        start: Parts of the time until ready, or until the end if it was never ready.
        findings: Failures first, then most expensive first.
        compiles: The records, oldest first; the last 4,096 of each process.
        left_out: Number of earlier records, which are only in the totals.
        interrupted: Compiles whose process died, or that are still in progress.
        unknown: Sentences about what the capture lacks, and why.
        dumps: Pages or logs of ``--tlparse``.
    """

    command: Sequence[str]
    began_ns: int
    wall_s: float
    exit_code: int | None
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    processes: int
    saw_torch: bool
    totals: CompileTotals
    start: Parts
    findings: Sequence[Finding]
    compiles: Sequence[CompileRecord]
    left_out: int = 0
    interrupted: Sequence[Interrupted] = ()
    unknown: Sequence[str] = ()
    dumps: Sequence[Dump] = ()

    @property
    def cache(self) -> CacheState:
        """The cache state of the run."""
        return cache_state(self.totals.total, is_over=True)

    @property
    def is_empty(self) -> bool:
        """Whether no compile was recorded."""
        return not self.totals.by_name and not self.interrupted
