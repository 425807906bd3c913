"""A captured run with two components, a recompile, a failure and an interrupted compile."""

from __future__ import annotations

import dataclasses
import functools

from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from compilespan.ledger.records import CompileEvent
from compilespan.ledger.segments import Segment
from compilespan.ledger.start import Start
from compilespan.ledger.totals import TotalsBuilder
from compilespan_service.capture.capture import Capture, Interrupted, Parts
from support import record

BEGAN_NS = 1_790_000_000_000_000_000
S = 1_000_000_000


def at(seconds):
    return BEGAN_NS + int(seconds * S)


def compiled(name, begin_s, seconds, **fields):
    return record(name=name, start_ns=at(begin_s), duration_ns=int(seconds * S), **fields)


def stages(**seconds):
    return {stage: float(spent) for stage, spent in seconds.items()}


llama = functools.partial(
    compiled,
    "LlamaForCausalLM",
    component="language_model",
    graphs=1,
    cache_misses=1,
    cache_result="miss",
    file="/srv/models/llama.py",
    line=27,
)

RECORDS = (
    compiled(
        "CLIPVisionModelWithProjection.forward",
        3.5,
        14.9,
        component="encoder",
        is_encoder=True,
        graphs=2,
        cache_misses=2,
        cache_result="miss",
        stages=stages(trace=0.9, lower=3.0, kernels=11.0),
        compile_ids=("0/0",),
        events=(
            CompileEvent("torch.compile.graph", at(5), {"torch.compile.graph.index": 0}),
            CompileEvent("torch.compile.stage", at(3.5), {"torch.compile.stage": "trace"}),
            CompileEvent("torch.compile.stage", at(4.4), {"torch.compile.stage": "lower"}),
            CompileEvent("torch.compile.stage", at(7.4), {"torch.compile.stage": "kernels"}),
        ),
    ),
    llama(18.4, 19.5, stages=stages(trace=1.5, lower=4.0, kernels=14.0), compile_ids=("1/0",)),
    llama(
        37.9,
        6.1,
        is_recompile=True,
        recompile_reason="1/0: tensor 'ids' size mismatch at index 1. expected 16, actual 17",
        stages=stages(trace=0.6, lower=1.5, kernels=4.0),
        compile_ids=("1/1",),
    ),
    compiled(
        "<lambda>",
        44.1,
        1.2,
        outcome="failed",
        error_type="torch._dynamo.exc.BackendCompilerFailed",
        error_message="backend='inductor' raised: CppCompileError: C++ compile error",
        stages=stages(kernels=1.2),
    ),
)


def start_of(end_s=46.0):
    parts = (
        ("boot", 0.0, 0.1, None, None),
        ("import", 0.1, 2.2, "torch", None),
        ("load", 2.2, 3.5, "LlamaForCausalLM", None),
        ("compile", 3.5, 18.4, None, "encoder"),
        ("compile", 18.4, 44.0, None, "language_model"),
        ("other", 44.0, 44.1, None, None),
        ("compile", 44.1, 45.3, None, "other"),
        ("other", 45.3, end_s, None, None),
    )
    return Start(
        tuple(
            Segment(part, at(a), at(b), name, component) for part, a, b, name, component in parts
        ),
    )


def capture(records=RECORDS, **fields):
    builder = TotalsBuilder()
    for each in records:
        builder.add(each)
    start = start_of()
    found = Capture(
        command=("python", "/srv/models/serve.py", "--port", "8000"),
        began_ns=BEGAN_NS,
        wall_s=46.0,
        exit_code=1,
        host={
            "name": "gpu-7.internal",
            "system": "Linux 6.1",
            "machine": "x86_64",
            "cpus": 2.0,
            "cpu_count": 2,
            "memory_bytes": 8_000_000_000,
        },
        versions={"compilespan": "0.2.0", "python": "3.12.1", "torch": "2.13.0"},
        processes=1,
        saw_torch=True,
        totals=builder.build(),
        start=Parts.of(start),
        findings=findings(Evidence(records, start, cpus=2.0)),
        compiles=records,
    )
    return dataclasses.replace(found, **fields)


CUT_OFF = Interrupted(
    name="VisionTower",
    component="encoder",
    pid=4711,
    start_ns=at(40),
    elapsed_s=5.5,
    graphs=1,
    stage="kernels",
    is_running=False,
    peak_bytes=7_400_000_000,
    limit_bytes=8_000_000_000,
)
