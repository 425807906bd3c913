"""Messages that explain the state of an item, and what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from compilespan.dynamo.watch import compiled_code_watch
from compilespan.ledger.reasons import advice, limit_advice

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from compilespan.ledger.records import CompileRecord
    from compilespan.warmup.plan import WarmupItem

NEVER_COMPILED = (
    "no compiled code ran: let run() call what torch.compile returned, in this process; "
    "TORCH_COMPILE_DISABLE, torch.compiler.set_stance and torch.compiler.disable turn it off; "
    "if the model runs in a thread of its own, set the target's executor"
)
NOTHING_COMPILED = (
    "no process of this server compiled or loaded a model, so this model runs uncompiled"
)
NOTHING_ELSEWHERE = (
    "no other process in the state directory compiled or loaded a model: instrument the target's "
    "server, and give both the same COMPILESPAN_STATE_DIR"
)


def cannot_see(loads: Collection[str]) -> str | None:
    """Return why compiled code may have run unseen; ``None`` if it would have been seen.

    Args:
        loads: Names of artefacts that were loaded in this process and run without guards.
    """
    if "torch" in sys.modules and not compiled_code_watch.sees_guards:
        return "this version of torch does not report whether compiled code runs"
    if loads:
        return f"calls of {list(loads)[-1]}, which was loaded as an artefact, cannot be seen"
    return None


def never_compiled(elsewhere: int, skipped: Sequence[CompileRecord]) -> str:
    """Return why no compiled code ran for an item.

    Args:
        elsewhere: How often compiled code ran meanwhile in other threads and tasks.
        skipped: What Dynamo gave back to eager in the item's calls.
    """
    if elsewhere:
        return (
            "no compiled code ran in its call, only in another thread: give the target that "
            "thread's executor"
        )
    if skipped:
        return f"no compiled code ran: {skipped[-1].name} runs eager{why_again(skipped[-1:])}"
    return NEVER_COMPILED


def misfit(reason: str | None) -> str:
    """Return why no compiled code fits an item.

    Args:
        reason: The guard at which it hit Dynamo's recompile limit; ``None`` if unknown.
    """
    if reason is None:
        return (
            "no compiled code fits it, and nothing was compiled: it is over Dynamo's recompile "
            "limit, or torch.compiler.set_stance or torch._dynamo.run prevents the compile"
        )
    return limit_advice(reason)


def warnings_of(items: Sequence[WarmupItem]) -> list[str]:
    """Return what an operator should look at, apart from failed items."""
    if not items:
        return ["nothing to warm: no target has a shape"]
    return [
        f"{item.target} {item.label}: {item.state}, {item.error}"
        for item in items
        if item.state in ("eager", "unstable") or (item.state == "unverified" and item.error)
    ]


def why_again(records: Sequence[CompileRecord]) -> str:
    """Return why these compiled again or were given back to eager, as the end of a message."""
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
