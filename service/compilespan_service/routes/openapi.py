"""``/openapi.json``: the OpenAPI document of this API."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from compilespan_service.door.route import Guarded, ProblemRoute


def routes(guarded: Guarded) -> APIRouter:
    """Return the endpoint that describes the app that it is mounted in, behind the guard."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi(request: Request) -> JSONResponse:
        return JSONResponse(request.app.openapi())

    return router
