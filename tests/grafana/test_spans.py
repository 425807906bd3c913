"""Tables of spans, as Grafana makes them of what its data source of Tempo returns."""

from __future__ import annotations

import boards
import pytest
import tempo

TABLES = {
    panel["title"]: panel
    for _, panel in boards.panels()
    if panel["type"] == "table" and "query" in panel["targets"][0]
}
S = 10**9


def compiles(count, longest_s=342.7):
    """Return a start of so many compiles in one trace, the longest of them the last."""
    return [
        {
            "span_id": f"{number:016x}",
            "service": "llava-demo",
            "name": "torch.compile Llama",
            "time_ms": 1_790_000_000_000 + number,
            "duration_ns": round((longest_s if number == count - 1 else 0.2) * S),
            "attributes": {
                "torch.compile.name": "Llama",
                "torch.compile.component": "language_model",
                "torch.compile.cache.result": "miss",
                "torch.compile.graph.count": 1,
                "torch.compile.outcome": "ok",
                "torch.compile.kind": "compile",
                "torch.compile.phase": "serving",
                "torch.compile.trigger": "dynamo",
                "torch.compile.is_recompile": number % 2 == 0,
                "compilespan.instance.id": "7f3a",
                "service.name": "llava-demo",
                "error.type": "ValueError",
            },
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def columns(node):
    traces = {"a" * 32: compiles(40)}
    questions = [
        {
            "fields": tempo.frame(panel["targets"][0], traces),
            "transformations": panel["transformations"],
        }
        for panel in TABLES.values()
    ]
    return dict(zip(TABLES, map(dict, node("transform.cjs", questions)), strict=True))


def test_there_are_tables_of_spans():
    assert len(TABLES) == 7


@pytest.mark.parametrize("title", TABLES)
def test_all_of_a_start_is_there_the_longest_too(columns, title):
    assert len(columns[title]["Duration"]) == 40
    assert max(columns[title]["Duration"]) == pytest.approx(342.7)
    (sorting,) = TABLES[title]["options"]["sortBy"]
    assert sorting == {"displayName": "Duration", "desc": True}


def test_without_a_number_grafana_asks_for_the_first_three():
    """The check above can fail."""
    target = {"query": "{ span.a = 1 }", "limit": 20}
    (*_, durations) = tempo.frame(target, {"a": compiles(40)})
    assert len(durations["values"]) == 3
    assert tempo.frame(target, {}) == []


@pytest.mark.parametrize("title", TABLES)
def test_what_matters_comes_first_and_conditions_do_not_come_back(columns, title):
    names = list(columns[title])
    assert names[0] == "Duration"
    assert names[-3:] == ["Began", "Span", "traceIdHidden"]
    condition = TABLES[title]["targets"][0]["query"].split("select(")[0]
    assert not {name for name in names if name in tempo.attributes_of(condition)}
    assert not {"Trace Service", "Trace Name", "Start time", "Name.1", "name"} & set(names)


def test_of_compiles_name_component_cache_graphs_and_outcome_follow(columns):
    assert list(columns["Compiles"])[:6] == [
        *("Duration", "Name", "Component", "Cache", "Graphs", "Outcome"),
    ]
    assert columns["Compiles"]["Graphs"] == [1] * 40


@pytest.mark.parametrize("title", TABLES)
def test_numbers_are_numbers_and_only_a_duration_is_one(title):
    defaults = TABLES[title]["fieldConfig"]["defaults"]
    fields = boards.overridden(TABLES[title])
    units = {name: each.get("unit", defaults["unit"]) for name, each in fields.items()}
    assert defaults["unit"] == "string"
    # In one unit: of nanoseconds Grafana makes 5.71 mins beside 915 ms.
    assert [name for name, unit in units.items() if unit == "suffix:s"] == ["Duration"]
    (mapping,) = defaults["mappings"]
    assert mapping["options"]["true"] == {"text": "yes"}


@pytest.mark.parametrize("title", TABLES)
def test_a_span_leads_to_its_trace(title):
    (link,) = boards.overridden(TABLES[title])["Span"]["links"]
    url = link["url"]
    assert "var-trace=${__data.fields.traceIdHidden}" in url
