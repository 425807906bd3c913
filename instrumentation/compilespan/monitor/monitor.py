"""The monitor: one wraps each compile, and what happens inside becomes its events.

A monitor is opened and closed in one place of the program. Compiles that begin in the context of an
open monitor are *adopted*: they get no span and no record, and their graphs, breaks and recompiles
become events of the monitor. So nested work is never counted twice (rule 1).
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Literal

from compilespan import semconv
from compilespan.ledger.active import InterruptedCompile
from compilespan.monitor.cleaning import cleaned
from compilespan.monitor.clock import Clock
from compilespan.monitor.report import Report
from compilespan.monitor.stages import Stages, stage_of_unit
from compilespan.monitor.surroundings import Adopter, Place, resolve
from compilespan.monitor.tally import Tally
from compilespan.process import epoch_ns, now_ns
from compilespan.process.faults import contained
from compilespan.telemetry.exceptions import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from compilespan.monitor.unit import Unit
    from compilespan.semconv import CacheResult, Component, Kind, Outcome, Stage

State = Literal["new", "open", "adopted", "tentative", "closed"]
"""Opening changes ``new`` to one of the next three; closing changes these to ``closed``."""


class Monitor:
    """A compile in progress. Created by `monitor_torch_compile` and by the hooks."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._state: State = "new"
        self._pid = os.getpid()
        # Reentrant: while it is held, a finalizer or a signal handler may compile and add events.
        self._lock = threading.RLock()
        self._tally = Tally()
        self._report = Report()
        self._place: Place = resolve()
        self._stage = stage_of_unit(unit.trigger, unit.kind)
        self.clock = Clock(Stages(self._stage or "other", self._lock, self._stage_begun))

    def open(self) -> None:
        """Start the clock, and report the compile or hand it to the monitor around it."""
        outer, unit = self._place.adopter, self.unit
        self.clock.start(reads_cpu=outer is None)
        if outer is not None:
            self._state = "adopted"
            outer.stages.adopt(f"unit {id(self)}", self._stage)
            outer.add_event(
                semconv.EVENT_CUDAGRAPH if unit.kind == "capture" else semconv.EVENT_NESTED,
                {semconv.NAME: unit.name, semconv.TRIGGER: unit.trigger},
            )
            outer.note_compile_id(unit.compile_id)
        else:
            self._tally.compile_id(unit.compile_id)
            self._state = "tentative" if unit.tentative else "open"
            if self._state == "open":
                self._begin_report()

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Record an event of the compile, with the current time.

        Args:
            name: Event name, e.g. ``torch.compile.graph``; graphs, breaks and recompiles are
                counted by this name.
            attributes: Plain values. Those whose name denotes a duration are dropped: events have
                no durations (rule 3).
        """
        with contained(f"record an event {name!r}"):
            outer = self._open_adopter
            if outer is not None:
                outer.add_event(name, attributes)
            else:
                self._add_event(name, cleaned(attributes or {}))

    def note_compile_id(self, compile_id: str | None) -> None:
        """Record Dynamo's id of something that compiles inside."""
        outer = self._open_adopter
        if outer is not None:
            outer.note_compile_id(compile_id)
        elif self.is_open:  # in a forked child nobody would release the lock
            with self._lock:
                self._tally.compile_id(compile_id)

    def note_cache(self, result: CacheResult) -> None:
        """Record the cache result of a kernel; an adopted one does not affect the outer compile."""
        if self.is_open:
            with self._lock:
                self._tally.kernel_cache = result

    def rename(self, unit: Unit) -> None:
        """Replace the unit: the name of an artefact is known only when it is loaded."""
        self.unit = unit
        self._report.rename(unit.name, self.component)

    def adopt(
        self,
        kind: Kind,
        outcome: Outcome,
        *,
        failure: Failure | None,
        component: Component | None,
    ) -> bool:
        """Count an adopted compile that ended; ``False`` if this monitor is already closed."""
        if not self.is_open:
            return False
        with self._lock:
            if not self.is_open:
                return False
            self._tally.adopted(kind, outcome, failure=failure, component=component)
            return True

    def close(
        self,
        outcome: Outcome | None = None,
        error: BaseException | None = None,
        skip_reason: str | None = None,
    ) -> None:
        """Close the monitor: read the clock, and make the record. Later calls do nothing.

        Args:
            outcome: ``None`` lets ``error`` decide, else what happened inside.
            error: The exception that leaves the compile; ``None`` if none does.
            skip_reason: Why Dynamo gave the frame back; ``None`` if it did not.
        """
        ended_ns = time.perf_counter_ns()
        if self._pid != os.getpid():
            return  # this is a forked child, inside its parent's compile
        with self._lock:
            state, self._state = self._state, "closed"
            if state in ("new", "closed"):
                return
            self.clock.ended_ns = ended_ns
            outcome = outcome or ("failed" if error is not None else self._tally.outcome)
            self._tally.skip_reason = skip_reason
        with contained(f"record the end of {self.unit.name!r}"):
            self._conclude(state, outcome, error)
        self._report.discard()  # does something only if a fault of ours prevented the end
        self._report.wait()

    def discard(self) -> None:
        """Close the monitor without a record, after an interrupt while it was opened or closed."""
        self._state = "closed"
        self._report.discard()

    @property
    def is_open(self) -> bool:
        """Whether it adopts compiles: opened, not closed, and not inherited through a fork."""
        return self._state not in ("new", "closed") and self._pid == os.getpid()

    @property
    def is_outermost(self) -> bool:
        """Whether it makes a record, instead of being an event of another monitor."""
        return self._open_adopter is None

    @property
    def stated(self) -> Component | None:
        """The component that its unit states, else its surroundings; ``None`` if neither does."""
        return self.unit.stated or self._place.component

    @property
    def component(self) -> Component:
        """The component: as stated, else as names suggest, else that of what compiled inside."""
        return self.stated or self.unit.named or self._tally.component

    @property
    def span(self) -> Span:
        """Its span; invalid if an outer monitor adopted it."""
        return self._report.span

    @property
    def duration_s(self) -> float:
        """Duration in seconds, once it is closed; the same number in every output."""
        return self.clock.duration_ns / 1e9

    @property
    def stages(self) -> Stages:
        """The stages of the outermost monitor."""
        outer = self._open_adopter
        return outer.stages if outer is not None else self.clock.stages

    @property
    def _open_adopter(self) -> Adopter | None:
        """The monitor that adopted this one, while that monitor is open; it takes the events."""
        outer = self._place.adopter if self._state == "adopted" else None
        return outer if outer is not None and outer.is_open else None

    def _begin_report(self) -> None:
        self._report.begin(self.unit, self._place, self.component, self.clock, self._interrupt)

    def _interrupt(self) -> None:
        self.close("failed", InterruptedCompile("the process ended"))

    def _add_event(self, name: str, attributes: dict[str, AttributeValue]) -> None:
        if not self.is_open:
            return
        with self._lock:
            if not self.is_open:
                return
            event = self._tally.event(name, now_ns(), attributes, is_stored=self.unit.is_stored)
            if event is None:
                self._report.note_dropped()
                return
            graphs = self._tally.graphs
            found = self._state == "tentative"
            if found:
                self._state = "open"
        if found:  # the artefact exists: report the compile while it is in progress
            self._begin_report()
        if self._state == "open":  # in other states it has no outputs yet
            self._report.event(event, graphs)

    def _stage_begun(self, stage: Stage, begun_ns: int) -> None:
        with self._lock:
            event = self._tally.stage(stage, epoch_ns(begun_ns))
        if self._state == "open":
            self._report.stage(stage, event)

    def _conclude(self, state: State, outcome: Outcome, error: BaseException | None) -> None:
        failure = Failure.of(error) if error is not None else None
        outer = self._place.adopter
        if state == "adopted" and outer is not None:
            outer.stages.release(f"unit {id(self)}")
            kind = self.unit.kind or self._tally.kind
            says_nothing = kind in ("empty", "kernel") and self.stated is None
            component = None if says_nothing else self.component
            if outer.adopt(kind, outcome, failure=failure, component=component):
                if kind != "empty" and self._place.listener is not None:
                    self._place.listener.adopted()
                return
            # It outlived the block that adopted it: the time until the block's end is the block's.
            self.clock.start_later(outer.clock.ended_ns)
            self._begin_report()
        elif state == "tentative":
            if isinstance(error, FileNotFoundError):
                return
            self._begin_report()
        record = self._tally.record(
            self.unit,
            self._place,
            self.component,
            outcome=outcome,
            failure=failure,
            timing=self.clock.timing(),
            span=self.span.get_span_context(),
        )
        self._report.end(record, self._tally.graph_break_count, error)
