"""OTLP metrics written into a running Prometheus, exponential histograms as its native ones.

By remote write, because the Prometheus that Debian has receives no OTLP. What is translated is what
Prometheus 3 does itself: the scale is the schema, and buckets are counted from one instead of zero.
"""

from __future__ import annotations

import itertools

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from prometheus import openmetrics, series_of

# The part of Prometheus' remote-write protocol 1.0 that is written here.
_MESSAGES = {
    "WriteRequest": {"timeseries": (1, "+TimeSeries")},
    "TimeSeries": {
        "labels": (1, "+Label"),
        "samples": (2, "+Sample"),
        "histograms": (4, "+Histogram"),
    },
    "Label": {"name": (1, "STRING"), "value": (2, "STRING")},
    "Sample": {"value": (1, "DOUBLE"), "timestamp": (2, "INT64")},
    "Histogram": {
        "count_int": (1, "UINT64"),
        "sum": (3, "DOUBLE"),
        "schema": (4, "SINT32"),
        "zero_threshold": (5, "DOUBLE"),
        "zero_count_int": (6, "UINT64"),
        "positive_spans": (11, "+BucketSpan"),
        "positive_deltas": (12, "+SINT64"),
        "timestamp": (15, "INT64"),
    },
    "BucketSpan": {"offset": (1, "SINT32"), "length": (2, "UINT32")},
}


def _classes():
    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="p", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for each, (number, kind) in fields.items():
            field = message.field.add(name=each, number=number)
            field.label = field.LABEL_REPEATED if kind[0] == "+" else field.LABEL_OPTIONAL
            if (plain := kind.lstrip("+")) in _MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".p.{plain}"
            else:
                field.type = getattr(field, f"TYPE_{plain}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"p.{name}"))
        for name in _MESSAGES
    }


_TYPES = _classes()


def write(prometheus, requests):
    """Write metrics that came over OTLP, oldest first."""
    for request in requests:
        written = _TYPES["WriteRequest"]()
        for series, time_s, value in openmetrics(request, promoted=False, histograms=_native):
            found = written.timeseries.add()
            name, labels = series_of(series)
            for each in sorted({"__name__": name, **labels}.items()):
                found.labels.add(name=each[0], value=each[1])
            time_ms = round(float(time_s) * 1000)
            if isinstance(value, _TYPES["Histogram"]):
                value.timestamp = time_ms
                found.histograms.append(value)
            else:
                found.samples.add(value=value, timestamp=time_ms)
        answer = prometheus.client.post(
            "/api/v1/write",
            content=bytes(cramjam.snappy.compress_raw(written.SerializeToString())),
            headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
        )
        assert answer.is_success, answer.text


def _native(point):
    """Return an exponential histogram's point as Prometheus has it."""
    counts = list(point.positive.bucket_counts)
    deltas = [after - before for before, after in itertools.pairwise([0, *counts])]
    return _TYPES["Histogram"](
        count_int=point.count,
        sum=point.sum,
        schema=point.scale,
        zero_threshold=1e-128,
        zero_count_int=point.zero_count,
        positive_spans=[{"offset": point.positive.offset + 1, "length": len(counts)}],
        positive_deltas=deltas,
    )
