"""Observable metrics: compiles in progress, readiness, the start, dropped telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, get_args

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from compilespan import semconv
from compilespan.ledger.ledger import get_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.util.types import AttributeValue

    from compilespan.ledger.start import Start


class Active(Protocol):
    """A compile in progress."""

    @property
    def component(self) -> semconv.Component:
        """Component of the compile."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""


class MetricsSource(Protocol):
    """Source of the values: the ledger of this process, or the journals of several."""

    def in_progress(self) -> Sequence[Active]:
        """Return the compiles in progress."""

    @property
    def ready_after_s(self) -> float | None:
        """Seconds from the creation of the process until it was ready; ``None`` before."""

    @property
    def began_ns(self) -> int:
        """Creation of the process, in nanoseconds since the epoch."""

    @property
    def startup(self) -> Start:
        """Segments of the start, until ready or until now."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Lost items by signal."""

    @property
    def quarantined(self) -> int:
        """Publications of the shared compile cache that were put into quarantine."""


class LedgerSource:
    """Reads the ledger of this process."""

    def in_progress(self) -> Sequence[Active]:
        """Return the compiles in progress."""
        return get_ledger().active.now()

    @property
    def ready_after_s(self) -> float | None:
        """Seconds from the creation of the process until it was ready; ``None`` before."""
        return get_ledger().readiness.after_s

    @property
    def began_ns(self) -> int:
        """Creation of the process, in nanoseconds since the epoch."""
        return get_ledger().readiness.since_ns

    @property
    def startup(self) -> Start:
        """Segments of the start, until ready or until now."""
        return get_ledger().start()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Lost items by signal."""
        return get_ledger().followers.dropped

    @property
    def quarantined(self) -> int:
        """Publications of the shared compile cache that were put into quarantine."""
        return get_ledger().totals().cache.quarantined


class Gauges:
    """Observable instruments of one meter."""

    def __init__(self, meter: Meter, source: MetricsSource) -> None:
        """Create the instruments.

        Args:
            meter: Creates the instruments.
            source: Provides the values.
        """
        self._source = source
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
            unit="{process}",  # Prometheus would treat "1" as a ratio
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
            description="Seconds of the start by part; the parts sum to the whole.",
        )
        meter.create_observable_gauge(
            semconv.METRIC_STARTUP_BEGAN,
            [self._began],
            unit="s",
            description="When the process was created, in seconds since the epoch.",
        )
        meter.create_observable_counter(
            semconv.METRIC_DROPPED,
            [self._dropped],
            unit="{item}",
            description="Telemetry that was lost because a bound was reached.",
        )
        meter.create_observable_counter(
            semconv.METRIC_CACHE_QUARANTINES,
            [self._quarantined],
            unit="{publication}",
            description="Publications in the shared compile cache that made starts die or fail.",
        )

    def _active(self, _: CallbackOptions) -> Iterable[Observation]:
        active = [begun.component for begun in self._source.in_progress()]
        for component in get_args(semconv.Component):
            yield Observation(active.count(component), component_attributes(component))

    def _oldest_active_age(self, _: CallbackOptions) -> Iterable[Observation]:
        active = self._source.in_progress()
        for component in get_args(semconv.Component):
            ages_s = [each.elapsed_s for each in active if each.component == component]
            yield Observation(max(ages_s, default=0.0), component_attributes(component))

    def _ready(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(int(self._source.ready_after_s is not None))

    def _startup(self, _: CallbackOptions) -> Iterable[Observation]:
        if (after_s := self._source.ready_after_s) is not None:
            yield Observation(after_s)

    def _parts(self, _: CallbackOptions) -> Iterable[Observation]:
        # All parts, also those of 0 s: during the start, time may move from one part to another.
        start = self._source.startup
        parts_s, compile_s = start.parts_s, start.compile_s
        for part in get_args(semconv.Part):
            attributes = {semconv.STARTUP_PART: part}
            if part != "compile":
                yield Observation(parts_s.get(part, 0.0), attributes)
                continue
            for component in get_args(semconv.Component):
                seconds = compile_s.get(component, 0.0)
                yield Observation(seconds, {**attributes, **component_attributes(component)})

    def _began(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._source.began_ns / 1e9)

    def _dropped(self, _: CallbackOptions) -> Iterable[Observation]:
        for signal, count in self._source.dropped.items():
            yield Observation(count, {semconv.SIGNAL: signal})

    def _quarantined(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._source.quarantined)


def component_attributes(component: semconv.Component) -> dict[str, AttributeValue]:
    """Return the attributes that identify a component on every metric."""
    return {semconv.IS_ENCODER: component == "encoder", semconv.COMPONENT: component}
