"""The metrics of SPEC §4, fed from records; gauges read the ledger when they are collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, get_args

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from compilespan import semconv
from compilespan.ledger.ledger import get_ledger
from compilespan.ledger.reasons import reason_class
from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import Part


class Active(Protocol):
    """A compile in progress."""

    @property
    def component(self) -> semconv.Component:
        """Whose it is."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""


class MetricsSource(Protocol):
    """What the gauges read: a process's ledger, or several processes' journals."""

    def in_progress(self) -> Sequence[Active]:
        """Return what compiles now."""

    @property
    def ready_after_s(self) -> float | None:
        """``None`` until it was declared ready."""

    @property
    def parts_s(self) -> Mapping[Part, float]:
        """Seconds by part of the start; they sum to the whole."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was lost, by signal."""


class LedgerSource:
    """This process's ledger, as the gauges read it."""

    def in_progress(self) -> Sequence[Active]:
        """Return what compiles now."""
        return get_ledger().active.now()

    @property
    def ready_after_s(self) -> float | None:
        """``None`` until it was declared ready."""
        return get_ledger().readiness.after_s

    @property
    def parts_s(self) -> Mapping[Part, float]:
        """Seconds by part of the start; they sum to the whole."""
        return get_ledger().start().parts_s

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was lost, by signal."""
        return get_ledger().followers.dropped


class BoundedValues:
    """The first 64 values of an attribute that the program chooses; later ones are ``_other``."""

    def __init__(self) -> None:
        self._admitted: set[str] = set()
        self._lock = fork_safe_lock()

    def admit(self, value: str) -> str:
        """Return ``value`` if it is one of the first, else ``_other``."""
        with self._lock:
            bounded = semconv.bounded(value, self._admitted)
            if bounded != semconv.OTHER:
                self._admitted.add(bounded)
        return bounded


class CompileMetrics:
    """The instruments of one meter."""

    def __init__(self, meter: Meter, source: MetricsSource | None = None) -> None:
        """Make them.

        Args:
            meter: Of the instruments.
            source: What the gauges read; defaults to this process's ledger.
        """
        self._source = source or LedgerSource()
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
            description="From the creation of the process until it was ready.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_STARTUP_PART_DURATION,
            [self._parts],
            unit="s",
            description="What the start was made of; the parts sum to the whole.",
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
        name = self.names.admit(record.name)
        component = _component_attributes(record.component)
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
        if record.is_work:
            for stage, spent_ns in record.stages_ns.items():
                self._stage_time.add(
                    spent_ns / 1e9,
                    {**component, semconv.STAGE: stage, semconv.PHASE: record.phase},
                )
        if record.recompile_limit_hit:
            self._limit_hits.add(1, component)

    def _active(self, _: CallbackOptions) -> Iterable[Observation]:
        active = [begun.component for begun in self._source.in_progress()]
        for component in get_args(semconv.Component):
            yield Observation(active.count(component), _component_attributes(component))

    def _oldest_active_age(self, _: CallbackOptions) -> Iterable[Observation]:
        active = self._source.in_progress()
        for component in get_args(semconv.Component):
            ages_s = [each.elapsed_s for each in active if each.component == component]
            yield Observation(max(ages_s, default=0.0), _component_attributes(component))

    def _ready(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(int(self._source.ready_after_s is not None))

    def _startup(self, _: CallbackOptions) -> Iterable[Observation]:
        if (after_s := self._source.ready_after_s) is not None:
            yield Observation(after_s)

    def _parts(self, _: CallbackOptions) -> Iterable[Observation]:
        if self._source.ready_after_s is not None:
            for part, seconds in self._source.parts_s.items():
                yield Observation(seconds, {semconv.STARTUP_PART: part})

    def _dropped(self, _: CallbackOptions) -> Iterable[Observation]:
        for signal, count in self._source.dropped.items():
            yield Observation(count, {semconv.SIGNAL: signal})


def _component_attributes(component: semconv.Component) -> dict[str, AttributeValue]:
    return {semconv.IS_ENCODER: component == "encoder", semconv.COMPONENT: component}
