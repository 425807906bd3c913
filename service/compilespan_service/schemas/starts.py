"""Starts of the server, and how each ended."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from compilespan.semconv import CacheState, Component, Part, Stage
from compilespan_service.schemas import examples
from compilespan_service.schemas.totals import ComponentRows


class Interrupted(BaseModel):
    """What was compiling when a process died."""

    name: str
    is_encoder: bool
    component: Component
    pid: int
    started_at: dt.datetime
    elapsed_s: Annotated[float, Field(description="Until the process's last sign of life.")]
    graphs: int
    stage: Annotated[Stage | None, Field(description="What it was doing; null in its first.")]


class Memory(BaseModel):
    """What a start had of memory while it compiled, and what it may have."""

    peak_bytes: Annotated[
        int, Field(description="Of one of its processes with its descendants, at most.")
    ]
    limit_bytes: Annotated[int | None, Field(description="Of the cgroup, else of the machine.")]


class Segment(BaseModel):
    """A time of a start in which one part counts; they follow each other without gaps."""

    part: Part
    name: Annotated[str | None, Field(description="What was imported or loaded, if known.")]
    component: Annotated[Component | None, Field(description="Of a compile.")]
    started_at: dt.datetime
    duration_s: float


class Start(ComponentRows):
    """One start of the server, all its processes added up."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.START]})

    instance: str
    started_at: dt.datetime
    processes: int
    versions: dict[str, str]
    device: Annotated[str, Field(examples=["cpu"])]
    cache: Annotated[
        CacheState,
        Field(
            description="cold: a graph was compiled that a cache could have had; warm: all that "
            "could come from a cache did; no cache: none was at work; unknown until it is ready."
        ),
    ]
    ready_after_s: float | None
    serving_s: Annotated[
        float, Field(description="Compiled after ready, failed or not, kernels included.")
    ]
    start: Annotated[
        dict[Part, float], Field(description="Seconds by part; they sum to the whole start.")
    ]
    compile: Annotated[
        dict[Component, float], Field(description="The part compile by component, in seconds.")
    ]
    beside: Annotated[
        dict[Part, float],
        Field(description="Seconds of what other processes did meanwhile: ready did not wait."),
    ]
    imports: Annotated[
        dict[str, float], Field(description="The part import by package: seconds, the 8 longest.")
    ]
    segments: Annotated[
        list[Segment], Field(description="The same in order; at most 64, short ones joined.")
    ]
    ended: Annotated[
        str, Field(description="running, killed, or what the process said: shutdown, exit, failed")
    ]
    interrupted: list[Interrupted]
    memory: Memory | None
    trace_url: Annotated[
        str | None,
        Field(description="COMPILESPAN_TRACE_URL: where traces are shown; has {trace_id} in it."),
    ] = None
