"""Answers of the probes, and errors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from compilespan_service.schemas import examples


class Health(BaseModel):
    """A probe's answer about the process."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.HEALTH]})

    state: str
    phase: Literal["startup", "warmup", "serving"]
    elapsed_s: Annotated[float, Field(description="Seconds since the process was created.")]
    detail: str | None = None


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:compilespan:problem:plan-conflict"])]
    title: str
    status: int
    detail: str
