"""Warmup jobs: what is asked for, and what became of it."""

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
    """What to warm; everything that is not warm yet where it is left out."""

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
            description="Names of targets; all where left out.",
        ),
    ] = None
    shapes: Annotated[
        dict[str, Annotated[list[Shape], Field(min_length=1, max_length=MAX_SHAPES)]] | None,
        Field(
            max_length=MAX_TARGETS,
            description="Shapes by target; all shapes of a target that is not named here.",
        ),
    ] = None
    budget_s: Annotated[
        float | None,
        Field(gt=0, le=86_400, description="The job is `timed_out` after so many seconds."),
    ] = None
    on_error: Annotated[
        Literal["stop", "continue"],
        Field(description="Whether the first failed item ends the job."),
    ] = "continue"
    force: Annotated[bool, Field(description="Run what is warm already, too.")] = False
    verify: Annotated[
        bool, Field(description="Run each item once more at the end to prove it warm.")
    ] = True


class Item(BaseModel):
    """A target × shape of a job."""

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
    elapsed_s: Annotated[float, Field(description="Seconds since it started; final once ended.")]
    trace_id: str | None
    items: list[Item]
    totals: ComponentRows
    warnings: list[str]
    error: Annotated[str | None, Field(description="Why it ended, where no item says it.")] = None
    already_warm: Annotated[
        bool, Field(description="Nothing was left to do; this is the job that did it.")
    ] = False
    processes: Annotated[str, Field(examples=["1 of 1"])] = "1 of 1"
