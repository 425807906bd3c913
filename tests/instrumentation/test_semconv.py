"""What is emitted, held against the registry."""

from __future__ import annotations

import os
from importlib.resources import files
from typing import get_args

import pytest
import torch
import yaml
from opentelemetry._logs import SeverityNumber
from opentelemetry.trace import StatusCode

from compilespan import (
    TorchCompileInstrumentor,
    WarmupTarget,
    mark_ready,
    monitor_torch_compile,
    semconv,
    warm,
)
from compilespan.sdk import service_resource
from compilespan.telemetry.cache_spans import cache_span
from compilespan.telemetry.startup import Startup
from serving import Net, batches, target

REGISTRY = yaml.safe_load(
    files("compilespan").joinpath("registry/compilespan.yaml").read_text("utf-8")
)
GROUPS = REGISTRY["groups"]
ATTRIBUTES = {
    attribute["id"]: attribute
    for group in GROUPS
    if group["type"] == "attribute_group"
    for attribute in group["attributes"]
}
# Of OpenTelemetry's own registry, which ours refers to.
UPSTREAM = {
    "code.function.name": str,
    "code.file.path": str,
    "code.line.number": int,
    "error.type": str,
    "exception.type": str,
    "exception.message": str,
    "exception.stacktrace": str,
    "service.name": str,
    "service.instance.id": str,
    "service.version": str,
    "host.name": str,
    "process.pid": int,
}
TYPES = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple}
INSTRUMENTS = {
    "Histogram": "histogram",
    "Sum+": "counter",
    "Sum-": "updowncounter",
    "Gauge": "gauge",
}


def groups(kind, key):
    return {group[key]: group for group in GROUPS if group["type"] == kind}


def references(group):
    return {each["ref"]: each["requirement_level"] for each in group.get("attributes", ())}


def check(name, value):
    if name in UPSTREAM:
        assert isinstance(value, UPSTREAM[name]), (name, value)
        return
    kind = ATTRIBUTES[name]["type"]
    if isinstance(kind, dict):
        assert value in [member["value"] for member in kind["members"]], (name, value)
    else:
        assert type(value) is TYPES[kind], (name, value)


def check_all(group, attributes):
    known = references(group)
    for name, value in attributes.items():
        assert name in known, f"{name} is not registered for {group['id']}"
        check(name, value)
    for name, level in known.items():
        assert level != "required" or name in attributes, f"{group['id']} lacks {name}"


@pytest.fixture
def everything(instrumented):
    """Make every kind of telemetry there is."""

    def bad(_gm, _inputs):
        raise RuntimeError("no")

    module = torch.compile(Net(), backend="eager", dynamic=False)
    warm([target(module, batches(*range(1, 11)))])

    def breaks(x):
        print("x")  # noqa: T201
        return x + 1

    torch.compile(breaks, backend="eager")(torch.zeros(2))
    with pytest.raises(Exception, match="no"):
        torch.compile(lambda x: x + 2, backend=bad)(torch.zeros(2))
    with monitor_torch_compile("a") as monitor:
        torch.compile(lambda x: x + 3, backend="eager")(torch.zeros(2))
        monitor.add_event(
            semconv.EVENT_GRAPH,
            {
                semconv.CACHE_RESULT: "hit",
                semconv.CACHE_KEY: "k",
                semconv.CACHE_IS_REBUILT: True,
                semconv.RANGE: "1-8",
            },
        )
    with monitor_torch_compile("b") as monitor:
        for _ in range(200):
            monitor.add_event(semconv.EVENT_GRAPH, {semconv.CACHE_RESULT: "miss"})
    with cache_span(semconv.SPAN_CACHE_FETCH) as span:
        span.moved(2, 100, None)
    with cache_span(semconv.SPAN_CACHE_PUBLISH) as span:
        span.moved(0, 0, "the store is down")
    with cache_span(semconv.SPAN_CACHE_WAIT) as span:
        span.waited("pod-3:1", "built")
    mark_ready()
    return instrumented


def test_every_span_and_event_is_as_registered(everything):
    spans = {
        group["id"].removeprefix("span."): group for group in GROUPS if group["type"] == "span"
    }
    events = groups("event", "name")
    seen = set()
    for span in everything.spans:
        check_all(spans[span.name.partition(" ")[0]], span.attributes)
        for event in span.events:
            check_all(events[event.name], event.attributes)
            seen.add(event.name)
    assert seen >= {
        semconv.EVENT_GRAPH,
        semconv.EVENT_GRAPH_BREAK,
        semconv.EVENT_RECOMPILE,
        semconv.EVENT_RECOMPILE_LIMIT,
        semconv.EVENT_NESTED,
        semconv.EVENT_EXCEPTION,
    }


