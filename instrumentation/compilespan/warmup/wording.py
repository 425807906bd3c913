"""The words for what became of an item, and what helps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from compilespan.dynamo.watch import compiled_code_watch
from compilespan.ledger.ledger import get_ledger
from compilespan.reasons import advice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan.ledger.records import CompileRecord
    from compilespan.warmup.plan import WarmupItem

NEVER_COMPILED = (
    "no compiled code ran: let run() call what torch.compile returned, in this process; "
    "TORCH_COMPILE_DISABLE, torch.compiler.set_stance and torch.compiler.disable turn it off, and "
    "a model that has a thread of its own needs the target's executor"
)


def cannot_see() -> str | None:
    """Return why compiled code may have run unseen; ``None`` if it would have been seen."""
    if "torch" in sys.modules and not compiled_code_watch.sees_guards:
        return "this version of torch does not tell whether compiled code runs"
    if any(record.trigger in ("aot_load", "aot_compile") for record in get_ledger().records()):
        return "an artefact was loaded whose calls cannot be seen"
    return None


def warnings_of(items: Sequence[WarmupItem]) -> list[str]:
    """Return what an operator should look at although no call raised."""
    if not items:
        return ["there is nothing to warm: no target has a shape"]
    return [
        f"{item.target} {item.label}: {item.state}, {item.error}"
        for item in items
        if item.state in ("eager", "unstable") or (item.state == "unverified" and item.error)
    ]


def why_again(records: Sequence[CompileRecord]) -> str:
    """Return why these compiled again or were given back, as it reads behind a state."""
    reasons = [record.recompile_reason for record in records if record.recompile_reason]
    if reasons:
        return f", {advice(reasons[-1])}"
    skipped = [record for record in records if record.skip_reason]
    if not skipped:
        return ""
    last = skipped[-1]
    breaks = last.graph_breaks[-1:]
    file, line = (breaks[0].file, breaks[0].line) if breaks else (last.file, last.line)
    return f": {last.skip_reason}" + (f" ({file}:{line})" if file else "")
