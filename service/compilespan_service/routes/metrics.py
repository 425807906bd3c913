"""``/metrics``: for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Response

from compilespan_service.door.problems import responses
from compilespan_service.door.route import Guarded, ProblemRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan_service.reading.exposition import Exposition


def routes(exposition: Callable[[], Exposition], guarded: Guarded) -> APIRouter:
    """Return the endpoint for an instance's metrics, which are made on first use."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["totals"])

    @router.get(
        "/metrics",
        summary="Every metric of the schema, over all processes of this start",
        response_class=Response,
        responses={
            200: {
                "description": "Prometheus text format, or OpenMetrics if `Accept` asks for it",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **responses("unauthorized", "invalid-request"),
        },
    )
    def metrics(accept: Annotated[str, Header()] = "") -> Response:
        body, content_type = exposition().render(accept)
        return Response(body, headers={"Content-Type": content_type})

    return router