def test_the_resource_is_as_registered(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    (process,) = groups("entity", "name").values()
    attributes = service_resource(startup_trace_id=7).attributes
    ours = {name: value for name, value in attributes.items() if not name.startswith("telemetry.")}
    check_all(process, ours)
    assert set(ours) == set(references(process))


def test_every_metric_is_as_registered(everything):
    metrics = groups("metric", "metric_name")
    emitted = everything.metrics()
    for name, metric in emitted.items():
        group = metrics[name]
        kind = type(metric.data).__name__
        if kind == "Sum":
            kind += "+" if metric.data.is_monotonic else "-"
        assert INSTRUMENTS[kind] == group["instrument"], name
        assert metric.unit == group["unit"], name
        for point in metric.data.data_points:
            check_all(group, dict(point.attributes))
    assert set(metrics) - set(emitted) == {"compilespan.warmup.duration"}  # the service's


def test_no_event_has_an_attribute_that_is_a_duration(everything):
    """Rule 3: by name, by unit, by value."""
    values = {
        each
        for span in everything.compiles
        for each in (span.end_time - span.start_time, (span.end_time - span.start_time) / 1e9)
    }
    for span in everything.spans:
        for event in span.events:
            for name, value in event.attributes.items():
                words = name.replace(".", "_").split("_")
                assert not {"duration", "time", "elapsed", "seconds", "ms", "ns", "us"} & set(words)
                assert not isinstance(value, float), name
                assert value not in values, name


def test_no_metric_carries_a_graph_a_shape_a_reason_or_an_id(everything):
    forbidden = ("graph.index", "shape", ".reason", ".id", ".ids", ".key")
    for metric in everything.metrics().values():
        for point in metric.data.data_points:
            assert not [name for name in point.attributes if name.endswith(forbidden)]


def test_the_histogram_has_the_advised_buckets(everything):
    metric = everything.metrics()[semconv.METRIC_DURATION]
    assert metric.data.data_points[0].explicit_bounds == semconv.DURATION_BUCKETS_S
    assert semconv.DURATION_BUCKETS_S[0] == 0.05
    assert semconv.DURATION_BUCKETS_S[-1] == 3600


def test_names_on_metrics_are_bounded(exported):
    for index in range(80):
        with monitor_torch_compile(f"name{index}"):
            pass
    names = {a["torch.compile.name"] for a, _ in exported.points(semconv.METRIC_DURATION)}
    assert len(names) == 65
    assert "_other" in names


def test_constants_and_registry_name_the_same():
    constants = {
        value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)
    } - {semconv.OTHER, semconv.SCOPE, semconv.SCHEMA_URL}
    constants |= {f"{semconv.SPAN_STARTUP}.{part}" for part in get_args(semconv.Part)}
    registered = (
        set(ATTRIBUTES)
        | set(groups("metric", "metric_name"))
        | set(groups("event", "name"))
        | {group["id"].removeprefix("span.") for group in GROUPS if group["type"] == "span"}
    )
    assert constants - registered <= set(UPSTREAM)
    assert registered - constants == set()


@pytest.mark.parametrize(
    ("attribute", "literal"),
    [
        (semconv.KIND, semconv.Kind),
        (semconv.TRIGGER, semconv.Trigger),
        (semconv.PHASE, semconv.Phase),
        (semconv.COMPONENT, semconv.Component),
        (semconv.OUTCOME, semconv.Outcome),
        (semconv.CACHE_RESULT, semconv.CacheResult),
        (semconv.STAGE, semconv.Stage),
        (semconv.STARTUP_PART, semconv.Part),
        (semconv.CACHE_WAIT_OUTCOME, semconv.WaitOutcome),
    ],
)
def test_types_and_registry_allow_the_same_values(attribute, literal):
    members = ATTRIBUTES[attribute]["type"]["members"]
    assert {member["value"] for member in members} == set(get_args(literal))


def test_texts_are_cut():
    assert len(semconv.text("x" * 5000)) == 1024
    assert semconv.text("x" * 5000).endswith("…")
    assert semconv.text("short") == "short"
    assert len(semconv.name("x" * 5000)) == 200
    assert semconv.name("two\nlines") == "two lines"


@pytest.mark.parametrize("make", [semconv.text, semconv.name])
def test_texts_are_valid_utf_8(make):
    """``os.fsdecode`` makes lone surrogates of file names in another encoding."""
    made = make(os.fsdecode(b"caf\xe9.py"))
    assert made == "caf?.py"
    assert made.encode("utf-8")


def test_the_names_of_spans_are_bounded_as_those_of_metrics(exported):
    for index in range(70):
        with monitor_torch_compile(f"name{index}"):
            pass
    names = [span.name for span in exported.compiles]
    assert names[:64] == [f"torch.compile name{index}" for index in range(64)]
    assert set(names[64:]) == {"torch.compile"}


def test_error_types_on_metrics_are_bounded(exported):
    for index in range(70):
        with pytest.raises(Exception, match="no"), monitor_torch_compile("a", kind="compile"):
            raise type(f"Error{index}", (Exception,), {})("no")
    types = {a["error.type"] for a, _ in exported.points(semconv.METRIC_DURATION)}
    assert len(types) == 65
    assert "_other" in types


def test_a_span_with_the_status_error_says_of_which_type(exported):
    """Compiles, warmups and starts alike: whoever counts errors groups them by it."""

    def fails(_):
        raise ValueError("no weights")

    startup = Startup()
    startup.begin()
    warm([WarmupTarget("broken", fails, [{}])])
    startup.end("failed", "the warmup failed")
    with pytest.raises(ValueError, match="x"), monitor_torch_compile("block"):
        raise ValueError("x")
    failed = [span for span in exported.spans if span.status.status_code is StatusCode.ERROR]
    assert {span.name.split()[0] for span in failed} == {
        *("compilespan.startup", "compilespan.warmup", "compilespan.warmup.item", "torch.compile"),
    }
    for span in failed:
        assert span.attributes["error.type"], span.name


def test_no_attribute_is_an_empty_list(instrumented):
    with monitor_torch_compile("block"):
        pass
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
    for span in instrumented.compiles:
        assert () not in span.attributes.values()
    assert any("torch.compile.ids" in span.attributes for span in instrumented.compiles)


def test_an_exception_as_a_log_record_is_an_error(exported):
    instrumentor = TorchCompileInstrumentor()
    instrumentor.instrument(skip_dep_check=True, events="log", **exported.providers)
    try:
        with pytest.raises(ValueError, match="x"), monitor_torch_compile("block"):
            raise ValueError("x")
    finally:
        instrumentor.uninstrument()
    (record,) = [each for each in exported.logs if each.event_name == "exception"]
    assert record.severity_number is SeverityNumber.ERROR
