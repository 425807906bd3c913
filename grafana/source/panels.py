"""Panels and queries in Grafana's JSON format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.fields import (
    COMPONENT_COLOURS,
    MERGED,
    NOWHERE,
    TIME,
    WARNING_COLOUR,
    Json,
    fixed,
    only,
    override,
    renamed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMETHEUS: Json = {"type": "prometheus", "uid": "${prometheus}"}
TEMPO: Json = {"type": "tempo", "uid": "${tempo}"}
LOKI: Json = {"type": "loki", "uid": "${loki}"}


def promql(expression: str, *, ref: str, legend: str, exemplar: bool = False) -> Json:
    """Return a range query."""
    target = {"datasource": PROMETHEUS, "refId": ref, "expr": expression, "range": True}
    return {**target, "legendFormat": legend, "exemplar": exemplar}


def promql_now(expression: str, *, ref: str = "A") -> Json:
    """Return an instant query at the end of the time range, as a table."""
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
    """Return a panel without position and id (see `laid_out`); ``from_zero`` fixes the axis."""
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
        "datasource": targets[0]["datasource"] if targets else PROMETHEUS,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
        "options": options,
        "transformations": transformations or [],
    }


def stat(
    title: str,
    description: str,
    targets: list[Json],
    *,
    unit: str,
    no_value: str,
    text: str = "value",
    bad_from: float | None = None,
    bad_colour: str = WARNING_COLOUR,
    overrides: list[Json] | None = None,
) -> Json:
    """Return a panel of one or more numbers.

    Args:
        title: Title of the panel.
        description: Description of the panel.
        targets: Queries; each series is one number.
        unit: Unit of the numbers.
        no_value: Text if there is no number.
        text: What to show: ``value``, ``name`` (the legend) or ``value_and_name``.
        bad_from: Numbers from here on use ``bad_colour``.
        bad_colour: Colour of bad numbers.
        overrides: Overrides for single numbers.
    """
    made = panel(
        "stat",
        title,
        description,
        targets,
        unit=unit,
        no_value=no_value,
        colour=fixed("text") if bad_from is None else {"mode": "thresholds"},
        overrides=overrides,
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": text,
            "wideLayout": False,
        },
    )
    if bad_from is not None:
        steps = [{"color": "text", "value": None}, {"color": bad_colour, "value": bad_from}]
        made["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": steps}
    return made


def number(expression: str, *, ref: str = "A", legend: str = "") -> Json:
    """Return an instant query for numbers, one per series."""
    query = promql_now(expression, ref=ref)
    return {**query, "format": "time_series", "legendFormat": legend}


def bars(
    title: str,
    description: str,
    targets: list[Json],
    *,
    x: str,
    names: Mapping[str, str],
    no_value: str,
    sort: Json | None = None,
    joined: Json = MERGED,
    overrides: list[Json] | None = None,
) -> Json:
    """Return a panel of stacked horizontal bars, one per value of ``x``.

    Args:
        title: Title of the panel.
        description: Description of the panel.
        targets: Queries.
        x: Column with the names of the bars.
        names: Columns to show, with their titles.
        no_value: Text if there is no bar.
        sort: Column to sort by (``field``, ``desc``); it need not be shown.
        joined: Transformation that joins the results into one table.
        overrides: Overrides for single columns.
    """
    return panel(
        "barchart",
        title,
        description,
        targets,
        unit=TIME,
        no_value=no_value,
        from_zero=True,
        custom={"fillOpacity": 90, "lineWidth": 0},
        overrides=[*COMPONENT_COLOURS, *(overrides or [])],
        transformations=[
            joined,
            *([{"id": "sortBy", "options": {"sort": [sort]}}] if sort else []),
            only(*names),
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
    """Return a panel of series over time, drawn as steps."""
    return panel(
        "timeseries",
        title,
        description,
        targets,
        unit=TIME,
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
    unit: str = TIME,
    names: Mapping[str, str] | None = None,
    hidden: tuple[str, ...] = (),
    overrides: list[Json] | None = None,
    sort_by: str | None = None,
) -> Json:
    """Return a table; ``names`` are the columns in order, with their titles.

    ``hidden`` columns are only used by links.
    """
    options: Json = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"}
    # The panel's unit does not fit text columns (a rank is not in seconds), and its "no value" text
    # is meant for the whole table, not for an empty cell.
    texts = [
        override(shown, noValue="–", **({} if name.startswith("Value") else {"unit": "string"}))
        for name, shown in (names or {}).items()
    ]
    texts += [override(each, **{"custom.hideFrom": NOWHERE}) for each in hidden]
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
        transformations=[] if names is None else [MERGED, only(*names, *hidden), renamed(names)],
    )


def legend() -> Json:
    """Return a legend below the panel."""
    return {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}


def tooltip() -> Json:
    """Return a tooltip that shows all series."""
    return {"mode": "multi", "sort": "none"}
