"""The record of one compile, from which every output is made."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from compilespan.semconv import CacheResult, Component, Kind, Outcome, Phase, Stage, Trigger

MAX_EVENTS = 256
"""Events kept per record; later ones are dropped. Spans follow the SDK's own limit."""
MAX_STAGE_EVENTS = 32
"""Stage events kept per record in addition; the seconds of stages do not depend on them."""


@dataclasses.dataclass(frozen=True, slots=True)
class GraphBreak:
    """Where and why Dynamo ended a graph, or gave a frame back to eager.

    Attributes:
        reason: Dynamo's explanation.
        file: File of the innermost line of the user's code (outside torch, the standard library and
            site-packages); empty if unknown.
        line: Number of that line; 0 if unknown.
        hint: Dynamo's suggestion; empty if it has none.
        link: Page of torch's documentation about this kind of break; empty if none is known.
        inner_file: File of the innermost line of all code, libraries included; empty if that is
            the user's line.
        inner_line: Number of that line; 0 if it is the user's.
    """

    reason: str
    file: str = ""
    line: int = 0
    hint: str = ""
    link: str = ""
    inner_file: str = ""
    inner_line: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class CompileEvent:
    """An event inside a compile; it has a time, but no duration (rule 3).

    Attributes:
        name: Name of the span event, e.g. ``torch.compile.graph``.
        time_ns: Nanoseconds since the epoch.
        attributes: Attributes of the span event; long texts are cut.
    """

    name: str
    time_ns: int
    attributes: Mapping[str, AttributeValue]


@dataclasses.dataclass(frozen=True, slots=True)
class CompileRecord:
    """One compile, load, capture, kernel or explicit block that has ended.

    Attributes:
        name: Class of the compiled module, qualified name of a function, or name of the block.
        is_encoder: Whether ``component`` is ``encoder``.
        kind: ``compile``, ``load``, ``capture``, ``kernel`` or ``empty``.
        trigger: What began it, e.g. ``dynamo``.
        phase: ``startup``, ``warmup`` or ``serving``.
        outcome: ``ok``, ``skipped`` or ``failed`` (rule 5).
        error_type: Qualified class of the exception; only if ``failed``.
        start_ns: Nanoseconds since the epoch.
        duration_ns: Nanoseconds on a monotonic clock, read once (rule 2).
        graphs: Number of graphs handed to the backend.
        cache_hits: Number of them that came from a cache.
        cache_misses: Number of them that were compiled and stored.
        cache_bypasses: Number of them that were compiled and not stored.
        cache_result: Result of all its graphs, or of its kernel; ``mixed`` if they differ, ``None``
            without a cache.
        is_recompile: Whether its owner has compiled this frame before.
        recompile_reason: The guard that failed, in Dynamo's words.
        graph_breaks: The first graph breaks, at most 64.
        compile_ids: Dynamo's ids, e.g. ``("0/0",)``.
        trace_id: Of the span, 32 hex digits; empty without a span.
        span_id: Of the span, 16 hex digits; empty without a span.
        pid: Process that compiled.
        thread_id: Thread that compiled.
        recompile_limit_hit: Whether Dynamo hit its recompile limit: new variants run eager.
        events: At most 256 events inside, oldest first; then at most 32 stage events.
        request: Method and route of the request that waited for it; ``None`` if unknown.
        component: ``encoder``, ``language_model`` or ``other``.
        skip_reason: Why Dynamo gave the frame back; only if ``skipped``.
        file: Source file of the compiled frame, ``None`` if unknown.
        line: First line of the compiled frame.
        error_message: First line of the exception's text; only if ``failed``.
        stages: Seconds by stage; they sum to the duration (rule 3).
        cpu_s: Seconds in which its thread ran on a CPU; ``None`` if unknown.
        cpu_wait_s: Seconds in which its thread waited for a CPU; ``None`` if unknown.
        cache_rebuilds: Number of graphs that came from a cache while their code was built again.
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
    component: Component
    recompile_limit_hit: bool = False
    events: tuple[CompileEvent, ...] = ()
    request: str | None = None
    skip_reason: str | None = None
    file: str | None = None
    line: int | None = None
    error_message: str | None = None
    stages: Mapping[Stage, float] = dataclasses.field(default_factory=dict)
    cpu_s: float | None = None
    cpu_wait_s: float | None = None
    cache_rebuilds: int = 0

    def __post_init__(self) -> None:
        """Refuse a record that contradicts itself.

        Raises:
            ValueError: ``is_encoder`` and ``component`` contradict each other, or the stages do
                not sum to the duration.
        """
        if self.is_encoder != (self.component == "encoder"):
            msg = f"is_encoder={self.is_encoder} contradicts component={self.component!r}"
            raise ValueError(msg)
        if sum(self.stages_ns.values()) != self.duration_ns:
            msg = f"stages {dict(self.stages)} do not sum to {self.duration_s} s"
            raise ValueError(msg)

    @property
    def is_work(self) -> bool:
        """Whether its seconds are in ``compile_s`` or ``failed_s``."""
        return self.kind != "kernel" and (self.kind == "compile" or self.outcome == "failed")

    @property
    def stages_ns(self) -> dict[Stage, int]:
        """Nanoseconds by stage; all of them ``other`` if no stage is known."""
        if not self.stages:
            return {"other": self.duration_ns}
        return {stage: round(seconds * 1e9) for stage, seconds in self.stages.items()}

    @property
    def duration_s(self) -> float:
        """The duration in seconds: the number that every output shows."""
        return self.duration_ns / 1e9

    @property
    def end_ns(self) -> int:
        """End in nanoseconds since the epoch: start plus monotonic duration (rule 2)."""
        return self.start_ns + self.duration_ns

    def keys_of(self, result: CacheResult) -> list[str]:
        """Return the cache keys of its graphs with this result."""
        return [
            str(event.attributes[semconv.CACHE_KEY])
            for event in self.events
            if event.attributes.get(semconv.CACHE_RESULT) == result
            and semconv.CACHE_KEY in event.attributes
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values; the attributes of events are not copied."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["graph_breaks"] = [dataclasses.asdict(each) for each in self.graph_breaks]
        values["events"] = [
            {"name": event.name, "time_ns": event.time_ns, "attributes": event.attributes}
            for event in self.events
        ]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CompileRecord:
        """Create a record from JSON values; unknown fields (of a newer version) are ignored.

        Raises:
            TypeError: A field is missing.
        """
        known = _known(cls, values)
        breaks = known["graph_breaks"]
        known["graph_breaks"] = tuple(GraphBreak(**_known(GraphBreak, each)) for each in breaks)
        known["compile_ids"] = tuple(known["compile_ids"])
        events = known.get("events", ())
        known["stages"] = known.get("stages") or {}
        known["events"] = tuple(CompileEvent(**_known(CompileEvent, event)) for event in events)
        return cls(**known)


def _known(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in cls.__slots__}
