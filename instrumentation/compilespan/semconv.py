"""The names of everything that compilespan emits, and the values that an attribute may take.

The registry beside this file (``registry/compilespan.yaml``, in OpenTelemetry's
semantic-convention format) describes each name; tests compare both with what is emitted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

SCOPE: Final = "compilespan"
"""Instrumentation scope of everything that is emitted."""
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""Schema of OpenTelemetry's attribute names. Our own names are in the registry beside this file."""
__version__ = "0.1.0"

Kind = Literal["compile", "load", "capture", "kernel", "empty"]
Trigger = Literal[
    "dynamo",
    "lazy_backward",
    "aot_compile",
    "standalone",
    "export",
    "cache_load",
    "aot_load",
    "cudagraph",
    "kernel",
    "autotune",
    "explicit",
]
Component = Literal["encoder", "language_model", "other"]
Phase = Literal["startup", "warmup", "serving"]
Part = Literal["boot", "compile", "capture", "load", "import", "wait", "other"]
Stage = Literal["trace", "autograd", "lower", "kernels", "autotune", "cache", "other"]
Outcome = Literal["ok", "skipped", "failed"]
CacheResult = Literal["hit", "miss", "bypass", "mixed"]
CacheState = Literal["cold", "warm", "no cache", "unknown"]
WaitOutcome = Literal["built", "failed", "lost", "bound"]
JobEnd = Literal["succeeded", "failed", "timed_out", "cancelled"]

SPAN_COMPILE: Final = "torch.compile"
"""Followed by the compile's name. Select spans by attribute or scope, never by name."""
SPAN_WARMUP: Final = "compilespan.warmup"
SPAN_WARMUP_ITEM: Final = "compilespan.warmup.item"
"""Followed by the target's name."""
SPAN_STARTUP: Final = "compilespan.startup"
"""Its children are named ``compilespan.startup.{part}``."""
SPAN_FLEET: Final = "compilespan.fleet"
SPAN_CACHE_FETCH: Final = "compilespan.cache.fetch"
SPAN_CACHE_WAIT: Final = "compilespan.cache.wait"
SPAN_CACHE_PUBLISH: Final = "compilespan.cache.publish"

IS_ENCODER: Final = "is_encoder"
COMPONENT: Final = "torch.compile.component"
NAME: Final = "torch.compile.name"
KIND: Final = "torch.compile.kind"
TRIGGER: Final = "torch.compile.trigger"
PHASE: Final = "torch.compile.phase"
BACKEND: Final = "torch.compile.backend"
OUTCOME: Final = "torch.compile.outcome"
COMPILE_IDS: Final = "torch.compile.ids"
GRAPH_COUNT: Final = "torch.compile.graph.count"
GRAPH_BREAK_COUNT: Final = "torch.compile.graph_break.count"
IS_RECOMPILE: Final = "torch.compile.is_recompile"
CACHE_RESULT: Final = "torch.compile.cache.result"
CACHE_KEY: Final = "torch.compile.cache.key"
CACHE_BYPASS_REASON: Final = "torch.compile.cache.bypass.reason"
CACHE_MISS_REASON: Final = "torch.compile.cache.miss.reason"
CACHE_IS_REBUILT: Final = "torch.compile.cache.is_rebuilt"
EVENT_DROPPED: Final = "torch.compile.event.dropped"
GRAPH_INDEX: Final = "torch.compile.graph.index"
OP_COUNT: Final = "torch.compile.graph.op_count"
NODE_COUNT: Final = "torch.compile.graph.node_count"
RANGE: Final = "torch.compile.range"
GRAPH_BREAK_REASON: Final = "torch.compile.graph_break.reason"
GRAPH_BREAK_HINT: Final = "torch.compile.graph_break.hint"
GRAPH_BREAK_LINK: Final = "torch.compile.graph_break.link"
GRAPH_BREAK_INNER_FILE: Final = "torch.compile.graph_break.inner.file.path"
GRAPH_BREAK_INNER_LINE: Final = "torch.compile.graph_break.inner.line.number"
STAGE: Final = "torch.compile.stage"
CPU_TIME: Final = "torch.compile.cpu.time"
CPU_WAIT: Final = "torch.compile.cpu.wait"
SKIP_REASON: Final = "torch.compile.skip.reason"
RECOMPILE_REASON: Final = "torch.compile.recompile.reason"
RECOMPILE_REASON_CLASS: Final = "torch.compile.recompile.reason_class"
CODE_FUNCTION_NAME: Final = "code.function.name"
CODE_FILE_PATH: Final = "code.file.path"
CODE_LINE_NUMBER: Final = "code.line.number"
ERROR_TYPE: Final = "error.type"

