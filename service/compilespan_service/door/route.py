"""The route class of every endpoint: guard first, limited bodies, problems, HEAD as GET."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi import Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from compilespan_service.door.problems import ProblemError
from compilespan_service.door.security import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response
    from starlette.routing import Match
    from starlette.types import Message, Receive, Scope, Send

Guarded: TypeAlias = Sequence[params.Depends]
"""Dependencies that run before each request: the guard, and an app's own authentication."""

MAX_BODY_BYTES = 256 * 1024
# Status and detail of FastAPI's error if a body cannot be decoded.
_BAD_BODY = (400, "There was an error parsing the body")


class ProblemRoute(APIRoute):
    """A route that answers errors with problem documents, in any app."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def with_problems(request: Request) -> Response:
            limited = Request(request.scope, _limited(request.receive), request._send)  # noqa: SLF001
            try:
                # FastAPI reads the body first, so anyone would get 413 and 422.
                for each in self.dependencies:
                    guard = getattr(each.dependency, "__self__", None)
                    if isinstance(guard, Guard):
                        await guard.admit(request)
                return await handler(limited)
            except ProblemError as error:
                return error.response()
            except RequestValidationError as error:
                return _invalid(error).response()
            except HTTPException as error:
                if error.status_code != _BAD_BODY[0] or error.detail != _BAD_BODY[1]:
                    raise  # from a dependency of the app, which words its own errors
                return ProblemError("invalid-request", "The body is not valid JSON.").response()

        return with_problems

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match HEAD as GET."""
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer HEAD as GET, without a body."""
        as_get = self._as_get(scope)
        if as_get is scope:
            await super().handle(scope, receive, send)
        else:
            without_body = _WithoutBody(receive, send)
            await super().handle(as_get, without_body.receive, without_body.send)

    def _as_get(self, scope: Scope) -> Scope:
        if scope["type"] == "http" and scope["method"] == "HEAD" and "GET" in (self.methods or ()):
            return {**scope, "method": "GET"}
        return scope


class _WithoutBody:
    """Sends only the headers of an answer; then the endpoint sees a disconnected client."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_sent = False

    async def receive(self) -> Message:
        if self._is_sent:
            return {"type": "http.disconnect"}
        return await self._receive()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
        elif not self._is_sent:
            self._is_sent = True
            await self._send({"type": "http.response.body", "body": b""})


def _limited(receive: Receive) -> Receive:
    """Return ``receive`` with a limit on the body, with or without a ``Content-Length``."""
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MAX_BODY_BYTES:
            raise ProblemError(
                "body-too-large",
                f"A body may have at most {MAX_BODY_BYTES} bytes; name fewer targets and shapes, "
                "or omit them to warm all.",
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
