"""The events of a job, in order and with ids: the source of its Server-Sent Events."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pydantic import BaseModel

EventName = Literal["job", "item", "begin", "graph", "event", "compile", "end"]

MAX_EVENTS = 4096
"""Events kept per job; a client that resumes before them gets a snapshot instead."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event; ids count from 1 within the job."""

    id: int
    name: EventName
    data: str


class Feed:
    """The events of one job. Written from the job's thread, followed from event loops."""

    def __init__(self, snapshot: Callable[[], BaseModel]) -> None:
        """Start without events.

        Args:
            snapshot: Returns the job as it is now.
        """
        self._snapshot = snapshot
        self._events: deque[FeedEvent] = deque(maxlen=MAX_EVENTS)
        self._last_id = 0
        self._closed = False
        self._lock = threading.RLock()
        self._followers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    @property
    def is_closed(self) -> bool:
        """Whether no more events will come."""
        return self._closed

    @property
    def last_id(self) -> int:
        """The id of the latest event."""
        return self._last_id

    def put(self, name: EventName, data: BaseModel) -> None:
        """Publish an event, unless the feed is closed."""
        text = data.model_dump_json()
        with self._lock:
            if self._closed:
                return
            self._last_id += 1
            self._events.append(FeedEvent(self._last_id, name, text))
            self._wake()

    def close(self) -> None:
        """End the feed: followers get the remaining events, then stop."""
        with self._lock:
            self._closed = True
            self._wake()

    async def follow(self, after: int, heartbeat_s: float) -> AsyncIterator[FeedEvent | None]:
        """Yield the events after id ``after``, and ``None`` after each ``heartbeat_s`` without one.

        If events after that id are no longer kept, a snapshot replaces them.
        """
        woken = asyncio.Event()
        follower = (asyncio.get_running_loop(), woken)
        with self._lock:
            self._followers.add(follower)
        try:
            while True:
                woken.clear()
                events, closed = self._since(after)
                for event in events:
                    yield event
                    after = event.id
                if closed and not events:
                    return
                if not events:
                    try:
                        await asyncio.wait_for(woken.wait(), heartbeat_s)
                    except (TimeoutError, asyncio.TimeoutError):
                        yield None
        finally:
            with self._lock:
                self._followers.discard(follower)

    def _since(self, after: int) -> tuple[list[FeedEvent], bool]:
        with self._lock:
            events = [event for event in self._events if event.id > after]
            closed = self._closed
        if events and events[0].id > after + 1:
            # Outside the lock, because the snapshot takes the lock of the job.
            snapshot = self._snapshot().model_dump_json()
            events.insert(0, FeedEvent(events[0].id - 1, "job", snapshot))
        return events, closed

    def _wake(self) -> None:
        for loop, woken in self._followers:
            with contextlib.suppress(RuntimeError):  # the follower's loop was closed
                loop.call_soon_threadsafe(woken.set)
