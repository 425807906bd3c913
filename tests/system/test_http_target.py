"""A sidecar: the service warms a server in another process and reads its journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server import Server, free_port
from sse import events

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def inference(tmp_path):
    """An inference server whose journal lies in ``tmp_path``; yields the environment to find it."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "inference_server:app"),
            *("--port", str(port), "--log-level", "warning"),
        ],
        cwd=EXAMPLES,
        env={
            **os.environ,
            "BACKEND": "eager",
            "COMPILESPAN_STATE_DIR": str(tmp_path),
            "COMPILESPAN_INSTANCE_ID": "",
        },
    )
    try:
        yield {"INFERENCE_URL": f"http://127.0.0.1:{port}"}
    finally:
        process.terminate()
        process.wait(20)


def sidecar(tmp_path, env, *arguments):
    env = {**env, "PYTHONPATH": str(EXAMPLES)}
    return Server("sidecar:targets", *arguments, "--state-dir", str(tmp_path), env=env)


def test_a_server_in_another_process_is_warmed_and_accounted_for(inference, tmp_path):
    """As docker-compose.yml's profile ``sidecar`` runs the two."""
    with sidecar(tmp_path, {**inference, "PROMPT_LENGTHS": "2,3"}) as server:
        # It waits for the other server: that one takes seconds to import torch.
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        job = server.client.get("/warmup").json()
        assert job["state"] == "succeeded"
        assert [item["shape"] for item in job["items"]] == [
            {"prompt_tokens": 2},
            {"prompt_tokens": 3},
        ]
        assert [(item["state"], item["compiles"]) for item in job["items"]] == [("warm", 1)] * 2
        assert job["totals"]["total"]["compiles"] == 2
        totals = server.client.get("/totals").json()
        assert totals["total"]["compiles"] == 2
        assert totals["total"]["compile_s"] == job["totals"]["total"]["compile_s"]
        assert totals["scope"]["processes"] == 2
        # The server is ready, and yet this is no compile that delays somebody's request.
        assert totals["by_phase"]["warmup"]["compiles"] == 2
        assert [each["name"] for each in server.client.get("/compiles").json()] == [
            "LlamaModel"
        ] * 2
        with server.client.stream("GET", f"/warmup/jobs/{job['id']}/events") as stream:
            names = [name for name, _, _ in events(stream)]
        assert names.count("graph") == 2
        assert names.count("compile") == 2


def test_an_error_of_the_other_server_fails_the_item_with_its_words(inference, tmp_path):
    env = {**inference, "PROMPT_LENGTHS": "2,3,101"}
    with sidecar(tmp_path, env, "--warmup", "on-request") as server:
        response = server.client.post("/warmup?wait=120")
        assert response.status_code == 500
        items = response.json()["job"]["items"]
        assert [item["state"] for item in items] == ["warm", "warm", "failed"]
        assert "answered 413" in items[2]["error"]
        assert "at most 100 tokens" in items[2]["error"]


def test_before_the_other_server_answers_it_is_loading(tmp_path):
    env = {"INFERENCE_URL": f"http://127.0.0.1:{free_port()}"}
    with sidecar(tmp_path, env) as server:
        health = server.client.get("/readyz")
        assert (health.status_code, health.json()["state"]) == (503, "loading")
        assert server.client.get("/livez").status_code == 200
