"""The first seconds of a server: it answers probes before the service is imported."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from compilespan.process import process_age_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

_PROBES = {"/livez": 200, "/startupz": 503, "/readyz": 503}
_MADE_WITHIN_S = 2.0
_ENDS = {
    "type": "urn:compilespan:problem:draining",
    "title": "The process is shutting down",
    "status": 503,
    "detail": "The service could not be started; the server's output says why.",
}


class Opening:
    """An ASGI app that answers probes at once, and other requests once the service exists."""

    def __init__(
        self, make: Callable[[], FastAPI], failed: Callable[[BaseException], object]
    ) -> None:
        """Prepare; the service is created when the server starts.

        Args:
            make: Returns the service; called in a thread while the port already answers.
            failed: Called with the error if ``make`` raises or the service cannot start.
        """
        self._make = make
        self._failed = failed
        self._over = asyncio.Event()
        self._service: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        service = self._service
        assert service is not None  # a server sends the lifespan first
        if scope["type"] == "http" and (status := _probed(scope)) and not _is_there(service):
            await _answer(scope, send, status, _health())
            return
        try:
            app = await asyncio.shield(service)
        except Exception:  # `failed` was called
            if scope["type"] == "http":
                await _answer(scope, send, 503, _ENDS, "application/problem+json")
            return
        await app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service = asyncio.get_running_loop().create_future()
        lives = asyncio.create_task(self._serve(self._service))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._over.set()
        # The thread that creates the service cannot be interrupted; the process is about to end.
        await asyncio.wait({lives}, timeout=None if _is_there(self._service) else _MADE_WITHIN_S)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, service: asyncio.Future[ASGIApp]) -> None:
        """Create the service and run it until the server ends."""
        try:
            app = await _in_daemon(self._make)
            async with app.router.lifespan_context(app):
                service.set_result(app)
                await self._over.wait()
        except BaseException as error:
            if service.done() or isinstance(error, asyncio.CancelledError):
                raise  # the process ends
            service.set_exception(error)
            service.exception()  # mark it as retrieved: no request may come
            self._failed(error)


def _probed(scope: Scope) -> int | None:
    """Return the status of a probe before the service exists; ``None`` for other requests."""
    if scope["method"] not in ("GET", "HEAD"):
        return None
    return _PROBES.get(scope["path"].removeprefix(scope.get("root_path", "")))


def _is_there(service: asyncio.Future[ASGIApp]) -> bool:
    return service.done() and service.exception() is None


async def _in_daemon(make: Callable[[], FastAPI]) -> FastAPI:
    """Call ``make`` in a daemon thread, which does not keep the process alive."""
    made: Future[FastAPI] = Future()
    made.set_running_or_notify_cancel()  # `call` may set it after the server has ended

    def call() -> None:
        try:
            made.set_result(make())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=call, name="compilespan-opening", daemon=True).start()
    return await asyncio.wrap_future(made)


def _health() -> dict[str, object]:
    """Return what `compilespan_service.routes.health` returns while the process loads."""
    elapsed_s = process_age_ns() / 1e9
    return {"state": "loading", "phase": "startup", "elapsed_s": elapsed_s, "detail": None}


async def _answer(
    scope: Scope,
    send: Send,
    status: int,
    document: dict[str, object],
    media_type: str = "application/json",
) -> None:
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
