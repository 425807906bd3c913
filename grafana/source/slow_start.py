"""The dashboard "A slow start": the traces behind the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.compile_time import UID
from grafana.source.dashboard import SLOW_START, chosen, dashboard, data_source, link
from grafana.source.metrics import COUNT
from grafana.source.panels import LOKI, number, panel, stat
from grafana.source.queries import CHOSEN, SERVICE, of_start
from grafana.source.spans import OF_START, spans, traceql
from grafana.source.stat_row import bar_of_start, components

if TYPE_CHECKING:
    from grafana.source.fields import Json

_TRACE = "compilespan_startup_trace_id"


def build() -> Json:
    """Return the dashboard."""
    return dashboard(
        SLOW_START,
        "A slow start",
        "Where the time of a start went: pick one, then a trace of it.",
        variables=[
            chosen(
                "start_trace",
                "Trace of the start",
                f"label_values(target_info{{{SERVICE},{CHOSEN}}}, {_TRACE})",
                hide=True,
            ),
            {
                "type": "textbox",
                "name": "trace",
                "label": "Trace",
                "description": "A trace id: a click on a span puts it here. Without one the trace "
                "of the start is shown.",
                "query": "",
            },
            data_source("loki"),
        ],
        links=[link("Compile time", UID, "The numbers of all starts")],
        rows=[
            ("", 6, [(bar_of_start(), 12), (components(), 9), (_count(), 3)]),
            ("", 9, [(_compiles(), 24)]),
            ("Trace of the start, or of the span that was chosen", 16, [(_trace(), 24)]),
            ("Inside compiles", 8, [(_inside("graph_break"), 12), (_inside("recompile"), 12)]),
            ("The start and its warmups", 8, [(_starts(), 12), (_warmups(), 12)]),
            ("As it happens", 9, [(_events(), 24)]),
        ],
    )


def _count() -> Json:
    return stat(
        "Compiles and loads",
        "Number of compiles and loads. If the table below has fewer rows, Tempo did not return "
        "all of them. "
        "`torch.compile.duration`, its count.",
        [number(f"sum({of_start(COUNT, SERVICE)})")],
        unit="short",
        no_value="None ended yet",
    )


def _starts() -> Json:
    return spans(
        "Starts",
        "Spans `compilespan.startup`: a server from the creation of its process until it was "
        "ready, failed, or died. If it died, the event says what was compiling.",
        f"span.compilespan.startup.outcome != nil && {OF_START}",
        {"compilespan.startup.outcome": "Outcome"},
        no_value="No start in this time range: choose a longer one",
    )


def _warmups() -> Json:
    return spans(
        "Warmups",
        "Spans `compilespan.warmup`: a job of `POST /warmup` or of the start.",
        f"span.compilespan.job.state != nil && {OF_START}",
        {"compilespan.job.state": "State", "compilespan.job.id": "Job"},
        no_value="No warmup in this time range",
    )


def _compiles() -> Json:
    return spans(
        "Compiles",
        "Spans `torch.compile`; their events are graphs, graph breaks and recompiles.",
        f"span.torch.compile.trigger != nil && {OF_START}",
        {
            "torch.compile.name": "Name",
            "torch.compile.component": "Component",
            "torch.compile.cache.result": "Cache",
            "torch.compile.graph.count": "Graphs",
            "torch.compile.outcome": "Outcome",
            "torch.compile.kind": "Kind",
            "torch.compile.phase": "Phase",
        },
        no_value="No compile in this time range",
        counts=("Graphs",),
    )


def _trace() -> Json:
    return panel(
        "traces",
        "Trace",
        "The trace that was chosen: `compilespan.startup` with its parts and the warmup, below it "
        "`torch.compile` with its events.",
        # The panel shows the first result; Grafana does not send a query that is empty.
        [traceql("$trace"), traceql("$start_trace", ref="B")],
        unit="ns",
        no_value="Choose a trace: click a span id in a table above",
        options={},
    )


def _events() -> Json:
    shown = "{{__line__}} {{.torch_compile_stage}}{{.torch_compile_cache_result}}"
    return panel(
        "logs",
        "Events",
        "Events of compiles as they happen (`torch.compile.graph`, `torch.compile.stage`, …), if "
        "`COMPILESPAN_EVENTS` is `log` or `both`.",
        [
            {
                "datasource": LOKI,
                "refId": "A",
                "queryType": "range",
                "expr": '{service_name=~".+"} | compilespan_instance_id="$start" '
                f"| line_format `{shown}`",
            }
        ],
        unit="string",
        no_value="No event in this time range: are they sent as logs?",
        options={
            "dedupStrategy": "none",
            "enableLogDetails": True,
            "prettifyLogMessage": False,
            "showCommonLabels": False,
            "showLabels": False,
            "showTime": True,
            "sortOrder": "Descending",
            "wrapLogMessage": False,
        },
    )


def _inside(event: str) -> Json:
    title, what, condition = {
        "graph_break": ("With graph breaks", "any", "span.torch.compile.graph_break.count > 0"),
        "recompile": ("Recompiles", "one", "span.torch.compile.is_recompile = true"),
    }[event]
    return spans(
        title,
        f"Spans `torch.compile` with {what}; an event `torch.compile.{event}` has its reason.",
        f"{condition} && {OF_START}",
        {
            "torch.compile.name": "Name",
            "torch.compile.component": "Component",
            "torch.compile.phase": "Phase",
        },
        no_value="None in this time range",
    )
