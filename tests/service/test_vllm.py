"""The middleware on an app that stands in for vLLM's; `tests/vllm` has the real one."""

from __future__ import annotations

import base64

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from compilespan import get_ledger
from compilespan.journal.writer import open_journal
from compilespan_service.vllm import CompileRoutes, _picture, _reachable


@pytest.fixture
def theirs():
    app = FastAPI()

    @app.get("/metrics")
    def metrics() -> str:
        return "theirs"

    app.add_middleware(CompileRoutes)
    return app


def test_without_the_plugin_it_says_what_is_off(theirs):
    assert get_ledger().journal is None
    response = TestClient(theirs).get("/totals")
    assert response.status_code == 503
    assert response.json()["type"] == "urn:compilespan:problem:plugin-off"
    assert "VLLM_PLUGINS" in response.json()["detail"]


def test_paths_that_are_not_ours_are_handed_on(theirs, tmp_path):
    open_journal(tmp_path)
    client = TestClient(theirs)
    assert client.get("/metrics").json() == "theirs"
    assert client.get("/nothing").status_code == 404


def test_without_a_token_it_is_read_but_not_changed(theirs, tmp_path):
    open_journal(tmp_path)
    client = TestClient(theirs)
    assert client.get("/totals").status_code == 200
    refused = client.post("/warmup")
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:compilespan:problem:not-configured"


def test_vllms_key_is_a_token_too(theirs, tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "k3y")
    open_journal(tmp_path)
    client = TestClient(theirs)
    assert client.get("/totals").status_code == 401
    assert client.get("/totals", headers={"Authorization": "Bearer k3y"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "reachable"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("10.0.0.7", "10.0.0.7")],
)
def test_where_the_server_is_reached_from_its_own_machine(host, reachable):
    assert _reachable(host) == reachable


def test_the_picture_is_a_png_of_its_size():
    png = base64.b64decode(_picture(30, 20).partition(",")[2])
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 30
    assert int.from_bytes(png[20:24], "big") == 20
