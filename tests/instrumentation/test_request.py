"""The request that waits for a compile."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from opentelemetry.trace import SpanKind

from compilespan import get_ledger, monitor_torch_compile
from compilespan.monitor.request import current_request
from support import app_with_telemetry, client_of


def compiled_under():
    with monitor_torch_compile("a", kind="compile"):
        pass
    return get_ledger().records()[-1].request


def test_without_one_there_is_none(exported):
    assert compiled_under() is None
    with exported.tracer_provider.get_tracer("t").start_as_current_span("a job"):
        assert compiled_under() is None


def test_the_span_of_a_server_is_its_request(exported):
    tracer = exported.tracer_provider.get_tracer("t")
    with tracer.start_as_current_span("POST /generate", kind=SpanKind.SERVER):
        assert compiled_under() == "POST /generate"
    with tracer.start_as_current_span("x" * 1000, kind=SpanKind.SERVER):
        assert compiled_under() == "x" * 199 + "…"


@pytest.mark.parametrize("spans", [True, False], ids=["spans of operations", "none"])
def test_fastapi_tells_method_and_route_below_its_own_spans(exported, spans):
    telemetry = {"tracer_provider": exported.tracer_provider, "operation_spans": spans}
    app = app_with_telemetry(**telemetry)

    @app.post("/generate/{model}")
    def generate(model: str) -> str | None:
        return compiled_under()

    with client_of(app) as client:
        assert client.post("/generate/llama").json() == "POST /generate/{model}"


def test_another_fastapi_costs_the_name_and_nothing_else(exported, monkeypatch, caplog):
    caplog.set_level("DEBUG", "compilespan")
    monkeypatch.setitem(sys.modules, "fastapi.telemetry", SimpleNamespace())
    assert current_request() is None
    assert "failed to find out the request" in caplog.text
