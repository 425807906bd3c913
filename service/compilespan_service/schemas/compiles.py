"""Compiles: their records, and their events in the stream of a job."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from compilespan.ledger import records
from compilespan.semconv import CacheResult, Component, Kind, Outcome, Phase, Stage
from compilespan_service.schemas import examples
from compilespan_service.schemas.moments import moment


class GraphBreak(BaseModel):
    """Where Dynamo ended a graph, or gave a frame back to eager, and why."""

    reason: str
    file: Annotated[str, Field(description="File of the innermost line of user code.")]
    line: int
    hint: Annotated[str, Field(description="What Dynamo suggests; may be empty.")]
    link: Annotated[str, Field(description="torch's page about it; may be empty.")]
    inner_file: Annotated[str, Field(description="File of the innermost line, maybe of a library.")]
    inner_line: int


class CompileEvent(BaseModel):
    """An event inside a compile; it accounts for no time."""

    name: Annotated[str, Field(examples=["torch.compile.graph"])]
    at: dt.datetime
    attributes: dict[str, Any]

    @classmethod
    def of(cls, event: records.CompileEvent) -> CompileEvent:
        """Convert an event of the library."""
        return cls(name=event.name, at=moment(event.time_ns), attributes=dict(event.attributes))


class Compile(BaseModel):
    """One record; see `compilespan.CompileRecord`."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.COMPILE]})

    name: str
    is_encoder: bool
    component: Component
    kind: Kind
    trigger: str
    phase: Phase
    outcome: Outcome
    error_type: str | None
    error_message: Annotated[str | None, Field(description="First line of the exception's text.")]
    started_at: dt.datetime
    duration_s: float
    stages: Annotated[
        dict[Stage, float], Field(description="Seconds by stage; they sum to the duration.")
    ]
    cpu_s: Annotated[float | None, Field(description="Seconds its thread ran on a CPU.")]
    cpu_wait_s: Annotated[
        float | None, Field(description="Seconds its thread was ready to run but had no CPU.")
    ]
    graphs: int
    cache_hits: int
    cache_misses: int
    cache_bypasses: int
    cache_rebuilds: Annotated[
        int, Field(description="Graphs from a cache whose code was built again.")
    ]
    cache_result: CacheResult | None
    is_recompile: bool
    recompile_reason: str | None
    recompile_limit_hit: bool
    request: Annotated[
        str | None,
        Field(description="Method and route of the request that waited for the compile."),
    ]
    skip_reason: Annotated[
        str | None, Field(description="Why Dynamo gave the frame back to eager.")
    ]
    file: Annotated[str | None, Field(description="Source file of the compiled frame.")]
    line: int | None
    graph_breaks: list[GraphBreak]
    events: list[CompileEvent]
    compile_ids: list[str]
    trace_id: str
    span_id: str
    pid: int
    thread_id: int

    @classmethod
    def of(cls, record: records.CompileRecord) -> Compile:
        """Convert a record of the library."""
        return cls.model_validate(
            {
                **record.to_json(),
                "started_at": moment(record.start_ns),
                "duration_s": record.duration_s,
                "events": [CompileEvent.of(event) for event in record.events],
            }
        )


class Begin(BaseModel):
    """A compile of a job began; ``key`` identifies its later events."""

    key: int
    name: str
    is_encoder: bool
    component: Component
    started_at: dt.datetime


class Happened(CompileEvent):
    """An event inside the compile with this key."""

    key: int


class Ended(BaseModel):
    """The compile with this key ended."""

    key: int
    compile: Compile
