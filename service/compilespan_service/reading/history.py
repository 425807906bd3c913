"""The starts that a state directory knows, and how each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from compilespan import get_ledger
from compilespan.journal.summary import Summary
from compilespan.ledger.totals import TotalsBuilder
from compilespan_service import schemas
from compilespan_service.reading.past import MAX_STARTS

if TYPE_CHECKING:
    from compilespan_service.reading.instance import Instance


class History:
    """Lists all starts, from the summaries of their processes."""

    def __init__(self, instance: Instance) -> None:
        """Take the instance whose state directory it is."""
        self._instance = instance

    def starts(self) -> list[schemas.Start]:
        """Return the last starts, newest first; none without a state directory."""
        self._instance.refresh(past=True)
        snapshot = self._instance.snapshot
        processes = [*map(Summary.of, snapshot.processes), *snapshot.past]
        journal = get_ledger().journal
        if journal is not None and journal.path in snapshot.journals:
            processes.append(Summary.of_ledger(get_ledger()))
        by_instance: dict[str, list[Summary]] = {}
        for process in processes:
            by_instance.setdefault(process.process["instance"], []).append(process)
        starts = [_start(instance, found) for instance, found in by_instance.items()]
        return sorted(starts, key=lambda start: start.started_at, reverse=True)[:MAX_STARTS]


def _start(instance: str, processes: list[Summary]) -> schemas.Start:
    builder = TotalsBuilder()
    for process in processes:
        builder.update(process.totals)
    totals = builder.build()
    first = min(processes, key=lambda process: int(process.process["started_ns"]))
    ready = [p.ready_after_s for p in processes if p.ready_after_s is not None]
    return schemas.Start(
        instance=instance,
        started_at=schemas.moment(first.process["started_ns"]),
        processes=len(processes),
        versions=first.process["versions"],
        device=first.process.get("device") or "cpu",
        cache=_cache(totals.total.cache_hits, totals.total.cache_misses),
        ready_after_s=max(ready) if ready else None,
        phases=[
            schemas.StartupPhase(
                name=phase["phase"],
                started_at=schemas.moment(phase["start_ns"]),
                duration_s=phase["seconds"],
            )
            for phase in first.startup_phases
            if phase["start_ns"] is not None
        ],
        ended=_ended(processes, first),
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


def _cache(hits: int, misses: int) -> Literal["cold", "warm", "none"]:
    if misses:
        return "cold"
    return "warm" if hits else "none"


def _memory(processes: list[Summary]) -> schemas.Memory | None:
    """Return that of the process which had most: a parent's has its children's in it."""
    known = [process.memory for process in processes if process.memory is not None]
    most = max(known, key=lambda memory: memory.peak_bytes, default=None)
    return schemas.Memory.model_validate(most._asdict()) if most is not None else None


def _ended(processes: list[Summary], first: Summary) -> str:
    if any(process.is_running for process in processes):
        return "running"
    return first.exit_reason or "killed"
