"""A small real OTLP receiver, over gRPC and HTTP, that keeps what it gets."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

_PATHS = {
    "/v1/traces": (trace_pb.ExportTraceServiceRequest, trace_pb.ExportTraceServiceResponse),
    "/v1/metrics": (
        metrics_pb.ExportMetricsServiceRequest,
        metrics_pb.ExportMetricsServiceResponse,
    ),
    "/v1/logs": (logs_pb.ExportLogsServiceRequest, logs_pb.ExportLogsServiceResponse),
}


@dataclass
class Event:
    name: str
    time_ns: int
    attributes: dict[str, Any]


@dataclass
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    status: int
    attributes: dict[str, Any]
    events: list[Event]
    resource: dict[str, Any]
    dropped_events: int


@dataclass
class Point:
    """The last point of a metric stream; cumulative."""

    attributes: dict[str, Any]
    value: float
    count: int = 0


@dataclass
class Received:
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, dict[tuple, Point]] = field(default_factory=dict)
    logs: list[Event] = field(default_factory=list)
    metric_requests: list[Any] = field(default_factory=list)

    def named(self, name):
        return [span for span in self.spans if span.name.split(" ")[0] == name or span.name == name]

    def points(self, name):
        return list(self.metrics.get(name, {}).values())

    def resources_of(self, name):
        """Return the resource of each request that has this metric."""
        return [
            _plain(resource.resource.attributes)
            for request in self.metric_requests
            for resource in request.resource_metrics
            if any(metric.name == name for s in resource.scope_metrics for metric in s.metrics)
        ]

    def ancestors(self, span):
        """Return the names from a span's parent to the root, as far as they arrived."""
        by_id = {each.span_id: each for each in self.spans}
        found = []
        while span := by_id.get(span.parent_id):
            found.append(span.name)
        return found


class Receiver:
    """Serves on two loopback ports while it is entered."""

    def __init__(self, grpc_port=0):
        self.received = Received()
        self._wanted_port = grpc_port
        self._lock = threading.Lock()

    def __enter__(self):
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        receiver = self

        class Traces(trace_grpc.TraceServiceServicer):
            def Export(self, request, context):  # noqa: N802
                receiver.take(request)
                return trace_pb.ExportTraceServiceResponse()

        class Metrics(metrics_grpc.MetricsServiceServicer):
            def Export(self, request, context):  # noqa: N802
                receiver.take(request)
                return metrics_pb.ExportMetricsServiceResponse()

        class Logs(logs_grpc.LogsServiceServicer):
            def Export(self, request, context):  # noqa: N802
                receiver.take(request)
                return logs_pb.ExportLogsServiceResponse()

        trace_grpc.add_TraceServiceServicer_to_server(Traces(), self._grpc)
        metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), self._grpc)
        logs_grpc.add_LogsServiceServicer_to_server(Logs(), self._grpc)
        self.grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{self._wanted_port}")
        self._grpc.start()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request_type, response_type = _PATHS[self.path]
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(request_type.FromString(body))
                answer = response_type().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()

    def environment(self, protocol="grpc"):
        """Return what makes a process export here."""
        port = self.grpc_port if protocol == "grpc" else self._http.server_address[1]
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }

    def take(self, request):
        with self._lock:
            for resource in getattr(request, "resource_spans", ()):
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self.received.spans.append(
                            _span(span, _plain(resource.resource.attributes))
                        )
            if hasattr(request, "resource_metrics"):
                self.received.metric_requests.append(request)
            for resource in getattr(request, "resource_metrics", ()):
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self._metric(metric)
            for resource in getattr(request, "resource_logs", ()):
                for scope in resource.scope_logs:
                    self.received.logs += [
                        Event(log.event_name, log.time_unix_nano, _plain(log.attributes))
                        for log in scope.log_records
                    ]

    def _metric(self, metric):
        data = getattr(metric, metric.WhichOneof("data"))
        points = self.received.metrics.setdefault(metric.name, {})
        for point in data.data_points:
            attributes = _plain(point.attributes)
            key = tuple(sorted((name, str(value)) for name, value in attributes.items()))
            if hasattr(point, "bucket_counts"):
                points[key] = Point(attributes, point.sum, point.count)
            else:
                value = getattr(point, point.WhichOneof("value"))
                points[key] = Point(attributes, value)


def _span(span, resource):
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=span.status.code,
        attributes=_plain(span.attributes),
        events=[
            Event(event.name, event.time_unix_nano, _plain(event.attributes))
            for event in span.events
        ],
        resource=resource,
        dropped_events=span.dropped_events_count,
    )


def _plain(attributes):
    return {each.key: value_of(each.value) for each in attributes}


def value_of(value):
    """Return what an attribute's value holds."""
    kind = value.WhichOneof("value")
    found = getattr(value, kind) if kind else None
    return [value_of(each) for each in found.values] if kind == "array_value" else found
