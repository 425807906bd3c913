"""The execution of one job: its warmup, its time limits, and all ways in which it can end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan import semconv
from compilespan.warmup.warmup import Warmup
from compilespan_service.warmups.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span

    from compilespan.warmup.plan import Plan, WarmupItem
    from compilespan_service.schemas import JobState
    from compilespan_service.warmups.job import Job


class Ended(Protocol):
    """Is called once, under the lock, when a job is over."""

    def __call__(self, job: Job, state: JobState, error: str | None = None) -> None:
        """The job ends in ``state``; ``error`` is the reason if it did not succeed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """What an execution needs of the runner.

    Attributes:
        lock: Held whenever the job ends.
        go_on: Called before each call; ``False`` cancels the remaining items.
        ended: Called when the job is over.
        hung: Called without the lock if the job timed out while its call still runs.
    """

    lock: AbstractContextManager[bool]
    go_on: Callable[[Job], bool]
    ended: Ended
    hung: Callable[[Job, str], None]


class Execution:
    """Warms the items of a job. If the job ends several times, only the first counts."""

    def __init__(self, job: Job, items: Plan, owner: Owner, budget_s: float | None) -> None:
        """Prepare the warmup.

        Args:
            job: Publishes what happens.
            items: The items to warm.
            owner: Decides whether to go on, and is called at the end.
            budget_s: Seconds that the job may take; ``None`` for no limit.
        """
        self._job = job
        self._owner = owner
        self._budget_s = budget_s
        self.is_abandoned = False
        """Whether the job was ended while its call still runs and holds the thread."""
        self._deadlines = Deadlines(items, self._expire)
        self._warmup = Warmup(
            items,
            verify=job.request.verify,
            on_error=job.request.on_error,
            listener=job,
            on_item=self._item_changed,
            on_span=self._name_job,
            go_on=lambda: owner.go_on(job),
            contains=(BaseException,),
        )

    def run(self) -> None:
        """Run the job in this thread, in the context of its request."""
        token = otel_context.attach(self._job.context)
        try:
            with self._deadlines.budget(self._budget_s):
                result = self._warmup.run()
        finally:
            otel_context.detach(token)
        with self._owner.lock:
            if not self._job.is_over:  # else it was ended meanwhile
                self._job.warnings = list(result.warnings)
                self._owner.ended(self._job, result.state)

    def cut_off(self, state: JobState, why: str) -> None:
        """End the job while its call still runs: the process ends, or we failed internally."""
        with self._owner.lock:
            if not self._job.is_over:
                self.is_abandoned = True
                self._warmup.abandon("cancelled", why)
                self._owner.ended(self._job, state, why)

    def _expire(self, why: str) -> None:
        """End the job as timed out while one of its calls holds the thread."""
        with self._owner.lock:
            if self._job.is_over or not self._warmup.abandon("timed_out", why):
                return  # it ended at the last moment
            self.is_abandoned = True
            self._owner.ended(self._job, "timed_out", why)
        self._owner.hung(self._job, why)

    def _item_changed(self, item: WarmupItem) -> None:
        self._deadlines.item_changed(item)
        self._job.item_changed(item)

    def _name_job(self, span: Span) -> None:
        span.set_attribute(semconv.JOB_ID, self._job.id)
        context = span.get_span_context()
        if context.is_valid:
            self._job.trace_id = trace.format_trace_id(context.trace_id)
