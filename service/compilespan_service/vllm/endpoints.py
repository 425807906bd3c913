"""Our endpoints on vLLM's own server, as one of its endpoint plugins.

vLLM passes its finished app and its parsed arguments. The journals cover all processes of the
server.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

from starlette.routing import Match

from compilespan import mark_ready
from compilespan.process.faults import contained
from compilespan_service.app import service_router
from compilespan_service.door.security import guard_of_a_guest
from compilespan_service.door.tokens import TokenError, configured_tokens, digest
from compilespan_service.settings import Settings
from compilespan_service.vllm.exposed import add_metrics
from compilespan_service.vllm.plan import Served, requests
from compilespan_service.vllm.transport import AppTarget, AppTransport
from compilespan_service.warmups.runner import Runner

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from fastapi import APIRouter, FastAPI
    from fastapi.routing import APIRoute
    from starlette.datastructures import State
    from starlette.types import ASGIApp

    from compilespan_service.door.security import Guard
    from compilespan_service.reading.exposition import Exposition

_logger = logging.getLogger("compilespan")


class Endpoints:
    """An endpoint plugin of vLLM; none of the methods that vLLM calls raises."""

    name = "compilespan"
    required_tasks = None
    """``None`` for any model."""

    def __init__(self, tasks: Sequence[str] = ()) -> None:
        """Take the tasks of the model, if vLLM reports them."""
        self._tasks = tasks
        self._app: FastAPI | None = None
        self._targets: list[AppTarget] = []

    def attach_router(self, app: FastAPI) -> None:
        """Add the routes that vLLM does not have, and our metrics to its own.

        vLLM replaces a route of its own by ours if path and method are the same.
        """
        with contained("attach endpoints to vLLM's server"):
            try:
                router, exposition, guard = self.router(app.state.args, app)
            except TokenError as error:
                _logger.warning("compilespan: no endpoints were added to vLLM's server: %s", error)
                return
            self._app = app
            app.include_router(router)
            add_metrics(app, exposition, guard)

    async def init_state(self, engine_client: Any, _: State, args: Namespace) -> None:
        """Read what the server serves; vLLM's render server has no engine."""
        with contained("read the configuration of vLLM's server"):
            if self._app is not None:
                config = getattr(engine_client, "vllm_config", None)
                self.know(self._app, args, Served.of(args, config, self._tasks))
            if engine_client is None:
                mark_ready()  # nothing compiles in a render server

    def know(self, app: ASGIApp, args: Namespace | None, served: Served) -> None:
        """Make the target that warms the server, called in the event loop that serves it."""
        key = next(iter(api_keys(args)), None)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = AppTransport(app, asyncio.get_running_loop())
        if wanted := requests(served):
            self._targets = [AppTarget("vllm", transport, wanted, headers=headers)]

    def router(
        self, args: Namespace | None, app: FastAPI
    ) -> tuple[APIRouter, Callable[[], Exposition], Guard]:
        """Return the endpoints that the app lacks, behind our own token, else vLLM's keys."""
        # The environment's settings for a standalone server do not apply here.
        settings = Settings(
            warmup="on-request",
            ready_when="loaded",
            on_warmup_failure="not-ready",
            on_hang="keep",
            processes=1,
        )
        tokens = configured_tokens(settings.token, settings.token_file)
        guard = guard_of_a_guest(
            tokens or tuple(map(digest, api_keys(args))), settings.allowed_hosts
        )
        policy = dataclasses.replace(settings.policy, is_guest=True)
        runner = Runner(lambda: lambda: self._targets, policy)
        taken = tuple(app.router.routes)
        router, readings = service_router(
            runner, settings, guard, is_taken=lambda route: _answers(taken, route)
        )
        return router, readings.exposition, guard


def api_keys(args: Namespace | None) -> list[str]:
    """Return the keys that vLLM accepts: those of its arguments, else that of its variable."""
    given = getattr(args, "api_key", None) or os.environ.get("VLLM_API_KEY") or []
    return [key for key in ([given] if isinstance(given, str) else given) if key]


def _answers(routes: Sequence[Any], ours: APIRoute) -> bool:
    """Whether one of these routes has the path and method of ours."""
    scope = {"type": "http", "path": ours.path, "root_path": "", "headers": []}
    return any(
        route.matches({**scope, "method": method})[0] is Match.FULL
        for route in routes
        for method in ours.methods or ()
    )
