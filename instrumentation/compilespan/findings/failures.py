"""Failed compiles and loads, and frames over the recompile limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.findings.finding import Evidence, Finding, seconds, subject_of, times
from compilespan.findings.grouping import folded, grouped
from compilespan.findings.recompiles import RECOMPILATION, UNKNOWN, fix_of
from compilespan.ledger.reasons import guard

if TYPE_CHECKING:
    from collections.abc import Iterable

_TROUBLE = "https://docs.pytorch.org/docs/stable/torch.compiler_troubleshooting.html"


def failed(evidence: Evidence) -> Iterable[Finding]:
    """Compiles that failed, and artefacts that could not be loaded."""
    records = [
        record
        for record in evidence.records
        if record.outcome == "failed" and not record.recompile_limit_hit
    ]
    for group in grouped(
        records,
        lambda each: (
            *(each.name, each.kind == "load", each.error_type),
            folded(each.error_message or ""),
        ),
    ):
        first, is_load = group[0], group[0].kind == "load"
        what = "could not be loaded" if is_load else "could not be compiled"
        yield Finding(
            code="CS002" if is_load else "CS001",
            what=f"{first.name} {what}, {times(len(group))}",
            seconds=seconds(group),
            count=len(group),
            **subject_of(first, group),
            evidence=": ".join(filter(None, (first.error_type, first.error_message)))
            or "the exception is not known",
            fix="check that the file can be read; if it can, compile it again with the versions "
            "of this server"
            if is_load
            else "run it with backend='eager', then 'aot_eager': the first one that fails is the "
            "stage to fix; TORCH_LOGS=+dynamo,+aot,+inductor shows more",
            link=_TROUBLE,
            is_serious=True,
        )


def limits(evidence: Evidence) -> Iterable[Finding]:
    """Frames over the recompile limit: Dynamo does not compile new variants of them."""
    records = [record for record in evidence.records if record.recompile_limit_hit]
    for group in grouped(records, lambda each: (each.name, each.file, each.line)):
        last, reason = group[-1], guard(group[-1].recompile_reason or "")
        then = "new variants fail" if last.outcome == "failed" else "new variants run eager"
        yield Finding(
            code="CS003",
            what=f"{last.name} reached the recompile limit: {then}",
            seconds=seconds(group),
            count=len(group),
            **subject_of(last, group),
            evidence=reason or UNKNOWN,
            fix=f"{fix_of(reason)}; or raise torch._dynamo.config.recompile_limit",
            link=RECOMPILATION,
            is_serious=True,
        )
