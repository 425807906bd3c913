"""What compiling cost."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from compilespan import CompileTotals
from compilespan.ledger.rows import TotalsRow
from compilespan.semconv import Component, Part, Stage
from compilespan_service.schemas import examples


class ComponentRows(BaseModel):
    """Encoder, language model and everything else, and what they add up to."""

    encoder: TotalsRow
    language_model: TotalsRow
    other: TotalsRow
    total: TotalsRow

    @classmethod
    def of(cls, totals: CompileTotals) -> ComponentRows:
        """Take the rows of a ledger or a warmup."""
        return cls(
            encoder=totals.encoder,
            language_model=totals.language_model,
            other=totals.other,
            total=totals.total,
        )


class InProgress(BaseModel):
    """A compile that is going on."""

    name: str
    is_encoder: bool
    component: Component
    started_at: dt.datetime
    elapsed_s: float
    graphs: int
    stage: Annotated[Stage | None, Field(description="What it is doing; null in its first stage.")]


class Scope(BaseModel):
    """Which processes were added up."""

    kind: Literal["instance", "process"]
    instance: str
    processes: int
    complete: Annotated[bool, Field(description="Whether every process's journal was readable.")]


class Totals(ComponentRows):
    """What compiling cost."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TOTALS]})

    schema_version: Annotated[int, Field(serialization_alias="schema", alias="schema")] = 1
    scope: Scope
    since: dt.datetime
    as_of: dt.datetime
    ready_after_s: float | None
    versions: dict[str, str]
    by_phase: dict[str, TotalsRow]
    by_name: dict[str, TotalsRow]
    by_process: dict[str, TotalsRow]
    by_stage: Annotated[
        dict[Stage, float], Field(description="Seconds; they sum to compile_s + failed_s.")
    ]
    start: Annotated[
        dict[Part, float],
        Field(
            description="What the start was made of, in seconds; they sum to ready_after_s, or to "
            "the time until now."
        ),
    ]
    in_progress: list[InProgress]
