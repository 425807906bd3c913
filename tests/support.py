"""Shared by tests: providers in memory, and spans as plain values."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from compilespan import CompileRecord, get_ledger
from compilespan.ledger.active import CompileBegun

try:
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
except ImportError:  # the name before 1.39
    from opentelemetry.sdk._logs.export import InMemoryLogExporter as InMemoryLogRecordExporter

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from compilespan.journal.directory import StateDirectory


def is_before_torch(version: str) -> bool:
    return torch.torch_version.TorchVersion(torch.__version__) < version


def since_torch(version: str, reason: str) -> pytest.MarkDecorator:
    """Skip a test on older versions of torch: those run on demand (``make test-torch``)."""
    reason = f"before torch {version}: {reason}"
    return pytest.mark.skipif(is_before_torch(version), reason=reason)


_NEW = {
    "torch._dynamo.symbolic_convert.InstructionTranslatorBase.log_graph_break": "2.10",
    "torch.export.pt2_archive._package._load_aoti": "2.10",
    "torch._functorch._aot_autograd.autograd_cache._get_debug_lines_for_cache_key": "2.13",
}
LACKING = {name for name, version in _NEW.items() if is_before_torch(version)}
"""Private names that the installed version of torch does not have yet."""


@dataclass
class Exported:
    """The providers of a test, and what they exported."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    logger_provider: LoggerProvider
    spans_exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    logs_exporter: InMemoryLogRecordExporter

    @classmethod
    def create(cls, limits: SpanLimits | None = None) -> Exported:
        tracer_provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
        spans = InMemorySpanExporter()
        tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
        reader = InMemoryMetricReader()
        meter_provider = MeterProvider([reader], shutdown_on_exit=False)
        logger_provider = LoggerProvider(shutdown_on_exit=False)
        logs = InMemoryLogRecordExporter()
        logger_provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
        return cls(tracer_provider, meter_provider, logger_provider, spans, reader, logs)

    @property
    def providers(self) -> dict[str, Any]:
        return {
            "tracer_provider": self.tracer_provider,
            "meter_provider": self.meter_provider,
            "logger_provider": self.logger_provider,
        }

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.spans_exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if is_named(span.name, name)]

    @property
    def compiles(self) -> list[ReadableSpan]:
        return [span for span in self.spans if "torch.compile.trigger" in span.attributes]

    @property
    def logs(self) -> list[Any]:
        return [each.log_record for each in self.logs_exporter.get_finished_logs()]

    def metrics(self) -> dict[str, Any]:
        """Return the metrics by name, as the SDK collects them now."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the points of a metric as (attributes, value or sum)."""
        metric = self.metrics().get(name)
        return [
            (dict(point.attributes), point.sum if hasattr(point, "sum") else point.value)
            for point in (metric.data.data_points if metric else ())
        ]

    def exemplars(self, name: str) -> list[Any]:
        """Return the exemplars of each point of a metric."""
        return [point.exemplars for point in self.metrics()[name].data.data_points]


def is_named(found: str, wanted: str) -> bool:
    """Whether a span has this name: an operation, followed by its target if it has one."""
    return found == wanted or found.startswith(f"{wanted} ")


def snapshot(span: ReadableSpan) -> dict[str, Any]:
    """Return a whole span as plain values, without what differs from run to run."""
    attributes = {key: span.attributes[key] for key in sorted(span.attributes)}
    for varying in ("torch.compile.cpu.time", "torch.compile.cpu.wait"):
        assert attributes.pop(varying, 0.0) >= 0.0
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "attributes": attributes,
        "events": [(event.name, dict(event.attributes)) for event in span.events],
    }


def events(span: ReadableSpan, name: str) -> list[dict[str, Any]]:
    """Return the attributes of the span's events of one name."""
    return [dict(event.attributes) for event in span.events if event.name == name]


def duration_ns(span: ReadableSpan) -> int:
    """Return the length of a span."""
    return span.end_time - span.start_time


RECORD = CompileRecord(
    name="LlamaModel",
    is_encoder=False,
    kind="compile",
    trigger="dynamo",
    phase="startup",
    outcome="ok",
    error_type=None,
    start_ns=1_000,
    duration_ns=2_000_000_000,
    graphs=1,
    cache_hits=0,
    cache_misses=1,
    cache_bypasses=0,
    cache_result="miss",
    is_recompile=False,
    recompile_reason=None,
    graph_breaks=(),
    compile_ids=("0/0",),
    trace_id="",
    span_id="",
    pid=1,
    thread_id=1,
    component="language_model",
)


def record(**changes: object) -> CompileRecord:
    if "is_encoder" in changes:
        changes["component"] = "encoder" if changes["is_encoder"] else "language_model"
    if "component" in changes:
        changes["is_encoder"] = changes["component"] == "encoder"
    return dataclasses.replace(RECORD, **changes)


def app_with_telemetry(**telemetry: object) -> Any:
    """Return a FastAPI app that makes spans of its own, as newer versions do."""
    fastapi = pytest.importorskip("fastapi")
    if "telemetry" not in inspect.signature(fastapi.FastAPI).parameters:
        pytest.skip(f"FastAPI {fastapi.__version__} has no telemetry of its own")
    return fastapi.FastAPI(telemetry=telemetry)


def client_of(app: Any) -> Any:
    return pytest.importorskip("fastapi.testclient").TestClient(app)


def interrupted(directory: StateDirectory) -> list[tuple[Any, Any]]:
    """Return what was compiling when its process died, oldest first."""
    return [(each, begun) for each in directory.processes() for begun in each.interrupted]


def in_child(call):
    """Fork, run ``call`` in the child, and return what it returns, as JSON."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        return json.loads(file.read() or b"null")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cli_runner() -> Any:
    """Return a runner of commands; click before 8.2 mixes their two outputs unless it is told."""
    from typer.testing import CliRunner

    try:
        return CliRunner(mix_stderr=False)
    except TypeError:
        return CliRunner()


def headers(directory: Path) -> Path:
    """Return the directory of precompiled headers beside a compile cache of the tests."""
    return directory.with_name(f"{directory.name}-headers")


def built(duration_s: float = 1.0) -> None:
    """Record a compile that missed the cache."""
    ledger = get_ledger()
    key = ledger.prepare()
    ledger.begin(CompileBegun(key, "net", "other", 1, 1))
    ledger.end(key, record(duration_ns=int(duration_s * 1e9), cache_misses=1))
