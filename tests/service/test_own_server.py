"""The example of docs/examples: the router in somebody's own server."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving import wait_until

EXAMPLE = Path(__file__).parents[2] / "docs/examples/own_server.py"


class Watched(InMemorySpanExporter):
    is_shut_down = False

    def shutdown(self):
        self.is_shut_down = True


@pytest.fixture
def own_server(monkeypatch, tmp_path):
    monkeypatch.setenv("BACKEND", "eager")
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", type(trace._TRACER_PROVIDER_SET_ONCE)())
    spec = importlib.util.spec_from_file_location("own_server", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "own_server", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    "telemetry" not in inspect.signature(FastAPI).parameters,
    reason="this FastAPI has no telemetry of its own, which tells the request",
)
def test_its_lifespan_provider_and_authentication_are_used_and_left_alone(own_server):
    provider, exporter = trace.get_tracer_provider(), Watched()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    key = {"X-Key": "secret"}
    with TestClient(own_server.app) as client:
        assert own_server.app.state.opened is True
        wait_until(lambda: client.get("/ops/readyz").status_code == 200)  # probes need no key
        assert client.get("/ops/totals").status_code == 401
        assert client.get("/ops/totals", headers={"X-Key": "wrong"}).status_code == 401
        assert client.post("/ops/warmup").status_code == 401
        totals = client.get("/ops/totals", headers=key).json()
        assert totals["total"]["compiles"] == 2
        assert client.post("/ops/warmup", headers=key).json()["already_warm"] is True
        assert client.get("/predict?batch=8").status_code == 200
        serving = client.get("/ops/compiles?phase=serving", headers=key).json()
        assert serving == []  # it was warm
        client.get("/predict?batch=5")
        (serving,) = client.get("/ops/compiles?phase=serving", headers=key).json()
        assert "size mismatch" in serving["recompile_reason"]
        assert serving["request"] == "GET /predict"
        by_phase = client.get("/ops/totals", headers=key).json()["by_phase"]
        assert by_phase["serving"]["recompiles"] == 1
        metrics = client.get("/ops/metrics", headers=key).text
        assert 'torch_compile_phase="serving"' in metrics
    assert own_server.app.state.opened is False
    assert trace.get_tracer_provider() is provider
    assert not exporter.is_shut_down
    names = {span.name for span in exporter.get_finished_spans()}
    ours = {name.partition(" ")[0] for name in names}
    assert {f"compilespan.{name}" for name in ("startup", "startup.boot", "warmup")} <= ours
    assert {"compilespan.warmup.item", "torch.compile"} <= ours
    by_name = {span.name: span for span in exporter.get_finished_spans()}
    (late,) = [
        span
        for span in exporter.get_finished_spans()
        if span.attributes.get("torch.compile.phase") == "serving"
    ]
    assert late.context.trace_id == by_name["GET /predict"].context.trace_id
