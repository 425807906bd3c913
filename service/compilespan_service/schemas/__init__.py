"""What is sent over HTTP, one file per noun."""

from compilespan_service.schemas.compiles import (
    Begin,
    Compile,
    CompileEvent,
    Ended,
    GraphBreak,
    Happened,
)
from compilespan_service.schemas.findings import Finding
from compilespan_service.schemas.health import Health, Problem
from compilespan_service.schemas.jobs import Item, ItemState, Job, JobState, Shape, WarmupRequest
from compilespan_service.schemas.moments import moment
from compilespan_service.schemas.starts import Interrupted, Memory, Segment, Start
from compilespan_service.schemas.totals import ComponentRows, InProgress, Scope, Totals

__all__ = [
    "Begin",
    "Compile",
    "CompileEvent",
    "ComponentRows",
    "Ended",
    "Finding",
    "GraphBreak",
    "Happened",
    "Health",
    "InProgress",
    "Interrupted",
    "Item",
    "ItemState",
    "Job",
    "JobState",
    "Memory",
    "Problem",
    "Scope",
    "Segment",
    "Shape",
    "Start",
    "Totals",
    "WarmupRequest",
    "moment",
]
