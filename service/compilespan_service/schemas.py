"""What travels over HTTP."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from compilespan import CompileTotals, records
from compilespan.semconv import CacheResult, Kind, Outcome, Phase
from compilespan.totals import TotalsRow

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

    model_config = ConfigDict(extra="forbid", strict=True)

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


class ComponentRows(BaseModel):
    """Encoder and language model, and what they add up to."""

    encoder: TotalsRow
    language_model: TotalsRow
    total: TotalsRow

    @classmethod
    def of(cls, totals: CompileTotals) -> ComponentRows:
        """Take the rows of a ledger or a warmup."""
        return cls(encoder=totals.encoder, language_model=totals.language_model, total=totals.total)


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


class InProgress(BaseModel):
    """A compile that is going on."""

    name: str
    is_encoder: bool
    started_at: dt.datetime
    elapsed_s: float
    graphs: int


class Scope(BaseModel):
    """Which processes were added up."""

    kind: Literal["instance", "process"]
    instance: str
    processes: int
    complete: Annotated[bool, Field(description="Whether every process's journal was readable.")]


class Totals(ComponentRows):
    """What compiling cost."""

    schema_version: Annotated[int, Field(serialization_alias="schema", alias="schema")] = 1
    scope: Scope
    since: dt.datetime
    as_of: dt.datetime
    ready_after_s: float | None
    versions: dict[str, str]
    by_phase: dict[str, TotalsRow]
    by_name: dict[str, TotalsRow]
    by_process: dict[str, TotalsRow]
    in_progress: list[InProgress]


class GraphBreak(BaseModel):
    """Where Dynamo had to end a graph."""

    reason: str
    file: str
    line: int


class CompileEvent(BaseModel):
    """Something that happened inside a compile; it accounts for no time."""

    name: Annotated[str, Field(examples=["torch.compile.graph"])]
    at: dt.datetime
    attributes: dict[str, Any]

    @classmethod
    def of(cls, event: records.CompileEvent) -> CompileEvent:
        """Take one of the library."""
        return cls(name=event.name, at=moment(event.time_ns), attributes=dict(event.attributes))


class Compile(BaseModel):
    """One record; see `compilespan.CompileRecord`."""

    name: str
    is_encoder: bool
    kind: Kind
    trigger: str
    phase: Phase
    outcome: Outcome
    error_type: str | None
    started_at: dt.datetime
    duration_s: float
    graphs: int
    cache_hits: int
    cache_misses: int
    cache_bypasses: int
    cache_result: CacheResult | None
    is_recompile: bool
    recompile_reason: str | None
    recompile_limit_hit: bool
    graph_breaks: list[GraphBreak]
    events: list[CompileEvent]
    compile_ids: list[str]
    trace_id: str
    span_id: str
    pid: int
    thread_id: int

    @classmethod
    def of(cls, record: records.CompileRecord) -> Compile:
        """Take one of the library."""
        return cls.model_validate(
            {
                **record.to_json(),
                "started_at": moment(record.start_ns),
                "duration_s": record.duration_s,
                "events": [CompileEvent.of(event) for event in record.events],
            }
        )


class Begin(BaseModel):
    """A compile of a job began; its ``key`` tells its events from others'."""

    key: int
    name: str
    is_encoder: bool
    started_at: dt.datetime


class Happened(CompileEvent):
    """Something happened inside the compile with this key."""

    key: int


class Ended(BaseModel):
    """The compile with this key ended."""

    key: int
    compile: Compile


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


class Health(BaseModel):
    """What a probe says of the process."""

    state: str
    phase: Literal["startup", "warmup", "serving"]
    elapsed_s: Annotated[float, Field(description="Seconds since the process began.")]
    detail: str | None = None


class Problem(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:compilespan:problem:plan-conflict"])]
    title: str
    status: int
    detail: str


def moment(time_ns: int) -> dt.datetime:
    """Return a time of the library, nanoseconds since the epoch, as it travels."""
    return dt.datetime.fromtimestamp(time_ns / 1e9, dt.timezone.utc)
