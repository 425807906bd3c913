"""Tables of spans, from Tempo: the columns that matter first, and each span that a trace has.

Grafana asks for three spans a trace unless a query says how many, and Tempo gives no more than its
own maximum (grafana/tempo.yml). It puts what it knows of any span first, and comes back with what
was only a condition: here the columns are named and ordered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.dashboard import to_trace
from grafana.source.fields import TIME, Json, only, override, wide
from grafana.source.panels import TEMPO, table

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_START = 'resource.compilespan.instance.id = "$start"'
"""Not by the service's name: Prometheus' ``job`` may have its namespace before it."""
SPANS_A_TRACE = 1000
"""As Tempo's ``max_spans_per_span_set``."""
TRACES = 50
_LAST = {"Start time": "Began", "Span ID": "Span"}
_NEEDED_BY_LINKS = "traceIdHidden"
_SECONDS = "Seconds"
# Of nanoseconds Grafana makes minutes in one row and milliseconds in the next.
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
    """Return a search for spans, a row for each."""
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
        title: Of the panel.
        description: Of the panel.
        condition: TraceQL between the braces.
        columns: Attributes of spans that are shown, with their titles, in this order.
        no_value: What it says if there are none.
        counts: Titles of columns that are numbers.
    """
    selected = ", ".join(f"span.{name}" for name in columns)
    names = {_SECONDS: "Duration", **columns, **_LAST}
    made = table(
        title,
        f"{description} The longest first, of up to {TRACES} traces with up to "
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
