"""The metrics of SPEC §4, fed from records; gauges read the ledger when they are collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from compilespan import semconv
from compilespan.ledger import get_ledger
from compilespan.reasons import reason_class
from compilespan.totals import bounded_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from compilespan.records import CompileRecord


class Active(Protocol):
    """A compile in progress."""

    @property
    def is_encoder(self) -> bool:
        """Whether it is an encoder's."""


class MetricsSource(Protocol):
    """What the gauges read: a process's ledger, or several processes' journals."""

    def in_progress(self) -> Sequence[Active]:
        """Return what compiles now."""

    @property
    def oldest_active_age_s(self) -> float:
        """Age in seconds of the oldest compile in progress; 0 when nothing compiles."""

    @property
    def ready_after_s(self) -> float | None:
        """``None`` until it was declared ready."""

    @property
    def startup_s(self) -> Mapping[str, float]:
        """Seconds by startup phase."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was lost, by signal."""


class CompileMetrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter, source: MetricsSource | None = None) -> None:
        """Make them.

        Args:
            meter: Of the instruments.
            source: What the gauges read; this process's ledger where it is left out.
        """
        self._source = source or get_ledger()
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
        meter.create_observable_up_down_counter(
            semconv.METRIC_ACTIVE,
            [self._active],
            unit="{compile}",
            description="Compiles in progress.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_OLDEST_ACTIVE_AGE,
            [self._oldest_active_age],
            unit="s",
            description="Age of the oldest compile in progress; 0 when nothing compiles.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_READY,
            [self._ready],
            unit="{process}",  # a bare "1" would be a ratio to Prometheus
            description="1 when the process was declared ready, else 0.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_STARTUP_DURATION,
            [self._startup],
            unit="s",
            description="How long each phase of the start took.",
        )
        meter.create_observable_counter(
            semconv.METRIC_DROPPED,
            [self._dropped],
            unit="{item}",
            description="Telemetry that was lost because a bound was reached.",
        )

    def measure(self, record: CompileRecord, context: Context | None = None) -> None:
        """Feed the metrics from a record.

        Args:
            record: Of a compile that ended.
            context: Of its span, which the duration's exemplar then leads to.
        """
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
        self._duration.record(record.duration_s, attributes, context)
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
                    semconv.RECOMPILE_REASON_CLASS: reason_class(record.recompile_reason or ""),
                },
            )
        if record.recompile_limit_hit:
            self._limit_hits.add(1, component)

    def _active(self, _: CallbackOptions) -> Iterable[Observation]:
        active = [begun.is_encoder for begun in self._source.in_progress()]
        for is_encoder in (True, False):
            yield Observation(active.count(is_encoder), {semconv.IS_ENCODER: is_encoder})

    def _oldest_active_age(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._source.oldest_active_age_s)

    def _ready(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(int(self._source.ready_after_s is not None))

    def _startup(self, _: CallbackOptions) -> Iterable[Observation]:
        for phase, seconds in self._source.startup_s.items():
            yield Observation(seconds, {semconv.STARTUP_PHASE: phase})

    def _dropped(self, _: CallbackOptions) -> Iterable[Observation]:
        for signal, count in self._source.dropped.items():
            yield Observation(count, {semconv.SIGNAL: signal})
