"""Stands in for Tempo and for Grafana's data source of it, where neither can be had.

It does what they do by default, and no better: three spans a trace unless the query says more, and
never more than Tempo's maximum; values of conditions come back as columns; what is false or 0 is
dropped; what is known of any span comes first, the duration last (Grafana 13, resultTransformer).
"""

from __future__ import annotations

import re

import yaml
from boards import GRAFANA

_FALLBACK_SPSS = 3
_DEFAULT_MAX_SPSS = 100
_FIRST = {
    "traceIdHidden": None,
    "traceService": "Trace Service",
    "traceName": "Trace Name",
    "spanID": "Span ID",
    "time": "Start time",
    "name": "Name",
}


def _most():
    search = yaml.safe_load((GRAFANA / "tempo.yml").read_text()).get("query_frontend", {})
    return search.get("search", {}).get("max_spans_per_span_set", _DEFAULT_MAX_SPSS)


def attributes_of(query):
    """Return the attributes that a query names, in conditions or in ``select``."""
    found = re.findall(r"\b(?:span|resource|event)\.([a-z_]+(?:\.[a-z_]+)*)", query)
    return list(dict.fromkeys(found))


def frame(target, traces):
    """Return the fields of the table that a query gets, or none without any span.

    Args:
        target: The query, as the dashboard has it.
        traces: Spans by trace: mappings with ``span_id``, ``service``, ``name``, ``time_ms``,
            ``duration_ns`` and ``attributes``.
    """
    asked = min(target.get("spss") or _FALLBACK_SPSS, _most())
    named = attributes_of(target["query"])
    rows = []
    for trace_id, spans in list(traces.items())[: target["limit"]]:
        for span in spans[:asked]:
            row = {
                "traceIdHidden": trace_id,
                "traceService": span["service"],
                "traceName": spans[0]["name"],
                "spanID": span["span_id"],
                "time": span["time_ms"],
                "name": span["name"],
            }
            kept = {key: span["attributes"].get(key) for key in named}
            rows.append((row, {key: value for key, value in kept.items() if value}, span))
    if not rows:
        return []
    fields = [
        {
            "name": name,
            "type": "time" if name == "time" else "string",
            "config": {"displayNameFromDS": title} if title else {},
            "values": [row[name] for row, _, _ in rows],
        }
        for name, title in _FIRST.items()
    ]
    for key in sorted({key for _, kept, _ in rows for key in kept}):
        values = [kept.get(key) for _, kept, _ in rows]
        is_number = any(isinstance(value, int) for value in values)
        fields.append({"name": key, "type": "number" if is_number else "string", "values": values})
    durations = [span["duration_ns"] for _, _, span in rows]
    config = {"displayNameFromDS": "Duration", "unit": "ns"}
    return [*fields, {"name": "duration", "type": "number", "config": config, "values": durations}]
