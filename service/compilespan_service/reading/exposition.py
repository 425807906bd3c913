"""``/metrics``: every metric of the schema for the whole instance, whichever worker is scraped.

A scrape reaches one of several workers. If each worker showed only its own process, series would
jump back and forth. So each worker feeds the records of all processes into the library's
instruments, on a meter provider that exists only for this exposition.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from compilespan import get_ledger
from compilespan.sdk import service_resource
from compilespan.semconv import SCHEMA_URL, SCOPE, __version__
from compilespan.telemetry.metrics import CompileMetrics
from compilespan.telemetry.warmups import WarmupDuration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from compilespan import CompileRecord
    from compilespan_service.reading.instance import Instance


_NS_DIGITS = 9
_DRAIN_S = 0.5


class _ExactSums(Collector):
    """Rounds sums of durations to nanoseconds, the resolution of the records.

    Workers add the same records in different orders, so floating-point sums differ in the last
    digit. Prometheus takes a series that decreases for a restart.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [
                sample._replace(value=round(sample.value, _NS_DIGITS))
                if sample.name.endswith(("_sum", "_seconds_total"))
                else sample
                for sample in family.samples
            ]
            yield family


class Exposition:
    """Renders the instance's metrics for Prometheus."""

    def __init__(self, instance: Instance) -> None:
        """Take the instance whose processes are shown, and the records that exist already."""
        self._instance = instance
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        collected = CollectorRegistry()
        self._registry.register(_ExactSums(collected))
        reader = PrometheusMetricReader(registry=collected)
        provider = MeterProvider([reader], service_resource(), shutdown_on_exit=False)
        self._metrics = CompileMetrics(provider.get_meter(SCOPE, __version__, SCHEMA_URL), instance)
        self._durations = WarmupDuration(provider)
        ledger = get_ledger()
        self._followers = ledger.followers
        self._own = ledger.feed(self.take)

    def take(self, record: CompileRecord) -> None:
        """Count a record of any process."""
        self._metrics.measure(record)

    def take_job(self, elapsed_s: float, state: str) -> None:
        """Count an ended warmup job of any process."""
        self._durations.record(elapsed_s, state)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, chosen by the ``Accept`` header."""
        with self._lock:
            self._follow()
            self._own.drain(_DRAIN_S)
            self._instance.refresh()
            encoder, content_type = choose_encoder(accept)
            return encoder(self._registry), content_type

    def text(self) -> bytes:
        """Return the current metrics as text, without waiting for new records."""
        with self._lock:
            self._follow()
            return generate_latest(self._registry)

    def _follow(self) -> None:
        ledger = get_ledger()
        if self._followers is not ledger.followers:  # in a forked child
            self._followers = ledger.followers
            self._own = ledger.feed(self.take)
