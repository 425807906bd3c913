"""The dashboard "A slow start": the traces behind the numbers."""

from __future__ import annotations

from grafana.source.compile_time import UID
from grafana.source.dashboard import SLOW_START, dashboard, link, to_trace, values
from grafana.source.panels import Json, bar_gauge, gauged, panel, table, traceql
from grafana.source.queries import PART, START, joined

_OF_START = 'resource.service.name =~ "$service" && resource.compilespan.instance.id =~ "$start"'


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
            ("", 9, [(_warmups(), 8), (_compiles(), 16)]),
            ("", 18, [(_trace(), 24)]),
            ("Inside compiles", 8, [(_inside("graph_break"), 12), (_inside("recompile"), 12)]),
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


def _spans(title: str, description: str, query: str, no_value: str) -> Json:
    return table(
        title,
        description,
        [traceql(query)],
        unit="ns",
        no_value=no_value,
        overrides=[to_trace("&${start:queryparam}")],
        sort_by="Duration",
    )


def _starts() -> Json:
    return _spans(
        "Starts",
        "Spans `compilespan.startup`: a server from the creation of its process until it was "
        "ready, failed, or died; of one that died the event says what was compiling.",
        f"{{ span.compilespan.startup.outcome != nil && {_OF_START} }} | "
        "select(span.compilespan.startup.outcome, span.compilespan.instance.id)",
        "No start in this time range: choose a longer one",
    )


def _warmups() -> Json:
    return _spans(
        "Warmups",
        "Spans `compilespan.warmup`: a job of `POST /warmup` or of the start.",
        f"{{ span.compilespan.job.state != nil && {_OF_START} }} | "
        "select(span.compilespan.job.state, span.compilespan.job.id)",
        "No warmup in this time range",
    )


def _compiles() -> Json:
    return _spans(
        "Compiles, longest first",
        "Spans `torch.compile`; their events are graphs, graph breaks and recompiles.",
        f"{{ span.torch.compile.trigger != nil && {_OF_START} }} | "
        "select(span.torch.compile.name, span.torch.compile.component, span.torch.compile.kind, "
        "span.torch.compile.cache.result, span.torch.compile.graph.count, "
        "span.torch.compile.outcome)",
        "No compile in this time range",
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
    return _spans(
        title,
        f"Spans `torch.compile` with an event `torch.compile.{event}`; the trace has its reason.",
        f'{{ span.torch.compile.trigger != nil && event:name = "torch.compile.{event}" '
        f"&& {_OF_START} }} | "
        "select(span.torch.compile.name, span.torch.compile.component, span.torch.compile.phase)",
        "None in this time range",
    )
