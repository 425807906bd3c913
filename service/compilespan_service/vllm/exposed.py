"""Our metrics on vLLM's own ``/metrics``, so that one scrape gets both.

vLLM lets an endpoint plugin replace a route of the same path and method. Our route calls the one
that it replaces, and appends our metrics to the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from compilespan.process.faults import contained
from compilespan_service.door.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from compilespan_service.door.security import Guard
    from compilespan_service.reading.exposition import Exposition

_PATH = "/metrics"
_TEXT = "text/plain"


def add_metrics(app: FastAPI, exposition: Callable[[], Exposition], guard: Guard) -> None:
    """Replace the app's route, if it has one; ours does not wait for new records.

    A request that the guard rejects gets only vLLM's metrics.
    """
    theirs = next((each for each in app.router.routes if _shows_metrics(each)), None)
    if not isinstance(theirs, APIRoute):
        return
    answer = theirs.get_route_handler()

    async def metrics(request: Request) -> Response:
        response = await answer(request)
        try:
            await guard.admit(request)
        except ProblemError:
            return response
        with contained("add metrics to vLLM's"):
            return _with_ours(response, exposition().text())
        return response

    app.add_api_route(_PATH, metrics, methods=["GET"], include_in_schema=False)


def _shows_metrics(route: Any) -> bool:
    return isinstance(route, APIRoute) and route.path == _PATH and "GET" in (route.methods or ())


def _with_ours(response: Response, ours: bytes) -> Response:
    """Return vLLM's answer with ours appended, if it is uncompressed text."""
    headers = response.headers
    is_text = headers.get("content-type", "").startswith(_TEXT)
    if response.status_code != 200 or not is_text or "content-encoding" in headers:  # noqa: PLR2004
        return response
    del headers["content-length"]
    return Response(bytes(response.body) + ours, headers=dict(headers))
