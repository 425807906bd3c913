"""All finders, and the order of their findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.findings import breaks, caches, failures, misses, recompiles, waiting
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from compilespan.findings.finding import Evidence, Finder, Finding

FINDERS: tuple[Finder, ...] = (
    failures.failed,
    failures.limits,
    recompiles.recompiles,
    breaks.graph_breaks,
    breaks.given_back,
    caches.bypassed,
    caches.kernels,
    caches.lost,
    misses.missed,
    caches.rebuilt,
    caches.tuning,
    caches.alike,
    caches.ranks,
    waiting.serving,
    waiting.cpu,
    waiting.imports,
    waiting.imports_inside,
    waiting.eager,
)


def findings(evidence: Evidence) -> list[Finding]:
    """Return what cost the most: failures and limits first, then by seconds lost."""
    found: list[Finding] = []
    for finder in FINDERS:
        with contained(f"run the finder {finder.__name__}"):
            found += finder(evidence)
    return sorted(found, key=lambda each: (not each.is_serious, -each.seconds, -each.count))
