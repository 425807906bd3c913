"""Tables of spans from Tempo, with the important columns first and all spans of a trace.

Grafana requests three spans per trace unless the query sets another number, and Tempo returns at
most its own maximum (grafana/tempo.yml). Tempo returns the columns in its own order, together with
attributes that are only conditions, so the tables name and order their columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.dashboard import to_trace
from grafana.source.fields import TIME, Json, only, override, wide
from grafana.source.panels import TEMPO, table

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_START = 'resource.compilespan.instance.id = "$start"'
"""Does not use the service name: Prometheus' ``job`` may start with the service namespace."""
SPANS_A_TRACE = 1000
"""The same as Tempo's ``max_spans_per_span_set``."""
TRACES = 50
_LAST = {"Start time": "Began", "Span ID": "Span"}
_NEEDED_BY_LINKS = "traceIdHidden"
_SECONDS = "Seconds"
# Grafana would show nanoseconds as minutes in one row and as milliseconds in the next.
_IN_SECONDS: Json = {
    "id": "calculateField",
    "options": {
        "mode": "binary",
        "alias": _SECONDS,
        "binary": {
            "left": {"matcher": {"id": "byName", "options": "Duration"}},
            "operator": "/",
            "right": {"fixed": "1000000000"},
        },
    },
}
_YES = {"true": "yes", "false": "no"}


def traceql(query: str, *, ref: str = "A") -> Json:
    """Return a TraceQL query with one row per span."""
    return {
        "datasource": TEMPO,
        "refId": ref,
        "queryType": "traceql",
        "query": query,
        "tableType": "spans",
        "limit": TRACES,
        "spss": SPANS_A_TRACE,
        "filters": [],
    }


def spans(
    title: str,
    description: str,
    condition: str,
    columns: Mapping[str, str],
    *,
    no_value: str,
    counts: tuple[str, ...] = (),
) -> Json:
    """Return a table of spans, longest first.

    Args:
        title: Title of the panel.
        description: Description of the panel.
        condition: TraceQL between the braces.
        columns: Attributes of spans to show, with their titles, in this order.
        no_value: Text if there are no spans.
        counts: Titles of numeric columns.
    """
    selected = ", ".join(f"span.{name}" for name in columns)
    names = {_SECONDS: "Duration", **columns, **_LAST}
    made = table(
        title,
        f"{description} Longest first, from up to {TRACES} traces with up to "
        f"{SPANS_A_TRACE} spans each.",
        [traceql(f"{{ {condition} }} | select({selected})")],
        unit="string",
        no_value=no_value,
        overrides=[
            override("Duration", unit=TIME, **{"custom.width": 110}),
            *(override(each, unit="short", **{"custom.width": 90}) for each in counts),
            override("Began", unit="dateTimeAsIso", **{"custom.width": 180}),
            wide("Span", 140),
            to_trace("Span"),
            *(override(each, noValue="–") for each in names.values()),
        ],
        sort_by="Duration",
    )
    made["fieldConfig"]["defaults"]["mappings"] = [
        {"type": "value", "options": {word: {"text": shown} for word, shown in _YES.items()}}
    ]
    made["transformations"] = [
        _IN_SECONDS,
        only(*names, _NEEDED_BY_LINKS),
        {
            "id": "organize",
            "options": {
                "indexByName": {name: place for place, name in enumerate(names)},
                "renameByName": names,
            },
        },
    ]
    return made
