"""Starts of the server, and how each ended."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from compilespan.semconv import Component, Stage
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


class StartupPhase(BaseModel):
    """A part of a start that explains its time."""

    name: Annotated[str, Field(examples=["import", "load"])]
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
        Literal["cold", "warm", "none"],
        Field(description="cold: a graph was missed; warm: all were hit; none: no cache was asked"),
    ]
    ready_after_s: float | None
    phases: list[StartupPhase]
    ended: Annotated[
        str, Field(description="running, killed, or what the process said: shutdown, exit, failed")
    ]
    interrupted: list[Interrupted]
    memory: Memory | None
