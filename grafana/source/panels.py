"""Panels and queries of the dashboards, as Grafana's JSON has them.

Colours are the page's: encoder teal, language model indigo, other fuchsia, failed red. Each reaches
3:1 against Grafana's light and dark background.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ENCODER_COLOUR = "#0d9488"
LANGUAGE_MODEL_COLOUR = "#6366f1"
OTHER_COLOUR = "#c026d3"
FAILED_COLOUR = "#dc2626"
NOTHING = "Nothing compiled here"
PROMETHEUS: Json = {"type": "prometheus", "uid": "${prometheus}"}
TEMPO: Json = {"type": "tempo", "uid": "${tempo}"}


def promql(expression: str, *, ref: str, legend: str, exemplar: bool = False) -> Json:
    """Return a query over the time range."""
    target = {"datasource": PROMETHEUS, "refId": ref, "expr": expression, "range": True}
    return {**target, "legendFormat": legend, "exemplar": exemplar}


def promql_now(expression: str, *, ref: str = "A") -> Json:
    """Return a query for one table at the end of the time range."""
    target = {"datasource": PROMETHEUS, "refId": ref, "expr": expression}
    return {**target, "instant": True, "range": False, "format": "table"}


def panel(
    kind: str,
    title: str,
    description: str,
    targets: list[Json],
    *,
    unit: str,
    no_value: str,
    options: Json,
    custom: Json | None = None,
    colour: Json | None = None,
    overrides: list[Json] | None = None,
    transformations: list[Json] | None = None,
    from_zero: bool = False,
) -> Json:
    """Return a panel, drawn ``from_zero`` if it draws; `laid_out` gives it its place and id."""
    defaults: Json = {"unit": unit, "noValue": no_value}
    if from_zero:
        defaults["min"] = 0
    if custom is not None:
        defaults["custom"] = custom
    if colour is not None:
        defaults["color"] = colour
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": targets[0]["datasource"],
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
        "options": options,
        "transformations": transformations or [],
    }


def stat(
    title: str, description: str, expression: str, *, unit: str, no_value: str, colour: str = "text"
) -> Json:
    """Return one number."""
    return panel(
        "stat",
        title,
        description,
        [promql_now(expression)],
        unit=unit,
        no_value=no_value,
        colour=_fixed(colour),
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "value",
            "wideLayout": True,
        },
    )


def gauged(expression: str, *, ref: str, legend: str) -> Json:
    """Return a query for one bar of a gauge, or for one bar of each series."""
    query = promql_now(expression, ref=ref)
    return {**query, "format": "time_series", "legendFormat": legend}


def bar_gauge(title: str, description: str, targets: list[Json], *, no_value: str) -> Json:
    """Return seconds as bars below each other, with their names and numbers."""
    return panel(
        "bargauge",
        title,
        description,
        targets,
        unit="s",
        no_value=no_value,
        from_zero=True,
        colour=_fixed("text"),
        options={
            "displayMode": "basic",
            "legend": {**legend(), "showLegend": False},
            "maxVizHeight": 40,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "left",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showUnfilled": False,
            "sizing": "auto",
            "valueMode": "text",
        },
    )


def bars(
    title: str,
    description: str,
    targets: list[Json],
    *,
    x: str,
    names: dict[str, str],
    no_value: str,
    oldest_first: str | None = None,
) -> Json:
    """Return the components as stacked bars, a bar for each value of ``x``.

    ``names`` are the columns to show, ``oldest_first`` is one that they are only sorted by.
    """
    sorting = [{"field": oldest_first, "desc": False}]
    return panel(
        "barchart",
        title,
        description,
        targets,
        unit="s",
        no_value=no_value,
        from_zero=True,
        custom={"fillOpacity": 90, "lineWidth": 0},
        overrides=COMPONENT_COLOURS,
        transformations=[
            {"id": "merge", "options": {}},
            *([{"id": "sortBy", "options": {"sort": sorting}}] if oldest_first else []),
            {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}},
            renamed(names),
        ],
        options={
            "barWidth": 0.8,
            "fullHighlight": False,
            "groupWidth": 0.7,
            "legend": legend(),
            "orientation": "horizontal",
            "showValue": "auto",
            "stacking": "normal",
            "tooltip": tooltip(),
            "xField": x,
            "xTickLabelMaxLength": 24,
            "xTickLabelRotation": 0,
        },
    )


def lines(
    title: str,
    description: str,
    targets: list[Json],
    *,
    no_value: str,
    stacked: bool = False,
    overrides: list[Json] | None = None,
) -> Json:
    """Return series over time: steps, for between two values nothing is known."""
    return panel(
        "timeseries",
        title,
        description,
        targets,
        unit="s",
        no_value=no_value,
        from_zero=True,
        custom={
            "drawStyle": "line",
            "lineInterpolation": "stepAfter",
            "lineWidth": 1,
            "fillOpacity": 60 if stacked else 0,
            "showPoints": "auto",
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        },
        overrides=[*COMPONENT_COLOURS, *(overrides or [])],
        options={"legend": legend(), "tooltip": tooltip()},
    )


def table(
    title: str,
    description: str,
    targets: list[Json],
    *,
    no_value: str,
    unit: str = "s",
    names: dict[str, str] | None = None,
    overrides: list[Json] | None = None,
    sort_by: str | None = None,
) -> Json:
    """Return rows; ``names`` gives the columns their names and their order."""
    options: Json = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"}
    # A rank or an id of digits is no number of seconds.
    texts = [
        override(shown, unit="string")
        for name, shown in (names or {}).items()
        if not name.startswith("Value")
    ]
    if sort_by is not None:
        options["sortBy"] = [{"displayName": sort_by, "desc": True}]
    return panel(
        "table",
        title,
        description,
        targets,
        unit=unit,
        no_value=no_value,
        options=options,
        overrides=[*texts, *(overrides or [])],
        transformations=[] if names is None else [{"id": "merge", "options": {}}, renamed(names)],
    )


def renamed(names: dict[str, str]) -> Json:
    """Return the transformation that names and orders columns, and leaves out the time."""
    order = {name: place for place, name in enumerate(names)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    return {"id": "organize", "options": options}


def override(name: str, **properties: Any) -> Json:
    """Return what is different for the field of this name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def wide(name: str, pixels: int) -> Json:
    """Return the override that gives a table's column its width; the others share the rest."""
    return override(name, **{"custom.width": pixels})


def _coloured(prefix: str, colour: str) -> Json:
    return {
        "matcher": {"id": "byRegexp", "options": f"/^{prefix}/i"},
        "properties": [{"id": "color", "value": _fixed(colour)}],
    }


def _fixed(colour: str) -> Json:
    return {"mode": "fixed", "fixedColor": colour}


COMPONENT_COLOURS = [
    _coloured("encoder", ENCODER_COLOUR),
    _coloured("language model", LANGUAGE_MODEL_COLOUR),
    _coloured("other", OTHER_COLOUR),
]


def legend() -> Json:
    """Return a legend below."""
    return {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}


def tooltip() -> Json:
    """Return a tooltip of all series."""
    return {"mode": "multi", "sort": "none"}
