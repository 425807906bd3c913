"""Compiles as a trace that ui.perfetto.dev opens (Chrome's JSON trace format).

Each component of a process has one track per thread. Compiles are slices, their stages are slices
inside them, and other events are instants.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Protocol

from compilespan import semconv
from compilespan.ledger.records import MAX_STAGE_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from compilespan import CompileRecord
    from compilespan.semconv import Component
    from compilespan_service.capture.capture import Capture


class InProgress(Protocol):
    """A compile without an end."""

    @property
    def name(self) -> str:
        """See `CompileRecord`."""

    @property
    def component(self) -> Component:
        """See `CompileRecord`."""

    @property
    def start_ns(self) -> int:
        """Nanoseconds since the epoch."""


@dataclasses.dataclass(frozen=True, slots=True)
class TracedProcess:
    """The compiles of one process, with and without an end."""

    pid: int
    records: Sequence[CompileRecord]
    in_progress: Sequence[InProgress]


class _Tracks:
    """Numbers the tracks of a process as they are needed."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ids: dict[tuple[Component, int | None], int] = {}
        self.metadata: list[dict[str, Any]] = [
            {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": f"process {pid}"}}
        ]

    def of(self, thread_id: int | None, component: Component) -> int:
        key = (component, thread_id)
        if key not in self._ids:
            others = sum(each == component for each, _ in self._ids)
            name = component.replace("_", " ")
            self._ids[key] = len(self._ids) + 1
            self.metadata.append(
                {
                    "ph": "M",
                    "name": "thread_name",
                    "pid": self._pid,
                    "tid": self._ids[key],
                    "args": {"name": f"{name}, thread {others + 1}" if others else name},
                }
            )
        return self._ids[key]


def report(capture: Capture) -> str:
    """Return the trace of a run of a program."""
    by_pid: dict[int, TracedProcess] = {}
    pids = {record.pid for record in capture.compiles} | {each.pid for each in capture.interrupted}
    for pid in sorted(pids):
        by_pid[pid] = TracedProcess(
            pid,
            [record for record in capture.compiles if record.pid == pid],
            [each for each in capture.interrupted if each.pid == pid],
        )
    return json.dumps(trace(by_pid.values())) + "\n"


def trace(processes: Iterable[TracedProcess]) -> dict[str, Any]:
    """Return the trace; times are microseconds since the epoch."""
    events: list[dict[str, Any]] = []
    for process in processes:
        tracks = _Tracks(process.pid)
        found: list[dict[str, Any]] = []
        for record in sorted(process.records, key=lambda record: record.start_ns):
            tid = tracks.of(record.thread_id, record.component)
            found.append(_slice(record, process.pid, tid))
            found += _stages(record, process.pid, tid)
            found += _instants(record, process.pid, tid)
        found += [
            {
                "ph": "B",
                "name": begun.name,
                "cat": begun.component,
                "pid": process.pid,
                "tid": tracks.of(None, begun.component),
                "ts": begun.start_ns / 1000,
            }
            for begun in process.in_progress
        ]
        events += [*tracks.metadata, *found]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _slice(record: CompileRecord, pid: int, tid: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": record.name,
        "cat": record.component,
        "pid": pid,
        "tid": tid,
        "ts": record.start_ns / 1000,
        "dur": record.duration_ns / 1000,
        "args": {
            "is_encoder": record.is_encoder,
            "kind": record.kind,
            "phase": record.phase,
            "outcome": record.outcome,
            "trigger": record.trigger,
            "graphs": record.graphs,
            "cache": record.cache_result,
            "recompile": record.recompile_reason,
            "skipped": record.skip_reason,
            "request": record.request,
            "compile_ids": list(record.compile_ids),
            "trace_id": record.trace_id,
            "stages": dict(record.stages),
            "cpu_s": record.cpu_s,
            "cpu_wait_s": record.cpu_wait_s,
        },
    }


def _stages(record: CompileRecord, pid: int, tid: int) -> list[dict[str, Any]]:
    """Return a slice for each stage whose begin and end are known."""
    begun = [event for event in record.events if event.name == semconv.EVENT_STAGE]
    ends_ns = [event.time_ns for event in begun[1:]]
    if len(begun) < MAX_STAGE_EVENTS:  # else the end of the last one is not known
        ends_ns.append(record.end_ns)
    return [
        {
            "ph": "X",
            "name": event.attributes[semconv.STAGE],
            "cat": "stage",
            "pid": pid,
            "tid": tid,
            "ts": event.time_ns / 1000,
            "dur": (end_ns - event.time_ns) / 1000,
        }
        for event, end_ns in zip(begun, ends_ns, strict=False)
    ]


def _instants(record: CompileRecord, pid: int, tid: int) -> list[dict[str, Any]]:
    return [
        {
            "ph": "i",
            "s": "t",
            "name": event.name.removeprefix("torch.compile."),
            "cat": record.component,
            "pid": pid,
            "tid": tid,
            "ts": event.time_ns / 1000,
            "args": dict(event.attributes),
        }
        for event in record.events
        if event.name != semconv.EVENT_STAGE
    ]
