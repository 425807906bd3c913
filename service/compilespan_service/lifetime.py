"""Runs what the endpoints need, also if the server does not run their lifespan.

A server runs the lifespan of its own app; that of an app mounted into it, or of a router included
while it runs, it often does not.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from compilespan.faults import contained

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager


class Lifetime:
    """The time in which the endpoints are served; the first of lifespan and request begins it."""

    def __init__(self, serving: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Begin nothing yet.

        Args:
            serving: Returns the context that is entered at the begin and left at the end.
        """
        self._serving = serving
        self._begun: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Begin and end with the server."""
        self._begun = asyncio.Event()
        async with self._serving():
            self._begun.set()
            yield

    async def begin(self) -> None:
        """Begin at a request, unless the server has; end with the server's event loop."""
        if self._begun is None:
            self._begun = asyncio.Event()
            self._task = asyncio.create_task(self._serve(self._begun))
        await self._begun.wait()

    async def _serve(self, begun: asyncio.Event) -> None:
        try:
            with contained("begin at the first request"):
                async with self._serving():
                    begun.set()
                    await asyncio.Event().wait()
        finally:
            begun.set()
