"""The plan and the result of a warmup: targets, items and their states."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from compilespan import semconv
from compilespan.process import now_ns
from compilespan.process.faults import contained
from compilespan.telemetry.exceptions import exception_type
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from compilespan.findings.finding import Finding
    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.totals import CompileTotals
    from compilespan.semconv import CacheResult

JsonScalar = str | int | float | bool | None
Shape = Mapping[str, JsonScalar]
ItemState = Literal[
    "pending", "running", "warm", "eager", "unstable", "failed", "unverified", "cancelled"
]


@dataclasses.dataclass(frozen=True, slots=True)
class WarmupTarget:
    """One compiled model with the shapes to warm it up for.

    Attributes:
        name: A readable name, unique among the targets.
        run: ``run(shape)`` calls the compiled model once, under the grad mode and thread settings
            of serving. May be a coroutine function.
        shapes: Mappings of JSON scalars, available before any weights are loaded.
        load: Loads the weights; called once, before the first run. May be a coroutine function.
        executor: Where serving runs the model: cudagraphs and thread settings belong to a thread.
        is_encoder: Whether it is an encoder; set it if its names would be classified wrongly.
        timeout_s: Seconds that one item may take (enforced by the service).
    """

    name: str
    run: Callable[[Shape], Any]
    shapes: Sequence[Shape]
    load: Callable[[], object] | None = dataclasses.field(default=None, kw_only=True)
    executor: Executor | None = dataclasses.field(default=None, kw_only=True)
    is_encoder: bool | None = dataclasses.field(default=None, kw_only=True)
    timeout_s: float | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(slots=True)
class WarmupItem:
    """A target and one of its shapes, and its state.

    Attributes:
        target: Name of the target.
        shape: The shape.
        state: ``warm``: compiled code ran and nothing compiled; ``eager``: it runs uncompiled;
            ``unstable``: it compiled again although it had been run; ``failed``; ``unverified``:
            it ran, but whether compiled code ran is unknown.
        calls: How often it was run.
        compile_s: Seconds of compiles in its calls.
        compiles: Number of these compiles.
        cache_result: The cache result of its graphs, ``mixed`` if they differ.
        error: Why it failed or is not warm.
        graphless: Whether Dynamo was seen to produce no graph for it.
    """

    target: str
    shape: Shape
    state: ItemState = "pending"
    calls: int = 0
    compile_s: float = 0.0
    compiles: int = 0
    cache_result: CacheResult | None = None
    error: str | None = None
    graphless: bool = False
    _span: Span = dataclasses.field(default=trace.INVALID_SPAN, repr=False)
    _end_ns: int | None = dataclasses.field(default=None, repr=False)
    _error_type: str | None = dataclasses.field(default=None, repr=False)

    @property
    def is_warm(self) -> bool:
        """Whether serving this shape is expected neither to compile nor to run eager."""
        return self.state == "warm" or (self.state == "unverified" and self.error is None)

    @property
    def label(self) -> str:
        """The shape as one line of JSON."""
        return json.dumps(self.shape, sort_keys=True)

    def take(self, record: CompileRecord) -> None:
        """Account for a compile of one of its calls."""
        if record.kind == "compile" and record.outcome != "failed":
            self.compile_s += record.duration_s
            self.compiles += 1
        if record.cache_result is not None and record.kind != "kernel":
            same = self.cache_result in (None, record.cache_result)
            self.cache_result = record.cache_result if same else "mixed"

    def failed_by(self, error: BaseException) -> None:
        """Record that a call raised ``error``."""
        self._error_type = exception_type(error)
        self.state = "failed"
        self.error = semconv.text(f"{self._error_type}: {semconv.text(error)}")

    def start_span(self) -> None:
        """Start its span, the parent of its compiles, including those of the verify pass."""
        with contained("start the span of a warmup item"):
            self._span = active_telemetry().tracer.start_span(
                f"{semconv.SPAN_WARMUP_ITEM} {semconv.name(self.target)}",
                attributes={
                    semconv.TARGET: semconv.name(self.target),
                    semconv.SHAPE: semconv.text(self.label),
                },
                start_time=now_ns(),
            )

    @contextmanager
    def span_current(self) -> Iterator[None]:
        """Make the span current for a call."""
        with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
            yield

    def pause_span(self) -> None:
        """Set the end of the span to now; `end_span` ends it when the final state is known."""
        self._end_ns = now_ns()

    def end_span(self) -> None:
        """End the span with the item's final state."""
        span, self._span = self._span, trace.INVALID_SPAN
        with contained("end the span of a warmup item"):
            span.set_attribute(semconv.ITEM_STATE, self.state)
            if self._error_type is not None:
                span.set_attribute(semconv.ERROR_TYPE, self._error_type)
                span.set_status(Status(StatusCode.ERROR, self._error_type))
            span.end(end_time=self._end_ns or now_ns())


@runtime_checkable
class Elsewhere(Protocol):
    """A model that compiles in another process."""

    is_of_this_instance: bool
    """Whether that process belongs to this one's start."""

    def has_compiled(self) -> bool:
        """Whether that process is known to have compiled or loaded it."""


def elsewhere_of(target: WarmupTarget) -> Elsewhere | None:
    """Return the `Elsewhere` that has the target's ``run`` as a method; ``None`` if none has."""
    found = getattr(target.run, "__self__", None)
    return found if isinstance(found, Elsewhere) else None


Plan = Sequence[tuple[WarmupTarget, WarmupItem]]


def plan(targets: Sequence[WarmupTarget]) -> Plan:
    """Return the items of these targets, in their order."""
    return [(t, WarmupItem(t.name, dict(shape))) for t in targets for shape in t.shapes]


@dataclasses.dataclass(frozen=True, slots=True)
class WarmupResult:
    """The result of a warmup.

    Attributes:
        items: In the order of the plan.
        totals: What the compiles of its calls cost.
        warnings: What an operator should look at, apart from failed items.
        findings: What cost the most, and what to do about it, from the last 4096 compiles.
    """

    items: tuple[WarmupItem, ...]
    totals: CompileTotals
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def is_warm(self) -> bool:
        """Whether every item is warm; ``False`` without items."""
        return bool(self.items) and all(item.is_warm for item in self.items)

    @property
    def state(self) -> Literal["succeeded", "failed", "cancelled"]:
        """``failed`` if an item failed; items that are just not warm are in `warnings`."""
        states = {item.state for item in self.items}
        if "failed" in states:
            return "failed"
        return "cancelled" if "cancelled" in states else "succeeded"
