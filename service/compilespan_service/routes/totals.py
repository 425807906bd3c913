"""``/totals``: what compiling cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query

from compilespan_service import schemas
from compilespan_service.door.problems import responses
from compilespan_service.door.route import Guarded, ProblemRoute

if TYPE_CHECKING:
    from compilespan_service.reading.accounts import Accounts


def routes(accounts: Accounts, guarded: Guarded) -> APIRouter:
    """Return the endpoint for an instance's accounts."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["totals"])

    @router.get(
        "/totals",
        response_model=schemas.Totals,
        summary="Compile time, separate for encoder and language model",
        responses=responses("unauthorized", "invalid-request"),
    )
    def totals(
        scope: Annotated[
            Literal["instance", "process"],
            Query(description="All processes of this start, or only the one that answers."),
        ] = "instance",
    ) -> schemas.Totals:
        return accounts.totals(scope)

    return router
