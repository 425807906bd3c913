"""The metric of warmup jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics

from compilespan import semconv
from compilespan.semconv import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider


class WarmupDuration:
    """``compilespan.warmup.duration``."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        """Create the histogram; ``provider`` defaults to the global one."""
        meter = metrics.get_meter("compilespan_service", __version__, provider, semconv.SCHEMA_URL)
        self._histogram = meter.create_histogram(
            semconv.METRIC_WARMUP_DURATION,
            unit="s",
            description="How long a warmup job took.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS_S,
        )

    def record(self, elapsed_s: float, state: str) -> None:
        """Record a job that ended, with its seconds."""
        self._histogram.record(elapsed_s, {semconv.JOB_STATE: state})
