"""Endpoints of a server that does not run their lifespan begin at the first request."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from compilespan_service import Settings, create_app, warmup_router
from compilespan_service.lifetime import Lifetime
from serving import Model, wait_until


class Serving:
    def __init__(self):
        self.happened = []

    @asynccontextmanager
    async def __call__(self):
        self.happened.append("begin")
        await asyncio.sleep(0.01)
        self.happened.append("begun")
        try:
            yield
        finally:
            self.happened.append("end")


def router_of(model, tmp_path):
    settings = Settings(state_dir=tmp_path / "state")
    return warmup_router([model.target], settings=settings, dependencies=[Depends(lambda: None)])


@pytest.mark.parametrize("how", ["mounted", "included late"])
def test_endpoints_work_where_no_lifespan_runs(how, exported, tmp_path):
    model, outer = Model(), FastAPI()
    if how == "mounted":
        app = FastAPI()
        app.include_router(router_of(model, tmp_path))
        outer.mount("/ops", app)
    with TestClient(outer, base_url="http://127.0.0.1") as client:
        if how == "included late":
            outer.include_router(router_of(model, tmp_path), prefix="/ops")
        wait_until(lambda: client.get("/ops/readyz").status_code == 200)
        assert client.get("/ops/totals").json()["total"]["compiles"] == 3
    # The server's event loop has ended, and with it what we ran.
    wait_until(lambda: "compilespan-jobs" not in {thread.name for thread in threading.enumerate()})


def test_it_begins_once_and_ends_with_the_loop():
    serving = Serving()
    lifetime = Lifetime(serving)

    async def requests():
        await asyncio.gather(*(lifetime.begin() for _ in range(9)))
        assert serving.happened == ["begin", "begun"]

    asyncio.run(requests())
    assert serving.happened == ["begin", "begun", "end"]


def test_a_lifespan_begins_it_before_any_request():
    serving = Serving()
    lifetime = Lifetime(serving)

    async def serve():
        async with lifetime.lifespan(None):
            await lifetime.begin()
        assert serving.happened == ["begin", "begun", "end"]

    asyncio.run(serve())


def test_an_app_of_its_own_begins_with_its_server_only():
    client = TestClient(create_app(), base_url="http://127.0.0.1")
    for _ in range(2):
        assert client.get("/livez").json()["state"] == "loading"


def test_what_fails_at_the_first_request_fails_no_request():
    @asynccontextmanager
    async def failing():
        raise OSError("no thread can be started")
        yield

    async def request():
        lifetime = Lifetime(failing)
        await asyncio.wait_for(lifetime.begin(), 5)
        await asyncio.wait_for(lifetime.begin(), 5)

    asyncio.run(request())
