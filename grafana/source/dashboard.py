"""A dashboard: its variables, its links, and where its panels lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.panels import PROMETHEUS, Json, override

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOW_START = "compilespan-slow-start"
_SCHEMA_VERSION = 42
_WIDTH = 24

Row = tuple[str, int, list[tuple[Json, int]]]
"""A heading (none where empty), a height, and panels with their widths of 24."""


def dashboard(
    uid: str,
    title: str,
    description: str,
    *,
    variables: list[Json],
    links: list[Json],
    rows: Iterable[Row],
) -> Json:
    """Return a dashboard as Grafana's provisioning reads it.

    Each has the data sources and the service to choose; ``variables`` come after them.
    """
    common = [
        _data_source("prometheus"),
        _data_source("tempo"),
        values("service", "Service", "label_values(compilespan_ready, job)"),
    ]
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["compilespan"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [*common, *variables]},
        "links": links,
        "panels": laid_out(rows),
    }


def laid_out(rows: Iterable[Row]) -> list[Json]:
    """Give panels their places and ids, from the top."""
    panels: list[Json] = []
    y = 0
    for heading, height, across in rows:
        if heading:
            place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
            panels.append(
                {
                    "type": "row",
                    "title": heading,
                    "collapsed": False,
                    "panels": [],
                    "id": len(panels) + 1,
                    "gridPos": place,
                }
            )
            y += 1
        x = 0
        for panel, width in across:
            place = {"x": x, "y": y, "w": width, "h": height}
            panels.append({**panel, "id": len(panels) + 1, "gridPos": place})
            x += width
        y += height
    return panels


def _data_source(name: str) -> Json:
    """Return the variable that picks a data source of this type."""
    return {"type": "datasource", "name": name, "label": name.title(), "query": name, "hide": 0}


def values(name: str, label: str, query: str) -> Json:
    """Return a variable of one or several label values, all of them at first."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def to_start() -> Json:
    """Return the link of a start's id to its traces."""
    return {
        "title": "Traces of this start",
        "url": f"/d/{SLOW_START}?${{__url_time_range}}&var-start=${{__value.raw}}"
        "&${service:queryparam}",
    }


def to_trace(column: str, kept: str = "") -> Json:
    """Return the override that lets a span's id lead to its trace.

    Args:
        column: Of span ids; Tempo has the trace's id beside it, in a hidden one.
        kept: Variables that the link keeps besides the service.
    """
    url = (
        f"/d/{SLOW_START}?${{__url_time_range}}&var-trace=${{__data.fields.traceIdHidden}}"
        f"&${{service:queryparam}}{kept}"
    )
    return override(column, links=[{"title": "Show its trace", "url": url}])


def link(title: str, uid: str, tooltip: str) -> Json:
    """Return a link to another dashboard that keeps time range and variables."""
    return {
        "type": "link",
        "title": title,
        "tooltip": tooltip,
        "url": f"/d/{uid}",
        "icon": "dashboard",
        "tags": [],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }
