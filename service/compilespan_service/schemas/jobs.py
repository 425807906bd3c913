"""Warmup jobs: requests and results."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from compilespan_service.schemas import examples
from compilespan_service.schemas.totals import ComponentRows

JobState = Literal[
    "queued", "running", "succeeded", "failed", "timed_out", "cancelling", "cancelled"
]
ItemState = Literal[
    "pending", "running", "warm", "eager", "unstable", "failed", "unverified", "cancelled"
]
JsonScalar = str | int | float | bool | None
Shape = dict[str, JsonScalar]

MAX_TARGETS = 256
MAX_SHAPES = 4096


class WarmupRequest(BaseModel):
    """What to warm. Defaults to everything that is not warm yet."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "targets": ["llava-demo"],
                    "shapes": {"llava-demo": [{"tokens": 16}]},
                    "budget_s": 600,
                    "on_error": "continue",
                }
            ]
        },
    )

    targets: Annotated[
        list[str] | None,
        Field(
            min_length=1,
            max_length=MAX_TARGETS,
            description="Names of targets. Defaults to all.",
        ),
    ] = None
    shapes: Annotated[
        dict[str, Annotated[list[Shape], Field(min_length=1, max_length=MAX_SHAPES)]] | None,
        Field(
            max_length=MAX_TARGETS,
            description="Shapes by target. Defaults to all shapes of a target.",
        ),
    ] = None
    budget_s: Annotated[
        float | None,
        Field(gt=0, le=86_400, description="Seconds after which the job is `timed_out`."),
    ] = None
    on_error: Annotated[
        Literal["stop", "continue"],
        Field(description="Whether the first failed item ends the job."),
    ] = "continue"
    force: Annotated[bool, Field(description="Also run items that are already warm.")] = False
    verify: Annotated[
        bool, Field(description="Run each item once more at the end to prove that it is warm.")
    ] = True


class Item(BaseModel):
    """One shape of a target in a job."""

    target: str
    shape: Shape
    state: ItemState
    calls: int
    compile_s: float
    compiles: int
    cache_result: Literal["hit", "miss", "bypass", "mixed"] | None
    error: str | None


class Job(BaseModel):
    """One warmup run."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB]})

    id: str
    state: JobState
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    elapsed_s: Annotated[float, Field(description="Seconds since the job started, until it ended.")]
    trace_id: str | None
    items: list[Item]
    totals: ComponentRows
    warnings: list[str]
    error: Annotated[str | None, Field(description="Why it ended, if no item says why.")] = None
    already_warm: Annotated[
        bool, Field(description="All was already warm; this job had warmed it.")
    ] = False
    processes: Annotated[str, Field(examples=["1 of 1"])] = "1 of 1"
