"""Compiles while serving, waits for CPUs, imports, and targets that run eager."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compilespan.findings.finding import Evidence, Finding, seconds, short, subject_of, times
from compilespan.findings.grouping import folded, grouped
from compilespan.findings.recompiles import UNKNOWN, fix_of
from compilespan.ledger.reasons import guard

if TYPE_CHECKING:
    from collections.abc import Iterable

_WAIT_SHARE = 0.25
_LEAST_S = 1.0
_IMPORT_S = 5.0
_MAX_NAMES = 4


def serving(evidence: Evidence) -> Iterable[Finding]:
    """Compiles after the process was ready: a request waited for each."""
    records = [
        record
        for record in evidence.records
        if record.phase == "serving"
        and record.kind == "compile"
        and record.outcome == "ok"
        and not record.recompile_limit_hit
    ]
    for group in grouped(records, lambda each: (each.name, each.request)):
        last, reason = group[-1], guard(group[-1].recompile_reason or "")
        under = f" under {last.request}" if last.request else ""
        yield Finding(
            code="CS050",
            what=f"{last.name} compiled {times(len(group))} while serving{under}",
            seconds=seconds(group),
            count=len(group),
            **subject_of(last, group),
            evidence=reason
            or (UNKNOWN if last.is_recompile else "it was called for the first time"),
            fix="warm up with what these requests send: add it to the target's shapes"
            + (f"; or {fix_of(reason)}" if reason else ""),
        )


def cpu(evidence: Evidence) -> Iterable[Finding]:
    """Compiling threads that waited for a CPU."""
    timed = [record for record in evidence.records if record.cpu_wait_s is not None]
    waited_s = sum(min(record.cpu_wait_s or 0.0, record.duration_s) for record in timed)
    whole_s = seconds(timed)
    if waited_s >= max(_LEAST_S, _WAIT_SHARE * whole_s):
        processes = len({record.pid for record in timed})
        yield Finding(
            code="CS060",
            what=f"waited {waited_s / whole_s:.0%} of {short(whole_s)} for a CPU",
            seconds=waited_s,
            count=len(timed),
            evidence=f"{processes} process{'es' * (processes > 1)} compiled on {evidence.cpus:g} "
            f"CPU{'s' * (evidence.cpus != 1)}{_held_back(evidence)}",
            fix="give the start more CPUs, or start fewer processes at once; set "
            "TORCHINDUCTOR_COMPILE_THREADS to CPUs / processes",
        )


def _held_back(evidence: Evidence) -> str:
    """Return how throttling and the number of compile threads contributed."""
    said = ""
    if evidence.throttled_s:
        said += f"; their cgroup was throttled for {short(evidence.throttled_s)} (cpu.stat)"
    if evidence.compile_threads > math.ceil(evidence.cpus):
        said += f"; inductor builds kernels with up to {evidence.compile_threads} threads"
    return said


def imports(evidence: Evidence) -> Iterable[Finding]:
    """Packages whose imports took at least 5 seconds of the start."""
    if evidence.start is None:
        return
    for package, spent_s in evidence.start.imports_s.items():
        if spent_s >= _IMPORT_S:
            count = sum(
                segment.part == "import" and segment.name == package
                for segment in evidence.start.joined()
            )
            yield Finding(
                code="CS070",
                what=f"importing {package} took {short(spent_s)}",
                seconds=spent_s,
                count=max(1, count),
                evidence=f"{short(spent_s)} of a start of "
                f"{short(sum(evidence.start.parts_s.values()))}",
                fix="keep site-packages and its __pycache__ on a local disk, compiled "
                "(python -m compileall); start fewer processes, because each imports it",
            )


def imports_inside(evidence: Evidence) -> Iterable[Finding]:
    """Packages that were imported during compiles, e.g. inductor and triton."""
    if evidence.start is None or sum(evidence.start.inside_s.values()) < _LEAST_S:
        return
    inside_s = evidence.start.inside_s
    spent_s = sum(inside_s.values())
    more = f" and {len(inside_s) - _MAX_NAMES} more" * (len(inside_s) > _MAX_NAMES)
    named = list(inside_s.items())[:_MAX_NAMES]
    yield Finding(
        code="CS071",
        what=f"importing {', '.join(name for name, _ in named)}{more} inside a compile took "
        f"{short(spent_s)}",
        seconds=spent_s,
        count=len(inside_s),
        evidence=", ".join(f"{name} {short(each_s)}" for name, each_s in named) + more,
        fix="import torch._inductor.compile_fx (and triton) while the weights are loaded, in a "
        "thread; keep site-packages and its __pycache__ on a local disk",
    )


def eager(evidence: Evidence) -> Iterable[Finding]:
    """Items of a warmup that run eager."""
    for group in grouped(evidence.eager, lambda item: (item.target, folded(item.why))):
        first = group[0]
        yield Finding(
            code="CS080",
            what=f"{first.target} runs eager for {len(group)} shape{'s' * (len(group) > 1)}",
            seconds=0.0,
            count=len(group),
            name=first.target,
            evidence=first.why,
            fix="compile what run() calls, or leave the target out; TORCH_LOGS=+dynamo shows "
            "what Dynamo does with it",
            is_serious=True,
        )
