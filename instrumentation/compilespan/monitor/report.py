"""The outputs of one compile: its span, the ledger, its listener, the metrics.

Each output is guarded separately: if a span processor raises, only the span is lost, and the
histogram and the ledger still get their values (rules 2 and 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from compilespan import semconv
from compilespan.ledger.active import CompileBegun
from compilespan.ledger.ledger import get_ledger
from compilespan.process.faults import contained
from compilespan.telemetry.prompt_export import prompt_export
from compilespan.telemetry.telemetry import Telemetry, active_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from compilespan.ledger.records import CompileEvent, CompileRecord
    from compilespan.monitor.clock import Clock
    from compilespan.monitor.surroundings import Place
    from compilespan.monitor.unit import Unit
    from compilespan.semconv import Component, Stage
    from compilespan.telemetry.prompt_export import Ticket


class Report:
    """Reports one compile to every output; begun once, ended once."""

    def __init__(self) -> None:
        self.span: Span = trace.INVALID_SPAN
        self._telemetry: Telemetry = active_telemetry()
        self._telemetry.prepare()
        self._place: Place | None = None
        self._ticket: Ticket | None = None
        self._ledger = get_ledger()
        self._key = self._ledger.prepare()

    def begin(
        self,
        unit: Unit,
        place: Place,
        component: Component,
        clock: Clock,
        interrupt: Callable[[], object],
    ) -> None:
        """Report that the compile began.

        Args:
            unit: What is known of the compile.
            place: What applies to it.
            component: As known so far.
            clock: Clock of its monitor.
            interrupt: Closes its monitor when the process ends.
        """
        self._place = place
        attributes: dict[str, AttributeValue] = {
            semconv.IS_ENCODER: component == "encoder",
            semconv.COMPONENT: component,
            semconv.NAME: unit.name,
            semconv.TRIGGER: unit.trigger,
            semconv.PHASE: place.phase,
            **unit.attributes,
        }
        if unit.kind is not None:
            attributes[semconv.KIND] = unit.kind
        with contained("start the span of a compile"):
            self.span = self._telemetry.start_span(
                unit.name, clock.start_ns, attributes, place.parent
            )
        begun = CompileBegun(self._key, unit.name, component, clock.start_ns, clock.started_ns)
        self._ledger.begin(begun, interrupt)
        if place.listener is not None:
            with contained("call a listener at the beginning of a compile"):
                place.listener.begun(begun)

    def rename(self, name: str, component: Component) -> None:
        """Correct the name and the component of the span."""
        with contained("rename the span of a compile"):
            self._telemetry.rename_span(self.span, name)
            self.span.set_attribute(semconv.NAME, name)
            self.span.set_attribute(semconv.COMPONENT, component)

    def event(self, event: CompileEvent, graphs: int) -> None:
        """Report an event; ``graphs`` is the number of graphs compiled so far."""
        with contained("add an event to the span of a compile"):
            self._telemetry.add_event(self.span, event)
        if self._place is not None and self._place.listener is not None:
            with contained("call a listener at an event of a compile"):
                self._place.listener.happened(self._key, event)
        if event.name == semconv.EVENT_GRAPH:
            self._ledger.active.progress(self._key, graphs)

    def stage(self, stage: Stage, event: CompileEvent | None) -> None:
        """Report a stage that begins; the span gets the event at its end, if its limit allows.

        Args:
            stage: The stage that begins.
            event: ``None`` if the record has reached its limit of stage events.
        """
        self._ledger.active.enter_stage(self._key, stage)
        if event is None:
            self._ledger.followers.note_dropped("stages")
            return
        with contained("report a stage of a compile"):
            self._telemetry.log_event(self.span, event)

    def note_dropped(self) -> None:
        """Count a dropped event (rule 6)."""
        self._ledger.followers.note_dropped("events")

    def end(self, record: CompileRecord, graph_breaks: int, error: BaseException | None) -> None:
        """Report the same record to every output."""
        try:
            with contained("end the span of a compile"):
                self._telemetry.end_span(self.span, record, graph_breaks, error)
            with contained("measure a compile"):
                context = trace.set_span_in_context(self.span)
                self._telemetry.metrics.measure(record, context)
        finally:
            self._ledger.end(self._key, record)
        self._ticket = prompt_export.ended()
        if self._place is not None and self._place.listener is not None:
            with contained("call a listener at the end of a compile"):
                self._place.listener.ended(self._key, record)

    def wait(self) -> None:
        """Wait for the export of the span, if the process may be ended at any moment.

        Raises:
            Exception: Raised by a signal handler of the program.
        """
        prompt_export.wait(self._ticket)

    def discard(self) -> None:
        """Report that the compile ended without a record."""
        self._ledger.end(self._key, None)
