"""The dashboards' panels and queries, as Grafana would read them."""

from __future__ import annotations

import json
from pathlib import Path

GRAFANA = Path(__file__).parents[2] / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
# What Grafana puts in for variables of which all values are chosen.
VARIABLES = {
    "$__range": "30m",
    "$service": ".*",
    "$instance": ".*",
    "$name": ".*",
    "$start": ".*",
    # A trace id is no TraceQL; Tempo's data source looks it up.
    "$trace": "{ span.torch.compile.trigger != nil }",
}


def filled_in(text):
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return text


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
        if language in target
    }
