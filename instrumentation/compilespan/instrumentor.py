"""Zero-code instrumentation of ``torch.compile``.

    from compilespan import TorchCompileInstrumentor

    TorchCompileInstrumentor().instrument()

or, without changing the program, ``opentelemetry-instrument python serve.py``. This does not import
torch; if the program imports torch later, torch is instrumented then.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, cast, get_args

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from compilespan.components.chain import ComponentNames
from compilespan.process import instance_id
from compilespan.telemetry.events import EventChannel
from compilespan.telemetry.telemetry import Telemetry, made_or_silent, use_telemetry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.dynamo.hooks import DynamoHooks


_logger = logging.getLogger("compilespan")


class TorchCompileInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped upstream
    """Creates one span, one record and the metrics for each compile; a singleton."""

    _hooks: DynamoHooks | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the oldest torch that this supports, pre-releases included."""
        return ("torch >= 2.9.0a0",)

    def instrument(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        encoder_patterns: Sequence[str] | None = None,
        events: EventChannel | None = None,
        **kwargs: Any,
    ) -> None:
        """Instrument torch, now or when it is imported.

        Args:
            tracer_provider: For spans. All three providers default to the global ones.
            meter_provider: For metrics.
            logger_provider: For log-based events.
            encoder_patterns: Regular expressions to search in class names, before the built-in
                ones; default to ``COMPILESPAN_ENCODER_PATTERNS``.
            events: ``span``, ``log`` or ``both``; defaults to ``COMPILESPAN_EVENTS``, else
                ``span``.
            kwargs: Passed on to `BaseInstrumentor.instrument`.

        Raises:
            ValueError: ``events`` is not one of these, or a pattern is not a regular expression.
        """
        super().instrument(
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            logger_provider=logger_provider,
            names=_encoder_names(encoder_patterns),
            events=event_channel(events),
            **kwargs,
        )

    @property
    def graphs(self) -> GraphWatch:
        """The graphs that are being compiled, for backends that report their own pieces."""
        from compilespan.dynamo.graphs import GraphWatch  # noqa: PLC0415  # late, like the hooks

        return self._hooks.graphs if self._hooks is not None else GraphWatch()

    def _instrument(self, **kwargs: Any) -> None:
        telemetry = made_or_silent(
            lambda: Telemetry(
                kwargs["tracer_provider"],
                kwargs["meter_provider"],
                kwargs["logger_provider"],
                kwargs["events"],
            )
        )
        use_telemetry(telemetry)
        instance_id()
        from compilespan.dynamo.hooks import DynamoHooks  # noqa: PLC0415  # needed only here

        self._hooks = DynamoHooks(kwargs["names"])
        self._hooks.install()

    def _uninstrument(self, **_: Any) -> None:
        if self._hooks is not None:
            self._hooks.uninstall()
            self._hooks = None
        use_telemetry(None)


def _encoder_names(patterns: Sequence[str] | None) -> ComponentNames:
    if patterns is not None:
        return ComponentNames(patterns)
    value = os.environ.get("COMPILESPAN_ENCODER_PATTERNS", "")
    try:
        return ComponentNames([part.strip() for part in value.split(",") if part.strip()])
    except ValueError as error:  # a wrong variable must not stop the program
        _logger.warning("compilespan: COMPILESPAN_ENCODER_PATTERNS is ignored: %s", error)
        return ComponentNames()


def event_channel(events: EventChannel | None) -> EventChannel:
    """Return the event channel: the argument, else ``COMPILESPAN_EVENTS``, else ``span``."""
    allowed = get_args(EventChannel)
    if events is not None:
        if events not in allowed:
            msg = f"events is {events!r}; use one of {allowed}"
            raise ValueError(msg)
        return events
    named = os.environ.get("COMPILESPAN_EVENTS") or "span"
    if named not in allowed:
        _logger.warning("COMPILESPAN_EVENTS is %r, not one of %s; using 'span'", named, allowed)
        return "span"
    return cast("EventChannel", named)
