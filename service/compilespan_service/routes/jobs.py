"""``/warmup/jobs``: the remembered jobs, and cancelling one."""

from __future__ import annotations

from fastapi import APIRouter, Response

from compilespan_service import schemas
from compilespan_service.door.problems import responses
from compilespan_service.door.route import Guarded, ProblemRoute
from compilespan_service.reading.instance import Instance
from compilespan_service.warmups.admission import RETRY_AFTER_S
from compilespan_service.warmups.job import Job
from compilespan_service.warmups.runner import Runner


def routes(runner: Runner, instance: Instance, guarded: Guarded) -> APIRouter:
    """Return the endpoints for a runner's jobs."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["warmup"])

    @router.get(
        "/warmup/jobs",
        response_model=list[schemas.Job],
        summary="All remembered jobs, newest first",
        responses=responses("unauthorized"),
    )
    async def all_jobs() -> list[schemas.Job]:
        return [described(job, instance) for job in reversed(runner.jobs.all)]

    @router.delete(
        "/warmup/jobs/{job_id}",
        response_model=schemas.Job,
        summary="Cancel a job before its next call; warm items stay warm",
        responses={
            202: {"model": schemas.Job, "description": "Accepted; the current call ends first"},
            **responses(
                "unauthorized", "cross-site", "not-configured", "job-not-found", "invalid-request"
            ),
        },
    )
    async def cancel_job(job_id: str, response: Response) -> schemas.Job:
        job = runner.cancel(job_id)
        if not job.is_over:
            response.status_code = 202
            response.headers["Retry-After"] = RETRY_AFTER_S
        return described(job, instance)

    @router.get(
        "/warmup/jobs/{job_id}",
        name="warmup_job",
        response_model=schemas.Job,
        summary="One job",
        responses=responses("unauthorized", "job-not-found", "invalid-request"),
    )
    async def one_job(job_id: str) -> schemas.Job:
        return described(runner.jobs.find(job_id), instance)

    return router


def described(job: Job, instance: Instance, *, already_warm: bool = False) -> schemas.Job:
    """Return a job as the service shows it; it warms one worker of the instance."""
    processes = f"1 of {instance.process_count}"
    return job.schema(already_warm=already_warm).model_copy(update={"processes": processes})
