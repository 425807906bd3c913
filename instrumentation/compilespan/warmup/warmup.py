"""One run over planned items: run each shape until nothing compiles, then verify it."""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from compilespan.components.marks import stated
from compilespan.dynamo.watch import compiled_code_watch
from compilespan.ledger.reasons import limit_advice
from compilespan.monitor.counts import Counts
from compilespan.monitor.surroundings import Surroundings
from compilespan.warmup.account import Account, Compiled
from compilespan.warmup.call import Ran, call, call_watched
from compilespan.warmup.fleet import turn_in_fleet
from compilespan.warmup.plan import WarmupItem, WarmupResult, elsewhere_of
from compilespan.warmup.progress import Progress
from compilespan.warmup.wording import (
    NOTHING_COMPILED,
    NOTHING_ELSEWHERE,
    cannot_see,
    misfit,
    never_compiled,
    warnings_of,
    why_again,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

    from compilespan.cache.sharing import Share
    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.totals import CompileTotals
    from compilespan.monitor.surroundings import Listener
    from compilespan.warmup.plan import Plan, WarmupTarget

OnError = Literal["stop", "continue"]

MAX_CALLS = 3
"""Calls of an item; if the last of them still compiles, it is unstable."""


class Warmup:
    """One run over planned items of loaded targets; `warm` and the service's jobs use it."""

    def __init__(
        self,
        items: Plan,
        *,
        verify: bool = True,
        on_error: OnError = "continue",
        on_item: Callable[[WarmupItem], object] | None = None,
        listener: Listener | None = None,
        on_span: Callable[[Span], object] | None = None,
        go_on: Callable[[], bool] = lambda: True,
        share: Share | None = None,
        contains: tuple[type[BaseException], ...] = (Exception, CancelledError),
    ) -> None:
        """Prepare a run.

        Args:
            items: From `plan`, or a part of it.
            verify: See `warm`.
            on_error: See `warm`.
            on_item: See `warm`.
            listener: Called for the compiles of its calls, in the compiling thread.
            on_span: Called with the span of the warmup when it begins, e.g. to set the job id.
            go_on: Called before each call; ``False`` leaves the remaining items ``cancelled``.
            share: The compile cache that replicas share; defaults to that of the environment.
            contains: Exceptions of a call that fail only its item. In a thread that runs no signal
                handlers it can be `BaseException`: none of them is meant to end the program.
        """
        self._items = items
        self._verify_pass = verify
        self._on_error = on_error
        self._go_on = go_on
        self._share = share
        self._progress = Progress(
            items, on_item or (lambda _: None), on_span, verifies=verify, contains=contains
        )
        self._account = Account(listener)
        self._surroundings = Surroundings(phase="warmup", listener=self._account)
        self._of_target: dict[str, Surroundings] = {}

    @property
    def totals(self) -> CompileTotals:
        """What the compiles of its calls cost so far."""
        return self._account.totals

    def run(self) -> WarmupResult:
        """Warm the items, one after another, in this thread or their targets' executors.

        Raises:
            KeyboardInterrupt: As are ``SystemExit`` and others that ``contains`` leaves out: the
                program is to end, so the warmup ends.
        """
        items = tuple(item for _, item in self._items)
        with self._progress, self._surroundings:
            try:
                self._run()
            finally:
                for around in self._of_target.values():
                    around.__exit__(None, None, None)
                warnings, found = tuple(warnings_of(items)), self._account.findings(items)
                result = WarmupResult(items, self.totals, warnings, found)
                self._progress.end(result.state)
        return result

    def abandon(self, state: Literal["timed_out", "cancelled"], why: str) -> bool:
        """End it from another thread although a call is running; ``False`` if it was over already.

        The spans end now. The running item has failed, items that did not begin are cancelled, and
        no item changes later; but what the call compiles later is still counted.
        """
        return self._progress.abandon(state, why)

    def _run(self) -> None:
        progress = self._progress
        with turn_in_fleet(self._items, self._share, self._goes_on) as turn:
            for target, item in self._items:
                if progress.is_over:
                    return
                if not self._go_on():
                    progress.settle(item, "cancelled")
                    continue
                item.start_span()
                progress.settle(item, "running")
                self._until_nothing_compiles(target, item)
                item.pause_span()
                has_failed = item.state == "failed"
                if turn is not None:  # an item that was abandoned did not fail by itself
                    turn.item_ended(has_failed=has_failed and not progress.is_over)
                if has_failed and self._on_error == "stop":
                    return
        for target, item in self._items if self._verify_pass else ():
            if item.state != "unverified" or progress.is_over:
                continue
            if self._go_on():
                self._verify(target, item)
            else:
                progress.settle(item, "cancelled")

    def _goes_on(self) -> bool:
        return not self._progress.is_over and self._go_on()

    def _until_nothing_compiles(self, target: WarmupTarget, item: WarmupItem) -> None:
        last = Compiled()
        for _ in range(MAX_CALLS):
            if not self._go_on():
                self._progress.settle(item, "cancelled")
                return
            with self._one_call(target, item) as compiled:
                call(target, item.shape)
            if item.state == "failed":
                return
            if not compiled:
                item.graphless |= last.is_graphless
                self._settle_first_pass(item, last.records)
                return
            last = compiled
        if last.is_graphless:
            why = f"Dynamo gives it back to eager at each call{why_again(last.records)}"
            self._progress.settle(item, "eager", why)
        else:
            why = f"compiles at each of {MAX_CALLS} calls{why_again(last.records)}"
            self._progress.settle(item, "unstable", why)

    def _settle_first_pass(self, item: WarmupItem, last: list[CompileRecord]) -> None:
        limits = [record for record in last if record.recompile_limit_hit]
        if limits:
            self._progress.settle(item, "eager", limit_advice(limits[-1].recompile_reason))
        elif item.graphless:
            self._progress.settle(item, "eager", f"Dynamo made no graph of it{why_again(last)}")
        else:
            self._progress.settle(item, "unverified")

    def _verify(self, target: WarmupTarget, item: WarmupItem) -> None:
        """Settle an item with a call in which nothing may compile and compiled code must run."""
        ran = Ran(0, 0, 0)
        with self._one_call(target, item) as compiled:
            others = [each for name, each in self._of_target.items() if name != target.name]
            ran = call_watched(target, item.shape, self._of_target[target.name], others)
        if item.state == "failed":
            return
        elsewhere = elsewhere_of(target)
        if compiled:
            why = f"compiled again in the verify pass{why_again(compiled.records)}"
            self._progress.settle(item, "unstable", why)
        elif elsewhere is not None and elsewhere.has_compiled():
            self._progress.settle(item, "warm")
        elif elsewhere is not None and elsewhere.is_of_this_instance:
            self._progress.settle(item, "eager", NOTHING_COMPILED)
        elif elsewhere is not None:
            self._progress.settle(item, "unverified", NOTHING_ELSEWHERE)
        elif ran.misses:
            self._progress.settle(item, "eager", misfit(self._account.limit_reason(item)))
        elif ran.hits and compiled_code_watch.knows_no_graph:
            self._progress.settle(
                item, "eager", f"Dynamo made no graph of it{why_again(self._account.skipped(item))}"
            )
        elif ran.hits:
            self._progress.settle(item, "warm")
        elif reason := cannot_see(compiled_code_watch.unseen):
            self._progress.settle(item, "unverified", reason)
        else:
            skipped = self._account.skipped(item)
            self._progress.settle(item, "eager", never_compiled(ran.elsewhere, skipped))

    @contextmanager
    def _one_call(self, target: WarmupTarget, item: WarmupItem) -> Iterator[Compiled]:
        """Account for one call of an item; yield what compiles in it. A failure fails the item."""
        item.calls += 1
        around = self._of_target.get(target.name)
        if around is None:
            component = stated(is_encoder=target.is_encoder)
            around = Surroundings(component=component, counts=Counts())
            self._of_target[target.name] = around
        with (
            around.again(),
            self._account.of(item) as compiled,
            self._progress.running(item),
            item.span_current(),
        ):
            yield compiled
