"""The service as a FastAPI app of its own, and as a router for somebody else's."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI

from compilespan import TorchCompileInstrumentor
from compilespan.semconv import __version__
from compilespan_service.door.security import Guard, token_digest
from compilespan_service.reading.accounts import Accounts
from compilespan_service.reading.exposition import Exposition
from compilespan_service.reading.history import History
from compilespan_service.routes import compiles, events, health, jobs, metrics, page, totals, warmup
from compilespan_service.settings import Settings
from compilespan_service.signals import drained_by_signals
from compilespan_service.state import open_state
from compilespan_service.warmups import targets as known_targets
from compilespan_service.warmups.runner import Runner

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        MutableMapping,
        Sequence,
    )

    from fastapi import params

    from compilespan import WarmupTarget

# The loader holds the GIL while it imports torch; so long the server gets to open its port.
_LOAD_AFTER_S = 0.05


def _only_reads(scope: MutableMapping[str, Any]) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD")


# What changes something is traced. Probes, scrapes and the page ask all the time, and between
# POST /warmup and its job lies nothing to look at. Older FastAPI, which vLLM asks for, has no
# telemetry of its own.
TELEMETRY: dict[str, Any] = (
    {"telemetry": {"operation_spans": False, "exclude": _only_reads}}
    if "telemetry" in signature(FastAPI).parameters
    else {}
)


def create_app(
    settings: Settings | None = None,
    *,
    runner: Runner | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """Return the service.

    Args:
        settings: From the environment where they are left out.
        runner: Where the caller keeps it, e.g. to end the process when a warmup fails.
        hosts: Names that requests without a token may call it by; any where they are left out.

    Raises:
        TokenError: A token is configured and cannot be had.
    """
    settings = settings or Settings()
    runner = runner or make_runner(settings)
    app = FastAPI(
        title="compilespan",
        version=__version__,
        summary="Warms up compiled models and says what it cost.",
        **TELEMETRY,
    )
    guard = Guard(token_digest(settings), hosts=hosts)
    app.include_router(_router(runner, guard, ()))
    return app


def make_runner(settings: Settings) -> Runner:
    """Return the runner of the targets that the settings name."""
    spec = settings.factory or known_targets.DEMO
    return Runner(lambda: known_targets.find_factory(spec), settings)


def warmup_router(
    targets: Iterable[WarmupTarget] | Callable[[], Iterable[WarmupTarget]],
    *,
    settings: Settings | None = None,
    dependencies: Sequence[params.Depends] = (),
) -> APIRouter:
    """Return the endpoints as a router to mount into an existing FastAPI app.

    Its lifespan loads the targets; the app's own lifespan and providers are left alone.

    Args:
        targets: The targets, or a function that returns them (called in a thread).
        settings: From the environment where they are left out.
        dependencies: Of every endpoint but the probes, e.g. the app's authentication. Without
            them and without a token changing calls are refused.

    Raises:
        TokenError: A token is configured and cannot be had.
    """
    settings = settings or Settings()
    factory = targets if callable(targets) else lambda: targets
    guard = Guard(token_digest(settings), changes_allowed=bool(dependencies))
    return _router(Runner(lambda: factory, settings), guard, dependencies)


def _router(runner: Runner, guard: Guard, dependencies: Sequence[params.Depends]) -> APIRouter:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        instrumentor = TorchCompileInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)
        await asyncio.to_thread(open_state, runner.settings)
        starting = asyncio.get_running_loop().call_later(_LOAD_AFTER_S, runner.start)
        with drained_by_signals(runner.drain):
            try:
                yield
            finally:
                starting.cancel()
                await asyncio.to_thread(runner.stop)

    router = APIRouter(lifespan=lifespan)
    attach(router, runner, guard, dependencies)
    return router


def attach(
    router: APIRouter | FastAPI,
    runner: Runner,
    guard: Guard,
    dependencies: Sequence[params.Depends] = (),
) -> None:
    """Add the endpoints; whoever calls this starts and stops the runner."""
    guarded = [Depends(guard), *dependencies]
    accounts = Accounts(runner.instance)
    router.include_router(page.routes())
    router.include_router(health.routes(runner))
    router.include_router(warmup.routes(runner), dependencies=guarded)
    router.include_router(jobs.routes(runner), dependencies=guarded)
    router.include_router(events.routes(runner), dependencies=guarded)
    exposition = Exposition(runner.instance, runner.jobs)
    router.include_router(metrics.routes(exposition), dependencies=guarded)
    router.include_router(totals.routes(accounts), dependencies=guarded)
    router.include_router(compiles.routes(accounts, History()), dependencies=guarded)
