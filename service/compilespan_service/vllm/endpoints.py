"""Our endpoints on vLLM's own server, as its endpoint plugins are.

vLLM hands over its app when it was built, and its parsed arguments. All processes of the server
are covered by their journals.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

from starlette.routing import Match

from compilespan import mark_ready
from compilespan.faults import contained
from compilespan_service.app import guard_of_a_guest, service_router
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
    """What vLLM calls an endpoint plugin; nothing that it calls here raises."""

    name = "compilespan"
    required_tasks = None
    """Of any model."""

    def __init__(self, tasks: Sequence[str] = ()) -> None:
        """Take what the model can do, as far as vLLM says it."""
        self._tasks = tasks
        self._app: FastAPI | None = None
        self._targets: list[AppTarget] = []

    def attach_router(self, app: FastAPI) -> None:
        """Add the routes that vLLM has not itself, and our metrics to its own.

        It takes ours in place of its own where they are of the same path and method.
        """
        with contained("attach endpoints to vLLM's server"):
            try:
                router, exposition, guard = self.router(app.state.args, app)
            except TokenError as error:
                _logger.warning("compilespan: vLLM's server goes without our endpoints: %s", error)
                return
            self._app = app
            app.include_router(router)
            add_metrics(app, exposition, guard)

    async def init_state(self, engine_client: Any, _: State, args: Namespace) -> None:
        """Know what the server serves; its render server has no engine."""
        with contained("get to know vLLM's server"):
            if self._app is not None:
                config = getattr(engine_client, "vllm_config", None)
                self.know(self._app, args, Served.of(args, config, self._tasks))
            if engine_client is None:
                mark_ready()  # nothing compiles there

    def know(self, app: ASGIApp, args: Namespace | None, served: Served) -> None:
        """Take the way into the server, in the loop that serves it, and the requests to send."""
        key = next(iter(api_keys(args)), None)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = AppTransport(app, asyncio.get_running_loop())
        if wanted := requests(served):
            self._targets = [AppTarget("vllm", transport, wanted, headers=headers)]

    def router(
        self, args: Namespace | None, app: FastAPI
    ) -> tuple[APIRouter, Callable[[], Exposition], Guard]:
        """Return the endpoints that the app has not, behind our own token, else vLLM's keys."""
        # What of the environment is about a server's own life is not this one's.
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
    """Return the keys of which vLLM wants one: those of its arguments go before its variable's."""
    given = getattr(args, "api_key", None) or os.environ.get("VLLM_API_KEY") or []
    return [key for key in ([given] if isinstance(given, str) else given) if key]


def _answers(routes: Sequence[Any], ours: APIRoute) -> bool:
    """Whether one of these routes answers what ours would."""
    scope = {"type": "http", "path": ours.path, "root_path": "", "headers": []}
    return any(
        route.matches({**scope, "method": method})[0] is Match.FULL
        for route in routes
        for method in ours.methods or ()
    )
