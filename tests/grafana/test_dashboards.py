"""The dashboards without Grafana: types, queries, names, conventions."""

from __future__ import annotations

import copy
import json
import re

import boards
import naming
import pytest
from boards import DASHBOARDS, GRAFANA, filled_in

from grafana.source.__main__ import files

PANELS = {f"{name}: {panel['title']}": panel for name, panel in boards.panels()}
SELECTED = {"$service", "$start"}
# Labels that queries make for what they show.
MADE = {"at", "cache", "date", "day_of_month", "graphs", "minute"}
# Of OpenTelemetry's own conventions.
UPSTREAM = {"service.name", "service.instance.id"}


def test_the_files_are_what_their_source_writes():
    for path, text in files().items():
        assert path.read_text("utf-8") == text, "run make generate"
    assert {path.stem for path in files()} == {*DASHBOARDS, "compilespan", "prometheus-rule"}


DAMAGE = {
    "field": lambda board: board.update(refreshes="30s"),
    "type": lambda board: board["panels"][0]["gridPos"].update(w="4"),
    "value of an option": lambda board: board["panels"][0]["options"].update(colorMode="loud"),
    "option of another panel": lambda board: board["panels"][0]["options"].update(tooltip={}),
    "variable": lambda board: board["templating"]["list"][0].update(type="database"),
}


@pytest.fixture(scope="module")
def complaints(node):
    """What the schema of Grafana has against the dashboards, and against damaged ones."""
    damaged = {name: copy.deepcopy(DASHBOARDS["compile-time"]) for name in DAMAGE}
    for name, board in damaged.items():
        DAMAGE[name](board)
    return node("typecheck.mjs", {**DASHBOARDS, **damaged})


@pytest.mark.parametrize("name", DASHBOARDS)
def test_they_have_the_types_of_grafanas_schema(complaints, name):
    assert complaints[name] == []


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_type_is_found(complaints, name):
    """The check above can fail."""
    assert complaints[name] != []


def test_every_query_parses_and_names_what_the_registry_knows(node):
    promql = [filled_in(target["expr"]) for target in boards.targets("expr").values()]
    promql += [
        re.sub(
            r"^label_values\((.*), \w+\)$|^query_result\((.*)\)$",
            r"\1\2",
            filled_in(variable["query"]["query"]),
        )
        for dashboard in DASHBOARDS.values()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    traceql = [filled_in(target["query"]) for target in boards.targets("query").values()]
    parsed = node("parse.mjs", {"promql": promql, "traceql": traceql})
    assert len(promql) > 20
    assert len(traceql) > 5
    for each in parsed["promql"] + parsed["traceql"]:
        assert each["errors"] == [], each["query"]
    metrics = {name for each in parsed["promql"] for name in each["metrics"]}
    labels = {name for each in parsed["promql"] for name in each["labels"]}
    assert metrics <= naming.known_metrics()
    assert labels <= naming.known_labels() | MADE
    functions = {name for each in parsed["promql"] for name in each["functions"]}
    # A counter that jumps once before the first scrape has no rate.
    assert not functions & {"rate", "irate", "increase", "delta"}


@pytest.mark.parametrize(
    ("language", "query"),
    [("promql", "sum by (job torch_compile_graphs_total"), ("traceql", '{ name = "x" && }')],
)
def test_a_query_that_does_not_parse_is_found(node, language, query):
    """The check above can fail."""
    parsed = node("parse.mjs", {"promql": [], "traceql": [], language: [query]})
    assert parsed[language][0]["errors"]


def test_traces_are_asked_for_what_spans_carry():
    spans, events, resource = (
        naming.known_attributes(kind) | UPSTREAM for kind in ("span", "event", "entity")
    )
    names = {group["id"].removeprefix("span.") for group in naming.REGISTRY}
    for target in boards.targets("query").values():
        query = target["query"]
        for scope, attribute in re.findall(r"\b(span|event|resource)\.([a-z_.]+)", query):
            known = {"span": spans, "event": events, "resource": resource}[scope]
            assert attribute in known, query
        assert set(re.findall(r'\{ name = "([^"]+)"', query)) <= names, query


@pytest.mark.parametrize("where", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_what_nothing_means(where):
    panel = PANELS[where]
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert len(defaults["noValue"]) > 3
    described = set(re.findall(r"`([a-z_.]+)`", panel["description"]))
    emitted = {
        group.get("metric_name") or group.get("name") or group["id"].removeprefix("span.")
        for group in naming.REGISTRY
    }
    if panel["type"] == "alertlist":  # it shows rules
        assert panel["options"]["alertName"] == "Compilespan"
        assert "datasource" not in panel["options"]  # by name, and names are the installation's
        return
    assert described & emitted, "the description names no metric and no span"
    assert panel["datasource"]["uid"] in ("${prometheus}", "${tempo}", "${loki}")
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    for target in panel["targets"]:
        query = target.get("expr") or target["query"]
        assert any(variable in query for variable in SELECTED | {"$trace"}), query


def test_names_that_others_link_to_stay():
    uids = {board["uid"] for board in DASHBOARDS.values()}
    assert uids == {"compilespan-compile-time", "compilespan-slow-start"}
    # Each is linked to, and nothing else is.
    assert set(re.findall(r'"/d/([\w-]+)', json.dumps(DASHBOARDS))) == uids


def test_what_is_described_by_a_metric_is_asked_of_it():
    """A description names no metric that its queries leave out."""
    for where, panel in PANELS.items():
        queries = " ".join(target.get("expr", "") for target in panel["targets"])
        for group in naming.REGISTRY:
            if group["type"] == "metric" and f"`{group['metric_name']}`" in panel["description"]:
                assert any(name in queries for name in naming.series(group)), where


def test_one_service_and_one_of_its_starts_is_chosen():
    for board in DASHBOARDS.values():
        variables = {v["name"]: v for v in board["templating"]["list"]}
        assert list(variables)[:4] == ["prometheus", "tempo", "service", "start"]
        for name in ("service", "start"):
            assert not variables[name]["multi"]
            assert not variables[name]["includeAll"]
            assert "current" not in variables[name]  # at first the first one
        assert "$service" in variables["start"]["query"]["query"]
        assert variables["start"]["sort"] == 0  # as the query has them, newest first


def test_panels_lie_beside_and_below_each_other():
    for board in DASHBOARDS.values():
        cells = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    assert x < 24
                    assert (x, y) not in cells, panel["title"]
                    cells.add((x, y))
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_colours_are_the_pages():
    style = (GRAFANA.parent / "service/compilespan_service/page/style.css").read_text("utf-8")
    page = dict(re.findall(r"--([\w-]+): (#\w{6});", style.split("@media")[0]))
    seen = {}
    for panel in PANELS.values():
        for each in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ()):
            seen.setdefault(f"bad: {panel['title']}", set()).add(each["color"])
        for name, properties in boards.overridden(panel).items():
            if colour := properties.get("color", {}).get("fixedColor"):
                plain = re.sub(r"^/\^(.*)/i$", r"\1", name).capitalize()
                seen.setdefault(plain, set()).add(colour)
    assert seen["Encoder"] == {page["encoder"]}
    assert seen["Language model"] == {page["language-model"]}
    assert seen["Other"] == {page["other"]}
    assert seen["Failed"] == {page["failed"]}
    assert seen["bad: Failed"] == {"text", page["failed"]}


def test_what_is_drawn_begins_at_zero():
    drawn = [p for p in PANELS.values() if p["type"] in ("barchart", "timeseries")]
    assert len(drawn) > 5
    assert all(panel["fieldConfig"]["defaults"]["min"] == 0 for panel in drawn)
