"""``vllm serve`` with our endpoints on its own server."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import pytest
from receiver import Receiver
from server import Server
from vllm_serve import Serving
from vllm_start import HERE

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

TOKEN = "s3cret"


@pytest.fixture(scope="module")
def collector():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def serving(models, collector, served_before):
    """A server with keys of its own and a token of ours, that has no state directory."""
    env = {
        "COMPILESPAN_TOKEN": TOKEN,
        "COMPILESPAN_STATE_DIR": "",
        "COMPILESPAN_VLLM_IMAGE_SIZES": "56x84",
    }
    with Serving(
        models / "qwen", served_before, "--api-key", "k3y", receiver=collector, **env
    ) as serving:
        yield serving
    assert not temporary(serving.instance).exists()


def temporary(instance):
    return Path(tempfile.gettempdir()) / f"compilespan-{instance}"


def test_totals_of_all_processes(serving):
    assert serving.get("/totals").status_code == 401
    assert serving.get("/totals", "k3y").status_code == 401  # our token goes before
    totals = serving.get("/totals", TOKEN).json()
    serving.instance = totals["scope"]["instance"]
    assert totals["scope"]["processes"] >= 2  # the server compiles nothing, its worker does
    assert totals["by_name"]["backbone"]["compiles"] == 1
    assert totals["language_model"]["compile_s"] > 1
    assert totals["ready_after_s"] > totals["total"]["wall_s"]
    (start,) = serving.get("/history", TOKEN).json()
    assert (start["ended"], start["cache"]) == ("running", "cold")
    assert start["versions"]["torch"].startswith("2.13")
    names = {each["name"] for each in serving.get("/compiles", TOKEN).json()}
    assert "backbone" in names
    # The worker loads and compiles, and the server waits for it: its parts are the start's.
    parts = totals["start"]
    assert sum(parts.values()) == pytest.approx(totals["ready_after_s"], abs=1e-6)
    assert parts["compile"] == pytest.approx(totals["total"]["wall_s"], rel=0.1)
    assert parts["load"] > 0
    for record in serving.get("/compiles", TOKEN).json():
        assert sum(record["stages"].values()) == pytest.approx(record["duration_s"])
        assert record["stages"].get("other", 0.0) <= 0.25 * record["duration_s"]  # a first run


def test_the_start_is_one_trace_from_the_server_to_its_worker(serving, collector):
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
    parts = sorted(
        (
            span
            for span in collector.received.spans
            if "compilespan.startup.part" in span.attributes
        ),
        key=lambda span: span.start_ns,
    )
    assert (parts[0].start_ns, parts[-1].end_ns) == (startup.start_ns, startup.end_ns)
    assert all(before.end_ns == after.start_ns for before, after in itertools.pairwise(parts))
    assert {"compilespan.startup.load", "compilespan.startup.compile"} <= {p.name for p in parts}


def test_a_warmup_sends_what_clients_send_so_that_they_compile_nothing(serving):
    assert serving.client.post("/warmup").status_code == 401
    items = serving.warm(TOKEN)
    assert {item["state"] for item in items} == {"warm"}
    shapes = [item["shape"] for item in items]
    assert {"prompt_tokens": 16} in shapes
    assert {"prompt_tokens": 128} in shapes
    assert {"prompt_tokens": 16, "output": "structured"} in shapes
    assert {"prompt_tokens": 16, "concurrent": 4} in shapes
    assert {"image_width": 56, "image_height": 84} in shapes
    by_sampling = {item["shape"].get("sampling"): item for item in items}
    assert by_sampling["logprobs"]["compile_s"] > 0  # vLLM's own warmup does not reach it
    before = serving.get("/totals", TOKEN).json()["total"]["compiles"]
    model = serving.get("/v1/models", "k3y").json()["data"][0]["id"]
    body = {"model": model, "prompt": "Hello", "max_tokens": 4}
    for options in ({"logprobs": 2}, {"n": 3}, {"top_p": 0.5}, {"temperature": 0}):
        answer = serving.client.post(
            "/v1/completions",
            json=body | options,
            headers={"Authorization": "Bearer k3y"},
        )
        assert answer.status_code == 200, answer.text
    assert serving.get("/totals", TOKEN).json()["total"]["compiles"] == before


def test_the_page_is_there_and_vllms_own_paths_are_its_own(serving):
    page = serving.get("/")
    assert page.status_code == 200
    assert "compilespan" in page.text
    assert serving.get("/page/main.js").status_code == 200
    for probe in ("/livez", "/readyz", "/startupz"):
        assert serving.get(probe).status_code == 200
    assert serving.get("/totalsfoo").status_code == 404
    assert serving.get("/v1/models", "k3y").json()["data"]
    assert serving.get("/openapi.json").json()["info"]["title"] != "compilespan"


def test_its_metrics_are_on_vllms_own_route(serving):
    theirs = serving.get("/metrics").text
    assert "vllm:" in theirs
    assert "torch_compile" not in theirs  # ours want the token
    text = serving.get("/metrics", TOKEN).text
    assert "vllm:" in text
    assert 'torch_compile_duration_seconds_count{is_encoder="false"' in text
    assert "compilespan_ready" in text


def test_a_sidecar_warms_it_and_reads_its_journals(serving):
    """`compilespan serve` with an HttpTarget, in the directory that the server made for itself."""
    directory = temporary(serving.instance)
    assert directory.is_dir()
    env = {
        "INFERENCE_URL": str(serving.client.base_url),
        "MODEL": serving.get("/v1/models", "k3y").json()["data"][0]["id"],
        "PROMPT_LENGTHS": "12",
        "API_KEY": "k3y",
        "PYTHONPATH": str(HERE.parents[1] / "docs/examples"),
    }
    with Server("sidecar:targets", "--state-dir", str(directory), env=env) as sidecar:
        sidecar.wait_for(lambda: sidecar.client.get("/readyz").status_code == 200)
        job = sidecar.client.get("/warmup").json()
        assert job["state"] == "succeeded"
        assert [item["state"] for item in job["items"]] == ["warm"]
        totals = sidecar.client.get("/totals").json()
        assert totals["by_name"]["backbone"]["compiles"] == 1
