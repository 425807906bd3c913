"""Starts of the server, and how each ended."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from compilespan_service.schemas.totals import ComponentRows


class Interrupted(BaseModel):
    """What was compiling when a process died."""

    name: str
    is_encoder: bool
    pid: int
    started_at: dt.datetime
    elapsed_s: Annotated[float, Field(description="Until the process's last sign of life.")]
    graphs: int


class Start(ComponentRows):
    """One start of the server, all its processes added up."""

    instance: str
    started_at: dt.datetime
    processes: int
    versions: dict[str, str]
    cache: Annotated[
        Literal["cold", "warm", "none"],
        Field(description="cold: a graph was missed; warm: all were hit; none: no cache was asked"),
    ]
    ready_after_s: float | None
    ended: Annotated[
        str, Field(description="running, killed, or what the process said: shutdown, exit, failed")
    ]
    interrupted: list[Interrupted]
