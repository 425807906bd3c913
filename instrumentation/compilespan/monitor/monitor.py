"""The clock: one monitor wraps each compile, and what happens inside becomes its events.

A monitor is open from its start to its end in one place of the program. Compiles that begin in
its context while it is open are *adopted*: they leave no span and no record, their graphs,
breaks and recompiles are events of the monitor. So nested work is never counted twice (rule 1).
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Literal

from compilespan import semconv
from compilespan.faults import contained
from compilespan.ledger.active import InterruptedCompile
from compilespan.monitor.cleaning import cleaned
from compilespan.monitor.clock import Clock
from compilespan.monitor.report import Report
from compilespan.monitor.stages import Stages, stage_of_unit
from compilespan.monitor.surroundings import Adopter, Place, resolve
from compilespan.monitor.tally import Tally
from compilespan.process import epoch_ns, now_ns
from compilespan.telemetry.exceptions import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from compilespan.monitor.unit import Unit
    from compilespan.semconv import CacheResult, Component, Kind, Outcome, Stage

State = Literal["new", "open", "adopted", "tentative", "closed"]
"""``new`` becomes one of the next three when it is opened; each of them becomes ``closed``."""


class Monitor:
    """One compile while it is going on. Made by `monitor_torch_compile` and by the hooks."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._state: State = "new"
        self._pid = os.getpid()
        # Reentrant: a finalizer or a signal handler may compile, hence add events, meanwhile.
        self._lock = threading.RLock()
        self._tally = Tally()
        self._report = Report()
        self._place: Place = resolve()
        self._stage = stage_of_unit(unit.trigger, unit.kind)
        self.clock = Clock(Stages(self._stage or "other", self._lock, self._stage_begun))

    def open(self) -> None:
        """Start the clock, and report the compile or give it to the monitor around it."""
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
        """Record something that happened inside the compile, now.

        Args:
            name: Event name, e.g. ``torch.compile.graph``; graphs, breaks and recompiles are
                counted by it.
            attributes: Plain values. One that is a duration by its name is left out: events
                account for no time (rule 3).
        """
        with contained(f"record an event {name!r}"):
            outer = self._open_adopter
            if outer is not None:
                outer.add_event(name, attributes)
            else:
                self._add_event(name, cleaned(attributes or {}))

    def note_compile_id(self, compile_id: str | None) -> None:
        """Note one of Dynamo's ids of what compiles inside."""
        outer = self._open_adopter
        if outer is not None:
            outer.note_compile_id(compile_id)
        elif self.is_open:  # in a forked child nobody gives the lock back
            with self._lock:
                self._tally.compile_id(compile_id)

    def note_cache(self, result: CacheResult) -> None:
        """Note where a kernel came from; one inside a compile is no part of its cache results."""
        if self.is_open:
            with self._lock:
                self._tally.kernel_cache = result

    def rename(self, unit: Unit) -> None:
        """Correct what it was begun as: only what was loaded knows its name."""
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
        """Count a compile that ended inside; ``False`` if this one was closed before."""
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
        """End it: read the clock, make the record. Once; later calls do nothing.

        Args:
            outcome: ``None`` if what was seen inside decides.
            error: The exception that leaves the compile, if one does.
            skip_reason: Why Dynamo gave the frame back, if it did.
        """
        ended_ns = time.perf_counter_ns()
        if self._pid != os.getpid():
            return  # a forked child returns through its parent's compile
        with self._lock:
            state, self._state = self._state, "closed"
            if state in ("new", "closed"):
                return
            self.clock.ended_ns = ended_ns
            outcome = outcome or ("failed" if error is not None else self._tally.outcome)
            self._tally.skip_reason = skip_reason
        with contained(f"record the end of {self.unit.name!r}"):
            self._conclude(state, outcome, error)
        self._report.discard()  # nothing, unless a fault of ours kept it from its end
        self._report.wait()

    def discard(self) -> None:
        """End it without a record: an interrupt arrived while it was opened or closed."""
        self._state = "closed"
        self._report.discard()

    @property
    def is_open(self) -> bool:
        """Whether it still adopts: opened, not closed, and not inherited through a fork."""
        return self._state not in ("new", "closed") and self._pid == os.getpid()

    @property
    def is_outermost(self) -> bool:
        """Whether it makes a record of its own rather than being an event of another."""
        return self._open_adopter is None

    @property
    def stated(self) -> Component | None:
        """The component that was stated for it: by itself, or by its surroundings."""
        return self.unit.stated or self._place.component

    @property
    def component(self) -> Component:
        """The component: what was stated, else what names say, else what compiled inside."""
        return self.stated or self.unit.named or self._tally.component

    @property
    def span(self) -> Span:
        """Its span, invalid if an outer monitor has it."""
        return self._report.span

    @property
    def duration_s(self) -> float:
        """Seconds, once it is closed; the same number in every output."""
        return self.clock.duration_ns / 1e9

    @property
    def stages(self) -> Stages:
        """What divides the time of the outermost monitor."""
        outer = self._open_adopter
        return outer.stages if outer is not None else self.clock.stages

    @property
    def _open_adopter(self) -> Adopter | None:
        """The monitor that takes the events of this one, while it is open."""
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
        if found:  # something is there: from now on it is seen while it goes on
            self._begin_report()
        if self._state == "open":  # the others have no outputs yet
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
            # It outlived the block that adopted it: what lies before its end is the block's.
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
