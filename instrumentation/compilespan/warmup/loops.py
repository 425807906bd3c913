"""Await from synchronous code, always on the same event loop for the same thread.

An engine binds itself to the loop of its first call, so later calls have to run that loop again.
A loop that is already running cannot be entered a second time.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

_CANCEL_S = 5.0


class _Loops(threading.local):
    """A thread's own loop, and a helper thread in case the thread already runs another loop."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.own: asyncio.AbstractEventLoop | None = None
        self.helper: ThreadPoolExecutor | None = None

    def __del__(self) -> None:
        if self.pid == os.getpid() and self.own is not None and not self.own.is_running():
            self.own.close()

    def renew_after_fork(self) -> None:
        """Drop the parent's loop, which would wait for the parent's events, and its threads."""
        if self.pid != os.getpid():
            self.pid, self.own, self.helper = os.getpid(), None, None


_loops = _Loops()


def wait_for(awaitable: Awaitable[Any]) -> Any:
    """Await in this thread; in a helper thread if an event loop runs in this one.

    Returns:
        What the awaitable returns; raises what it raises.
    """
    _loops.renew_after_fork()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if _loops.own is None:
            _loops.own = asyncio.new_event_loop()
        return _run(_loops.own, awaitable)
    if _loops.helper is None:
        _loops.helper = ThreadPoolExecutor(1, thread_name_prefix="compilespan-warmup")
    context = contextvars.copy_context()
    return _loops.helper.submit(context.run, wait_for, awaitable).result()


def _run(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> Any:
    task = loop.create_task(_awaited(awaitable))
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():  # an interrupt: the task must not continue in the next call
            task.cancel()
            loop.run_until_complete(asyncio.wait([task], timeout=_CANCEL_S))
        raise


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
