"""Starts of the server, and how each ended."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from compilespan.semconv import CacheState, Component, Part, Stage
from compilespan_service.schemas import examples
from compilespan_service.schemas.totals import ComponentRows


class Interrupted(BaseModel):
    """A compile that was running when its process died."""

    name: str
    is_encoder: bool
    component: Component
    pid: int
    started_at: dt.datetime
    elapsed_s: Annotated[float, Field(description="Seconds until the process's last sign of life.")]
    graphs: int
    stage: Annotated[Stage | None, Field(description="Its stage then; null in the first one.")]


class Memory(BaseModel):
    """Memory of a start while it compiled, and its limit."""

    peak_bytes: Annotated[
        int, Field(description="Highest peak of one of its processes with its descendants.")
    ]
    limit_bytes: Annotated[
        int | None, Field(description="The cgroup's or the machine's, whichever is less.")
    ]


class Segment(BaseModel):
    """A period of a start that counts as one part; periods follow each other without gaps."""

    part: Part
    name: Annotated[str | None, Field(description="What was imported or loaded, if known.")]
    component: Annotated[Component | None, Field(description="Component, if the part is compile.")]
    started_at: dt.datetime
    duration_s: float


class Start(ComponentRows):
    """One start of the server, with all its processes added up."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.START]})

    instance: str
    started_at: dt.datetime
    processes: int
    versions: dict[str, str]
    device: Annotated[str, Field(examples=["cpu"])]
    cache: Annotated[
        CacheState,
        Field(
            description="cold: a cacheable graph was compiled; warm: all cacheable graphs came "
            "from a cache; no cache: no cache was used; unknown: not ready yet."
        ),
    ]
    ready_after_s: float | None
    serving_s: Annotated[
        float, Field(description="Seconds of compiling after ready, with failures and kernels.")
    ]
    start: Annotated[
        dict[Part, float], Field(description="Seconds by part; they sum to the whole start.")
    ]
    compile: Annotated[
        dict[Component, float], Field(description="Seconds of the part compile by component.")
    ]
    beside: Annotated[
        dict[Part, float],
        Field(description="Seconds of parallel work in other processes that did not delay ready."),
    ]
    imports: Annotated[
        dict[str, float], Field(description="Seconds of the part import by package, the 8 longest.")
    ]
    segments: Annotated[
        list[Segment], Field(description="The parts in order; at most 64, short ones joined.")
    ]
    ended: Annotated[
        str, Field(description="running, killed, or the process's reason: shutdown, exit, failed")
    ]
    interrupted: list[Interrupted]
    memory: Memory | None
    trace_url: Annotated[
        str | None,
        Field(description="COMPILESPAN_TRACE_URL: address of a trace, with {trace_id} in it."),
    ] = None
