"""The trace for Perfetto, held against what Chrome's trace event format asks of each event."""

from __future__ import annotations

import itertools

import jsonschema
import pytest

from compilespan.ledger.active import CompileBegun
from compilespan.ledger.records import CompileEvent
from compilespan_service.reporters.perfetto import TracedProcess, trace
from serving import Model
from support import record

_COMMON = {"pid": {"type": "integer"}, "tid": {"type": "integer"}, "ts": {"type": "number"}}
FORMAT = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "traceEvents": {
            "type": "array",
            "items": {
                "oneOf": [
                    {
                        "required": ["ph", "name", "pid", "tid", "ts", "dur"],
                        "properties": {**_COMMON, "ph": {"const": "X"}, "dur": {"minimum": 0}},
                    },
                    {
                        "required": ["ph", "name", "pid", "tid", "ts"],
                        "properties": {**_COMMON, "ph": {"const": "B"}},
                    },
                    {
                        "required": ["ph", "name", "pid", "tid", "ts", "s"],
                        "properties": {**_COMMON, "ph": {"const": "i"}, "s": {"const": "t"}},
                    },
                    {
                        "required": ["ph", "name", "pid", "args"],
                        "properties": {
                            "ph": {"const": "M"},
                            "name": {"enum": ["process_name", "thread_name"]},
                            "args": {"required": ["name"]},
                        },
                    },
                ]
            },
        },
    },
}
SECOND = 10**9


def by_phase(document, phase):
    return [event for event in document["traceEvents"] if event["ph"] == phase]


def test_a_track_for_each_component_and_for_each_thread_of_it():
    records = [
        record(name="tower", is_encoder=True, thread_id=1, start_ns=0, duration_ns=2 * SECOND),
        record(name="llama", thread_id=1, start_ns=2 * SECOND, duration_ns=SECOND),
        record(name="draft", thread_id=2, start_ns=2 * SECOND, duration_ns=3 * SECOND),
    ]
    begun = CompileBegun(1, "late", "other", 5 * SECOND, 0)
    document = trace([TracedProcess(7, records, [begun])])
    jsonschema.validate(document, FORMAT)
    names = {
        event["tid"]: event["args"]["name"]
        for event in by_phase(document, "M")
        if event["name"] == "thread_name"
    }
    slices = {event["name"]: (names[event["tid"]], event) for event in by_phase(document, "X")}
    assert {name: track for name, (track, _) in slices.items()} == {
        "tower": "encoder",
        "llama": "language model",
        "draft": "language model, thread 2",
    }
    assert slices["draft"][1]["dur"] == 3e6
    (late,) = by_phase(document, "B")
    assert (late["name"], names[late["tid"]]) == ("late", "other")


def test_events_are_instants_inside_the_slice_of_their_compile():
    event = CompileEvent("torch.compile.graph", SECOND, {"torch.compile.cache.result": "hit"})
    document = trace([TracedProcess(7, [record(start_ns=0, events=(event,))], [])])
    jsonschema.validate(document, FORMAT)
    (compiled,), (instant,) = by_phase(document, "X"), by_phase(document, "i")
    assert instant["name"] == "graph"
    assert instant["tid"] == compiled["tid"]
    assert compiled["ts"] <= instant["ts"] <= compiled["ts"] + compiled["dur"]
    assert instant["args"] == {"torch.compile.cache.result": "hit"}


def test_slices_of_one_track_do_not_overlap_in_a_real_trace(serve):
    client = serve(Model())
    client.post("/warmup?wait=60")
    response = client.get("/compiles/trace.json")
    document = response.json()
    jsonschema.validate(document, FORMAT)
    slices = [each for each in by_phase(document, "X") if each["cat"] != "stage"]
    assert len(slices) == 3
    assert len(by_phase(document, "i")) == 5  # three graphs, two recompiles
    for before, after in itertools.pairwise(slices):
        assert before["tid"] == after["tid"]
        assert before["ts"] + before["dur"] <= after["ts"]
    for compiled in slices:
        end = compiled["ts"] + compiled["dur"]
        inside = [
            each
            for each in by_phase(document, "X")
            if each["cat"] == "stage" and compiled["ts"] <= each["ts"] < end
        ]
        assert {each["name"] for each in inside} == {"trace", "lower"}
        assert {each["tid"] for each in inside} == {compiled["tid"]}
        # They lie one behind another, and fill it.
        for before, after in itertools.pairwise(inside):
            assert before["ts"] + before["dur"] == pytest.approx(after["ts"], abs=1)
        assert sum(each["dur"] for each in inside) == pytest.approx(compiled["dur"], abs=1)
