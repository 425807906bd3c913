"""Errors as problem documents (RFC 9457): what happened, why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from compilespan_service import schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from fastapi import Request, Response

MEDIA_TYPE = "application/problem+json"

_KINDS: dict[str, tuple[int, str]] = {
    "job-not-found": (404, "No such job"),
    "target-not-found": (404, "No such target"),
    "plan-conflict": (409, "Another warmup is running"),
    "invalid-request": (422, "The request is not valid"),
    "warmup-failed": (500, "The warmup failed"),
    "draining": (503, "The server is shutting down"),
}


class ProblemError(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Describe it.

        Args:
            kind: A word of SPEC's error list.
            detail: What happened here and what to do about it; no stack trace, no path.
            headers: Of the response.
            members: Further members of the document, JSON values.
        """
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.members = members

    def response(self) -> JSONResponse:
        """Return the response."""
        status, title = _KINDS[self.kind]
        document = {
            "type": f"urn:compilespan:problem:{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            **self.members,
        }
        return JSONResponse(document, status, self.headers, media_type=MEDIA_TYPE)


class ProblemRoute(APIRoute):
    """A route that answers with problem documents, in whatever app it is mounted."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def with_problems(request: Request) -> Response:
            try:
                return await handler(request)
            except ProblemError as error:
                return error.response()
            except RequestValidationError as error:
                return _invalid(error).response()

        return with_problems


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of these problems."""
    described: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title = _KINDS[kind]
        described[status] = {
            "model": schemas.Problem,
            "description": title,
            "content": {MEDIA_TYPE: {}},
        }
    return described


def _invalid(error: RequestValidationError) -> ProblemError:
    errors = [
        {"field": ".".join(str(part) for part in each["loc"]), "message": each["msg"]}
        for each in error.errors()
    ]
    first = errors[0]
    return ProblemError("invalid-request", f"{first['field']}: {first['message']}", errors=errors)
