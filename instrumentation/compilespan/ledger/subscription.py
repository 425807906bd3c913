"""Hands what the ledger records to whoever listens, without ever waiting for them (rule 6)."""

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
    """A bounded queue in front of a callback that runs in a thread of its own.

    `put` never blocks: when the queue is full the item is dropped. An exception of the callback
    is logged once and ends nothing.
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
            callback: Gets each item, one after another.
            maxsize: Items that may wait.
            signal: What is lost when the queue is full, as `CompileLedger.dropped` names it.
            prepare: Called in the thread before the first item.
            idle: Called when nothing is queued; returns after how many seconds it wants to be
                called again, ``None`` for not before the next item.
            gather_s: How long an item may wait for others, so that a thread that is woken by each
                of them does not compete with the compile.
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
            item: What is handed to the callback.
            at_once: Deliver it now, and what waits for others.
        """
        if self._queue.qsize() >= self._maxsize:
            return False
        self._queue.put(item)
        if at_once and self._gather_s:
            self._is_awaited.set()
        return True

    def close(self, timeout_s: float = 2.0) -> bool:
        """Let the thread finish what is queued; ``True`` if it did within ``timeout_s``."""
        if self._pid != os.getpid():
            return True  # the thread is the parent's
        self._queue.put(None)
        self._is_awaited.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def drain(self, timeout_s: float = 2.0) -> bool:
        """Wait until what is queued now was delivered; ``True`` if it was in time."""
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
