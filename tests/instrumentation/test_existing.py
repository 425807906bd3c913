"""Providers that exist before a compile are adapted: ids, sampler, resource."""

from __future__ import annotations

import logging
import math
import os
import re
import threading

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)

from compilespan import monitor_torch_compile
from compilespan.telemetry import existing
from compilespan.telemetry.telemetry import Telemetry, use_telemetry
from support import in_child


class Theirs:
    """Providers as a program or its launcher makes them."""

    def __init__(self, sampler=DEFAULT_ON, **resource):
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        described = Resource(resource)
        self.tracer_provider = TracerProvider(sampler=sampler, resource=described)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], resource=described)
        self.tracer = self.tracer_provider.get_tracer("theirs")
        use_telemetry(Telemetry(self.tracer_provider, self.meter_provider))

    def compile(self, *, unsampled_parent=False):
        flags = trace.TraceFlags(0 if unsampled_parent else 1)
        parent = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=True, trace_flags=flags))
        with trace.use_span(parent), monitor_torch_compile("m", kind="compile"):
            pass

    @property
    def resource(self):
        return dict(self.exporter.get_finished_spans()[-1].resource.attributes)

    @property
    def metrics_resource(self):
        (found,) = self.reader.get_metrics_data().resource_metrics
        return dict(found.resource.attributes)


def test_spans_and_metrics_name_the_start_and_the_process():
    theirs = Theirs(**{"service.name": "shop"})
    theirs.compile()
    for resource in (theirs.resource, theirs.metrics_resource):
        assert resource["service.name"] == "shop"
        assert resource["compilespan.instance.id"] == "test-instance"
        assert resource["service.instance.id"] == f"test-instance-{os.getpid()}"
        assert resource["torch.version"]


def test_ids_that_the_program_chose_stay():
    theirs = Theirs(**{"service.instance.id": "mine", "compilespan.instance.id": "other"})
    theirs.compile()
    assert theirs.resource["service.instance.id"] == "mine"
    assert theirs.metrics_resource["compilespan.instance.id"] == "other"


def test_other_spans_keep_their_resource_and_their_sampler():
    theirs = Theirs()
    theirs.compile()
    with theirs.tracer.start_as_current_span("theirs"):
        pass
    assert "compilespan.instance.id" not in theirs.resource
    assert theirs.tracer.sampler is DEFAULT_ON
    assert theirs.tracer_provider.sampler is DEFAULT_ON


@pytest.mark.parametrize("named", [{}, {"service.instance.id": "mine"}])
def test_a_forked_child_is_a_process_of_its_own(named):
    theirs = Theirs(**named)
    theirs.compile()
    parents = theirs.resource["service.instance.id"]

    def child():
        theirs.compile()
        own = theirs.resource["service.instance.id"]
        again = theirs.metrics_resource["service.instance.id"]
        return own, again, os.getpid()

    own, again, pid = in_child(child)
    assert own == again != parents
    assert own.endswith(f"-{pid}") or re.fullmatch(r"[0-9a-f-]{36}", own)  # newer SDKs draw one


def test_an_unsampled_request_does_not_drop_its_compile(caplog):
    theirs = Theirs()
    theirs.compile(unsampled_parent=True)
    assert len(theirs.exporter.get_finished_spans()) == 1
    assert "sampler" not in caplog.text


@pytest.mark.parametrize("is_named", [True, False])
def test_a_sampler_that_drops_on_purpose_stays_and_is_named_once(is_named, monkeypatch, caplog):
    if is_named:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    theirs = Theirs(sampler=DEFAULT_ON if is_named else ALWAYS_OFF)
    with caplog.at_level(logging.WARNING, "compilespan"):
        theirs.compile(unsampled_parent=True)
        theirs.compile(unsampled_parent=True)
    assert theirs.exporter.get_finished_spans() == ()
    (line,) = [message for message in caplog.messages if "sampler" in message]
    assert "OTEL_TRACES_SAMPLER=compilespan" in line
    assert ("parentbased_always_on" if is_named else "set by the program") in line


