"""Providers from the environment, the sampler, and a shutdown that cannot hang."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
import time

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from compilespan import WarmupTarget, monitor_torch_compile, warm
from compilespan.process import device
from compilespan.sdk import CompileSampler, configure
from compilespan.sdk.resource import service_resource
from compilespan.semconv import __version__
from compilespan.telemetry.ids import SystemRandomIdGenerator
from compilespan.telemetry.sampler import create_sampler
from compilespan.telemetry.startup import Startup, startup_trace_id
from compilespan.telemetry.telemetry import Telemetry, use_telemetry


@pytest.fixture
def configured(monkeypatch):
    """Configure providers and shut them down again."""
    made = []

    def make(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        made.append(configure(set_global=False))
        return made[-1]

    yield make
    for providers in made:
        providers.shutdown(2.0)


COMPILE = {"torch.compile.trigger": "dynamo"}


def sampled(sampler, *names, parent_flag=0, attributes=None):
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(parent_flag))
    context = set_span_in_context(NonRecordingSpan(parent))
    for name in names:
        provider.get_tracer("t").start_span(name, context, attributes=attributes).end()
    return [span.name for span in exporter.get_finished_spans()]


def test_compiles_are_kept_where_the_request_was_not_sampled():
    name = "torch.compile LlamaModel"
    assert sampled(CompileSampler(), name, attributes=COMPILE) == [name]
    # By attribute, not by name.
    assert sampled(CompileSampler(), name, "compilespan.warmup", "compilespan.startup") == []
    assert sampled(CompileSampler(), "GET /x", parent_flag=1) == ["GET /x"]


def test_all_spans_of_a_warmup_and_a_start_are_kept_where_the_request_was_not_sampled():
    provider = TracerProvider(sampler=CompileSampler(ALWAYS_OFF), shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_telemetry(Telemetry(provider))
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    startup = Startup()
    token = attach(set_span_in_context(NonRecordingSpan(parent)))
    try:
        startup.begin()
        warm([WarmupTarget("net", lambda shape: None, [{"batch": 1}])])
        startup.end("ready")
    finally:
        detach(token)
    names = {span.name.partition(" ")[0] for span in exporter.get_finished_spans()}
    assert names >= {"compilespan.startup", "compilespan.warmup", "compilespan.warmup.item"}
    assert any(name.startswith("compilespan.startup.") for name in names)


def test_the_sampler_has_a_name_for_the_environment(monkeypatch):
    from opentelemetry.sdk._configuration import _import_sampler

    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    sampler = _import_sampler("compilespan")
    assert isinstance(sampler, CompileSampler)
    assert "0.25" in sampler.get_description()


def test_a_ratio_that_is_no_number_says_what_to_give():
    with pytest.raises(ValueError, match="OTEL_TRACES_SAMPLER_ARG is 'half'; give the ratio"):
        create_sampler("half")


def test_a_foreign_sampler_of_the_environment_is_used(configured):
    providers = configured(OTEL_TRACES_SAMPLER="always_off")
    assert providers.tracer_provider.sampler.get_description() == "AlwaysOffSampler"


def test_2000_graphs_fit_into_a_span(configured):
    providers = configured()
    exporter = InMemorySpanExporter()
    providers.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_telemetry(Telemetry(providers.tracer_provider))
    with monitor_torch_compile("a") as monitor:
        for _ in range(2000):
            monitor.add_event("torch.compile.graph")
    (span,) = exporter.get_finished_spans()
    assert len(span.events) == 2000
    assert "torch.compile.event.dropped" not in span.attributes


def test_an_event_limit_of_the_environment_is_the_operators(configured):
    providers = configured(OTEL_SPAN_EVENT_COUNT_LIMIT="7")
    assert providers.tracer_provider._span_limits.max_events == 7


def test_the_resource_says_what_runs(configured):
    providers = configured(RANK="3", WORLD_SIZE="8")
    attributes = providers.tracer_provider.resource.attributes
    assert attributes["service.name"] == "compilespan"
    assert attributes["service.instance.id"] == f"test-instance-{os.getpid()}"
    assert attributes["compilespan.instance.id"] == "test-instance"
    assert attributes["torch.version"].startswith("2.")
    assert attributes["torch.device.name"] == device()
    assert attributes["host.name"] == platform.node()
    assert attributes["process.pid"] == os.getpid()
    assert attributes["service.version"] == __version__
    assert attributes["torch.distributed.rank"] == 3
    assert attributes["torch.distributed.world_size"] == 8
    assert providers.meter_provider._sdk_config.resource == providers.tracer_provider.resource


def test_the_environments_service_name_wins(configured):
    providers = configured(OTEL_SERVICE_NAME="mine")
    attributes = providers.tracer_provider.resource.attributes
    assert attributes["service.name"] == "mine"
    assert "service.version" not in attributes  # ours is no other service's


def test_the_environments_attributes_win(configured):
    given = "service.instance.id=pod-7,service.version=9.1,host.name=node-3"
    attributes = configured(OTEL_RESOURCE_ATTRIBUTES=given).tracer_provider.resource.attributes
    assert attributes["service.instance.id"] == "pod-7"
    assert attributes["service.version"] == "9.1"
    assert attributes["host.name"] == "node-3"
    assert attributes["compilespan.instance.id"] == "test-instance"


def test_ranks_do_not_share_an_instance_id_of_the_environment(configured):
    given = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=node-1"}
    alone = configured(**given, RANK="0", WORLD_SIZE="1").tracer_provider.resource.attributes
    assert alone["service.instance.id"] == "node-1"
    ranks = configured(**given, RANK="1", WORLD_SIZE="2").tracer_provider.resource.attributes
    assert ranks["service.instance.id"] == f"node-1-{os.getpid()}"


def test_children_do_not_share_an_instance_id_of_the_environment(monkeypatch):
    """Their streams would mix."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7")
    seen, told = os.pipe()
    if os.fork() == 0:
        os.write(told, str(service_resource().attributes["service.instance.id"]).encode())
        os._exit(0)
    os.wait()
    name = os.read(seen, 100).decode()
    os.close(seen)
    os.close(told)
    assert re.fullmatch(r"pod-7-\d+", name)
    assert name != f"pod-7-{os.getpid()}"


