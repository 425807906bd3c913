"""Metrics as Prometheus series: functions from label selectors to PromQL.

The operator chooses the form of histograms: with buckets (three series each), or exponential
(``OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION``; one native histogram each). The
expressions for sum and count here read both.
"""

from __future__ import annotations

from typing import Protocol


class Series(Protocol):
    """Selects the series of a metric."""

    def __call__(self, labels: str = "", over: str = "") -> str:
        """Return a PromQL expression.

        Args:
            labels: Label matchers, without the braces.
            over: Window, e.g. ``[1d] offset 1h``; selects the last value of each series in it.
        """


def named(name: str) -> Series:
    """Return the selector of the series with this name."""

    def select(labels: str = "", over: str = "") -> str:
        selector = f"{name}{{{labels}}}" if labels else name
        return f"last_over_time({selector}{over})" if over else selector

    return select


def _of_histogram(name: str, part: str) -> Series:
    def select(labels: str = "", over: str = "") -> str:
        classic, native = named(f"{name}_{part}"), named(name)
        return f"({classic(labels, over)} or histogram_{part}({native(labels, over)}))"

    return select


_DURATION = "torch_compile_duration_seconds"
_WARMUP = "compilespan_warmup_duration_seconds"

SECONDS = _of_histogram(_DURATION, "sum")
COUNT = _of_histogram(_DURATION, "count")
WARMUPS = _of_histogram(_WARMUP, "count")
GRAPHS = named("torch_compile_graphs_total")
QUARANTINES = named("compilespan_cache_quarantines_total")
REBUILDS = named("torch_compile_cache_rebuilds_total")
RECOMPILES = named("torch_compile_recompiles_total")
LIMIT_HITS = named("torch_compile_recompile_limit_hits_total")
STAGE_TIME = named("torch_compile_stage_time_seconds_total")
AGE = named("torch_compile_oldest_active_age_seconds")
READY = named("compilespan_ready")
BEGAN = named("compilespan_startup_began_seconds")
STARTUP = named("compilespan_startup_duration_seconds")
PART = named("compilespan_startup_part_duration_seconds")
DROPPED = named("compilespan_telemetry_dropped_total")


def quantile(q: float, labels: str) -> str:
    """Return a quantile of compile durations."""
    buckets = f"sum by (le) ({_DURATION}_bucket{{{labels}}})"
    return (
        f"(histogram_quantile({q}, {buckets}) "
        f"or histogram_quantile({q}, sum({_DURATION}{{{labels}}})))"
    )
