"""Calls of a store in threads of their own, until a deadline."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from compilespan.cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_THREADS = 8


def within(deadline_s: float, call: Callable[[], T]) -> T:
    """Return the result of a call in a thread of its own.

    Args:
        deadline_s: By ``time.monotonic()``.
        call: What to do.

    Raises:
        CacheError: It raised, or was not done by then; it is left behind in its thread.
    """
    return next(each_within(deadline_s, [call]))


def within_s(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call in a thread of its own, which may take some seconds.

    Raises:
        CacheError: As of `within`.
    """
    return within(time.monotonic() + seconds, call)


def each_within(deadline_s: float, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of calls in a few threads, as they come.

    Args:
        deadline_s: By ``time.monotonic()``.
        calls: What to do.

    Raises:
        CacheError: A call raised, or not all were done by then.
    """
    todo: SimpleQueue[Callable[[], T]] = SimpleQueue()
    for call in calls:
        todo.put(call)
    count = todo.qsize()
    done: SimpleQueue[_Done[T]] = SimpleQueue()
    is_over = threading.Event()
    # Threads of an executor would be joined when the process ends.
    for _ in range(min(_THREADS, count)):
        arguments = (todo, done, is_over)
        threading.Thread(
            target=_work, args=arguments, name="compilespan-cache", daemon=True
        ).start()
    try:
        for _ in range(count):
            yield _next(done, deadline_s)
    finally:
        is_over.set()


class _Done(Generic[T]):
    """The result of a call, or what it raised."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.results: list[T] = []
        self.error: Exception | None = None
        try:
            self.results.append(call())
        except Exception as error:  # reported to who waits
            self.error = error


def _work(
    todo: SimpleQueue[Callable[[], T]], done: SimpleQueue[_Done[T]], is_over: threading.Event
) -> None:
    with suppress(Empty):
        while not is_over.is_set():
            done.put(_Done(todo.get_nowait()))


def _next(done: SimpleQueue[_Done[T]], deadline_s: float) -> T:
    left_s = deadline_s - time.monotonic()
    try:
        found = done.get(timeout=max(0.001, left_s))
    except Empty:
        msg = "it did not answer in time"
        raise CacheError(msg) from None
    if isinstance(found.error, CacheError):
        raise found.error
    if found.error is not None:
        msg = f"{type(found.error).__name__}: {found.error}"
        raise CacheError(msg) from found.error
    return found.results[0]
