"""Report starts that died before they were ready: the next start reads their journals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from compilespan import semconv
from compilespan.journal.appending import append, sum_up
from compilespan.journal.files import JournalName, first_line, journals
from compilespan.journal.locks import is_written
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.summary import Summary
from compilespan.ledger.start import Start
from compilespan.process.faults import contained
from compilespan.telemetry.ids import reused
from compilespan.telemetry.startup import report_parts
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.util.types import AttributeValue

_DAY_S = 24 * 3600.0


def report_deaths(directory: Path) -> int:
    """Report each start of the last day that died before it was ready; return how many.

    A journal that ends with a summary is not read: its process recorded its exit, or another
    reader has handled it. The others get a summary.
    """
    count = 0
    for path in journals(directory):
        name = JournalName.of(path)
        if name is None or name.age_s > _DAY_S or Summary.at_end_of(path) is not None:
            continue
        if not is_written(path, first_line(path)):
            process = ProcessJournal(path, keep=0).refresh()
            count += report_death(process)
            sum_up(process)
    return count


def report_death(process: ProcessJournal) -> bool:
    """Emit a ``startup`` span if a process died before it was ready; ``True`` if one was emitted.

    The span has the ids that the dead process had reserved for it, so it is the parent of the
    compiles that were exported. Each start is reported once: a line in its journal records that.
    """
    with contained(f"report the death of {process.path.name}"):
        if _is_news(process) and append(process, "reported"):
            _report(process)
            return True
    return False


def _is_news(process: ProcessJournal) -> bool:
    return (
        bool(process.startup)
        and "reported" not in process.added
        and process.exit_reason is None
        and process.ready is None
        and not process.is_running
        and time.time() - int(process.process["started_ns"]) / 1e9 < _DAY_S
    )


def _report(process: ProcessJournal) -> None:
    startup: dict[str, Any] = process.startup or {}
    trace_id, span_id = int(startup["trace_id"], 16), int(startup["span_id"], 16)
    parent = Context()
    if startup["parent_id"]:
        parent = trace.set_span_in_context(_remote(trace_id, int(startup["parent_id"], 16)), parent)
    telemetry = active_telemetry()
    telemetry.prepare()
    with reused(trace_id, span_id):
        span = telemetry.tracer.start_span(
            semconv.SPAN_STARTUP,
            context=parent,
            attributes={
                semconv.INSTANCE: str(process.process["instance"]),
                semconv.STARTUP_OUTCOME: "died",
                semconv.ERROR_TYPE: "died",
            },
            links=[trace.Link(_remote(trace_id, span_id).get_span_context())],
            start_time=int(process.process["started_ns"]),
        )
    for begun in process.interrupted:
        attributes: dict[str, AttributeValue] = {
            semconv.IS_ENCODER: begun.is_encoder,
            semconv.COMPONENT: begun.component,
            semconv.NAME: begun.name,
            semconv.GRAPH_COUNT: begun.graphs,
        }
        span.add_event(semconv.EVENT_INTERRUPTED, attributes, timestamp=begun.start_ns)
    cut_off = ", ".join(begun.name for begun in process.interrupted)
    why = f"died compiling {cut_off}" if cut_off else "died"
    if process.memory is not None and process.memory.is_near_limit:
        why += ", near its memory limit"
    span.set_status(Status(StatusCode.ERROR, why))
    started_ns = int(process.process["started_ns"])
    report_parts(span, Start.of(started_ns, process.seen_ns, [process.doer]))
    span.end(end_time=process.seen_ns)


def _remote(trace_id: int, span_id: int) -> NonRecordingSpan:
    return NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(TraceFlags.SAMPLED)))
