"""``/warmup``: start or join a job, and get the current one."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Header, Query, Request, Response

from compilespan_service import schemas
from compilespan_service.door.problems import ProblemError, responses
from compilespan_service.door.route import Guarded, ProblemRoute
from compilespan_service.reading.instance import Instance
from compilespan_service.routes.jobs import described
from compilespan_service.warmups.admission import (
    RETRY_AFTER_S,
    CompileStillRunningError,
    PlanConflictError,
)
from compilespan_service.warmups.runner import Runner

if TYPE_CHECKING:
    from compilespan_service.warmups.job import Job

MAX_WAIT_S = 600


def routes(runner: Runner, instance: Instance, guarded: Guarded) -> APIRouter:
    """Return the endpoints for a runner, to start a job or get the current one."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["warmup"])

    @router.post(
        "/warmup",
        status_code=202,
        response_model=schemas.Job,
        summary="Start a warmup job, or join the running one",
        responses={
            200: {"model": schemas.Job, "description": "It succeeded, or all was already warm"},
            202: {"description": "Accepted; poll the URL in `Location`"},
            **responses(
                *("unauthorized", "cross-site", "target-not-found", "plan-conflict"),
                *("compile-still-running", "not-configured"),
                *("body-too-large", "invalid-request", "warmup-failed", "draining"),
            ),
        },
    )
    async def start_warmup(
        request: Request,
        response: Response,
        asked: Annotated[schemas.WarmupRequest | None, Body()] = None,
        wait: Annotated[
            float | None, Query(ge=0, description="Seconds to wait for the job's end; 600 at most.")
        ] = None,
        prefer: Annotated[str | None, Header(description="wait=N (RFC 7240)")] = None,
    ) -> schemas.Job:
        job, already_warm = _submit(runner, request, asked or schemas.WarmupRequest())
        if already_warm:
            response.status_code = 200
            return described(job, instance, already_warm=True)
        wait_s = min(wait if wait is not None else _preferred_wait_s(prefer), MAX_WAIT_S)
        if wait_s > 0 and not job.is_over:
            await asyncio.wait({asyncio.wrap_future(job.over)}, timeout=wait_s)
        return _answer(request, response, job, described(job, instance), waited=wait_s > 0)

    @router.get(
        "/warmup",
        response_model=schemas.Job,
        summary="The current job, else the latest",
        responses=responses("unauthorized", "job-not-found"),
    )
    async def latest_job() -> schemas.Job:
        job = runner.jobs.current
        if job is None:
            raise ProblemError(
                "job-not-found", "No warmup was requested yet; POST /warmup starts one."
            )
        return described(job, instance)

    return router


def _submit(runner: Runner, request: Request, asked: schemas.WarmupRequest) -> tuple[Job, bool]:
    try:
        return runner.submit(asked)
    except (PlanConflictError, CompileStillRunningError) as conflict:
        # Only a request has the path under which the routes are mounted.
        conflict.members["job"] = _url(request, conflict.job)
        raise


def _answer(
    request: Request, response: Response, job: Job, shown: schemas.Job, *, waited: bool
) -> schemas.Job:
    location = _url(request, job)
    response.headers["Location"] = location
    if not shown.ended_at or not waited:
        response.headers["Retry-After"] = RETRY_AFTER_S
        return shown
    if shown.state == "succeeded":
        response.status_code = 200
        return shown
    raise ProblemError(
        "warmup-failed",
        shown.error or f"The job ended as {shown.state}; see the errors of its items.",
        headers={"Location": location},
        job=shown.model_dump(mode="json"),
    )


def _url(request: Request, job: Job) -> str:
    return request.url_for("warmup_job", job_id=job.id).path


def _preferred_wait_s(prefer: str | None) -> float:
    """Return N of ``Prefer: wait=N``; an invalid preference is ignored (RFC 7240)."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})", prefer or "", re.IGNORECASE)
    return float(found[1]) if found else 0.0
