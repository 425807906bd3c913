"""What is known of one run of a program."""

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
        segments: The same in order, at most 64.
        beside_s: Seconds by part of what other processes did meanwhile.
    """

    parts_s: Mapping[Part, float]
    compile_s: Mapping[Component, float]
    imports_s: Mapping[str, float]
    segments: Sequence[Segment]
    beside_s: Mapping[Part, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, start: Start) -> Parts:
        """Sum a start up."""
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
        graphs: Graphs that were through by then.
        stage: What it was doing; ``None`` if unknown.
        is_running: Whether it goes on.
        peak_bytes: What its process and the children had of memory at most; ``None`` if unknown.
        limit_bytes: What they may have; ``None`` if unknown.
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
    """Where tlparse or torch wrote what it knows of a compile.

    Attributes:
        pid: Of the process.
        compile_id: Dynamo's id.
        path: A page, or torch's log if nobody made pages of it.
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
        wall_s: Seconds from then until it ended, or until now.
        exit_code: Negative for a signal; ``None`` while it goes on.
        host: ``name``, ``system``, ``machine``, ``cpus``, ``memory_bytes``.
        versions: Of compilespan, Python, torch and what serves.
        processes: How many had a part in it.
        saw_torch: Whether any of them imported torch.
        totals: What compiling cost.
        start: What the time until ready was made of; until its end if it never was.
        findings: What cost the most.
        compiles: The records, oldest first; the last 4,096 of each process.
        left_out: How many records before these are in the totals alone.
        interrupted: What was compiling when its process died, or still is.
        unknown: What is not in here, and why: sentences.
        dumps: Of ``--tlparse``.
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
        """What caches were worth to it."""
        return cache_state(self.totals.total, is_over=True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen that compiles."""
        return not self.totals.by_name and not self.interrupted
