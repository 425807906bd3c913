"""Errors as problem documents (RFC 9457): what happened, why, and what to do."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from compilespan_service import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request, Response

NOT_FOUND, NOT_ALLOWED = 404, 405
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
MEDIA_TYPE = "application/problem+json"
URN = "urn:compilespan:problem:"

_KINDS: dict[str, tuple[int, str]] = {
    "unauthorized": (401, "A token is required"),
    "cross-site": (403, "The request comes from another site"),
    "not-configured": (403, "No authentication is configured"),
    "job-not-found": (404, "No such job"),
    "target-not-found": (404, "No such target"),
    "not-found": (404, "No such path"),
    "method-not-allowed": (405, "The method is not allowed"),
    "plan-conflict": (409, "Another warmup is running"),
    "compile-still-running": (409, "A compile of an earlier job is still running"),
    "body-too-large": (413, "The body is too large"),
    "invalid-request": (422, "The request is not valid"),
    "warmup-failed": (500, "The warmup failed"),
    "too-many-streams": (503, "Too many streams are open"),
    "plugin-off": (503, "The plugin is off"),
    "draining": (503, "The server is shutting down"),
}


class ProblemError(HTTPException):
    """Ends a request with a problem document."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Describe the problem.

        Args:
            kind: A key of `_KINDS`.
            detail: What happened and what to do about it. Text from other programs must have
                passed `compilespan_service.door.text.foreign`.
            headers: Headers of the response.
            members: Further members of the document, JSON values.
        """
        status, self._title = _KINDS[kind]
        super().__init__(status, detail, headers)
        self.kind = kind
        self.members = members

    def response(self) -> JSONResponse:
        """Return the problem document as a response."""
        document = {
            "type": f"{URN}{self.kind}",
            "title": self._title,
            "status": self.status_code,
            "detail": self.detail,
            **self.members,
        }
        return JSONResponse(document, self.status_code, self.headers, media_type=MEDIA_TYPE)


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of these problems."""
    described: dict[int | str, dict[str, Any]] = {}
    guarded = ("cross-site",) if "unauthorized" in kinds else ()  # the same guard raises both
    for kind in dict.fromkeys((*kinds, *guarded)):
        status, title = _KINDS[kind]
        document = {
            "type": f"{URN}{kind}",
            "title": title,
            "status": status,
            "detail": "What happened, and what to do about it.",
        }
        if status in described:
            described[status]["description"] += f"; or: {title}"
            described[status]["content"][MEDIA_TYPE]["examples"][kind] = {"value": document}
            continue
        described[status] = {
            "description": title,
            "content": {
                MEDIA_TYPE: {
                    "schema": _schema(),
                    "examples": {kind: {"value": document}},
                }
            },
        }
    return described


@functools.cache
def _schema() -> dict[str, Any]:
    return schemas.Problem.model_json_schema()


async def answer_problem(request: Request, error: Exception) -> Response:
    """Answer a `ProblemError`, 404 and 405 as a problem, and other errors as FastAPI does."""
    if isinstance(error, ProblemError):
        return error.response()
    assert isinstance(error, HTTPException)  # the only type that it is registered for
    if error.status_code == NOT_FOUND:
        return ProblemError(
            "not-found", "This server has no such path; GET /openapi.json lists its paths."
        ).response()
    if error.status_code == NOT_ALLOWED:
        return ProblemError(
            "method-not-allowed",
            f"{request.method} is not allowed here; GET /openapi.json lists the allowed methods.",
            headers={"Allow": ", ".join(_allowed(request))},
        ).response()
    return await http_exception_handler(request, error)


def _allowed(request: Request) -> list[str]:
    """Return the methods that the request's path has."""
    return [
        method
        for method in _METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    ]
