"""The providers that telemetry goes to: given ones, else the present global ones."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger, get_logger_provider

from compilespan import semconv
from compilespan.telemetry.flushing import in_parallel, joined

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from opentelemetry._logs import Logger, LoggerProvider
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

    from compilespan.telemetry.existing import Adaptation

_SCOPE = (semconv.SCOPE, semconv.__version__)


class Bindings:
    """Tracer, meter and logger of three providers, which are adapted and flushed."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        logger_provider: LoggerProvider | None,
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._logger_provider = logger_provider
        self.tracer = self._tracer()
        self._adapted: object = None
        self._adaptation: Adaptation | None = None
        self._flushing: list[threading.Thread] = []

    def meter(self) -> Meter:
        """Return our meter."""
        return metrics.get_meter(*_SCOPE, self._meter_provider, semconv.SCHEMA_URL)

    def logger(self) -> Logger:
        """Return our logger."""
        return get_logger(*_SCOPE, self._logger_provider, semconv.SCHEMA_URL)

    def adapt(self) -> None:
        """Adapt providers of the SDK: once, again in a forked child, and if others are set."""
        tracers = self._tracer_provider or trace.get_tracer_provider()
        meters = self._meter_provider or metrics.get_meter_provider()
        providers = (tracers, meters, os.getpid())
        # An SDK provider exists only after the SDK was imported; the base install has none.
        if providers != self._adapted and "opentelemetry.sdk" in sys.modules:
            from compilespan.telemetry.existing import Adaptation  # noqa: PLC0415  # needs the SDK

            self._adaptation = self._adaptation or Adaptation()
            tracer = self._tracer()  # the first one is a proxy if the provider was set later
            self._adaptation.adapt(tracers, meters, tracer)
            self.tracer, self._adapted = tracer, providers

    def flush(self, timeout_s: float) -> bool:
        """Export all signals in parallel; ``True`` if this took at most ``timeout_s``.

        While a flush hangs, no other one is begun.
        """
        if not any(thread.is_alive() for thread in self._flushing):
            self._flushing = in_parallel(self._flushes())
        return joined(self._flushing, timeout_s)

    def _flushes(self) -> list[Callable[[], object]]:
        if "opentelemetry.sdk" not in sys.modules:
            return []
        from compilespan.telemetry.existing import metric_flushes  # noqa: PLC0415  # needs the SDK

        providers = (
            self._tracer_provider or trace.get_tracer_provider(),
            self._logger_provider or get_logger_provider(),
        )
        flushes = [flush for each in providers if (flush := getattr(each, "force_flush", None))]
        return flushes + metric_flushes(self._meter_provider or metrics.get_meter_provider())

    def _tracer(self) -> Tracer:
        return trace.get_tracer(*_SCOPE, self._tracer_provider, semconv.SCHEMA_URL)
