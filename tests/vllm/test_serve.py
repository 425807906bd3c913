"""``vllm serve`` with our endpoints on its own server."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from receiver import Receiver
from server import Server, free_port
from vllm_start import HERE, PYTHON, environment

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

AUTHORIZED = {"Authorization": "Bearer s3cret"}


@pytest.fixture(scope="module")
def collector():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def served(models, collector, tmp_path_factory):
    """A server that has no state directory: the middleware is why it makes one."""
    directory = tmp_path_factory.mktemp("serve")
    port = free_port()
    env = environment(
        directory,
        collector,
        COMPILESPAN_TOKEN="s3cret",
        COMPILESPAN_VLLM_PROMPT_LENGTHS="8,32",
        COMPILESPAN_VLLM_IMAGE_SIZES="56x84",
    )
    del env["COMPILESPAN_STATE_DIR"]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(Path(PYTHON).with_name("vllm"), "serve", models / "qwen"),
                *("--load-format", "dummy", "--max-model-len", "256", "--max-num-seqs", "4"),
                *("--max-num-batched-tokens", "256", "--host", "127.0.0.1", "--port", str(port)),
                *("--limit-mm-per-prompt", '{"image":1,"video":0}'),
                *("--middleware", "compilespan_service.vllm.CompileRoutes"),
            ],
            env=env,
            cwd=directory,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
    deadline = time.monotonic() + 250
    while True:
        try:
            if client.get("/health").status_code == 200:
                break
        except httpx.TransportError:
            pass
        assert process.poll() is None, (directory / "log").read_text()
        assert time.monotonic() < deadline, (directory / "log").read_text()
        time.sleep(0.5)
    yield client
    client.close()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def test_totals_of_all_processes(served):
    assert served.get("/totals").status_code == 401
    totals = served.get("/totals", headers=AUTHORIZED).json()
    assert totals["scope"]["processes"] >= 2  # the server compiles nothing, its worker does
    assert totals["by_name"]["backbone"]["compiles"] == 1
    assert totals["language_model"]["compile_s"] > 1
    assert totals["ready_after_s"] > totals["total"]["wall_s"]
    (start,) = served.get("/history", headers=AUTHORIZED).json()
    assert start["ended"] == "running"
    assert start["versions"]["torch"].startswith("2.13")
    names = {each["name"] for each in served.get("/compiles", headers=AUTHORIZED).json()}
    assert "backbone" in names


def test_the_start_is_one_trace_from_the_server_to_its_worker(served, collector):
    deadline = time.monotonic() + 20
    while not collector.received.named("compilespan.startup"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (startup,) = collector.received.named("compilespan.startup")
    assert startup.attributes["compilespan.startup.outcome"] == "ready"
    compiled = {
        span.attributes["torch.compile.name"]: span
        for span in collector.received.named("torch.compile")
    }
    backbone = compiled["backbone"]
    assert {span.trace_id for span in compiled.values()} == {startup.trace_id}
    assert backbone.parent_id == startup.span_id
    assert startup.start_ns < backbone.start_ns < backbone.end_ns < startup.end_ns


def test_a_warmup_goes_through_the_servers_own_completions(served):
    assert served.post("/warmup").status_code == 401
    response = served.post("/warmup?wait=100", headers=AUTHORIZED)
    assert response.status_code == 200, response.text
    job = response.json()
    assert [item["shape"] for item in job["items"]] == [
        {"prompt_tokens": 8},
        {"prompt_tokens": 32},
        {"image_width": 56, "image_height": 84},
    ]
    assert {item["state"] for item in job["items"]} == {"warm"}
    assert job["warnings"] == []


def test_the_page_is_there_and_vllms_own_paths_are_its_own(served):
    page = served.get("/")
    assert page.status_code == 200
    assert "compilespan" in page.text
    assert served.get("/page/main.js").status_code == 200
    assert served.get("/livez").json()["state"] in ("loading", "cold", "warm")
    assert "vllm:" in served.get("/metrics").text
    assert served.get("/v1/models").json()["data"]
    assert served.get("/openapi.json").json()["info"]["title"] != "compilespan"


def test_a_sidecar_warms_it_and_reads_its_journals(served):
    """`compilespan serve` with an HttpTarget, in the directory that the server made for itself."""
    instance = served.get("/totals", headers=AUTHORIZED).json()["scope"]["instance"]
    directory = Path(tempfile.gettempdir()) / f"compilespan-{instance}"
    assert directory.is_dir()
    model = served.get("/v1/models").json()["data"][0]["id"]
    env = {
        "INFERENCE_URL": str(served.base_url),
        "MODEL": model,
        "PROMPT_LENGTHS": "12",
        "PYTHONPATH": str(HERE.parents[1] / "docs/examples"),
    }
    with Server("sidecar:targets", "--state-dir", str(directory), env=env) as sidecar:
        sidecar.wait_for(lambda: sidecar.client.get("/readyz").status_code == 200)
        job = sidecar.client.get("/warmup").json()
        assert job["state"] == "succeeded"
        assert [item["state"] for item in job["items"]] == ["warm"]
        totals = sidecar.client.get("/totals").json()
        assert totals["by_name"]["backbone"]["compiles"] == 1
