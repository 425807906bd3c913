"""The starts in a state directory, and how each ended."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from compilespan import get_ledger
from compilespan.journal.summary import Summary
from compilespan.ledger.start import Start
from compilespan.ledger.totals import TotalsBuilder, cache_state
from compilespan.process import instance_id, now_ns
from compilespan_service import schemas
from compilespan_service.reading.past import MAX_STARTS

if TYPE_CHECKING:
    from compilespan_service.reading.instance import Instance

MAX_IMPORTS = 8


class History:
    """Lists all starts, from the summaries of their processes."""

    def __init__(self, instance: Instance, trace_url: str | None = None) -> None:
        """Read nothing yet.

        Args:
            instance: Provides the state directory.
            trace_url: Address of a trace, with ``{trace_id}`` in it; ``None`` for no links.
        """
        self._instance = instance
        self._trace_url = trace_url

    def starts(self) -> list[schemas.Start]:
        """Return the last starts, newest first; empty without a state directory."""
        self._instance.refresh(past=True)
        snapshot = self._instance.snapshot
        processes = [*map(Summary.of, snapshot.processes), *snapshot.past]
        journal = get_ledger().journal
        if journal is not None and journal.path in snapshot.journals:
            processes.append(Summary.of_ledger(get_ledger()))
        by_instance: dict[str, list[Summary]] = {}
        for process in processes:
            by_instance.setdefault(process.process["instance"], []).append(process)
        starts = [
            # For this start, the running compiles are known, too.
            _start(each, found, self._instance.startup if each == instance_id() else _begun(found))
            for each, found in by_instance.items()
        ]
        for start in starts:
            start.trace_url = self._trace_url
        return sorted(starts, key=lambda start: start.started_at, reverse=True)[:MAX_STARTS]


def _start(instance: str, processes: list[Summary], start: Start) -> schemas.Start:
    builder = TotalsBuilder()
    for process in processes:
        builder.update(process.totals)
    totals = builder.build()
    first = _first(processes)
    ready = [p.ready_after_s for p in processes if p.ready_after_s is not None]
    ended = _ended(processes, first)
    return schemas.Start(
        instance=instance,
        started_at=schemas.moment(first.process["started_ns"]),
        processes=sum(process.took_part or process is first for process in processes),
        versions=first.process["versions"],
        device=first.process.get("device") or "cpu",
        cache=cache_state(totals.total, is_over=bool(ready) or ended != "running"),
        ready_after_s=max(ready) if ready else None,
        serving_s=sum(process.serving_s for process in processes),
        start=dict(start.parts_s),
        compile=dict(start.compile_s),
        beside=dict(start.beside_s),
        imports=dict(itertools.islice(start.imports_s.items(), MAX_IMPORTS)),
        segments=[
            schemas.Segment(
                part=segment.part,
                name=segment.name,
                component=segment.component,
                started_at=schemas.moment(segment.start_ns),
                duration_s=segment.duration_ns / 1e9,
            )
            for segment in start.joined()
        ],
        ended=ended,
        interrupted=[
            schemas.Interrupted(
                name=begun.name,
                is_encoder=begun.is_encoder,
                component=begun.component,
                pid=process.process["pid"],
                started_at=schemas.moment(begun.start_ns),
                elapsed_s=begun.elapsed_s,
                graphs=begun.graphs,
                stage=begun.stage,
            )
            for process in processes
            for begun in process.interrupted
        ],
        memory=_memory(processes),
        encoder=totals.encoder,
        language_model=totals.language_model,
        other=totals.other,
        total=totals.total,
    )


def _first(processes: list[Summary]) -> Summary:
    return min(processes, key=lambda process: int(process.process["started_ns"]))


def _begun(processes: list[Summary]) -> Start:
    """Return a start until its last process was ready, else until now or its last sign of life."""
    ready = [
        int(process.process["started_ns"]) + round(process.ready_after_s * 1e9)
        for process in processes
        if process.ready_after_s is not None
    ]
    begin_ns = int(_first(processes).process["started_ns"])
    doers = [process.doer for process in processes]
    if ready:
        end_ns = max(ready)
    elif any(process.is_running for process in processes):
        end_ns = now_ns()
    else:
        end_ns = max([begin_ns, *(process.last_ns for process in processes)])
    return Start.of(begin_ns, end_ns, doers)


def _memory(processes: list[Summary]) -> schemas.Memory | None:
    """Return the memory of the process with the highest peak, which includes its children."""
    known = [process.memory for process in processes if process.memory is not None]
    most = max(known, key=lambda memory: memory.peak_bytes, default=None)
    return schemas.Memory.model_validate(most._asdict()) if most is not None else None


def _ended(processes: list[Summary], first: Summary) -> str:
    if any(process.is_running for process in processes):
        return "running"
    return first.exit_reason or "killed"
