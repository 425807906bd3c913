"""The dashboard "A slow start": the traces behind the numbers."""

from __future__ import annotations

from grafana.source.compile_time import UID
from grafana.source.dashboard import SLOW_START, dashboard, link, values
from grafana.source.panels import Json, bar_gauge, gauged, panel
from grafana.source.queries import PART, START, joined
from grafana.source.spans import spans, traceql

_OF_START = 'resource.service.name =~ "$service" && resource.compilespan.instance.id =~ "$start"'

_KEPT = "&${start:queryparam}"


def build() -> Json:
    """Return it."""
    return dashboard(
        SLOW_START,
        "A slow start",
        "Where the time of a start went: pick one, then a trace of it.",
        variables=[
            values(
                "start",
                "Start",
                f'label_values(target_info{{job=~"$service",{START}!=""}}, {START})',
            ),
            {
                "type": "textbox",
                "name": "trace",
                "label": "Trace",
                "description": "A trace id; a click on one in the tables puts it here.",
                "query": "",
            },
        ],
        links=[link("Compile time", UID, "The numbers of all starts")],
        rows=[
            ("", 8, [(_parts(), 8), (_starts(), 16)]),
            ("", 10, [(_compiles(), 24)]),
            ("Inside compiles", 8, [(_inside("graph_break"), 12), (_inside("recompile"), 12)]),
            ("Warmups", 8, [(_warmups(), 24)]),
            ("One trace", 18, [(_trace(), 24)]),
        ],
    )


def _parts() -> Json:
    seconds = joined(PART, 'job=~"$service"', start="$start")
    return bar_gauge(
        "What the start was made of",
        "Python, imports, loading, compiling, cudagraphs, waiting for `POST /warmup`: the "
        "parts sum to the whole; of several processes the slowest of each. "
        "`compilespan.startup.part.duration`.",
        [
            gauged(
                f"sort_desc(max by (compilespan_startup_part) ({seconds}))",
                ref="A",
                legend="{{compilespan_startup_part}}",
            )
        ],
        no_value="Not ready yet",
    )


def _starts() -> Json:
    return spans(
        "Starts",
        "Spans `compilespan.startup`: a server from the creation of its process until it was "
        "ready, failed, or died; of one that died the event says what was compiling.",
        f"span.compilespan.startup.outcome != nil && {_OF_START}",
        {"compilespan.startup.outcome": "Outcome", "compilespan.instance.id": "Start"},
        no_value="No start in this time range: choose a longer one",
        kept=_KEPT,
    )


def _warmups() -> Json:
    return spans(
        "Warmups",
        "Spans `compilespan.warmup`: a job of `POST /warmup` or of the start.",
        f"span.compilespan.job.state != nil && {_OF_START}",
        {"compilespan.job.state": "State", "compilespan.job.id": "Job"},
        no_value="No warmup in this time range",
        kept=_KEPT,
    )


def _compiles() -> Json:
    return spans(
        "Compiles",
        "Spans `torch.compile`; their events are graphs, graph breaks and recompiles.",
        f"span.torch.compile.trigger != nil && {_OF_START}",
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
        kept=_KEPT,
        counts=("Graphs",),
    )


def _trace() -> Json:
    return panel(
        "traces",
        "Trace",
        "The trace that was chosen: `compilespan.startup` with its parts and the warmup, below it "
        "`torch.compile` with its events.",
        [traceql("$trace")],
        unit="ns",
        no_value="Choose a trace: click a span id in a table above",
        options={},
    )


def _inside(event: str) -> Json:
    title = {"graph_break": "With graph breaks", "recompile": "That compiled again"}[event]
    return spans(
        title,
        f"Spans `torch.compile` with an event `torch.compile.{event}`; the trace has its reason.",
        f'span.torch.compile.trigger != nil && event:name = "torch.compile.{event}" && {_OF_START}',
        {
            "torch.compile.name": "Name",
            "torch.compile.component": "Component",
            "torch.compile.phase": "Phase",
        },
        no_value="None in this time range",
        kept=_KEPT,
    )
