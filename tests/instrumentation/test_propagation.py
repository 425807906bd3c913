"""Parents of compiles, and what children inherit."""

from __future__ import annotations

import os

import pytest
from opentelemetry import context, propagate
from opentelemetry.trace import SpanKind

from compilespan import get_ledger, mark_ready, monitor_torch_compile
from compilespan.telemetry import propagation, startup
from compilespan.telemetry.startup import Startup

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("name", ["TRACEPARENT", "traceparent"])
def test_before_ready_the_environments_context_is_the_parent(exported, monkeypatch, name):
    monkeypatch.setenv(name, TRACEPARENT)
    with monitor_torch_compile("a"):
        pass
    (span,) = exported.spans
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_after_ready_a_compile_is_a_trace_of_its_own_that_links_there(exported, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    mark_ready()
    with monitor_torch_compile("a"):
        pass
    (span,) = exported.spans
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE
    (link,) = span.links
    assert f"{link.context.trace_id:032x}" == TRACE


def test_after_ready_a_compile_links_to_the_start_of_its_own_process(exported, monkeypatch):
    """Under no request; also where there is a launcher, whose span is further away."""
    own = Startup()
    own.begin()
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    mark_ready()
    with monitor_torch_compile("a"):
        pass
    (compiled,), (start,) = exported.compiles, exported.named("compilespan.startup")
    (link,) = compiled.links
    assert link.context.span_id == start.context.span_id
    assert compiled.context.trace_id != start.context.trace_id
    with own.as_parent(), monitor_torch_compile("b"):
        pass
    assert [each.context for each in exported.compiles[1].links] == [start.context]  # not twice


def test_without_an_sdk_children_inherit_no_span_that_nobody_makes(monkeypatch):
    monkeypatch.setattr(startup, "find_spec", lambda _: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    start = Startup()
    start.begin(deferred=True)
    start.hand_down()
    assert "TRACEPARENT" not in os.environ
    assert os.environ["COMPILESPAN_INSTANCE_ID"] == "test-instance"


def test_the_current_span_comes_first(exported, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    tracer = exported.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request, monitor_torch_compile("a"):
        pass
    assert exported.compiles[0].parent.span_id == request.get_span_context().span_id


@pytest.mark.parametrize("value", ["", "nonsense", "00-0-0-01"])
def test_a_broken_traceparent_is_ignored(exported, monkeypatch, value):
    monkeypatch.setenv("TRACEPARENT", value)
    with monitor_torch_compile("a"):
        pass
    assert exported.spans[0].parent is None


def test_a_childs_environment_continues_trace_and_instance(exported):
    tracer = exported.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("launch") as span:
        child = propagation.child_environment({"KEPT": "1"})
    context = span.get_span_context()
    assert child["KEPT"] == "1"
    assert child["COMPILESPAN_INSTANCE_ID"] == "test-instance"
    # 03: the ids are random, which W3C Trace Context level 2 says in a flag.
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-"
    assert child["TRACEPARENT"].startswith(expected)


def test_a_request_that_belongs_to_another_processs_warmup_says_so(exported):
    """As the sidecar's requests do, whose compiles delay nobody."""
    mark_ready()
    headers = {}
    propagate.inject(headers, propagation.warmup_context())
    token = context.attach(propagate.extract(headers))
    tracer = exported.tracer_provider.get_tracer("server")
    try:
        request = tracer.start_as_current_span("POST /generate", kind=SpanKind.SERVER)
        with request, monitor_torch_compile("warmed"):
            pass
        # A loop that the request started keeps its baggage, and has spans of its own.
        with tracer.start_as_current_span("batch"), monitor_torch_compile("later"):
            pass
    finally:
        context.detach(token)
    with monitor_torch_compile("served"):
        pass
    assert [record.phase for record in get_ledger().records()] == ["warmup", "serving", "serving"]
    assert [span.attributes["torch.compile.phase"] for span in exported.compiles] == [
        "warmup",
        "serving",
        "serving",
    ]
