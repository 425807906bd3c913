"""``/compiles`` and ``/history``: the records themselves, and earlier starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from compilespan.semconv import Kind, Outcome, Phase
from compilespan_service import schemas
from compilespan_service.door.problems import responses
from compilespan_service.door.route import Guarded, ProblemRoute
from compilespan_service.reporters.perfetto import trace

if TYPE_CHECKING:
    from compilespan_service.reading.accounts import Accounts
    from compilespan_service.reading.history import History


def routes(accounts: Accounts, history: History, guarded: Guarded) -> APIRouter:
    """Return the endpoints for an instance's accounts and the directory's history."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["compiles"])

    @router.get(
        "/compiles",
        response_model=list[schemas.Compile],
        summary="Records of this start, newest first",
        responses=responses("unauthorized", "invalid-request"),
    )
    def compiles(
        is_encoder: bool | None = None,
        phase: Phase | None = None,
        kind: Kind | None = None,
        outcome: Outcome | None = None,
        name: str | None = None,
        limit: Annotated[int, Query(ge=1, le=4096)] = 1000,
    ) -> list[schemas.Compile]:
        asked = {
            "is_encoder": is_encoder,
            "phase": phase,
            "kind": kind,
            "outcome": outcome,
            "name": name,
        }
        wanted = {field: value for field, value in asked.items() if value is not None}
        return accounts.compiles(wanted, limit)

    @router.get(
        "/compiles/trace.json",
        summary="The compiles of this start as a trace for ui.perfetto.dev",
        responses={
            200: {"description": "Chrome's JSON trace format", "content": {"application/json": {}}},
            **responses("unauthorized"),
        },
        response_class=JSONResponse,
    )
    def compiles_trace() -> JSONResponse:
        return JSONResponse(
            trace(accounts.traced()),
            headers={"Content-Disposition": 'inline; filename="compilespan-trace.json"'},
        )

    @router.get(
        "/history",
        response_model=list[schemas.Start],
        summary="Starts in the state directory, newest first",
        responses=responses("unauthorized"),
    )
    def starts() -> list[schemas.Start]:
        return history.starts()

    return router
