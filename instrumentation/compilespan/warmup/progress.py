"""The states of a warmup's items, and its span; any thread may end them, once."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from compilespan import semconv
from compilespan.process import fork_safe_lock, instance_id, now_ns
from compilespan.process.faults import contained
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from opentelemetry.trace import Span

    from compilespan.warmup.plan import ItemState, Plan, WarmupItem

_logger = logging.getLogger("compilespan")


class Progress:
    """The running item, the states of all items, and the span around them."""

    def __init__(
        self,
        items: Plan,
        on_item: Callable[[WarmupItem], object],
        on_span: Callable[[Span], object] | None,
        *,
        verifies: bool,
        contains: tuple[type[BaseException], ...],
    ) -> None:
        self._items = [item for _, item in items]
        self._on_item = on_item
        self._on_span = on_span
        self._verifies = verifies
        self._contained = contains
        self._lock = fork_safe_lock()
        self._running: WarmupItem | None = None
        self._span: Span = trace.INVALID_SPAN
        self.is_over = False
        """Whether the warmup is over: items no longer change."""

    def __enter__(self) -> None:
        """Start the span of the warmup, and make it current."""
        with contained("start the span of a warmup"):
            tracer = active_telemetry().tracer
            self._span = tracer.start_span(
                semconv.SPAN_WARMUP,
                attributes={semconv.INSTANCE: instance_id()},
                start_time=now_ns(),
            )
        if self._on_span is not None:
            self._on_span(self._span)
        self._current = trace.use_span(
            self._span, record_exception=False, set_status_on_exception=False
        )
        self._current.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Make the previous span current again."""
        self._current.__exit__(exc_type, error, traceback)

    def settle(self, item: WarmupItem, state: ItemState, error: str | None = None) -> None:
        """Set an item's state, unless the warmup is over."""
        with self._lock:
            if self.is_over:
                return
            item.state, item.error = state, error
        self._on_item(item)

    @contextmanager
    def running(self, item: WarmupItem) -> Iterator[None]:
        """Run one call of an item. A contained exception fails the item and is suppressed.

        Others, such as ``KeyboardInterrupt``, fail it and propagate: the program is to end.
        """
        self._running = item
        try:
            yield
        except self._contained as error:
            _logger.warning("warmup of %s %s failed", item.target, item.shape, exc_info=True)
            self._fail(item, error)
        except BaseException as error:
            self._fail(item, error)
            raise
        finally:
            self._running = None

    def end(self, state: str) -> None:
        """End the spans; items no longer change."""
        with self._lock:
            self._end(state, "an item failed" if state == "failed" else None)

    def abandon(self, state: str, why: str) -> bool:
        """End the warmup although a call is running; ``False`` if it was over already."""
        with self._lock:
            if self.is_over:
                return False
            for item in self._items:
                if item is self._running or item.state == "running":
                    item.state, item.error = "failed", why
                elif item.state == "pending" or (self._verifies and item.state == "unverified"):
                    item.state = "cancelled"
                else:
                    continue
                self._on_item(item)
            self._end(state, why)
        return True

    def _fail(self, item: WarmupItem, error: BaseException) -> None:
        with self._lock:
            if not self.is_over:
                item.failed_by(error)
        self._on_item(item)

    def _end(self, state: str, error: str | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        for item in self._items:
            item.end_span()
        with contained("end the span of a warmup"):
            self._span.set_attribute(semconv.JOB_STATE, state)
            if error is not None:
                self._span.set_attribute(semconv.ERROR_TYPE, state)
                self._span.set_status(Status(StatusCode.ERROR, error))
            self._span.end(end_time=now_ns())
