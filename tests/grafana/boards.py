"""The dashboards' panels and queries, as Grafana would read them."""

from __future__ import annotations

import json
from pathlib import Path

GRAFANA = Path(__file__).parents[2] / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
# What Grafana puts in for variables, the longer names before those that they begin with. The reader
# is in the time zone of Prometheus.
VARIABLES = {
    "${__from:date:H}": "0",
    "${__from:date:m}": "0",
    "$__from": "0",
    "$__range": "30m",
    "$service": "llava",
    "$start_trace": "{ span.torch.compile.trigger != nil }",
    "$start": "first",
    # A trace id is no TraceQL; Tempo's data source looks it up.
    "$trace": "{ span.torch.compile.trigger != nil }",
}


def filled_in(text, **chosen):
    """Return a query as Grafana sends it; ``chosen`` are values of the variables of these names."""
    values = VARIABLES | {f"${name}": value for name, value in chosen.items()}
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def overridden(panel):
    """Return what is different for fields of a panel: properties by name, the last one counts."""
    found = {}
    for each in panel["fieldConfig"]["overrides"]:
        properties = found.setdefault(each["matcher"]["options"], {})
        properties.update({one["id"]: one["value"] for one in each["properties"]})
    return found


def panels():
    """Return (dashboard, panel), without the headings."""
    return [
        (name, panel)
        for name, dashboard in DASHBOARDS.items()
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    ]


def targets(language):
    """Return the queries in PromQL (``expr``) or TraceQL (``query``), by where they stand."""
    return {
        f"{name}: {panel['title']} {target['refId']}": target
        for name, panel in panels()
        for target in panel["targets"]
        if language in target and target["datasource"]["uid"] != "${loki}"
    }
