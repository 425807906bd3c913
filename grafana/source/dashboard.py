"""Dashboards: variables, links and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.fields import Json, override
from grafana.source.panels import PROMETHEUS
from grafana.source.start_names import named_starts

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOW_START = "compilespan-slow-start"
_SCHEMA_VERSION = 42
_SHOWN, _HIDDEN = 0, 2
# Extracts name and id of a start from the text of a series.
_NAMED_START = '/said="(?<text>[^"]+)|start="(?<value>[^"]+)/g'
_WIDTH = 24

Row = tuple[str, int, list[tuple[Json, int]]]
"""Heading (empty for none), height, and panels with their widths (24 in total)."""


def dashboard(
    uid: str,
    title: str,
    description: str,
    *,
    variables: list[Json],
    links: list[Json],
    rows: Iterable[Row],
) -> Json:
    """Return a dashboard in the format of Grafana's provisioning.

    The variables for data sources, service and start come first, then ``variables``.
    """
    common = [
        data_source("prometheus"),
        data_source("tempo"),
        chosen("service", "Service", "label_values(compilespan_ready, job)"),
        chosen("start", "Start", f"query_result({named_starts()})", _NAMED_START),
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
    """Assign positions and ids to panels, from top to bottom."""
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


def data_source(name: str) -> Json:
    """Return a variable that selects a data source of this type."""
    return {"type": "datasource", "name": name, "label": name.title(), "query": name, "hide": 0}


def chosen(name: str, label: str, query: str, regex: str = "", *, hide: bool = False) -> Json:
    """Return a single-value variable; the first value is the default.

    Args:
        name: Name of the variable.
        label: Label in the dashboard.
        query: Query for the values.
        regex: Extracts text and value from each result and keeps the order of the results.
            Without it the values are sorted.
        hide: Hide the variable from the user.
    """
    return {
        "type": "query",
        "name": name,
        "label": label,
        "hide": _HIDDEN if hide else _SHOWN,
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "regex": regex,
        "refresh": 2,  # when the time range changes
        "sort": 0 if regex else 1,
        "multi": False,
        "includeAll": False,
    }


def to_start() -> Json:
    """Return the link from a start to its traces. The id is in the hidden column ``start``."""
    return {
        "title": "Traces of this start",
        "url": f"/d/{SLOW_START}?${{__url_time_range}}&var-start=${{__data.fields.start}}"
        "&${service:queryparam}",
    }


def to_trace(column: str) -> Json:
    """Return the override that links a span id to its trace.

    Args:
        column: Column of span ids. Tempo returns the trace id in a hidden column beside it.
    """
    url = (
        f"/d/{SLOW_START}?${{__url_time_range}}&var-trace=${{__data.fields.traceIdHidden}}"
        "&${service:queryparam}&${start:queryparam}"
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
