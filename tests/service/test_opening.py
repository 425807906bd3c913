"""The port answers before the service behind it is made."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from compilespan_service import schemas
from compilespan_service.cli import opening
from compilespan_service.cli.opening import Opening
from compilespan_service.cli.server import _listen

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Service:
    """A service whose making can be held up; notes what happens."""

    def __init__(self, error=None, begins_with=None):
        self.go_on = threading.Event()
        self.happened = []
        self.error, self.begins_with = error, begins_with

    def make(self):
        assert self.go_on.wait(30)
        if self.error is not None:
            raise self.error
        app = FastAPI(lifespan=self.lifespan)

        @app.get("/livez")
        async def livez():
            return "the service's own"

        return app

    @asynccontextmanager
    async def lifespan(self, _):
        if self.begins_with is not None:
            raise self.begins_with
        self.happened.append("begins")
        yield
        self.happened.append("ends")


@asynccontextmanager
async def opened(service, failed=None):
    """Run the lifespan as a server does; yields a client."""
    app = Opening(service.make, failed or pytest.fail)
    asked, told = asyncio.Queue(), asyncio.Queue()
    asked.put_nowait({"type": "lifespan.startup"})
    lifespan = asyncio.create_task(app({"type": "lifespan"}, asked.get, told.put))
    assert (await told.get())["type"] == "lifespan.startup.complete"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
    ) as client:
        yield client
    asked.put_nowait({"type": "lifespan.shutdown"})
    assert (await told.get())["type"] == "lifespan.shutdown.complete"
    await lifespan


async def test_probes_are_answered_before_the_service_is_there_and_all_else_waits():
    service = Service()
    async with opened(service) as client:
        for path, status in (("/livez", 200), ("/startupz", 503), ("/readyz", 503)):
            answer = await client.get(path)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/json"
            health = schemas.Health.model_validate_json(answer.content)
            assert (health.state, health.phase, health.detail) == ("loading", "startup", None)
            assert answer.json().keys() == schemas.Health.model_fields.keys()
            assert health.elapsed_s > 0
            assert (await client.head(path)).status_code == status
        waits = asyncio.create_task(client.get("/other"))
        await asyncio.sleep(0.05)
        assert not waits.done()
        service.go_on.set()
        assert (await waits).status_code == 404
        assert (await client.get("/livez")).json() == "the service's own"
        assert service.happened == ["begins"]
    assert service.happened == ["begins", "ends"]


async def test_a_server_that_ends_before_the_service_is_made_begins_and_ends_it():
    service = Service()
    async with opened(service) as client:
        await client.get("/livez")
        asyncio.get_running_loop().call_later(0.05, service.go_on.set)
    assert service.happened == ["begins", "ends"]


@pytest.mark.parametrize("where", ["make", "begin"])
async def test_a_service_that_fails_is_reported_and_the_process_lives_until_its_end(where):
    error = ValueError("no such exporter")
    service = Service(error) if where == "make" else Service(begins_with=error)
    failed = []
    async with opened(service, failed.append) as client:
        waits = asyncio.create_task(client.get("/totals"))
        service.go_on.set()
        answer = await waits
        assert (answer.status_code, answer.headers["content-type"]) == (
            503,
            "application/problem+json",
        )
        assert answer.json()["type"] == "urn:compilespan:problem:draining"
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
    assert failed == [error]


async def test_only_reading_a_probe_is_answered_before_the_service_is_there():
    service = Service()
    async with opened(service) as client:
        waits = asyncio.create_task(client.post("/livez"))
        await asyncio.sleep(0.05)
        assert not waits.done()
        service.go_on.set()
        assert (await waits).status_code == 405


async def test_an_end_waits_for_no_service_whose_making_hangs(monkeypatch):
    monkeypatch.setattr(opening, "_MADE_WITHIN_S", 0.05)
    service = Service()
    async with opened(service) as client:
        await client.get("/livez")
    service.go_on.set()
    assert service.happened == []


async def test_under_a_path_of_a_proxy_too():
    service = Service()
    app = Opening(service.make, pytest.fail)
    app._service = asyncio.get_running_loop().create_future()
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/ops/readyz", "root_path": "/ops"}
    for method in ("GET", "HEAD"):
        await app({**scope, "method": method}, None, send)
    assert [message.get("status") for message in sent] == [503, None, 503, None]
    assert [len(message["body"]) > 0 for message in sent[1::2]] == [True, False]
    assert len(sent[0]["headers"]) == len(sent[2]["headers"]) == 2


async def test_answers_are_sent_at_once():
    """Without TCP_NODELAY the kernel keeps the second packet of an answer for 40 ms."""
    listener = _listen("127.0.0.1", 0)
    set_on = []

    async def connected(_, writer):
        connection = writer.get_extra_info("socket")
        set_on.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(connected, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        writer.close()
        await asyncio.sleep(0.1)
    assert set_on
    assert all(set_on)
