"""Caches that did not help, and stages that dominate."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.findings.finding import Evidence, Finding, refs, seconds, short, subject_of
from compilespan.findings.grouping import folded, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import Stage

_CACHING = "https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_tutorial.html"
_SHARE = 0.5
_LEAST_S = 1.0
_MAX_REASONS = 8


def bypassed(evidence: Evidence) -> Iterable[Finding]:
    """Graphs that were compiled and not stored: the next start compiles them again."""
    records = [record for record in evidence.records if record.cache_bypasses]
    for group in grouped(records, lambda each: (each.name, folded(_why(each)))):
        first, count = group[0], sum(record.cache_bypasses for record in group)
        yield Finding(
            code="CS030",
            what=f"{first.name}: {count} graph{'s' * (count > 1)} compiled and not stored",
            seconds=sum(
                record.duration_s * min(1, record.cache_bypasses / max(1, record.graphs))
                for record in group
            ),
            count=count,
            **subject_of(first, group),
            evidence=_why(first) or "torch gives no reason: its caches may be off",
            fix="check that TORCHINDUCTOR_FORCE_DISABLE_CACHES is not set; change what torch "
            "cannot store",
            link=_CACHING,
        )


def kernels(evidence: Evidence) -> Iterable[Finding]:
    """Kernels that were built because the cache was empty, if that took most of the time."""
    missed = [record for record in evidence.records if record.cache_misses]
    spent_s, whole_s = _stage(missed, "kernels"), seconds(missed)
    if spent_s >= max(_LEAST_S, _SHARE * whole_s):
        graphs = sum(record.cache_misses for record in missed)
        is_empty = not any(record.cache_hits for record in evidence.records)
        where = "in an empty cache" if is_empty else "that the cache did not have"
        yield Finding(
            code="CS031",
            what=f"building kernels {where} ({graphs} graph{'s' * (graphs > 1)})",
            seconds=spent_s,
            count=graphs,
            evidence=f"{short(spent_s)} of {short(whole_s)} went into building kernels",
            fix="keep TORCHINDUCTOR_CACHE_DIR from one start to the next, e.g. on a volume",
            link=_CACHING,
        )


def lost(evidence: Evidence) -> Iterable[Finding]:
    """Graphs that an earlier start had in the cache, and this start compiled again."""
    earlier = set(evidence.earlier_keys)
    found = [
        (record, graphs)
        for record in evidence.records
        if record.cache_misses and (graphs := len(earlier.intersection(record.keys_of("miss"))))
    ]
    if found:
        count = sum(graphs for _, graphs in found)
        yield Finding(
            code="CS034",
            what=f"{count} graph{'s' * (count > 1)} compiled again that were in the cache of an "
            "earlier start",
            seconds=sum(
                record.duration_s * min(1, graphs / record.cache_misses) for record, graphs in found
            ),
            count=count,
            evidence="same keys, so code, versions and device are the same; only the cache is gone",
            fix="let all starts use the same TORCHINDUCTOR_CACHE_DIR on a volume that outlives the "
            "container, and check that nothing empties it",
            link=_CACHING,
            compiles=refs(record for record, _ in found),
        )


def rebuilt(evidence: Evidence) -> Iterable[Finding]:
    """Graphs that came from the cache without the code that they refer to."""
    records = [record for record in evidence.records if record.cache_rebuilds]
    if records:
        count, hits = (
            sum(getattr(record, column) for record in records)
            for column in ("cache_rebuilds", "cache_hits")
        )
        spent_s = _stage(records, "kernels")
        yield Finding(
            code="CS035",
            what=f"{count} of {hits} hit{'s' * (hits > 1)}, code built again: {short(spent_s)}",
            seconds=spent_s,
            count=count,
            evidence=f"{short(spent_s)} of {short(seconds(records))} went into building kernels",
            fix="carry the whole TORCHINDUCTOR_CACHE_DIR, with the libraries: torch's bundle "
            "(save_cache_artifacts) and its Redis cache have none; --cache-url does it",
            link=_CACHING,
            compiles=refs(records),
        )


def tuning(evidence: Evidence) -> Iterable[Finding]:
    """Kernels that were tuned, in a compile or at their first launch."""
    compiled = [record for record in evidence.records if record.kind == "compile"]
    launched = [record for record in evidence.records if record.trigger == "autotune"]
    spent_s = _stage(compiled, "autotune") + seconds(launched)
    if spent_s >= _LEAST_S:
        are_warm = any(record.cache_hits for record in compiled) and not any(
            record.cache_misses or record.cache_bypasses for record in compiled
        )
        yield Finding(
            code="CS033" if are_warm else "CS032",
            what="kernels were tuned although all graphs came from the cache"
            if are_warm
            else "tuning kernels",
            seconds=spent_s,
            count=len(launched) + sum("autotune" in record.stages for record in compiled),
            evidence=f"{short(spent_s)} in torch's autotuning, {short(seconds(launched))} of them "
            "at first launches",
            fix="keep TORCHINDUCTOR_CACHE_DIR from one start to the next: it holds the results of "
            "tuning; if TRITON_CACHE_DIR is set, keep it, too",
            link=_CACHING,
        )


def alike(evidence: Evidence) -> Iterable[Finding]:
    """Graphs that several processes compiled, each for itself."""
    missed = [record for record in evidence.records if record.cache_misses]
    for group in grouped(missed, lambda each: each.name):
        by_key: dict[str, dict[int, float]] = {}
        for record in group:
            for key in record.keys_of("miss"):
                spent_s = record.duration_s / record.cache_misses
                by_key.setdefault(key, {})[record.pid] = spent_s
        shared = [by_pid for by_pid in by_key.values() if len(by_pid) > 1]
        if shared:
            pids = {pid for by_pid in shared for pid in by_pid}
            yield Finding(
                code="CS040",
                what=f"{len(pids)} processes each compiled the same graphs of {group[0].name}",
                seconds=sum(sum(each.values()) - max(each.values()) for each in shared),
                count=len(pids),
                **subject_of(group[0], group),
                evidence=f"{len(shared)} graph{'s' * (len(shared) > 1)} with the same key in "
                f"{len(pids)} processes",
                fix="let one process warm up first, then the others with the same "
                "TORCHINDUCTOR_CACHE_DIR",
                link=_CACHING,
            )


def ranks(evidence: Evidence) -> Iterable[Finding]:
    """Processes that missed graphs which others had in their caches: all of them waited."""
    compiled = [record for record in evidence.records if record.kind == "compile" and record.graphs]
    for group in grouped(compiled, lambda each: each.name):
        firsts = {record.pid: record for record in reversed(group)}.values()
        hit = [record for record in firsts if record.cache_hits and not record.cache_misses]
        # It is fine if one process compiles first and the others load the result.
        missed = [
            record
            for record in firsts
            if record.cache_misses and any(other.start_ns < record.end_ns for other in hit)
        ]
        if missed and hit:
            late = ", ".join(str(record.pid) for record in missed[:_MAX_REASONS])
            yield Finding(
                code="CS041",
                what=f"{len(missed)} of {len(firsts)} processes missed graphs of "
                f"{group[0].name} that others had cached",
                seconds=max(record.duration_s for record in missed),
                count=len(missed),
                **subject_of(group[0], group),
                evidence=f"process {late} compiled for {short(seconds(missed))}, {len(hit)} others "
                f"loaded it in {short(seconds(hit))}",
                fix="give all processes the same TORCHINDUCTOR_CACHE_DIR, versions and devices",
                link=_CACHING,
            )


def _stage(records: Sequence[CompileRecord], stage: Stage) -> float:
    return sum(record.stages_ns.get(stage, 0) for record in records) / 1e9


def _why(record: CompileRecord) -> str:
    """Return torch's reasons why graphs bypassed the caches."""
    reasons = (
        str(event.attributes[semconv.CACHE_BYPASS_REASON])
        for event in record.events
        if semconv.CACHE_BYPASS_REASON in event.attributes
    )
    return "; ".join(dict.fromkeys(itertools.islice(reasons, _MAX_REASONS)))
