"""The door to vLLM without vLLM; `tests/vllm` starts the real one."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest

import compilespan.vllm
from compilespan import get_ledger, monitor_torch_compile, semconv
from compilespan.dynamo.graphs import GraphWatch
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window
from compilespan.vllm import activation


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(compilespan.vllm, "_installed", False)
    monkeypatch.setattr(sys, "argv", ["vllm", "serve"])


@pytest.mark.parametrize(
    ("environment", "arguments", "configured"),
    [
        ({}, [], False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, [], True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4317"}, [], True),
        ({"COMPILESPAN_STATE_DIR": "/tmp/x"}, [], True),
        ({}, ["--otlp-traces-endpoint=http://c:4317"], True),
        ({}, ["--middleware", "compilespan_service.vllm.CompileRoutes"], True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, [], False),
        ({"COMPILESPAN_INSTANCE_ID": "of-a-parent"}, [], False),
    ],
)
def test_it_takes_part_where_somebody_would_see_it(monkeypatch, environment, arguments, configured):
    monkeypatch.delenv("COMPILESPAN_INSTANCE_ID", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["vllm", "serve", *arguments])
    assert activation.is_configured() is configured


def test_a_fault_of_ours_keeps_no_process_of_vllm_from_starting(monkeypatch, caplog):
    def broken():
        raise RuntimeError("ours")

    monkeypatch.setattr(activation, "is_configured", broken)
    compilespan.vllm.install()
    assert "this vLLM process is not instrumented" in caplog.text


def test_a_tentative_monitor_that_fails_leaves_nothing(exported):
    unit = Unit("backbone", "aot_load", kind="load", stated="language_model", tentative=True)
    window = Window(unit)
    window.__enter__()
    assert get_ledger().active.now() == ()
    window.close(error=FileNotFoundError("no artefact"))
    assert get_ledger().records() == ()
    assert exported.spans == []
    assert get_ledger().active.now() == ()


def test_one_that_succeeds_is_whole_with_what_happened_inside(exported):
    unit = Unit("backbone", "aot_load", kind="load", stated="encoder", tentative=True)
    window = Window(unit)
    window.__enter__()
    window.monitor.add_event("torch.compile.nested", {"torch.compile.name": "Model"})
    window.close()
    (span,), (record,) = exported.compiles, get_ledger().records()
    assert (record.kind, record.outcome, record.is_encoder) == ("load", "ok", True)
    assert span.start_time == record.start_ns
    assert span.end_time == record.end_ns
    (event,) = span.events
    assert event.timestamp == record.events[0].time_ns
    assert record.start_ns <= event.timestamp <= record.end_ns
    # From metric to trace, although the span was never current.
    ((exemplar,),) = exported.exemplars("torch.compile.duration")
    assert exemplar.span_id == span.context.span_id


def piece(wrapped, cache_result):
    """Compile one piece inside a block, as vLLM's backend does; returns its graph events."""
    watch = GraphWatch()
    with monitor_torch_compile("backbone"):
        with suppress(ValueError):
            watch.around_piece(wrapped, (), {}, None, {semconv.GRAPH_INDEX: 7}, cache_result)
        assert not watch.in_piece
    (record,) = get_ledger().records()
    return [event.attributes for event in record.events]


def test_a_piece_is_told_once_with_what_the_backend_knows(exported):
    watch = GraphWatch()

    def compiled():
        watch.around(lambda _: None, (None,), {})  # torch tells of the same piece from inside
        return "compiled"

    with monitor_torch_compile("backbone"):
        result = watch.around_piece(
            compiled, (), {}, None, {semconv.GRAPH_INDEX: 7}, lambda overheard: overheard or "miss"
        )
    assert result == "compiled"
    (record,) = get_ledger().records()
    assert [event.attributes for event in record.events] == [
        {semconv.GRAPH_INDEX: 7, semconv.CACHE_RESULT: "miss"}
    ]


def test_a_piece_that_fails_is_no_cache_hit(exported):
    def fails():
        raise ValueError("no kernel")

    assert piece(fails, lambda _: "hit") == [{semconv.GRAPH_INDEX: 7}]


def test_a_fault_of_ours_fails_no_piece(exported):
    def broken(_):
        raise TypeError("ours")

    assert piece(lambda: None, broken) == [{semconv.GRAPH_INDEX: 7}]
