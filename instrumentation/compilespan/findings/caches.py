"""Caches that did not help, and stages that dominate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.findings.finding import Evidence, Finding, seconds, short, times
from compilespan.findings.grouping import grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import Stage

_CACHING = "https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_tutorial.html"
_SHARE = 0.5
_LEAST_S = 1.0


def bypassed(evidence: Evidence) -> Iterable[Finding]:
    """Graphs that were compiled and not stored: the next start compiles them again."""
    records = [record for record in evidence.records if record.cache_bypasses]
    for group in grouped(records, lambda each: each.name):
        first, count = group[0], sum(record.cache_bypasses for record in group)
        yield Finding(
            code="CS030",
            what=f"{first.name}: {count} graph{'s' * (count > 1)} compiled and not stored",
            seconds=seconds(group),
            count=count,
            name=first.name,
            file=first.file,
            line=first.line or 0,
            evidence=f"{count} bypassed, {sum(r.cache_hits + r.cache_misses for r in group)} asked",
            fix="do not set TORCHINDUCTOR_FORCE_DISABLE_CACHES; TORCH_LOGS=+inductor says why a "
            "graph bypasses the cache",
            link=_CACHING,
        )


def kernels(evidence: Evidence) -> Iterable[Finding]:
    """Kernels that were built because the cache was empty, if that took most of the time."""
    missed = [record for record in evidence.records if record.cache_misses]
    spent_s, whole_s = _stage(missed, "kernels"), seconds(missed)
    if spent_s >= max(_LEAST_S, _SHARE * whole_s):
        graphs = sum(record.cache_misses for record in missed)
        yield Finding(
            code="CS031",
            what=f"building kernels in an empty cache ({graphs} graph{'s' * (graphs > 1)})",
            seconds=spent_s,
            count=graphs,
            evidence=f"{short(spent_s)} of {short(whole_s)} went into building kernels",
            fix="keep TORCHINDUCTOR_CACHE_DIR from one start to the next, e.g. on a volume",
            link=_CACHING,
        )


def tuning(evidence: Evidence) -> Iterable[Finding]:
    """Kernels that were tuned, in a compile or at their first launch."""
    compiled = [record for record in evidence.records if record.kind == "compile"]
    launched = [record for record in evidence.records if record.trigger == "autotune"]
    spent_s = _stage(compiled, "autotune") + seconds(launched)
    if spent_s >= _LEAST_S:
        are_warm = bool(compiled) and not any(record.cache_misses for record in compiled)
        yield Finding(
            code="CS033" if are_warm else "CS032",
            what="kernels were tuned although all graphs came from the cache"
            if are_warm
            else "tuning kernels",
            seconds=spent_s,
            count=len(launched) + sum("autotune" in record.stages for record in compiled),
            evidence=f"{short(spent_s)} in torch's autotuning, of them {short(seconds(launched))} "
            "at first launches",
            fix="keep TORCHINDUCTOR_CACHE_DIR and TRITON_CACHE_DIR together: results of tuning lie "
            "beside the kernels; max_autotune=False tunes less",
            link=_CACHING,
        )


def alike(evidence: Evidence) -> Iterable[Finding]:
    """Graphs that several processes compiled, each for itself."""
    by_key: dict[str, list[CompileRecord]] = {}
    for record in evidence.records:
        if record.cache_misses:
            for key in _keys(record):
                by_key.setdefault(key, []).append(record)
    doubled = [
        records for records in by_key.values() if len({record.pid for record in records}) > 1
    ]
    for group in grouped(doubled, lambda records: records[0].name):
        records = list({id(record): record for each in group for record in each}.values())
        pids = {record.pid for record in records}
        lost_s = seconds(records) - max(
            seconds(record for record in records if record.pid == pid) for pid in pids
        )
        yield Finding(
            code="CS040",
            what=f"{len(pids)} processes compiled {records[0].name} alike, each for itself",
            seconds=lost_s,
            count=len(pids),
            name=records[0].name,
            file=records[0].file,
            line=records[0].line or 0,
            evidence=f"the same cache key was missed {times(len(records))}",
            fix="let one process warm up first, the others with the same TORCHINDUCTOR_CACHE_DIR",
            link=_CACHING,
        )


def ranks(evidence: Evidence) -> Iterable[Finding]:
    """Processes that missed what others had in their caches: all of them waited."""
    compiled = [record for record in evidence.records if record.kind == "compile" and record.graphs]
    for group in grouped(compiled, lambda each: each.name):
        missed = [record for record in group if record.cache_misses]
        hit = [record for record in group if record.cache_hits and not record.cache_misses]
        late = {record.pid for record in missed} - {record.pid for record in hit}
        early = {record.pid for record in hit} - {record.pid for record in missed}
        if late and early:
            yield Finding(
                code="CS041",
                what=f"{len(late)} of {len(late) + len(early)} processes missed what the others "
                f"had of {group[0].name}",
                seconds=max(record.duration_s for record in missed),
                count=len(late),
                name=group[0].name,
                file=group[0].file,
                line=group[0].line or 0,
                evidence=f"process {', '.join(map(str, sorted(late)))} compiled for "
                f"{short(seconds(missed))}, the others loaded it in {short(seconds(hit))}",
                fix="give all processes the same TORCHINDUCTOR_CACHE_DIR, versions and devices",
                link=_CACHING,
            )


def _stage(records: Sequence[CompileRecord], stage: Stage) -> float:
    return sum(record.stages_ns.get(stage, 0) for record in records) / 1e9


def _keys(record: CompileRecord) -> set[str]:
    return {
        str(event.attributes["torch.compile.cache.key"])
        for event in record.events
        if event.attributes.get("torch.compile.cache.result") == "miss"
        and "torch.compile.cache.key" in event.attributes
    }
