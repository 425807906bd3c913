"""What compiling cost."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from compilespan import CompileTotals
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.rows import TotalsRow
from compilespan.semconv import Component, Part, Stage
from compilespan_service.schemas import examples


class ComponentRows(BaseModel):
    """Encoder, language model and everything else, and their total."""

    encoder: TotalsRow
    language_model: TotalsRow
    other: TotalsRow
    total: TotalsRow

    @classmethod
    def of(cls, totals: CompileTotals) -> ComponentRows:
        """Convert the totals of a ledger or a warmup."""
        return cls(
            encoder=totals.encoder,
            language_model=totals.language_model,
            other=totals.other,
            total=totals.total,
        )


class InProgress(BaseModel):
    """A running compile."""

    name: str
    is_encoder: bool
    component: Component
    started_at: dt.datetime
    elapsed_s: float
    graphs: int
    stage: Annotated[Stage | None, Field(description="Its current stage; null in the first one.")]


class Scope(BaseModel):
    """The processes that were added up."""

    kind: Literal["instance", "process"]
    instance: str
    processes: int
    complete: Annotated[bool, Field(description="Whether every journal was read completely.")]


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
        dict[Stage, float], Field(description="Seconds by stage; they sum to compile_s + failed_s.")
    ]
    start: Annotated[
        dict[Part, float],
        Field(
            description="Seconds by part of the start; they sum to ready_after_s, or to the time "
            "until now."
        ),
    ]
    cache: Annotated[
        CacheUse, Field(description="What the shared compile cache saved, and what it cost.")
    ] = CacheUse()
    in_progress: list[InProgress]
