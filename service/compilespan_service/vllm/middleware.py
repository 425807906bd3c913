"""Our endpoints on the server of a vLLM version without endpoint plugins.

    vllm serve … --middleware compilespan_service.vllm.CompileRoutes

If vLLM has endpoint plugins and ours is on, the middleware passes all requests on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Match

from compilespan.process.faults import contained
from compilespan.servers import vllm
from compilespan_service.door.problems import ProblemError
from compilespan_service.vllm.endpoints import Endpoints
from compilespan_service.vllm.plan import Served

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_PROBE = "/livez"


class CompileRoutes:
    """ASGI middleware that answers our paths and passes all others on."""

    def __init__(self, app: ASGIApp) -> None:
        """Take vLLM's app; the first request makes our endpoints."""
        self._app = app
        self._lock = asyncio.Lock()
        self._is_made = False
        self._ours: FastAPI | None = None
        self._life: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        app = self._app
        if scope["type"] == "http" and "app" in scope:
            ours = await self._made(scope["app"])
            if ours is not None and _has(ours, scope):
                off = not vllm.takes_part() and scope["path"] != _PROBE
                app = _plugin_off().response() if off else ours
        await app(scope, receive, send)

    async def _made(self, theirs: FastAPI) -> FastAPI | None:
        async with self._lock:
            if not self._is_made:
                self._is_made = True
                with contained("make endpoints for vLLM's server"):
                    ours = _made(theirs)
                    if ours is not None:
                        begun = asyncio.Event()
                        self._life = asyncio.create_task(_live(ours, begun))
                        await begun.wait()
                    self._ours = ours
            return self._ours


def _made(theirs: FastAPI) -> FastAPI | None:
    """Return our own app beside theirs; ``None`` if the plugin attached its endpoints."""
    plugins = getattr(theirs.state, "endpoint_plugins", ())
    if any(isinstance(each, Endpoints) for each in plugins):
        return None
    args = getattr(theirs.state, "args", None)
    endpoints = Endpoints()
    ours = FastAPI(openapi_url=None, redirect_slashes=False)
    ours.include_router(endpoints.router(args, theirs)[0])
    if args is not None:
        config = getattr(theirs.state, "vllm_config", None)
        endpoints.know(theirs, args, Served.of(args, config, ()))
    return ours


async def _live(ours: FastAPI, begun: asyncio.Event) -> None:
    """Run our app's lifespan until the server's loop ends; the lifespan of theirs has begun."""
    try:
        async with ours.router.lifespan_context(ours):
            begun.set()
            await asyncio.Event().wait()
    finally:
        begun.set()


def _has(ours: FastAPI, scope: Any) -> bool:
    return any(route.matches(scope)[0] is not Match.NONE for route in ours.router.routes)


def _plugin_off() -> ProblemError:
    return ProblemError(
        "plugin-off",
        "compilespan's plugin is off in this process, so nothing was recorded: start vLLM "
        "with this middleware on its command line or COMPILESPAN_STATE_DIR set, and leave "
        "VLLM_PLUGINS unset or let it name compilespan.",
    )
