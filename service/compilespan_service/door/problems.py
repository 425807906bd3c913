"""Errors as problem documents (RFC 9457): what happened, why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from compilespan_service import schemas
from compilespan_service.door.text import without_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from fastapi import Response
    from starlette.types import Message, Receive

MEDIA_TYPE = "application/problem+json"
URN = "urn:compilespan:problem:"
MAX_BODY_BYTES = 256 * 1024
# What FastAPI raises where a body cannot even be decoded.
_BAD_BODY = (400, "There was an error parsing the body")

_KINDS: dict[str, tuple[int, str]] = {
    "unauthorized": (401, "A token is needed"),
    "cross-site": (403, "The request comes from another site"),
    "not-configured": (403, "No authentication is configured"),
    "job-not-found": (404, "No such job"),
    "target-not-found": (404, "No such target"),
    "not-found": (404, "No such file"),
    "plan-conflict": (409, "Another warmup is running"),
    "compile-still-running": (409, "A compile of an earlier job still runs"),
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
        """Describe it.

        Args:
            kind: A word of SPEC's error list.
            detail: What happened here and what to do about it; no stack trace, no path.
            headers: Of the response.
            members: Further members of the document, JSON values.
        """
        status, self._title = _KINDS[kind]
        super().__init__(status, without_paths(detail), headers)
        self.kind = kind
        self.members = members

    def response(self) -> JSONResponse:
        """Return the response."""
        document = {
            "type": f"{URN}{self.kind}",
            "title": self._title,
            "status": self.status_code,
            "detail": self.detail,
            **self.members,
        }
        return JSONResponse(document, self.status_code, self.headers, media_type=MEDIA_TYPE)


class ProblemRoute(APIRoute):
    """A route that answers with problem documents, in whatever app it is mounted."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def with_problems(request: Request) -> Response:
            limited = Request(request.scope, _limited(request.receive), request._send)  # noqa: SLF001
            try:
                return await handler(limited)
            except ProblemError as error:
                return error.response()
            except RequestValidationError as error:
                return _invalid(error).response()
            except HTTPException as error:
                if error.status_code != _BAD_BODY[0] or error.detail != _BAD_BODY[1]:
                    raise  # somebody's dependency: its own words
                return ProblemError("invalid-request", "The body is no JSON text.").response()

        return with_problems


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of these problems."""
    described: dict[int | str, dict[str, Any]] = {}
    guarded = ("cross-site",) if "unauthorized" in kinds else ()  # the same guard says both
    for kind in dict.fromkeys((*kinds, *guarded)):
        status, title = _KINDS[kind]
        document = {
            "type": f"{URN}{kind}",
            "title": title,
            "status": status,
            "detail": "What happened here, and what to do about it.",
        }
        if status in described:
            described[status]["description"] += f"; or: {title}"
            described[status]["content"][MEDIA_TYPE]["examples"][kind] = {"value": document}
            continue
        described[status] = {
            "description": title,
            "content": {
                MEDIA_TYPE: {
                    "schema": schemas.Problem.model_json_schema(),
                    "examples": {kind: {"value": document}},
                }
            },
        }
    return described


def _limited(receive: Receive) -> Receive:
    """Return ``receive`` with a bound on the body, whether its length is announced or not."""
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MAX_BODY_BYTES:
            raise ProblemError(
                "body-too-large",
                f"A body has {MAX_BODY_BYTES} bytes at most; name fewer targets and shapes, or "
                "leave them out: all is the default.",
            )
        return message

    return bounded


def _invalid(error: RequestValidationError) -> ProblemError:
    errors = [
        {"field": ".".join(str(part) for part in each["loc"]), "message": each["msg"]}
        for each in error.errors()
    ]
    first = errors[0]
    return ProblemError("invalid-request", f"{first['field']}: {first['message']}", errors=errors)
