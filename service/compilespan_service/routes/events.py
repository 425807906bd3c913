"""``/warmup/jobs/{id}/events``: a job's Server-Sent Events, from the first or resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

from fastapi import APIRouter, Header, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from compilespan_service.door.problems import ProblemError, responses
from compilespan_service.door.route import Guarded, ProblemRoute
from compilespan_service.warmups.admission import RETRY_AFTER_S
from compilespan_service.warmups.feed import EventName
from compilespan_service.warmups.runner import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Receive, Scope, Send

    from compilespan_service.warmups.feed import Feed

MAX_STREAMS = 64
HEARTBEAT_S = 10.0
_RETRY_MS = 2000

_STREAM = {
    "description": "Events `job` (a snapshot: first, and at each new state), `item`, `begin`, "
    "`graph` and `event` (inside a compile), `compile` (its record), `end`; ids count from 1.",
    "content": {
        "text/event-stream": {
            "itemSchema": {
                "type": "object",
                "properties": {
                    "event": {"enum": list(get_args(EventName))},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                    "id": {"type": "string"},
                    "retry": {"type": "integer"},
                },
            }
        }
    },
}


def routes(runner: Runner, guarded: Guarded) -> APIRouter:
    """Return the endpoint that streams the events of a runner's jobs."""
    router = APIRouter(route_class=ProblemRoute, dependencies=guarded, tags=["warmup"])
    streams = _Streams()

    @router.get(
        "/warmup/jobs/{job_id}/events",
        summary="Follow a job",
        response_class=Response,
        responses={
            200: _STREAM,
            204: {"description": "The job is over, and its last event was already received"},
            **responses("unauthorized", "job-not-found", "invalid-request", "too-many-streams"),
        },
    )
    async def job_events(
        job_id: str,
        last_event_id: Annotated[
            str | None, Header(description="Resume after this id; browsers set it themselves.")
        ] = None,
    ) -> Response:
        feed = runner.jobs.find(job_id).feed
        after = _after(last_event_id, feed)
        if feed.is_closed and after >= feed.last_id:
            return Response(status_code=204)  # so that a browser's EventSource does not reconnect
        return streams.opened(feed, after)

    return router


class _Streams:
    """Counts the open streams; at most `MAX_STREAMS`."""

    def __init__(self) -> None:
        self._open = 0

    def opened(self, feed: Feed, after: int) -> Response:
        """Return a stream of a feed; it counts from now on, before its headers are sent.

        Raises:
            ProblemError: ``too-many-streams``.
        """
        if self._open >= MAX_STREAMS:
            raise ProblemError(
                "too-many-streams",
                f"{MAX_STREAMS} streams are open, which is the limit; close one, or poll the job "
                "instead.",
                headers={"Retry-After": RETRY_AFTER_S},
            )
        self._open += 1
        return _Stream(feed, after, self._closed)

    def _closed(self) -> None:
        self._open -= 1


class _Stream(EventSourceResponse):
    """The events of a feed, and heartbeats."""

    def __init__(self, feed: Feed, after: int, closed: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_travelling(feed, after), headers=headers)
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()


async def _travelling(feed: Feed, after: int) -> AsyncIterator[bytes]:
    yield f"retry: {_RETRY_MS}\n\n".encode()
    async for event in feed.follow(after, HEARTBEAT_S):
        if event is None:
            yield KEEPALIVE_COMMENT
        else:
            yield format_sse_event(data_str=event.data, event=event.name, id=str(event.id))


def _after(last_event_id: str | None, feed: Feed) -> int:
    """Return the id to resume after; 0 if it is not an id of this feed."""
    if last_event_id is None or not last_event_id.isascii() or not last_event_id.isdigit():
        return 0
    after = int(last_event_id[:18])
    return after if after <= feed.last_id else 0
