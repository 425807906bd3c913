"""A service in this process."""

from __future__ import annotations

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from compilespan_service.app import warmup_router
from compilespan_service.settings import Settings
from serving import wait_until


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
