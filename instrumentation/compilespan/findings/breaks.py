"""Graph breaks, and frames that Dynamo skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.findings.finding import Evidence, Finding, refs, seconds, times
from compilespan.findings.grouping import folded, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compilespan.ledger.records import CompileRecord, GraphBreak

_TROUBLE = "https://docs.pytorch.org/docs/stable/torch.compiler_troubleshooting.html"


def graph_breaks(evidence: Evidence) -> Iterable[Finding]:
    """Graph breaks by place and reason: each adds compiles and slows down every call."""
    found: list[tuple[CompileRecord, GraphBreak]] = [
        (record, each)
        for record in evidence.records
        # The last break of a skipped frame is the reason why Dynamo skipped it.
        for each in record.graph_breaks[: -1 if record.outcome == "skipped" else None]
    ]
    for group in grouped(
        found,
        lambda pair: (pair[0].name, pair[1].file, pair[1].line, folded(pair[1].reason)),
    ):
        record, first = group[0]
        yield Finding(
            code="CS020",
            what=f"{len(group)} graph break{'s' * (len(group) > 1)} in {record.name}",
            seconds=0.0,
            count=len(group),
            name=record.name,
            file=first.file or None,
            line=first.line,
            evidence=first.reason,
            fix=first.hint or "move what cannot be traced out of the compiled function",
            link=first.link or _TROUBLE,
            compiles=refs(each for each, _ in group),
        )


def given_back(evidence: Evidence) -> Iterable[Finding]:
    """Frames that Dynamo skipped: they run eager, and the time of the attempt is lost."""
    records = [
        record
        for record in evidence.records
        if record.outcome == "skipped" and not record.recompile_limit_hit
    ]
    for group in grouped(
        records, lambda each: (each.name, each.file, each.line, folded(each.skip_reason or ""))
    ):
        first = group[0]
        broken = first.graph_breaks[-1] if first.graph_breaks else None
        yield Finding(
            code="CS021",
            what=f"Dynamo skipped {first.name} {times(len(group))}: it runs eager",
            seconds=seconds(group),
            count=len(group),
            name=first.name,
            file=(broken.file if broken is not None else "") or first.file,
            line=(broken.line if broken is not None else 0) or first.line or 0,
            evidence=first.skip_reason or "torch gives no reason",
            fix=(broken.hint if broken is not None else "")
            or "exclude it from compilation (torch.compiler.disable), or compile the functions "
            "inside it",
            link=(broken.link if broken is not None else "") or _TROUBLE,
            compiles=refs(group),
        )