EVENT_GRAPH: Final = "torch.compile.graph"
EVENT_GRAPH_BREAK: Final = "torch.compile.graph_break"
EVENT_RECOMPILE: Final = "torch.compile.recompile"
EVENT_RECOMPILE_LIMIT: Final = "torch.compile.recompile_limit"
EVENT_STAGE: Final = "torch.compile.stage"
EVENT_NESTED: Final = "torch.compile.nested"
EVENT_CUDAGRAPH: Final = "torch.compile.cudagraph"
EVENT_EXCEPTION: Final = "exception"
EVENT_INTERRUPTED: Final = "compilespan.startup.interrupted"

METRIC_DURATION: Final = "torch.compile.duration"
METRIC_GRAPHS: Final = "torch.compile.graphs"
METRIC_CACHE_QUARANTINES: Final = "compilespan.cache.quarantines"
METRIC_CACHE_REBUILDS: Final = "torch.compile.cache.rebuilds"
METRIC_RECOMPILES: Final = "torch.compile.recompiles"
METRIC_RECOMPILE_LIMIT_HITS: Final = "torch.compile.recompile_limit_hits"
METRIC_STAGE_TIME: Final = "torch.compile.stage.time"
METRIC_ACTIVE: Final = "torch.compile.active_compiles"
METRIC_OLDEST_ACTIVE_AGE: Final = "torch.compile.oldest_active_age"
METRIC_READY: Final = "compilespan.ready"
METRIC_STARTUP_DURATION: Final = "compilespan.startup.duration"
METRIC_STARTUP_PART_DURATION: Final = "compilespan.startup.part.duration"
METRIC_STARTUP_BEGAN: Final = "compilespan.startup.began"
METRIC_WARMUP_DURATION: Final = "compilespan.warmup.duration"
METRIC_DROPPED: Final = "compilespan.telemetry.dropped"

INSTANCE: Final = "compilespan.instance.id"
STARTUP_TRACE: Final = "compilespan.startup.trace_id"
TORCH_VERSION: Final = "torch.version"
DEVICE: Final = "torch.device.name"
RANK: Final = "torch.distributed.rank"
WORLD_SIZE: Final = "torch.distributed.world_size"
STARTUP_OUTCOME: Final = "compilespan.startup.outcome"
STARTUP_PART: Final = "compilespan.startup.part"
STARTUP_PART_NAME: Final = "compilespan.startup.part.name"
JOB_ID: Final = "compilespan.job.id"
JOB_STATE: Final = "compilespan.job.state"
TARGET: Final = "compilespan.target"
SHAPE: Final = "compilespan.shape"
ITEM_STATE: Final = "compilespan.item.state"
FLEET_NAME: Final = "compilespan.fleet.name"
FLEET_REPLICAS: Final = "compilespan.fleet.replicas"
CACHE_ENTRIES: Final = "compilespan.cache.entries"
CACHE_SIZE: Final = "compilespan.cache.size"
CACHE_LEADER: Final = "compilespan.cache.leader"
CACHE_WAIT_OUTCOME: Final = "compilespan.cache.wait.outcome"
SIGNAL: Final = "compilespan.signal"

DURATION_BUCKETS_S: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
)
"""Advised bucket bounds: a warm load of one graph takes 50 ms, a cold start up to an hour."""

MAX_NAMES: Final = 64
"""Values kept on metrics of an attribute that the program sets; later ones become `OTHER`."""
OTHER: Final = "_other"

MAX_NAME_LENGTH: Final = 200
MAX_REASON_LENGTH: Final = 1024
"""In characters; longer names and reasons (guards, graph breaks) are cut."""

_DURATION: Final = re.compile(
    r"duration|elapsed|latency|seconds|time_(taken|saved)|_(s|ms|us|ns)$", re.IGNORECASE
)


def is_duration(attribute: str) -> bool:
    """Whether an attribute's name denotes a duration."""
    return _DURATION.search(attribute) is not None


def text(value: object, limit: int = MAX_REASON_LENGTH) -> str:
    """Return ``value`` as valid UTF-8 of at most ``limit`` characters; a cut ends in an ellipsis.

    Exporters refuse a whole batch if it contains one lone surrogate, and ``os.fsdecode`` produces
    them for file names in another encoding.
    """
    try:
        given = str(value)
    except Exception:  # the program's __str__ may raise
        given = f"<{type(value).__name__}: its __str__ raises>"
    clean = given if given.isascii() else given.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def name(value: object) -> str:
    """Return ``value`` as a name: valid UTF-8, one line, at most 200 characters."""
    return text(" ".join(str(value).split()), MAX_NAME_LENGTH)


def bounded(value: str, known: Collection[str]) -> str:
    """Return ``value`` if it is known or fewer than 64 are known, else ``_other``."""
    return value if value in known or len(known) < MAX_NAMES else OTHER
