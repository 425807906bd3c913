"""A service in this process."""

from __future__ import annotations

import threading

import pytest
import uvicorn
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from compilespan_service.app import warmup_router
from compilespan_service.settings import Settings
from serving import wait_until
from support import free_port


@pytest.fixture
def serve(exported, tmp_path):
    """Return a function that serves targets and returns a client."""
    open_clients = []

    def start(*models, wait_loaded=True, factory=None, **settings):
        settings = Settings(**{"warmup": "on-request", "state_dir": tmp_path / "state", **settings})
        app = FastAPI()
        targets = factory or [model.target for model in models]
        allowed = [Depends(lambda: None)]  # the app's own authentication, which lets all pass
        app.include_router(warmup_router(targets, settings=settings, dependencies=allowed))
        client = TestClient(app)
        client.__enter__()
        open_clients.append((client, models))
        if wait_loaded:
            wait_until(lambda: client.get("/readyz").json()["state"] != "loading")
        return client

    yield start
    for client, models in open_clients:
        for model in models:
            model.go_on.set()
        client.__exit__(None, None, None)


class Listening:
    """A server in a thread; it can be stopped and started again on its port."""

    def __init__(self, port=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, app):
        config = uvicorn.Config(app, port=self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def stop(self):
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def serve_at_port(exported, tmp_path):
    """Return a function that serves models at a port."""
    running = []

    def start(*models, port=None, is_open=True, **settings):
        values = {"warmup": "on-request", "state_dir": tmp_path / "state", **settings}
        app = FastAPI()
        allowed = [Depends(lambda: None)] if is_open else []
        app.include_router(
            warmup_router(
                [model.target for model in models],
                settings=Settings(**values),
                dependencies=allowed,
            )
        )
        server = Listening(port).start(app)
        running.append((server, models))
        return server

    yield start
    for server, models in running:
        for model in models:
            model.go_on.set()
        server.stop()


@pytest.fixture
def scripted():
    """Return a function that serves an app."""
    running = []

    def start(app):
        running.append(Listening().start(app))
        return running[-1].url

    yield start
    for server in running:
        server.stop()
