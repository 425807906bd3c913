"""Why graphs were not in the cache, and how the next start finds them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.findings.finding import Evidence, Finding, subject_of
from compilespan.findings.grouping import grouped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compilespan.ledger.records import CompileRecord

_LINK = "https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_tutorial.html"
_FIXES = {
    "thread count": "give all starts the same OMP_NUM_THREADS: its default is the number of CPUs",
    "grad mode": "warm up under the grad mode of serving: torch.no_grad or torch.inference_mode",
    "autocast": "warm up under the autocast of serving",
    "default dtype": "set the default dtype before the first compile, to the same in all starts",
    "matmul precision": "call torch.set_float32_matmul_precision before the first compile, with "
    "the same value in all starts",
    "deterministic algorithms": "call torch.use_deterministic_algorithms in all starts or in none",
    "dynamic shapes": "compile with the same dynamic=, and warm up the same sizes in the same "
    "order: a second size makes a dimension dynamic",
    "config": "use the same mode=, options=, TORCHINDUCTOR_* variables and settings of torch",
    "argument": "warm up what is served: sizes, dtypes, strides and devices are part of the key",
    "number of arguments": "warm up what is served: the inputs of the graph are part of the key",
    "environment": "set these variables to the same values in all starts, or in none: vLLM makes "
    "its cache's key of them",
    "vLLM's configuration": "start vLLM with the same options",
    "code of the model": "nothing, if the code changed on purpose: one cold start for each change",
    "names of the inputs": "wrap the model in the same way in all starts: names of attributes on "
    "the way to a weight are part of the key",
    "source of a Triton kernel": "nothing, if the kernel changed on purpose: one cold start each",
    "the graph itself": "nothing, if code or configuration of the model changed on purpose: one "
    "cold start for each change",
    "torch": "one cold start for each version of torch: let one replica of the new version start "
    "first, with --cache-url or on the volume of the others",
    "same key": "check that nothing empties TORCHINDUCTOR_CACHE_DIR, and warm up the same sizes",
}
"""By the beginning of what differs most; a more special one stands first."""
_OTHER = "make it the same in all starts, if it did not change on purpose"


def missed(evidence: Evidence) -> Iterable[Finding]:
    """Graphs whose key differs from the nearest one that an earlier start has an entry for."""
    misses = [(record, why) for record in evidence.records for why in _reasons(record)]
    for group in grouped(misses, lambda each: each[1]):
        records = list({id(record): record for record, _ in group}.values())
        why, count = group[0][1], len(group)
        yield Finding(
            code="CS036",
            what=f"{count} graph{'s' * (count > 1)} not in the cache: {why}",
            seconds=sum(record.duration_s / max(1, record.graphs) for record, _ in group),
            count=count,
            **subject_of(records[0], records),
            evidence="compared with the nearest key that an earlier start or another machine left",
            fix=next((fix for what, fix in _FIXES.items() if why.startswith(what)), _OTHER),
            link=_LINK,
        )


def _reasons(record: CompileRecord) -> Iterable[str]:
    return (
        str(event.attributes[semconv.CACHE_MISS_REASON])
        for event in record.events
        if semconv.CACHE_MISS_REASON in event.attributes
    )
