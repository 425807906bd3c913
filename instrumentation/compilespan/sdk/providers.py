"""Providers from the standard ``OTEL_*`` variables, and a shutdown that cannot hang."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.environment_variables import OTEL_SPAN_EVENT_COUNT_LIMIT
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from compilespan.sdk.resource import service_resource
from compilespan.telemetry.flushing import at_once
from compilespan.telemetry.ids import SystemRandomIdGenerator
from compilespan.telemetry.sampler import CompileSampler, create_sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_EVENTS = 65_536
"""Events kept per span: enough for 80 subgraphs for each of hundreds of ranges."""


@dataclasses.dataclass(frozen=True, slots=True)
class Providers:
    """The three providers of a process."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    logger_provider: LoggerProvider

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Export what is queued, all signals at the same time.

        Returns:
            Whether all finished within ``timeout_s``. This does not prove that the collector got
            it: OpenTelemetry's own flush reports success even if an export failed.
        """
        millis = int(timeout_s * 1000)
        return at_once([functools.partial(p.force_flush, millis) for p in self._all()], timeout_s)

    def shutdown(self, timeout_s: float = 5.0) -> bool:
        """Flush and close, all signals at the same time; ``True`` if done within ``timeout_s``.

        Exporters that hang are left behind in daemon threads.
        """
        return at_once([p.shutdown for p in self._all()], timeout_s)

    def _all(self) -> tuple[Any, ...]:
        return (self.tracer_provider, self.meter_provider, self.logger_provider)


def configure(
    service_name: str = "compilespan",
    *,
    metric_readers: Sequence[MetricReader] = (),
    set_global: bool = True,
    startup_trace_id: int | None = None,
) -> Providers:
    """Make providers that export over OTLP if the environment names an endpoint.

    Args:
        service_name: Used if ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` set none.
        metric_readers: Additional readers, e.g. a Prometheus one.
        set_global: Make them the global providers. OpenTelemetry refuses a second set.
        startup_trace_id: Trace id of this process's start, if it emits one
            (`compilespan.telemetry.startup.startup_trace_id`).

    Raises:
        ValueError: An ``OTEL_*`` variable names an exporter or protocol that is not installed.
    """
    resource = service_resource(service_name, startup_trace_id)
    tracer_provider = TracerProvider(
        resource=resource,
        sampler=_sampler(),
        id_generator=SystemRandomIdGenerator(),
        span_limits=_limits(),
        shutdown_on_exit=False,
    )
    for exporter in _exporters("traces"):
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    meter_provider = MeterProvider(
        resource=resource,
        metric_readers=[
            *(PeriodicExportingMetricReader(exporter) for exporter in _exporters("metrics")),
            *metric_readers,
        ],
        shutdown_on_exit=False,
    )
    logger_provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in _exporters("logs"):
        logger_provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    if set_global:
        trace.set_tracer_provider(tracer_provider)
        metrics.set_meter_provider(meter_provider)
        set_logger_provider(logger_provider)
    return Providers(tracer_provider, meter_provider, logger_provider)


def _limits() -> SpanLimits:
    return (
        SpanLimits()
        if os.environ.get(OTEL_SPAN_EVENT_COUNT_LIMIT)
        else SpanLimits(max_events=MAX_EVENTS)
    )


def _sampler() -> CompileSampler | None:
    """Return our sampler; ``None``, if the environment names another, lets the SDK read it."""
    named = os.environ.get("OTEL_TRACES_SAMPLER", "compilespan").strip().lower()
    if named != "compilespan":
        return None
    return create_sampler(os.environ.get("OTEL_TRACES_SAMPLER_ARG"))


def _exporters(signal: str) -> list[Any]:
    """Make the exporters in ``OTEL_{SIGNAL}_EXPORTER``; by default OTLP if it has an endpoint."""
    upper = signal.upper()
    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    names = os.environ.get(f"OTEL_{upper}_EXPORTER") or ("otlp" if endpoint else "none")
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    return [
        _load(signal, name.strip())()
        for name in names.split(",")
        if name.strip() not in ("", "none")
    ]


def _load(signal: str, name: str) -> Callable[[], Any]:
    if name == "otlp":
        protocol = (
            os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "grpc"
        )
        name = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}.get(protocol, "")
        if not name:
            msg = f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; use 'grpc' or 'http/protobuf'"
            raise ValueError(msg)
    found = importlib.metadata.entry_points(group=f"opentelemetry_{signal}_exporter", name=name)
    for entry_point in found:
        loaded: Callable[[], Any] = entry_point.load()
        return loaded
    msg = (
        f"OTEL_{signal.upper()}_EXPORTER names {name!r}, which is not installed; "
        "use 'otlp', 'console' or 'none', or install the package that provides it"
    )
    raise ValueError(msg)
