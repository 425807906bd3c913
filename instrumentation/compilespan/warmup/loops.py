"""Awaiting from code that is not asynchronous, always on the same loop for the same thread.

An engine binds itself to the loop of its first call, so the second call has to find it running
that loop again; and a loop that runs already cannot be entered a second time.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable


class _Loops(threading.local):
    """What a thread needs to await: a loop of its own, a helper if it runs somebody else's."""

    def __init__(self) -> None:
        self.own: asyncio.AbstractEventLoop | None = None
        self.helper: ThreadPoolExecutor | None = None

    def __del__(self) -> None:
        if self.own is not None and not self.own.is_running():
            self.own.close()


_loops = _Loops()


def wait_for(awaitable: Awaitable[Any]) -> Any:
    """Await in this thread; in a helper thread if an event loop runs in this one.

    Returns:
        What the awaitable returns; raises what it raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if _loops.own is None:
            _loops.own = asyncio.new_event_loop()
        return _loops.own.run_until_complete(_awaited(awaitable))
    if _loops.helper is None:
        _loops.helper = ThreadPoolExecutor(1, thread_name_prefix="compilespan-warmup")
    context = contextvars.copy_context()
    return _loops.helper.submit(context.run, wait_for, awaitable).result()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
