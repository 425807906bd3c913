"""The metrics of SPEC §4, fed from records; gauges read the ledger when they are collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from compilespan import semconv
from compilespan.ledger import get_ledger
from compilespan.totals import bounded_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.util.types import AttributeValue

    from compilespan.records import CompileRecord


class CompileMetrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._names: set[str] = set()
        self._duration = meter.create_histogram(
            semconv.METRIC_DURATION,
            unit="s",
            description="How long a compile, load, capture or explicit block took.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS_S,
        )
        self._graphs = meter.create_counter(
            semconv.METRIC_GRAPHS, unit="{graph}", description="Graphs handed to a backend."
        )
        self._recompiles = meter.create_counter(
            semconv.METRIC_RECOMPILES,
            unit="{recompile}",
            description="Compiles of a frame that its owner had compiled before.",
        )
        self._limit_hits = meter.create_counter(
            semconv.METRIC_RECOMPILE_LIMIT_HITS,
            unit="{hit}",
            description="Frames that Dynamo gave up because they recompiled too often.",
        )
        self._active = meter.create_up_down_counter(
            semconv.METRIC_ACTIVE, unit="{compile}", description="Compiles in progress."
        )
        meter.create_observable_gauge(
            semconv.METRIC_OLDEST_ACTIVE_AGE,
            [_oldest_active_age],
            unit="s",
            description="Age of the oldest compile in progress; 0 when nothing compiles.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_READY,
            [_ready],
            unit="1",
            description="1 when the process was declared ready, else 0.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_STARTUP_DURATION,
            [_startup],
            unit="s",
            description="How long each phase of the start took.",
        )
        meter.create_observable_counter(
            semconv.METRIC_DROPPED,
            [_dropped],
            unit="{item}",
            description="Telemetry that was lost because a bound was reached.",
        )

    def begin(self, *, is_encoder: bool) -> None:
        """Count a compile in progress."""
        self._active.add(1, {semconv.IS_ENCODER: is_encoder})

    def end(self, *, is_encoder: bool) -> None:
        """Count it no more; ``is_encoder`` as at `begin`."""
        self._active.add(-1, {semconv.IS_ENCODER: is_encoder})

    def measure(self, record: CompileRecord, reason_class: str | None) -> None:
        """Feed the metrics from a record."""
        name = bounded_name(record.name, self._names)
        self._names.add(name)
        component = {semconv.IS_ENCODER: record.is_encoder}
        attributes: dict[str, AttributeValue] = {
            **component,
            semconv.NAME: name,
            semconv.KIND: record.kind,
            semconv.PHASE: record.phase,
            semconv.OUTCOME: record.outcome,
        }
        if record.cache_result:
            attributes[semconv.CACHE_RESULT] = record.cache_result
        if record.error_type:
            attributes[semconv.ERROR_TYPE] = record.error_type
        self._duration.record(record.duration_s, attributes)
        results = {
            "hit": record.cache_hits,
            "miss": record.cache_misses,
            "bypass": record.cache_bypasses,
        }
        for result, count in results.items():
            if count:
                self._graphs.add(count, {**component, semconv.CACHE_RESULT: result})
        if uncached := record.graphs - sum(results.values()):
            self._graphs.add(uncached, component)
        if record.is_recompile:
            self._recompiles.add(
                1,
                {
                    **component,
                    semconv.NAME: name,
                    semconv.PHASE: record.phase,
                    semconv.RECOMPILE_REASON_CLASS: reason_class or "other",
                },
            )
        if record.recompile_limit_hit:
            self._limit_hits.add(1, component)


def _oldest_active_age(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(get_ledger().oldest_active_age_s)


def _ready(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(int(get_ledger().ready_after_s is not None))


def _startup(_: CallbackOptions) -> Iterable[Observation]:
    for phase, seconds in get_ledger().startup_s.items():
        yield Observation(seconds, {semconv.STARTUP_PHASE: phase})


def _dropped(_: CallbackOptions) -> Iterable[Observation]:
    for signal, count in get_ledger().dropped.items():
        yield Observation(count, {semconv.SIGNAL: signal})
