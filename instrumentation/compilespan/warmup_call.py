"""One call of a warmup item: run where serving runs it, and what compiled meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from typing import TYPE_CHECKING, Any

from compilespan import scope as scopes
from compilespan.eager import EagerWatch

if TYPE_CHECKING:
    from compilespan.records import CompileBegun, CompileEvent, CompileRecord
    from compilespan.totals import TotalsBuilder
    from compilespan.warmup_plan import Shape, WarmupItem, WarmupTarget


class WarmupCall:
    """Listens to the compiles of one call, counts them, and passes them on.

    Attributes:
        records: What compiled, loaded or was captured.
        ran_eager: Whether code ran that Dynamo had given up.
    """

    def __init__(
        self,
        target: WarmupTarget,
        item: WarmupItem,
        totals: TotalsBuilder,
        listener: scopes.Listener | None,
    ) -> None:
        self.records: list[CompileRecord] = []
        self.ran_eager = False
        self._target = target
        self._item = item
        self._totals = totals
        self._listener = listener

    def run(self) -> None:
        """Call the target, in its executor if it has one; raises what it raises."""
        self._item.calls += 1
        with self._item.span_current():
            if self._target.executor is None:
                self._run()
            else:
                context = contextvars.copy_context()
                self._target.executor.submit(context.run, self._run).result()

    def begun(self, begun: CompileBegun) -> None:
        """Pass on that a compile began."""
        if self._listener is not None:
            self._listener.begun(begun)

    def happened(self, key: int, event: CompileEvent) -> None:
        """Pass on what happened in one."""
        if self._listener is not None:
            self._listener.happened(key, event)

    def ended(self, key: int, record: CompileRecord) -> None:
        """Account for a compile, and pass it on."""
        if record.kind != "empty":
            self.records.append(record)
        self.ran_eager |= record.recompile_limit_hit
        self._item.take(record)
        self._totals.add(record)
        if self._listener is not None:
            self._listener.ended(key, record)

    def _run(self) -> None:
        scope = scopes.Scope(is_encoder=self._target.is_encoder, phase="warmup", listener=self)
        watch = EagerWatch()
        with scopes.entered(scope), watch:
            _invoke(self._target, self._item.shape)
        self.ran_eager |= watch.ran_eager


def _invoke(target: WarmupTarget, shape: Shape) -> None:
    result = target.run(shape)
    if inspect.isawaitable(result):
        asyncio.run(_awaited(result))


async def _awaited(awaitable: Any) -> None:
    await awaitable
