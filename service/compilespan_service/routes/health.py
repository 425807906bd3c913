"""The three probes: alive, started, ready; `lifecycle` decides their answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response

from compilespan import get_ledger
from compilespan_service import schemas
from compilespan_service.door.route import ProblemRoute
from compilespan_service.warmups.waiting import awaited_replica

if TYPE_CHECKING:
    from compilespan_service.reading.instance import Instance
    from compilespan_service.warmups.runner import Runner

_NOT_YET: dict[int | str, dict[str, Any]] = {
    503: {"model": schemas.Health, "description": "Not yet, or no longer"}
}


def routes(runner: Runner, instance: Instance) -> APIRouter:
    """Return the probes of this process; it is ready when all workers of its instance are."""
    router = APIRouter(route_class=ProblemRoute, tags=["health"])
    is_announced = False

    def health(response: Response, *, verdict: bool, detail: str | None = None) -> schemas.Health:
        response.status_code = 200 if verdict else 503
        ledger = get_ledger()
        job = runner.jobs.current
        warming = job is not None and job.state in ("running", "cancelling")
        return schemas.Health(
            state=runner.lifecycle.state.value,
            phase="warmup" if warming else ledger.readiness.phase,
            elapsed_s=max(0.0, (time.time_ns() - ledger.readiness.since_ns) / 1e9),
            detail=runner.lifecycle.detail or detail or awaited_replica(),
        )

    @router.get("/livez", response_model=schemas.Health, summary="Whether the process is alive")
    async def livez(response: Response) -> schemas.Health:
        return health(response, verdict=True)

    @router.get(
        "/startupz",
        response_model=schemas.Health,
        summary="Whether it has started",
        responses=_NOT_YET,
    )
    async def startupz(response: Response) -> schemas.Health:
        return health(response, verdict=runner.lifecycle.is_started)

    @router.get(
        "/readyz",
        response_model=schemas.Health,
        summary="Whether it is ready for traffic",
        responses=_NOT_YET,
    )
    async def readyz(response: Response) -> schemas.Health:
        if runner.following.follows and not runner.lifecycle.is_ready:
            await asyncio.to_thread(runner.following.look, runner.lifecycle)
        if not runner.lifecycle.is_ready:
            return health(response, verdict=False)
        nonlocal is_announced
        unready = instance.unready()
        if unready is not None or not is_announced:
            # Others may be ready by now, and all must read that this process is before anybody
            # is told so: the next request may come to another worker.
            await asyncio.to_thread(instance.refresh)
            unready = instance.unready()
        is_announced = unready is None
        return health(response, verdict=unready is None, detail=unready)

    return router
