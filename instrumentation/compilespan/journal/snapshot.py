"""The state of a journal at one moment; the reading thread hands it to other threads."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from compilespan.ledger.segments import Doer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from compilespan.journal.memory import Memory
    from compilespan.ledger.entries import Mark, Ready
    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.totals import TotalsBuilder
    from compilespan.semconv import Component, Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """A compile without an end in the journal: in progress, or cut off by the process's death.

    Attributes:
        name: See `CompileRecord`.
        component: As known at the start.
        start_ns: Nanoseconds since the epoch.
        elapsed_s: Seconds until the process last touched its journal.
        graphs: Graphs that were compiled by then.
        stage: What it was doing; ``None`` if it was in its first stage.
    """

    name: str
    component: Component
    start_ns: int
    elapsed_s: float
    graphs: int
    stage: Stage | None = None

    @property
    def is_encoder(self) -> bool:
        """Whether it belongs to an encoder."""
        return self.component == "encoder"

    @classmethod
    def of(cls, values: Mapping[str, Any], seen_ns: int) -> Begun:
        """Return the compile of a journal's line, whose process was last seen at ``seen_ns``."""
        return cls(
            values["name"],
            values["component"],
            values["start_ns"],
            max(0.0, (seen_ns - values["start_ns"]) / 1e9),
            values.get("graphs", 0),
            values.get("stage"),
        )


def spans_of(begun: Iterable[Begun], are_running: bool) -> list[tuple[Component, int, int | None]]:
    """Return component, begin and end (ns) of each; the end is ``None`` if ``are_running``."""
    return [
        (
            each.component,
            each.start_ns,
            None if are_running else each.start_ns + round(each.elapsed_s * 1e9),
        )
        for each in begun
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """A process as its journal describes it at one moment; it does not change.

    Attributes:
        path: The journal.
        process: Who wrote it: ``instance``, ``pid``, ``rank``, ``started_ns``, ``versions``.
        totals: The sums of its records; read-only, to be added to other sums.
        records: The latest records, at most 4096.
        record_count: Number of all its records.
        in_progress: Compiles that have not ended, oldest first.
        is_running: Whether the process is alive.
        is_server: Whether it opened a span for its start.
        ready: When it was declared ready; ``None`` if it was not.
        marks: What it did before it was ready.
        dropped: Number of items that it lost, by signal.
        exit_reason: The reason that it recorded for its exit; ``None`` if it recorded none.
        memory: Peak memory of it and its children while it compiled; ``None`` if unknown.
    """

    path: Path
    process: Mapping[str, Any]
    totals: TotalsBuilder
    records: Sequence[CompileRecord]
    record_count: int
    in_progress: Sequence[Begun]
    is_running: bool
    is_server: bool
    ready: Ready | None
    marks: Sequence[Mark]
    dropped: Mapping[str, int]
    exit_reason: str | None
    memory: Memory | None

    @property
    def instance(self) -> str:
        """Id of the server's start that it belongs to."""
        return str(self.process["instance"])

    @property
    def ready_after_s(self) -> float | None:
        """Seconds until it was ready; ``None`` if it was not."""
        return None if self.ready is None else self.ready.after_s

    @property
    def took_part(self) -> bool:
        """Whether it did more than import: compiled, became ready, or is a server."""
        did_more = bool(self.record_count or self.in_progress or self.is_server)
        return did_more or self.ready_after_s is not None or not self.marks

    @property
    def doer(self) -> Doer:
        """What the process did in its start."""
        compiling = spans_of(self.in_progress if self.exit_reason is None else (), self.is_running)
        return Doer(self.marks, self.totals.intervals, compiling)

    @property
    def interrupted(self) -> Sequence[Begun]:
        """What was compiling when it died; empty if it recorded its exit or is alive."""
        return () if self.is_running or self.exit_reason is not None else self.in_progress