class Own(Sampler):
    """A sampler that only its program understands."""

    def should_sample(self, *args, **kwargs):
        return SamplingResult(Decision.DROP)

    def get_description(self):
        return "Own"


@pytest.mark.parametrize(
    "sampler",
    [DEFAULT_OFF, StaticSampler(Decision.DROP), TraceIdRatioBased(0.0), ParentBased(Own()), Own()],
    ids=lambda sampler: sampler.get_description(),
)
def test_a_sampler_that_keeps_nothing_is_a_choice(sampler):
    theirs = Theirs(sampler=sampler)
    theirs.compile(unsampled_parent=True)
    assert theirs.exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    "sampler", [TraceIdRatioBased(1e-12), ParentBasedTraceIdRatio(1e-12), DEFAULT_ON]
)
def test_a_sampler_that_keeps_a_part_keeps_all_compiles(sampler):
    theirs = Theirs(sampler=sampler)
    theirs.compile(unsampled_parent=True)
    assert len(theirs.exporter.get_finished_spans()) == 1


def test_a_child_of_one_environment_has_an_id_of_its_own(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-1")
    monkeypatch.setattr(existing, "is_one_of_many", lambda: True)
    theirs = Theirs(**{"service.instance.id": "pod-1"})
    theirs.compile()
    assert theirs.resource["service.instance.id"] == f"pod-1-{os.getpid()}"
    assert theirs.metrics_resource["service.instance.id"] == f"pod-1-{os.getpid()}"


def test_an_id_that_the_sdk_drew_stays_in_a_child(monkeypatch):
    monkeypatch.setattr(existing, "is_one_of_many", lambda: True)
    theirs = Theirs(**{"service.instance.id": "5cf9-drawn"})
    theirs.compile()
    assert theirs.resource["service.instance.id"] == "5cf9-drawn"
    assert theirs.metrics_resource["service.instance.id"] == "5cf9-drawn"


def test_a_meter_provider_that_is_set_later_is_adapted(monkeypatch):
    theirs = Theirs()
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: theirs.meter_provider)
    telemetry = Telemetry(theirs.tracer_provider)
    use_telemetry(telemetry)
    later = MeterProvider([reader := InMemoryMetricReader()], resource=Resource({}))
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: later)
    theirs.compile()
    later.get_meter("theirs").create_counter("requests").add(1)
    (found,) = reader.get_metrics_data().resource_metrics
    assert found.resource.attributes["compilespan.instance.id"] == "test-instance"


def test_a_flush_reads_no_metrics_that_somebody_else_reads():
    """Prometheus' reader would keep a copy of all metrics for the next scrape."""
    exporter, pulled = Exporter(), Pulled()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, math.inf), pulled])
    telemetry = Telemetry(TracerProvider(), provider)
    use_telemetry(telemetry)
    with monitor_torch_compile("m", kind="compile"):
        pass
    assert telemetry.flush(5.0)
    assert exporter.exports >= 1
    assert pulled.collections == 0
    provider.shutdown()


class Exporter(MetricExporter):
    exports = 0

    def export(self, *args, **kwargs):
        self.exports += 1
        return MetricExportResult.SUCCESS

    def force_flush(self, *args):
        return True

    def shutdown(self, *args, **kwargs):
        pass


class Pulled(MetricReader):
    collections = 0

    def _receive_metrics(self, *args, **kwargs):
        self.collections += 1

    def shutdown(self, *args, **kwargs):
        pass


def test_a_flush_that_hangs_is_not_begun_again():
    hold, begun = threading.Event(), []

    class Hanging(TracerProvider):
        def force_flush(self, *args):
            begun.append(1)
            hold.wait(30)

    telemetry = Telemetry(Hanging(), MeterProvider())
    assert not telemetry.flush(0.05)
    assert not telemetry.flush(0.05)
    assert begun == [1]
    hold.set()
