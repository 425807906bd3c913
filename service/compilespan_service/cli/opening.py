"""The first moments of a server: its port answers before the service behind it is imported."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from compilespan.process import process_age_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

_PROBES = {"/livez": 200, "/startupz": 503, "/readyz": 503}


class Opening:
    """An ASGI app that answers the probes at once, and all else when the service is there."""

    def __init__(
        self, make: Callable[[], FastAPI], failed: Callable[[BaseException], object]
    ) -> None:
        """Make nothing yet.

        Args:
            make: Returns the service; called in a thread while the port is served.
            failed: Called if that raises, or if the service cannot begin.
        """
        self._make = make
        self._failed = failed
        self._over = asyncio.Event()
        self._service: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        service = self._service
        assert service is not None  # a server begins with the lifespan
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not service.done() and scope["type"] == "http" and path in _PROBES:
            await _answer_probe(_PROBES[path], scope, send)
        else:
            await (await asyncio.shield(service))(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service = asyncio.get_running_loop().create_future()
        lives = asyncio.create_task(self._serve(self._service))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._over.set()
        await lives
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, service: asyncio.Future[ASGIApp]) -> None:
        """Make the service, and keep it until the server ends."""
        try:
            app = await asyncio.to_thread(self._make)
            async with app.router.lifespan_context(app):
                service.set_result(app)
                await self._over.wait()
        except BaseException as error:
            if service.done():
                raise
            service.set_exception(error)
            service.exception()  # nobody may ask for it
            self._failed(error)


async def _answer_probe(status: int, scope: Scope, send: Send) -> None:
    """Say what `compilespan_service.routes.health` says of a process that loads."""
    health = {
        "state": "loading",
        "phase": "startup",
        "elapsed_s": process_age_ns() / 1e9,
        "detail": None,
    }
    body = json.dumps(health).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
