"""Delivers what the ledger publishes to followers, without ever waiting for them (rule 6)."""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("compilespan")

T = TypeVar("T")
R = TypeVar("R")


class Subscription(Generic[T]):
    """A bounded queue, and a thread that calls a callback with each item.

    `put` never blocks: if the queue is full, the item is dropped. If the callback raises, the first
    exception is logged and delivery continues.
    """

    def __init__(
        self,
        callback: Callable[[T], object],
        *,
        maxsize: int = 8192,
        signal: str = "subscription",
        prepare: Callable[[], object] | None = None,
        idle: Callable[[], float | None] | None = None,
        gather_s: float = 0.0,
    ) -> None:
        """Start the thread.

        Args:
            callback: Called with each item, one at a time.
            maxsize: Number of items that may wait.
            signal: Name under which `Followers.dropped` counts items that are lost.
            prepare: Called in the thread before the first item.
            idle: Called before each wait for items; returns the seconds until its next call,
                ``None`` to wait for the next item.
            gather_s: Seconds that an item waits for others, so that the thread does not wake up
                for each of them and compete with the compile.
        """
        # SimpleQueue.put is reentrant: a finalizer or signal handler may interrupt a put.
        self._queue: queue.SimpleQueue[T | threading.Event | None] = queue.SimpleQueue()
        self._pid = os.getpid()
        self._maxsize = maxsize
        self._callback = callback
        self._prepare = prepare
        self._idle = idle
        self._gather_s = gather_s
        self._is_awaited = threading.Event()
        self._complained = False
        self.signal = signal
        self._thread = threading.Thread(target=self._run, name=f"compilespan-{signal}", daemon=True)
        self._thread.start()

    def put(self, item: T, *, at_once: bool = False) -> bool:
        """Queue an item; ``False`` if it was dropped.

        Args:
            item: Passed to the callback.
            at_once: Deliver all queued items without the delay of ``gather_s``.
        """
        if self._queue.qsize() >= self._maxsize:
            return False
        self._queue.put(item)
        if at_once and self._gather_s:
            self._is_awaited.set()
        return True

    def close(self, timeout_s: float = 2.0) -> bool:
        """Deliver what is queued and end the thread; ``True`` if done within ``timeout_s``."""
        if self._pid != os.getpid():
            return True  # only the parent has the thread
        self._queue.put(None)
        self._is_awaited.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def drain(self, timeout_s: float = 2.0) -> bool:
        """Wait until all items queued so far are delivered; ``True`` if they were in time."""
        if self._pid != os.getpid():
            return True
        delivered = threading.Event()
        self._queue.put(delivered)
        self._is_awaited.set()
        return delivered.wait(timeout_s)

    def _run(self) -> None:
        if self._prepare is not None:
            self._call(self._prepare)
        while True:
            wait_s = self._call(self._idle) if self._idle is not None else None
            with suppress(queue.Empty):
                item = self._queue.get(timeout=wait_s)
                self._is_awaited.wait(self._gather_s)
                self._is_awaited.clear()
                while item is not None:
                    self._deliver(item)
                    item = self._queue.get_nowait()
                return

    def _deliver(self, item: T | threading.Event) -> None:
        if isinstance(item, threading.Event):
            item.set()
        else:
            self._call(functools.partial(self._callback, item))

    def _call(self, call: Callable[[], R]) -> R | None:
        try:
            return call()
        except Exception:
            if not self._complained:
                self._complained = True
                _logger.warning("%s: a callback failed", self._thread.name, exc_info=True)
            return None
