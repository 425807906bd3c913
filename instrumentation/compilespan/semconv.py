"""The names of everything that compilespan emits, and the values that an attribute may take.

The registry beside this file (``registry/compilespan.yaml``, in OpenTelemetry's
semantic-convention format) describes each name; a test holds the two, and what is emitted,
against each other.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Kind = Literal["compile", "load", "capture", "empty"]
Trigger = Literal[
    "dynamo",
    "lazy_backward",
    "aot_compile",
    "standalone",
    "export",
    "cache_load",
    "aot_load",
    "cudagraph",
    "explicit",
]
Phase = Literal["startup", "warmup", "serving"]
Outcome = Literal["ok", "skipped", "failed"]
CacheResult = Literal["hit", "miss", "bypass", "mixed"]

SPAN_COMPILE: Final = "torch.compile"
SPAN_WARMUP: Final = "warmup"
SPAN_WARMUP_ITEM: Final = "warmup.item"
SPAN_STARTUP: Final = "startup"
SPAN_STARTUP_IMPORT: Final = "startup.import"
SPAN_STARTUP_LOAD: Final = "startup.load"

IS_ENCODER: Final = "is_encoder"
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
EVENT_DROPPED: Final = "torch.compile.event.dropped"
GRAPH_INDEX: Final = "torch.compile.graph.index"
OP_COUNT: Final = "torch.compile.graph.op_count"
NODE_COUNT: Final = "torch.compile.graph.node_count"
RANGE: Final = "torch.compile.range"
GRAPH_BREAK_REASON: Final = "torch.compile.graph_break.reason"
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
EVENT_NESTED: Final = "torch.compile.nested"
EVENT_CUDAGRAPH: Final = "torch.compile.cudagraph"
EVENT_EXCEPTION: Final = "exception"
EVENT_INTERRUPTED: Final = "compilespan.startup.interrupted"

METRIC_DURATION: Final = "torch.compile.duration"
METRIC_GRAPHS: Final = "torch.compile.graphs"
METRIC_RECOMPILES: Final = "torch.compile.recompiles"
METRIC_RECOMPILE_LIMIT_HITS: Final = "torch.compile.recompile_limit_hits"
METRIC_ACTIVE: Final = "torch.compile.active_compiles"
METRIC_OLDEST_ACTIVE_AGE: Final = "torch.compile.oldest_active_age"
METRIC_READY: Final = "compilespan.ready"
METRIC_STARTUP_DURATION: Final = "compilespan.startup.duration"
METRIC_WARMUP_DURATION: Final = "compilespan.warmup.duration"
METRIC_DROPPED: Final = "compilespan.telemetry.dropped"

INSTANCE: Final = "compilespan.instance.id"
TORCH_VERSION: Final = "torch.version"
RANK: Final = "torch.distributed.rank"
WORLD_SIZE: Final = "torch.distributed.world_size"
STARTUP_OUTCOME: Final = "compilespan.startup.outcome"
STARTUP_PHASE: Final = "compilespan.startup.phase"
JOB_ID: Final = "compilespan.job.id"
JOB_STATE: Final = "compilespan.job.state"
TARGET: Final = "compilespan.target"
SHAPE: Final = "compilespan.shape"
ITEM_STATE: Final = "compilespan.item.state"
SIGNAL: Final = "compilespan.signal"

DURATION_BUCKETS_S: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
)
"""Advised bounds: a warm load of one graph takes 50 ms, a cold start up to an hour."""

MAX_NAMES: Final = 64
"""So many values ``torch.compile.name`` takes on metrics; what comes later is `OTHER`."""
OTHER: Final = "_other"

MAX_REASON_LENGTH: Final = 1024
"""Reasons (guards, graph breaks) are cut here, in characters."""

_DURATION: Final = re.compile(
    r"duration|elapsed|latency|seconds|time_(taken|saved)|_(s|ms|us|ns)$", re.IGNORECASE
)


def is_duration(attribute: str) -> bool:
    """Whether an attribute's name says that it is a length of time."""
    return _DURATION.search(attribute) is not None


def cut(reason: str) -> str:
    """Return ``reason`` bounded to `MAX_REASON_LENGTH` characters, an ellipsis at a cut."""
    if len(reason) <= MAX_REASON_LENGTH:
        return reason
    return reason[: MAX_REASON_LENGTH - 1] + "…"
