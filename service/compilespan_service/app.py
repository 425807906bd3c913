"""The service as a standalone FastAPI app, and as a router for another app."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException

from compilespan import TorchCompileInstrumentor, get_ledger
from compilespan.semconv import __version__
from compilespan_service.door.problems import answer_problem
from compilespan_service.door.security import Guard, guard_of_a_guest, own_names
from compilespan_service.door.tokens import configured_tokens
from compilespan_service.reading.readings import Readings
from compilespan_service.routes import (
    compiles,
    events,
    findings,
    health,
    jobs,
    metrics,
    openapi,
    page,
    totals,
    warmup,
)
from compilespan_service.settings import Settings
from compilespan_service.signals import drained_by_signals
from compilespan_service.state import close_state, open_state, share_state
from compilespan_service.warmups.lifecycle import ProcessState
from compilespan_service.warmups.loader import find_factory
from compilespan_service.warmups.runner import Runner
from compilespan_service.warmups.spec import DEMO

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Iterable,
        MutableMapping,
        Sequence,
    )

    from fastapi import params
    from fastapi.routing import APIRoute

    from compilespan import WarmupTarget
    from compilespan_service.warmups.targets import Factory

# The loader holds the GIL while it imports torch, so the server opens its port first.
_LOAD_AFTER_S = 0.05


def _only_reads(scope: MutableMapping[str, Any]) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD")


# Trace only requests that change something: probes, scrapes and the page poll all the time.
# Operation spans would show nothing between POST /warmup and its job. The older FastAPI that vLLM
# requires has no telemetry.
TELEMETRY: dict[str, Any] = (
    {"telemetry": {"operation_spans": False, "exclude": _only_reads}}
    if "telemetry" in signature(FastAPI).parameters
    else {}
)


def create_app(
    settings: Settings | None = None,
    *,
    runner: Runner | None = None,
    bound: str | None = None,
    changes_allowed: bool = False,
) -> FastAPI:
    """Return the service.

    Args:
        settings: Default to those of the environment.
        runner: The caller's own, e.g. one that ends the process when a warmup fails.
        bound: Address that the server listens on, which requests may use as host name.
        changes_allowed: Whether anyone who can reach the server may start warmups without a token.

    Raises:
        TokenError: A token is configured that cannot be used.
    """
    settings = settings or Settings()
    runner = runner or make_runner(settings)
    app = FastAPI(
        title="compilespan",
        version=__version__,
        summary="Warms up compiled models and reports the cost.",
        # FastAPI's own pages need a CDN, and these routes bypass the guard: see `routes.openapi`.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={HTTPException: answer_problem},
        redirect_slashes=False,  # a redirect would be sent before the guard runs
        **TELEMETRY,
    )
    guard = Guard(
        configured_tokens(settings.token, settings.token_file),
        changes_allowed=changes_allowed,
        hosts=own_names(bound, settings.allowed_hosts),
    )
    app.include_router(openapi.routes([guard.as_dependency()]))
    app.include_router(service_router(runner, settings, guard)[0])
    return app


def factory_of(spec: str) -> Factory:
    """Instrument torch, then import ``MODULE:FACTORY``.

    Raises:
        LoadError: See `find_factory`.
    """
    _instrument()
    return find_factory(spec)


def make_runner(settings: Settings) -> Runner:
    """Return the runner of the targets that the settings name."""
    spec = settings.factory or DEMO
    return Runner(lambda: factory_of(spec), settings.policy)


def warmup_router(
    targets: Iterable[WarmupTarget] | Callable[[], Iterable[WarmupTarget]] | None,
    *,
    settings: Settings | None = None,
    dependencies: Sequence[params.Depends] = (),
) -> APIRouter:
    """Return the endpoints as a router to mount into an existing FastAPI app.

    Its lifespan loads the targets; the app's own lifespan and providers are left alone. A server
    runs the lifespan of the outermost app only, so include the router there.

    Args:
        targets: The targets, or a function that returns them (called in a thread). ``None`` if
            the server's workers warm up when they start, in this process (BentoML) or in its
            children (LitServe): each calls `compilespan.warm` and `compilespan.mark_ready`. This
            process is ready when as many workers as ``COMPILESPAN_PROCESSES`` are, or else when
            all that compile are; totals are theirs. Call it before the workers start: they
            inherit the state directory.
        settings: Default to those of the environment.
        dependencies: Of every endpoint except the probes and the page, e.g. the app's
            authentication. Without them and without a token, changes are refused.

    Raises:
        TokenError: A token is configured that cannot be used.
    """
    get_ledger().readiness.time_imports()
    settings = settings or Settings()
    policy = dataclasses.replace(settings.policy, follows=targets is None)
    if targets is None:
        settings = settings.model_copy(update={"state_dir": share_state(settings.state_dir)})
    factory: Factory = targets if callable(targets) else lambda: targets or ()
    tokens = configured_tokens(settings.token, settings.token_file)
    guard = guard_of_a_guest(tokens, settings.allowed_hosts, has_authentication=bool(dependencies))
    runner = Runner(lambda: factory, policy)
    router, readings = service_router(runner, settings, guard, dependencies, is_mounted=True)
    runner.following.unready = readings.instance.unready_now
    return router


def service_router(
    runner: Runner,
    settings: Settings,
    guard: Guard,
    dependencies: Sequence[params.Depends] = (),
    *,
    is_mounted: bool = False,
    is_taken: Callable[[APIRoute], bool] = lambda _: False,
) -> tuple[APIRouter, Readings]:
    """Return the endpoints, with a lifespan that runs them, and their readings.

    Args:
        runner: Warms the targets.
        settings: For the state directory, the number of workers and the address of traces.
        guard: Checks each request except those for the probes and the page.
        dependencies: Further dependencies of the same requests.
        is_mounted: Whether it is part of another program's app: then the lifespan instruments
            torch, and ends the journal after a signal.
        is_taken: Returns whether the server already has a route like this one, which is then
            left out.
    """

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        if is_mounted:  # the app may compile before the targets are loaded
            _instrument()
        await asyncio.to_thread(open_state, settings.state_dir)
        runner.open()
        readings.open()
        starting = asyncio.get_running_loop().call_later(_LOAD_AFTER_S, _start, runner, readings)
        with drained_by_signals(runner.drain):
            try:
                yield
            finally:
                is_ending = runner.lifecycle.state is ProcessState.DRAINING  # by a signal
                starting.cancel()
                readings.stop()
                await asyncio.to_thread(runner.stop)
                if is_mounted and is_ending:
                    await asyncio.to_thread(close_state)

    router = APIRouter(lifespan=lifespan)
    readings = Readings(
        settings.processes,
        lambda: runner.warms_others,
        follows=runner.following.follows,
        trace_url=settings.trace_url,
    )
    runner.jobs.on_end = readings.take_job
    for each in _nouns(runner, readings, [guard.as_dependency(), *dependencies]):
        each.routes[:] = [route for route in each.routes if not is_taken(cast("APIRoute", route))]
        router.include_router(each)
    return router, readings


def _instrument() -> None:
    instrumentor = TorchCompileInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(skip_dep_check=True)


def _start(runner: Runner, readings: Readings) -> None:
    """Begin to load models and to read journals; delayed so that the port opens first."""
    readings.start()
    runner.start()


def _nouns(
    runner: Runner, readings: Readings, guarded: Sequence[params.Depends]
) -> list[APIRouter]:
    instance = readings.instance
    return [
        page.routes(),
        health.routes(runner, instance),
        warmup.routes(runner, instance, guarded),
        jobs.routes(runner, instance, guarded),
        events.routes(runner, guarded),
        metrics.routes(readings.exposition, guarded),
        totals.routes(readings.accounts, guarded),
        compiles.routes(readings.accounts, readings.history, guarded),
        findings.routes(runner, readings.accounts, guarded),
    ]
