"""The first moments of a server: its port answers before the service behind it is imported."""

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
        # What is being made in a thread cannot be interrupted, and the process is about to end.
        await asyncio.wait({lives}, timeout=None if _is_there(self._service) else _MADE_WITHIN_S)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, service: asyncio.Future[ASGIApp]) -> None:
        """Make the service, and keep it until the server ends."""
        try:
            app = await _in_daemon(self._make)
            async with app.router.lifespan_context(app):
                service.set_result(app)
                await self._over.wait()
        except BaseException as error:
            if service.done() or isinstance(error, asyncio.CancelledError):
                raise  # the process ends
            service.set_exception(error)
            service.exception()  # nobody may ask for it
            self._failed(error)


def _probed(scope: Scope) -> int | None:
    """Return how a probe is answered before the service is there; ``None`` for all else."""
    if scope["method"] not in ("GET", "HEAD"):
        return None
    return _PROBES.get(scope["path"].removeprefix(scope.get("root_path", "")))


def _is_there(service: asyncio.Future[ASGIApp]) -> bool:
    return service.done() and service.exception() is None


async def _in_daemon(make: Callable[[], FastAPI]) -> FastAPI:
    """Call this in a thread that keeps no process from ending."""
    made: Future[FastAPI] = Future()
    made.set_running_or_notify_cancel()  # if the process ends meanwhile, nobody takes the result

    def call() -> None:
        try:
            made.set_result(make())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=call, name="compilespan-opening", daemon=True).start()
    return await asyncio.wrap_future(made)


def _health() -> dict[str, object]:
    """Say what `compilespan_service.routes.health` says of a process that loads."""
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
