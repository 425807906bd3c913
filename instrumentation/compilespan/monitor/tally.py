"""What a monitor counts while it is open: graphs, cache results, breaks, nested outcomes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry import trace

from compilespan import semconv
from compilespan.ledger.records import (
    MAX_EVENTS,
    MAX_STAGE_EVENTS,
    CompileEvent,
    CompileRecord,
    GraphBreak,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AttributeValue

    from compilespan.monitor.clock import Timing
    from compilespan.monitor.surroundings import Place
    from compilespan.monitor.unit import Unit
    from compilespan.semconv import CacheResult, Component, Kind, Outcome, Stage
    from compilespan.telemetry.exceptions import Failure

MAX_GRAPH_BREAKS = 64
MAX_COMPILE_IDS = 256
MAX_KERNELS = 32
"""Kernels of one compile that are reported as events."""
KERNEL_TRIGGERS: frozenset[object] = frozenset({"kernel", "autotune"})
_CACHE_RESULTS: tuple[CacheResult, ...] = ("hit", "miss", "bypass")


class Tally:
    """Counts of one record. It has no lock: the monitor that owns it has one."""

    def __init__(self) -> None:
        self.graphs = 0
        self.graph_break_count = 0
        self.kernels = 0
        self.kernel_cache: CacheResult | None = None
        """Cache result of a kernel, which is not a graph; ``None`` if unknown."""
        self.skip_reason: str | None = None
        """Why Dynamo gave the frame back."""
        self._events: list[CompileEvent] = []
        self._stage_events: list[CompileEvent] = []
        self._graph_breaks: list[GraphBreak] = []
        self._compile_ids: list[str] = []
        self._is_recompile = False
        self._recompile_reason: str | None = None
        self._recompile_limit_hit = False
        self._failure: Failure | None = None
        self._cache: dict[str, int] = dict.fromkeys(_CACHE_RESULTS, 0)
        self._rebuilds = 0
        self._kinds: set[Kind] = set()
        self._outcomes: set[Outcome] = set()
        self._components: set[Component] = set()

    def stage(self, stage: Stage, time_ns: int) -> CompileEvent | None:
        """Return the event of a stage that begins; ``None`` if the limit of 32 is reached."""
        if len(self._stage_events) >= MAX_STAGE_EVENTS:
            return None
        event = CompileEvent(semconv.EVENT_STAGE, time_ns, {semconv.STAGE: stage})
        self._stage_events.append(event)
        return event

    def event(
        self, name: str, time_ns: int, attributes: dict[str, AttributeValue], *, is_stored: bool
    ) -> CompileEvent | None:
        """Count an event inside the compile by its name, and return it.

        Args:
            name: Of the event.
            time_ns: When, in nanoseconds since the epoch.
            attributes: Of the event; those of a graph are completed.
            is_stored: Whether the opener stores a graph that bypasses torch's caches.

        Returns:
            ``None`` if it is a kernel beyond the limit of 32.
        """
        if attributes.get(semconv.TRIGGER) in KERNEL_TRIGGERS and self.kernels >= MAX_KERNELS:
            return None
        if name == semconv.EVENT_GRAPH:
            attributes.setdefault(semconv.GRAPH_INDEX, self.graphs)
            if is_stored and attributes.get(semconv.CACHE_RESULT) == "bypass":
                attributes[semconv.CACHE_RESULT] = "miss"
        event = CompileEvent(semconv.name(name), time_ns, attributes)
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
        self._count(event)
        return event

    def _count(self, event: CompileEvent) -> None:
        attributes = event.attributes
        if event.name == semconv.EVENT_GRAPH:
            self.graphs += 1
            result = str(attributes.get(semconv.CACHE_RESULT))
            if result in self._cache:
                self._cache[result] += 1
            self._rebuilds += bool(attributes.get(semconv.CACHE_IS_REBUILT))
            self._kinds.add("compile")
        elif event.name == semconv.EVENT_GRAPH_BREAK:
            self.graph_break_count += 1
            if len(self._graph_breaks) < MAX_GRAPH_BREAKS:
                self._graph_breaks.append(_graph_break(attributes))
        elif event.name == semconv.EVENT_RECOMPILE:
            self._is_recompile = True
            self._recompile_reason = str(attributes.get(semconv.RECOMPILE_REASON, ""))
        elif event.name == semconv.EVENT_RECOMPILE_LIMIT:
            self._recompile_limit_hit = True
            self._recompile_reason = self._recompile_reason or str(
                attributes.get(semconv.RECOMPILE_REASON, "")
            )
        elif event.name == semconv.EVENT_CUDAGRAPH:
            self._kinds.add("capture")
        elif attributes.get(semconv.TRIGGER) in KERNEL_TRIGGERS:
            self.kernels += 1

    def compile_id(self, compile_id: str | None) -> None:
        """Record one of Dynamo's compile ids."""
        ids = self._compile_ids
        if compile_id and compile_id not in ids and len(ids) < MAX_COMPILE_IDS:
            ids.append(compile_id)

    def adopted(
        self,
        kind: Kind,
        outcome: Outcome,
        *,
        failure: Failure | None,
        component: Component | None,
    ) -> None:
        """Count an adopted compile that ended."""
        self._kinds.add(kind)
        self._failure = failure or self._failure
        self._outcomes.add(outcome)
        if component is not None:
            self._components.add(component)

    @property
    def cache_result(self) -> CacheResult | None:
        """Result of all graphs or of a kernel; ``mixed`` if they differ, ``None`` without cache."""
        seen = [result for result in _CACHE_RESULTS if self._cache[result]]
        if len(seen) > 1:
            return "mixed"
        return seen[0] if seen else self.kernel_cache

    @property
    def kind(self) -> Kind:
        """Kind of an explicit block, from what happened inside."""
        kinds: tuple[Kind, ...] = ("compile", "load", "capture", "kernel")
        return next((kind for kind in kinds if kind in self._kinds), "empty")

    @property
    def outcome(self) -> Outcome:
        """The outcome of an explicit block that no exception left.

        It is ``ok`` if any compile inside was ``ok``; a failure that the block handled itself
        counts only if none was.
        """
        if not self._outcomes or "ok" in self._outcomes:
            return "ok"
        return "failed" if "failed" in self._outcomes else "skipped"

    @property
    def component(self) -> Component:
        """The one component of what compiled, else ``language_model`` if any, else ``other``."""
        if len(self._components) == 1:
            return next(iter(self._components))
        return "language_model" if "language_model" in self._components else "other"

    def record(
        self,
        unit: Unit,
        place: Place,
        component: Component,
        *,
        outcome: Outcome,
        failure: Failure | None,
        timing: Timing,
        span: SpanContext,
    ) -> CompileRecord:
        """Return the record of this compile."""
        kind = unit.kind or self.kind
        failure = (failure or self._failure) if outcome == "failed" else None
        stages_ns = timing.stages_ns
        if kind == "load" and outcome == "failed":
            stages_ns = {"cache": timing.duration_ns}
        return CompileRecord(
            name=unit.name,
            is_encoder=component == "encoder",
            component=component,
            kind=kind,
            trigger=unit.trigger,
            phase=place.phase,
            outcome=outcome,
            error_type=failure.type if failure is not None else None,
            error_message=failure.message if failure is not None else None,
            skip_reason=self.skip_reason if outcome == "skipped" else None,
            start_ns=timing.start_ns,
            duration_ns=timing.duration_ns,
            stages={stage: spent_ns / 1e9 for stage, spent_ns in stages_ns.items()},
            cpu_s=timing.cpu_s,
            cpu_wait_s=timing.cpu_wait_s,
            graphs=self.graphs,
            cache_hits=self._cache["hit"],
            cache_misses=self._cache["miss"],
            cache_bypasses=self._cache["bypass"],
            cache_rebuilds=self._rebuilds,
            cache_result=self.cache_result,
            is_recompile=self._is_recompile,
            recompile_reason=self._recompile_reason,
            recompile_limit_hit=self._recompile_limit_hit,
            graph_breaks=tuple(self._graph_breaks),
            compile_ids=tuple(self._compile_ids),
            trace_id=trace.format_trace_id(span.trace_id) if span.is_valid else "",
            span_id=trace.format_span_id(span.span_id) if span.is_valid else "",
            pid=os.getpid(),
            thread_id=timing.thread_id,
            events=(*self._events, *self._stage_events),
            request=place.request,
            file=unit.file,
            line=unit.line,
        )


def _graph_break(attributes: Mapping[str, AttributeValue]) -> GraphBreak:
    def text(key: str) -> str:
        return str(attributes.get(key, ""))

    def number(key: str) -> int:
        value = text(key)
        return int(value) if value.isdecimal() else 0

    return GraphBreak(
        reason=text(semconv.GRAPH_BREAK_REASON),
        file=text(semconv.CODE_FILE_PATH),
        line=number(semconv.CODE_LINE_NUMBER),
        hint=text(semconv.GRAPH_BREAK_HINT),
        link=text(semconv.GRAPH_BREAK_LINK),
        inner_file=text(semconv.GRAPH_BREAK_INNER_FILE),
        inner_line=number(semconv.GRAPH_BREAK_INNER_LINE),
    )
