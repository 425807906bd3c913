"""What one compile left behind: the record that every output is made from."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from compilespan.semconv import CacheResult, Kind, Outcome, Phase, Trigger

MAX_EVENTS = 256
"""So many events a record keeps, the first ones; a span keeps what its own limit says."""


@dataclasses.dataclass(frozen=True, slots=True)
class GraphBreak:
    """Where Dynamo had to end a graph: why, and the line of the user's code."""

    reason: str
    file: str
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class CompileEvent:
    """Something that happened inside a compile, and when; it accounts for no time (rule 3).

    Attributes:
        name: As of the span event, e.g. ``torch.compile.graph``.
        time_ns: Nanoseconds since the epoch.
        attributes: As of the span event, long texts cut.
    """

    name: str
    time_ns: int
    attributes: Mapping[str, AttributeValue]


@dataclasses.dataclass(frozen=True, slots=True)
class CompileRecord:
    """One compile, load, capture or explicit block, as its monitor closed it.

    Attributes:
        name: Class of the compiled module, qualified name of a function, or what the block said.
        is_encoder: Whether it belongs to an encoder; ``False`` where nobody knew better.
        kind: ``compile``, ``load``, ``capture`` or ``empty``.
        trigger: What began it, e.g. ``dynamo``.
        phase: ``startup``, ``warmup`` or ``serving``.
        outcome: ``ok``, ``skipped`` or ``failed`` (rule 5).
        error_type: Qualified class of the exception; only where ``failed``.
        start_ns: Nanoseconds since the epoch.
        duration_ns: Nanoseconds on a monotonic clock, read once (rule 2).
        graphs: How many graphs were handed to the backend.
        cache_hits: How many of them came from a cache.
        cache_misses: How many were compiled and stored.
        cache_bypasses: How many were compiled and not stored.
        cache_result: The one result of its graphs, ``mixed``, or ``None`` without a cache.
        is_recompile: The same owner compiled this frame before.
        recompile_reason: The guard that failed, as Dynamo words it.
        graph_breaks: The first graph breaks, at most 64.
        compile_ids: Dynamo's ids, e.g. ``("0/0",)``.
        trace_id: Of the span, 32 hex digits; empty where there is no span.
        span_id: Of the span, 16 hex digits; empty where there is no span.
        pid: Process that compiled.
        thread_id: Thread that compiled.
        recompile_limit_hit: Dynamo gave the frame up: later shapes run eager.
        events: What happened inside, oldest first, at most 256.
        request: Method and route of the request that waited for it, where its server tells.
    """

    name: str
    is_encoder: bool
    kind: Kind
    trigger: Trigger
    phase: Phase
    outcome: Outcome
    error_type: str | None
    start_ns: int
    duration_ns: int
    graphs: int
    cache_hits: int
    cache_misses: int
    cache_bypasses: int
    cache_result: CacheResult | None
    is_recompile: bool
    recompile_reason: str | None
    graph_breaks: tuple[GraphBreak, ...]
    compile_ids: tuple[str, ...]
    trace_id: str
    span_id: str
    pid: int
    thread_id: int
    recompile_limit_hit: bool = False
    events: tuple[CompileEvent, ...] = ()
    request: str | None = None

    @property
    def duration_s(self) -> float:
        """The duration in seconds: the number that every output shows."""
        return self.duration_ns / 1e9

    @property
    def end_ns(self) -> int:
        """End in nanoseconds since the epoch: start and monotonic duration (rule 2)."""
        return self.start_ns + self.duration_ns

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CompileRecord:
        """Rebuild a record; fields of a newer version are left out.

        Raises:
            TypeError: A field is missing.
        """
        known = {key: values[key] for key in cls.__slots__ if key in values}
        known["graph_breaks"] = tuple(GraphBreak(**each) for each in known["graph_breaks"])
        known["compile_ids"] = tuple(known["compile_ids"])
        known["events"] = tuple(CompileEvent(**each) for each in known.get("events", ()))
        return cls(**known)


@dataclasses.dataclass(frozen=True, slots=True)
class CompileBegun:
    """A compile that is still going on.

    Attributes:
        key: Tells it from the others of its process.
        name: As in `CompileRecord`.
        is_encoder: As known at the start.
        start_ns: Nanoseconds since the epoch.
        started_ns: The same moment on the process's monotonic clock.
        graphs: Graphs that are through so far.
    """

    key: int
    name: str
    is_encoder: bool
    start_ns: int
    started_ns: int
    graphs: int = 0


class InterruptedCompile(Exception):  # noqa: N818  # what happened to it, not an error
    """Stands for the end of a process in the record of what it was compiling; never raised."""