def test_from_the_resource_to_the_trace_of_the_start(configured, monkeypatch):
    """With the provider that `configure` makes, and where the launcher has begun the trace."""
    assert "compilespan.startup.trace_id" not in configured().tracer_provider.resource.attributes
    for environment in ({}, {"TRACEPARENT": f"00-{'ab' * 16}-{'cd' * 8}-01"}):
        monkeypatch.setattr(os, "environ", {**os.environ, **environment})
        providers = configure(set_global=False, startup_trace_id=startup_trace_id())
        use_telemetry(Telemetry(providers.tracer_provider))
        startup = Startup()
        startup.begin()
        context = trace.get_current_span(startup.context).get_span_context()
        named = providers.tracer_provider.resource.attributes["compilespan.startup.trace_id"]
        assert named == trace.format_trace_id(context.trace_id)
        assert (named == "ab" * 16) is bool(environment)
        providers.shutdown(2.0)


def test_without_an_endpoint_nothing_is_exported(configured):
    providers = configured()
    assert providers.tracer_provider._active_span_processor._span_processors == ()


def test_ids_are_the_operating_systems(configured):
    assert isinstance(configured().tracer_provider.id_generator, SystemRandomIdGenerator)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "smoke"}, "'smoke', which is not installed; use 'otlp'"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke",
            },
            "'smoke'; use 'grpc' or 'http/protobuf'",
        ),
    ],
)
def test_a_wrong_variable_says_what_to_use(configured, environment, message):
    with pytest.raises(ValueError, match=message):
        configured(**environment)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_shutdown_is_bounded_before_a_collector_that_never_answers(configured, protocol):
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        providers = configured(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{hole.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        )
        use_telemetry(Telemetry(providers.tracer_provider, providers.meter_provider))
        with monitor_torch_compile("a"):
            pass
        started = time.monotonic()
        assert providers.shutdown(timeout_s=1.0) is False
        assert time.monotonic() - started < 2.0


def test_a_detector_that_hangs_is_asked_once_and_left_out(tmp_path):
    """In a process of its own: OpenTelemetry finds detectors by their entry points."""
    package = tmp_path / "hanging-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_resource_detector]\nhanging = hanging:Detector\n"
    )
    (tmp_path / "hanging.py").write_text(
        "import time\n"
        "from opentelemetry.sdk.resources import ResourceDetector\n"
        "class Detector(ResourceDetector):\n"
        "    def detect(self):\n"
        "        print('asked', flush=True)\n"
        "        time.sleep(60)\n"
    )
    program = (
        "import os, time\n"
        "from compilespan.sdk import configure, service_resource\n"
        "started = time.perf_counter()\n"
        "for _ in range(3):\n"
        "    configure(set_global=False)\n"
        "resource = service_resource('mine').attributes\n"
        "print(resource['service.name'], resource['deployment'], flush=True)\n"
        "assert time.perf_counter() - started < 5\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "hanging",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment=here",
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.split() == ["asked", "mine", "here"]
