"""A warmup job: its states, and what it publishes."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan import semconv
from compilespan.ledger.totals import CompileTotals, TotalsBuilder
from compilespan_service import schemas
from compilespan_service.door.text import foreign
from compilespan_service.warmups.feed import Feed

if TYPE_CHECKING:
    from compilespan.ledger.active import CompileBegun
    from compilespan.ledger.records import CompileEvent, CompileRecord
    from compilespan.warmup.plan import Plan, WarmupItem
    from compilespan_service.schemas import JobState, WarmupRequest

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"succeeded", "failed", "timed_out", "cancelling"}),
    "cancelling": frozenset({"succeeded", "failed", "timed_out", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "timed_out": frozenset(),
    "cancelled": frozenset(),
}
"""The allowed next states of each state of a job."""

ENDED = frozenset(state for state, following in TRANSITIONS.items() if not following)


class IllegalTransitionError(Exception):
    """A job would change its state in a way that `TRANSITIONS` does not allow."""


class Job:
    """One warmup run. The worker's thread changes it, requests read it."""

    def __init__(self, request: WarmupRequest) -> None:
        self.id = secrets.token_hex(8)
        self.request = request
        self.state: JobState = "queued"
        self.planned: Plan | None = None
        """The items to warm; ``None`` while the targets are unknown."""
        self.warnings: list[str] = []
        self.error: str | None = None
        self.context = otel_context.get_current()
        span_context = trace.get_current_span(self.context).get_span_context()
        self.trace_id = (
            trace.format_trace_id(span_context.trace_id) if span_context.is_valid else None
        )
        self.over: Future[None] = Future()
        """Done when the job is over; `asyncio.wrap_future` makes it awaitable."""
        self.over.set_running_or_notify_cancel()  # so that a closed request does not cancel it
        self._lock = threading.RLock()
        self._created_at = dt.datetime.now(dt.timezone.utc)
        self._started_at: dt.datetime | None = None
        self._ended_at: dt.datetime | None = None
        self._started_s: float | None = None
        self._elapsed_s: float | None = None
        self._builder = TotalsBuilder()
        self.feed = Feed(self.schema)
        """The events of the job, for clients that follow it."""
        self.feed.put("job", self.schema())

    def plan(self, items: Plan | None) -> None:
        """Set the items, once the targets are known."""
        if items is not None:
            self.planned = items

    def go(self, state: JobState, error: str | None = None) -> None:
        """Change the state.

        Raises:
            IllegalTransitionError: `TRANSITIONS` does not allow it.
        """
        with self._lock:
            if state not in TRANSITIONS[self.state]:
                msg = f"job {self.id} cannot go from {self.state} to {state}"
                raise IllegalTransitionError(msg)
            self.state = state
            self.error = foreign(error) if error is not None else None
            if state == "running":
                self._started_at = dt.datetime.now(dt.timezone.utc)
                self._started_s = time.monotonic()
            if state in ENDED:
                self._elapsed_s = self.elapsed_s
                self._ended_at = dt.datetime.now(dt.timezone.utc)
        self.feed.put("job", self.schema())
        if state in ENDED:
            self.feed.put("end", self.schema())
            self.feed.close()
            self.over.set_result(None)

    def item_changed(self, item: WarmupItem) -> None:
        """Publish an item's new state."""
        self.feed.put("item", _told(item))

    def begun(self, begun: CompileBegun) -> None:
        """Publish that a compile of this job begins."""
        self.feed.put(
            "begin",
            schemas.Begin(
                key=begun.key,
                name=begun.name,
                is_encoder=begun.is_encoder,
                component=begun.component,
                started_at=schemas.moment(begun.start_ns),
            ),
        )

    def happened(self, key: int, event: CompileEvent) -> None:
        """Publish an event inside a compile."""
        happened = schemas.Happened(
            key=key,
            name=event.name,
            at=schemas.moment(event.time_ns),
            attributes=dict(event.attributes),
        )
        self.feed.put("graph" if event.name == semconv.EVENT_GRAPH else "event", happened)

    def adopted(self) -> None:
        """Do nothing: the compile became an event of a monitor around the job, without a record."""

    def ended(self, key: int, record: CompileRecord) -> None:
        """Account for a compile of this job, even if it ended after the job."""
        with self._lock:
            self._builder.add(record)
        self.feed.put("compile", schemas.Ended(key=key, compile=schemas.Compile.of(record)))

    @property
    def ended_at(self) -> dt.datetime:
        """When the job ended; now if it has not."""
        return self._ended_at or dt.datetime.now(dt.timezone.utc)

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.state in ENDED

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job started, until it ended; 0 before."""
        if self._elapsed_s is not None:
            return self._elapsed_s
        return 0.0 if self._started_s is None else time.monotonic() - self._started_s

    @property
    def totals(self) -> CompileTotals:
        """What its compiles cost so far."""
        with self._lock:
            return self._builder.build()

    def schema(self, *, already_warm: bool = False) -> schemas.Job:
        """Return the job as the service shows it."""
        with self._lock:
            return schemas.Job(
                id=self.id,
                state=self.state,
                created_at=self._created_at,
                started_at=self._started_at,
                ended_at=self._ended_at,
                elapsed_s=self.elapsed_s,
                trace_id=self.trace_id,
                items=[_told(item) for _, item in self.planned or ()],
                totals=schemas.ComponentRows.of(self.totals),
                warnings=[foreign(warning) for warning in self.warnings],
                error=self.error,
                already_warm=already_warm,
            )


def _told(item: WarmupItem) -> schemas.Item:
    shown = schemas.Item.model_validate(item, from_attributes=True)
    if shown.error is not None:
        shown.error = foreign(shown.error)
    return shown
