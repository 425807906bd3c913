"""The warmup itself: run each shape until nothing compiles any more, then prove it.

No HTTP here: for LitServe's ``setup``, a Ray actor, a torchrun rank, and the service's jobs.

    from compilespan import WarmupTarget, warm

    target = WarmupTarget("encoder", run=lambda shape: model(pixels(**shape)),
                          shapes=[{"batch": 1}, {"batch": 8}])
    result = warm([target])
    assert result.is_warm, result.items
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Literal

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from compilespan import scope as scopes
from compilespan import semconv
from compilespan.ledger import get_ledger
from compilespan.reasons import advice
from compilespan.telemetry import active_telemetry
from compilespan.totals import CompileTotals, TotalsBuilder
from compilespan.warmup_call import WarmupCall
from compilespan.warmup_plan import (
    ItemState,
    Plan,
    WarmupItem,
    WarmupResult,
    WarmupTarget,
    plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import Span

    from compilespan.records import CompileRecord

OnError = Literal["stop", "continue"]

MAX_CALLS = 3
"""Calls of an item before it is called unstable."""

_logger = logging.getLogger("compilespan")


def warm(
    targets: Sequence[WarmupTarget],
    *,
    verify: bool = True,
    on_error: OnError = "continue",
    on_item: Callable[[WarmupItem], object] | None = None,
) -> WarmupResult:
    """Load the targets, run every shape until it compiles nothing, then verify.

    Args:
        targets: What to warm.
        verify: Run every item once more at the end: what still compiles is ``unstable``.
        on_error: Whether the first failed item ends it; the others then stay ``pending``.
        on_item: Called when an item's state changes, in this thread.

    Returns:
        The items in order, and what their compiles cost.
    """
    for target in targets:
        if target.load is not None:
            target.load()
    return Warmup(plan(targets), verify=verify, on_error=on_error, on_item=on_item).run()


class Warmup:
    """One run over planned items of loaded targets; what `warm` and the service's jobs use."""

    def __init__(
        self,
        items: Plan,
        *,
        verify: bool = True,
        on_error: OnError = "continue",
        on_item: Callable[[WarmupItem], object] | None = None,
        listener: scopes.Listener | None = None,
        on_span: Callable[[Span], object] | None = None,
        go_on: Callable[[], bool] = lambda: True,
        local: bool = True,
    ) -> None:
        """Take a plan.

        Args:
            items: From `plan`, or some of it.
            verify: See `warm`.
            on_error: See `warm`.
            on_item: See `warm`.
            listener: Is told of the compiles in its calls, in the compiling thread.
            on_span: Gets the ``warmup`` span when it begins, e.g. to name a job on it.
            go_on: Asked before each call; ``False`` leaves the remaining items ``cancelled``.
            local: Whether its calls compile in this process, so that nothing at all is suspicious.
        """
        self._items = items
        self._verify_pass = verify
        self._on_error = on_error
        self._on_item = on_item or (lambda _: None)
        self._listener = listener
        self._on_span = on_span or (lambda _: None)
        self._go_on = go_on
        self._local = local
        self._lock = threading.Lock()
        self._over = False
        self._running: WarmupItem | None = None
        self._span: Span = trace.INVALID_SPAN
        self._builder = TotalsBuilder()

    @property
    def totals(self) -> CompileTotals:
        """What the compiles of its calls cost so far."""
        return self._builder.build()

    def run(self) -> WarmupResult:
        """Warm the items, one after another, in this thread or their targets' executors."""
        items = tuple(item for _, item in self._items)
        self._span = active_telemetry().tracer.start_span(semconv.SPAN_WARMUP)
        self._on_span(self._span)
        with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
            try:
                self._run()
            finally:
                result = WarmupResult(items, self.totals, tuple(self._warnings()))
                with self._lock:
                    self._end(result.state, "an item failed" if result.state == "failed" else None)
        return result

    def abandon(self, state: Literal["timed_out", "cancelled"], why: str) -> bool:
        """End it from another thread although a call goes on; ``False`` if it was over already.

        The spans end now. What the call compiles later is still counted; the items stay as they
        are: the one that runs has failed, what did not begin is cancelled.
        """
        with self._lock:
            if self._over:
                return False
            for _, item in self._items:
                if item is self._running:
                    item.state, item.error = "failed", why
                elif item.state == "pending":
                    item.state = "cancelled"
                else:
                    continue
                self._on_item(item)
            self._end(state, why)
        return True

    def _end(self, state: str, error: str | None) -> None:
        """End the spans, once; from now on nothing changes an item."""
        if self._over:
            return
        self._over = True
        for _, item in self._items:
            item.end_span()
        self._span.set_attribute(semconv.JOB_STATE, state)
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()

    def _run(self) -> None:
        for target, item in self._items:
            if self._over:
                return
            if not self._go_on():
                self._settle(item, "cancelled")
                continue
            item.start_span()
            self._settle(item, "running")
            self._until_nothing_compiles(target, item)
            item.pause_span()
            if item.state == "failed" and self._on_error == "stop":
                return
        for target, item in self._items if self._verify_pass else ():
            if item.state == "unverified" and self._go_on() and not self._over:
                self._verify(target, item)

    def _settle(self, item: WarmupItem, state: ItemState, error: str | None = None) -> None:
        with self._lock:
            if self._over:
                return
            item.state, item.error = state, error
        self._on_item(item)

    def _until_nothing_compiles(self, target: WarmupTarget, item: WarmupItem) -> None:
        last: list[CompileRecord] = []
        for _ in range(MAX_CALLS):
            if not self._go_on():
                self._settle(item, "cancelled")
                return
            records, ran_eager = self._call(target, item)
            if item.state == "failed":
                return
            if not records:
                if last and all(record.outcome != "ok" for record in last):
                    item.graphless = True
                if ran_eager:
                    self._settle(item, "eager", OVER_THE_LIMIT)
                elif item.graphless:
                    self._settle(item, "eager", f"Dynamo made no graph of it{_why(last)}")
                else:
                    self._settle(item, "unverified")
                return
            last = records
        if all(record.outcome != "ok" for record in last):
            self._settle(item, "eager", f"Dynamo gives it back at each call{_why(last)}")
        else:
            self._settle(item, "unstable", f"compiles at each of {MAX_CALLS} calls{_why(last)}")

    def _verify(self, target: WarmupTarget, item: WarmupItem) -> None:
        records, ran_eager = self._call(target, item)
        if item.state == "failed":
            return
        if ran_eager:
            self._settle(item, "eager", OVER_THE_LIMIT)
        elif records:
            self._settle(item, "unstable", f"compiled again in the verify pass{_why(records)}")
        else:
            self._settle(item, "warm")

    def _call(self, target: WarmupTarget, item: WarmupItem) -> tuple[list[CompileRecord], bool]:
        """Run one item once; return what compiled, and whether given-up code ran."""
        call = WarmupCall(target, item, self._builder, self._listener)
        self._running = item
        try:
            call.run()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            _logger.warning("warmup of %s %s failed", item.target, item.shape, exc_info=True)
            with self._lock:
                if not self._over:
                    item.failed_by(error)
            self._on_item(item)
        finally:
            self._running = None
        return call.records, call.ran_eager

    def _warnings(self) -> list[str]:
        warnings = [
            f"{item.target} {item.label}: {item.state}, {item.error}"
            for _, item in self._items
            if item.state in ("eager", "unstable")
        ]
        rows = (get_ledger().totals().total, self.totals.total)
        if (
            self._local
            and self._items
            and not any(row.compiles or row.loads or row.failed for row in rows)
        ):
            warnings.append(
                "nothing was compiled at all: is the model compiled, and "
                "TorchCompileInstrumentor().instrument() called?"
            )
        return warnings


OVER_THE_LIMIT = (
    "over Dynamo's recompile limit, so this shape runs eager: mark the dimension that changes "
    "dynamic, serve fewer shapes, or raise torch._dynamo.config.recompile_limit"
)


def _why(records: Sequence[CompileRecord]) -> str:
    reasons = [record.recompile_reason for record in records if record.recompile_reason]
    return f", {advice(reasons[-1])}" if reasons else ""
