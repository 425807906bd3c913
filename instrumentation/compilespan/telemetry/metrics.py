"""Metrics that are recorded when a compile ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.ledger.reasons import reason_class
from compilespan.process import fork_safe_lock
from compilespan.telemetry.gauges import Gauges, LedgerSource, component_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter
    from opentelemetry.util.types import AttributeValue

    from compilespan.ledger.records import CompileRecord
    from compilespan.telemetry.gauges import MetricsSource


class BoundedValues:
    """The first 64 values of an attribute that the program chooses; later ones are ``_other``."""

    def __init__(self) -> None:
        self._admitted: set[str] = set()
        self._lock = fork_safe_lock()

    def admit(self, value: str) -> str:
        """Return ``value`` if it is one of the first 64, else ``_other``."""
        with self._lock:
            bounded = semconv.bounded(value, self._admitted)
            if bounded != semconv.OTHER:
                self._admitted.add(bounded)
        return bounded


class CompileMetrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter, source: MetricsSource | None = None) -> None:
        """Create the instruments.

        Args:
            meter: Creates the instruments.
            source: What the gauges read; defaults to this process's ledger.
        """
        self.names = BoundedValues()
        """Values of ``torch.compile.name``, on metrics and in the names of spans."""
        self._error_types = BoundedValues()
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
        self._rebuilds = meter.create_counter(
            semconv.METRIC_CACHE_REBUILDS,
            unit="{graph}",
            description="Graphs from a cache whose code was built again.",
        )
        self._stage_time = meter.create_counter(
            semconv.METRIC_STAGE_TIME,
            unit="s",
            description="What compiles spent their time on; stages exclude one another.",
        )
        self._limit_hits = meter.create_counter(
            semconv.METRIC_RECOMPILE_LIMIT_HITS,
            unit="{hit}",
            description="Frames that Dynamo gave up because they recompiled too often.",
        )
        self._gauges = Gauges(meter, source or LedgerSource())

    def measure(self, record: CompileRecord, context: Context | None = None) -> None:
        """Record the metrics of a compile.

        Args:
            record: Of a compile that ended.
            context: Of its span, to which the exemplar of the duration then refers; ``None`` for
                the current one.
        """
        name = self.names.admit(record.name)
        component = component_attributes(record.component)
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
            attributes[semconv.ERROR_TYPE] = self._error_types.admit(record.error_type)
        self._duration.record(record.duration_s, attributes, context)
        self._count_graphs(record, component)
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
        if record.is_work:
            for stage, spent_ns in record.stages_ns.items():
                self._stage_time.add(
                    spent_ns / 1e9,
                    {**component, semconv.STAGE: stage, semconv.PHASE: record.phase},
                )
        if record.recompile_limit_hit:
            self._limit_hits.add(1, component)

    def _count_graphs(self, record: CompileRecord, component: Mapping[str, AttributeValue]) -> None:
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
        if record.cache_rebuilds:
            self._rebuilds.add(record.cache_rebuilds, component)
