"""What dashboards and rules show where histograms are exponential, in a real Prometheus.

``OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram``: a
choice of platforms, not of servers. Prometheus has one native histogram then, and no ``_sum``.
"""

from __future__ import annotations

import time
from contextlib import suppress

import boards
import native
import pytest
import yaml
from boards import GRAFANA
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.trace import NoOpTracerProvider
from prometheus import Prometheus, needs_prometheus

from compilespan import get_ledger, mark_ready, monitor_torch_compile
from compilespan.sdk.resource import service_resource
from compilespan.telemetry.telemetry import Telemetry, use_telemetry
from compilespan.telemetry.warmups import WarmupDuration

pytestmark = needs_prometheus

SUBQUERY = ":1m]"


@pytest.fixture
def shown(tmp_path):
    """What was compiled, and a function that asks Prometheus for what stands in a place."""
    # One scale for all: the Prometheus that Debian has panics where it adds histograms of several.
    exponential = ExponentialBucketHistogramAggregation(max_scale=3)
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: exponential})
    provider = MeterProvider([reader], service_resource("llava"), shutdown_on_exit=False)
    use_telemetry(Telemetry(NoOpTracerProvider(), provider))
    for seconds, is_encoder in ((0.02, True), (0.03, True), (0.01, False)):
        with monitor_torch_compile("tower", is_encoder=is_encoder, kind="compile"):
            time.sleep(seconds)
    with monitor_torch_compile("artefact", kind="load"):
        pass
    with suppress(ValueError), monitor_torch_compile("head", kind="compile"):
        raise ValueError("no kernel")
    mark_ready()
    with monitor_torch_compile("tower", is_encoder=True, kind="compile"):
        pass
    WarmupDuration(provider).record(1.5, "failed")
    sent = encode_metrics(reader.get_metrics_data())
    with Prometheus(tmp_path) as prometheus:
        native.write(prometheus, [sent])

        def ask(expression):
            filled = boards.filled_in(expression, service="llava", start="test-instance")
            return prometheus.query(filled.replace(SUBQUERY, ":1s]"), time.time() + 1)

        yield ask


def test_there_is_no_classic_histogram(shown):
    """The checks below can fail."""
    assert shown("torch_compile_duration_seconds_sum") == []
    assert len(shown("histogram_count(torch_compile_duration_seconds)")) == 5


def test_numbers_are_those_of_the_totals(shown):
    totals = get_ledger().totals()
    queries = boards.targets("expr")
    for ref, row in (("A", totals.encoder), ("B", totals.language_model)):
        ((_, seconds),) = shown(queries[f"compile-time: Compile time {ref}"]["expr"])
        assert seconds == pytest.approx(row.compile_s)
    ((_, failed),) = shown(queries["compile-time: Failed A"]["expr"])
    assert failed == 1
    ((labels, seconds),) = shown(queries["compile-time: Failed compiles B"]["expr"])
    assert labels["error_type"] == "ValueError"
    assert seconds == pytest.approx(totals.total.failed_s)
    ((_, loads),) = shown(queries["compile-time: Slowest starts E"]["expr"])
    assert loads == pytest.approx(totals.total.load_s)
    ((_, median),) = shown(queries["compile-time: How long compiles took A"]["expr"])
    assert 0.015 < median < 0.04
    (bar,) = shown(queries["compile-time: By start A"]["expr"])
    assert bar[1] == pytest.approx(totals.encoder.compile_s)


def test_alerts_that_count_fire(shown):
    rules = {
        rule["alert"]: rule["expr"]
        for group in yaml.safe_load((GRAFANA / "alerts/compilespan.yml").read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    for alert in ("CompilespanWarmupFailed", "CompilespanCompiledWhileServing"):
        expression, _, _ = rules[alert].partition("> on ()")  # no rules are evaluated here
        ((_, count),) = shown(expression)
        assert count == 1
