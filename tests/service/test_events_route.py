"""GET /warmup/jobs/{id}/events, where the job is over; `tests/system/test_jobs.py` follows live."""

from __future__ import annotations

import asyncio

import pytest

from compilespan_service.door.problems import ProblemError
from compilespan_service.routes import events
from compilespan_service.schemas import Health
from compilespan_service.warmups.feed import Feed
from serving import Model


def test_a_job_that_is_over_is_told_whole(serve):
    client = serve(Model())
    job = client.post("/warmup?wait=60").json()
    text = client.get(f"/warmup/jobs/{job['id']}/events").text
    assert text.startswith("retry: 2000\n\nevent: job\n")
    assert text.rstrip().endswith(f"id: {text.count('id: ')}")
    assert text.count("event: end") == 1


def test_an_unknown_job_is_told(serve):
    response = serve(Model()).get("/warmup/jobs/..%2F..%2Fetc%2Fpasswd/events")
    assert response.status_code == 404
    assert "passwd" not in response.text


def test_streams_are_bounded(monkeypatch):
    monkeypatch.setattr(events, "MAX_STREAMS", 2)
    streams = events._Streams()
    feed = Feed(lambda: Health(state="", phase="startup", elapsed_s=0))

    async def gone():
        return {"type": "http.disconnect"}

    async def send(_):
        pass

    opened = [streams.opened(feed, 0) for _ in range(2)]  # their headers have not gone out yet
    with pytest.raises(ProblemError) as raised:
        streams.opened(feed, 0)
    assert raised.value.kind == "too-many-streams"
    asyncio.run(opened[0]({"type": "http", "asgi": {}}, gone, send))
    streams.opened(feed, 0)
    with pytest.raises(ProblemError):
        streams.opened(feed, 0)
