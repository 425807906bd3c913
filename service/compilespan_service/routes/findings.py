"""``/findings``: what cost the most, and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from compilespan.findings.finding import EagerItem
from compilespan_service import schemas
from compilespan_service.door.problems import responses
from compilespan_service.door.route import Guarded, ProblemRoute

if TYPE_CHECKING:
    from compilespan_service.reading.accounts import Accounts
    from compilespan_service.warmups.runner import Runner


def routes(runner: Runner, accounts: Accounts, guarded: Guarded) -> APIRouter:
    """Return the endpoint for an instance's accounts and the items of the current job."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["findings"])

    @router.get(
        "/findings",
        response_model=list[schemas.Finding],
        summary="What cost the most, and how to fix it; failures first, then by seconds",
        responses=responses("unauthorized"),
    )
    def findings() -> list[schemas.Finding]:
        job = runner.jobs.current
        eager = [
            EagerItem(item.target, item.label, item.error or "")
            for _, item in (job.planned or () if job is not None else ())
            if item.state == "eager"
        ]
        return [schemas.Finding.of(each) for each in accounts.findings(eager)]

    return router
