"""``/metrics``: every metric of the schema for the whole instance, whichever worker is scraped.

A scrape hits one of several workers; were it to show its own process, series would jump back and
forth. So each worker feeds the library's instruments from all processes' records, into a meter
provider that exists for this exposition only.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from compilespan import get_ledger
from compilespan.sdk import service_resource
from compilespan.semconv import SCOPE, __version__
from compilespan.telemetry.metrics import CompileMetrics
from compilespan_service.warmups.metrics import WarmupDuration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from compilespan.ledger.entries import Entry
    from compilespan.ledger.followers import Followers
    from compilespan.ledger.subscription import Subscription
    from compilespan_service.reading.instance import Instance
    from compilespan_service.warmups.book import JobBook


_NS_DIGITS = 9
_DRAIN_S = 0.5


class _ExactSums(Collector):
    """Rounds sums of durations to the nanoseconds that they are sums of.

    Workers add the same records in different orders, and floating point makes a difference of the
    last digit of it: a series that goes back is a restart to Prometheus.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [
                sample._replace(value=round(sample.value, _NS_DIGITS))
                if sample.name.endswith("_sum")
                else sample
                for sample in family.samples
            ]
            yield family


class Exposition:
    """Renders the instance's metrics as Prometheus reads them."""

    def __init__(self, instance: Instance, jobs: JobBook) -> None:
        """Take the instance whose processes are shown, and this process's jobs."""
        self._instance = instance
        self._jobs = jobs
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._own: Subscription[Entry] | None = None
        self._followers: Followers | None = None
        self._jobs_taken: set[str] = set()

    @functools.cached_property
    def _provider(self) -> MeterProvider:
        """The provider behind the registry, made by the first scrape: its resource may be slow."""
        collected = CollectorRegistry()
        self._registry.register(_ExactSums(collected))
        reader = PrometheusMetricReader(registry=collected)
        return MeterProvider([reader], service_resource(), shutdown_on_exit=False)

    @functools.cached_property
    def _metrics(self) -> CompileMetrics:
        return CompileMetrics(self._provider.get_meter(SCOPE, __version__), self._instance)

    @functools.cached_property
    def _durations(self) -> WarmupDuration:
        return WarmupDuration(self._provider)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, which the ``Accept`` header chooses."""
        with self._lock:
            self._feed()
            encoder, content_type = choose_encoder(accept)
            return encoder(self._registry), content_type

    def _feed(self) -> None:
        """Take what was recorded until now, each once, however much it is between two scrapes."""
        measure, durations = self._metrics.measure, self._durations  # made by the first scrape
        ledger = get_ledger()
        if self._own is None or self._followers is not ledger.followers:  # in a forked child
            self._followers = ledger.followers
            self._own = ledger.feed(measure)
        self._own.drain(_DRAIN_S)
        ended = [(job.id, job.elapsed_s, job.state) for job in self._jobs.all if job.is_over]
        self._instance.flush()
        with self._instance.reading() as others:
            for other in others:
                if other.on_record is None:
                    for record in other.records:
                        measure(record)
                    other.on_record = measure
                ended += [(job["id"], job["elapsed_s"], job["state"]) for job in other.jobs]
        for job_id, elapsed_s, state in ended:
            if job_id not in self._jobs_taken:
                self._jobs_taken.add(job_id)
                durations.record(elapsed_s, state)
