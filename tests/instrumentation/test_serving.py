"""Recompiles while serving: under their request, kept, and in the right context."""

from __future__ import annotations

import asyncio

import pytest
import torch
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from compilespan import TorchCompileInstrumentor, get_ledger, mark_ready
from compilespan.sdk import CompileSampler
from support import app_with_telemetry, client_of

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def app_and_spans():
    provider = TracerProvider(sampler=CompileSampler(), shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    TorchCompileInstrumentor().instrument(tracer_provider=provider)
    model = torch.compile(lambda x: x * 2, backend="eager", dynamic=False)
    app = app_with_telemetry(tracer_provider=provider)

    @app.get("/sync")
    def sync(size: int) -> int:
        return len(model(torch.zeros(size)))

    @app.get("/task")
    async def task(size: int) -> int:
        async def work() -> int:
            return await asyncio.to_thread(lambda: len(model(torch.zeros(size))))

        return await asyncio.create_task(work())

    return app, exporter


@pytest.mark.parametrize("path", ["sync", "task"])
@pytest.mark.parametrize("flag", ["00", "01"])
def test_a_recompile_while_serving_is_a_span_of_its_request_sampled_or_not(
    app_and_spans, path, flag
):
    app, exporter = app_and_spans
    with client_of(app) as client:
        client.get(f"/{path}?size=2")
        mark_ready()
        exporter.clear()
        get = client.get(
            f"/{path}?size=3", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-{flag}"}
        )
    assert get.json() == 3
    (compiled,) = [
        span for span in exporter.get_finished_spans() if "torch.compile.trigger" in span.attributes
    ]
    assert f"{compiled.context.trace_id:032x}" == TRACE
    assert compiled.parent is not None
    assert compiled.attributes["torch.compile.phase"] == "serving"
    assert compiled.attributes["torch.compile.is_recompile"] is True
    others = [span.name for span in exporter.get_finished_spans() if span is not compiled]
    assert bool(others) == (flag == "01")
    assert get_ledger().totals().by_phase["serving"].recompiles == 1


def test_a_shape_that_was_seen_makes_no_span_while_serving(app_and_spans):
    app, exporter = app_and_spans
    with client_of(app) as client:
        client.get("/sync?size=2")
        mark_ready()
        exporter.clear()
        client.get("/sync?size=2")
    assert [s for s in exporter.get_finished_spans() if s.name == "torch.compile"] == []


def test_fail_on_recompile_makes_no_record():
    TorchCompileInstrumentor().instrument()
    model = torch.compile(lambda x: x * 3, backend="eager")
    model(torch.zeros(2))
    with (
        torch.compiler.set_stance("fail_on_recompile"),
        pytest.raises(RuntimeError, match="fail_on_recompile"),
    ):
        model(torch.zeros(3))
    assert len(get_ledger().records()) == 1
