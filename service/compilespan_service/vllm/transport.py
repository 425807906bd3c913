"""Sends requests to the server of this process: through its app, in the loop that serves it.

So it does not matter where the server listens, whether it uses TLS, or which of several servers on
one port would answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from compilespan_service.warmups.http_target import HttpTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp

_URL = "http://localhost"


class AppTransport(httpx.BaseTransport):
    """Sends requests from any thread to an app, in the event loop of the app."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        self._way = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the app's answer."""
        if not self._loop.is_running():
            msg = "the server's event loop is not running"
            raise httpx.ConnectError(msg, request=request)
        return asyncio.run_coroutine_threadsafe(self._answer(request), self._loop).result()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        response = await self._way.handle_async_request(asked)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)


class AppTarget(HttpTarget):
    """The server of this process as a target."""

    is_of_this_instance = True

    def __init__(
        self,
        name: str,
        transport: AppTransport,
        requests: Sequence[Mapping[str, Any]],
        *,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(name, _URL, requests, headers=headers)
        self._transport = transport

    def load(self) -> None:
        """Return at once, because the server already runs."""
