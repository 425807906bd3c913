"""Real ``compilespan serve`` processes, with backends that take milliseconds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from receiver import Receiver
from server import Server

pytestmark = pytest.mark.system


def test_a_target_whose_second_shape_raises(tmp_path):
    flag = tmp_path / "fail"
    flag.write_text("")
    with Receiver() as receiver:
        env = {**receiver.environment(), "FAIL": str(flag)}
        with Server("eager_targets:failing", "--warmup", "on-request", env=env) as server:
            response = server.client.post("/warmup?wait=60")
            ready = server.client.get("/readyz").status_code
            totals = server.client.get("/totals").json()
            flag.unlink()
            healed = server.client.post("/warmup?wait=60")
            ready_then = server.client.get("/readyz").status_code
            server.stop()
        received = receiver.received
    assert response.status_code == 500
    body = response.json()
    assert body["type"] == "urn:compilespan:problem:warmup-failed"
    job = body["job"]
    assert job["state"] == "failed"
    assert [item["state"] for item in job["items"]] == ["warm", "failed", "warm"]
    assert ready == 503
    total = totals["total"]
    assert total["failed"] == 1
    assert total["failed_s"] > 0
    ok = [span for span in received.named("torch.compile") if span.status != 2]
    (failed,) = [span for span in received.named("torch.compile") if span.status == 2]
    assert failed.attributes["error.type"] == "torch._dynamo.exc.BackendCompilerFailed"
    assert failed.attributes["torch.compile.outcome"] == "failed"
    assert total["failed_s"] == pytest.approx((failed.end_ns - failed.start_ns) / 1e9, abs=1e-9)
    assert len(ok) == 3
    assert all("error.type" not in span.attributes for span in ok)
    first_two_s = sum(
        (span.end_ns - span.start_ns) / 1e9 for span in ok if span.end_ns < failed.end_ns
    )
    assert total["compile_s"] >= first_two_s
    assert healed.status_code == 200
    assert [item["shape"] for item in healed.json()["items"]] == [{"batch": 2}]
    assert ready_then == 200


@pytest.mark.long
def test_2000_graphs_in_one_compile_all_arrive():
    with Receiver() as receiver:
        env = receiver.environment()
        with Server("eager_targets:many_graphs", "--warmup", "on-request", env=env) as server:
            job = server.client.post("/warmup?wait=300").json()
            server.stop()
        received = receiver.received
    (span,) = received.named("torch.compile")
    graphs = [event for event in span.events if event.name == "torch.compile.graph"]
    assert [event.attributes["torch.compile.graph.index"] for event in graphs] == list(range(2000))
    assert span.dropped_events == 0
    assert "torch.compile.event.dropped" not in span.attributes
    assert span.attributes["torch.compile.graph.count"] == 2000
    assert job["totals"]["total"]["graphs"] == 2000


def test_a_process_killed_in_the_middle_of_a_compile_is_told_by_the_next_start(tmp_path):
    arguments = ("--state-dir", str(tmp_path / "state"))
    with Server("eager_targets:slow", *arguments) as server:
        server.wait_for(lambda: server.client.get("/totals").json()["in_progress"])
        time.sleep(2.5)
        server.stop(signal.SIGKILL)
    killed = server.process.pid
    with Server("eager_targets:slow", *arguments, "--warmup", "on-request") as server:
        server.stop()
    assert f"an earlier start (process {killed}) died" in server.output
    told = server.output.split("died ")[1]
    assert "into compiling Net" in told
    assert 1.0 <= float(told.split(" s")[0]) <= 30


def test_the_port_opens_before_torch_is_imported():
    with Server("eager_targets:slow_to_import", "--warmup", "on-request") as server:
        opened_s = time.monotonic() - server.started_s
        health = server.client.get("/readyz")
        assert (health.status_code, health.json()["state"]) == (503, "loading")
        assert server.client.get("/startupz").status_code == 503
        assert server.client.get("/livez").status_code == 200
        started = time.monotonic()
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        assert time.monotonic() - started > 1
    assert opened_s < 10


def test_on_warmup_failure_exit_ends_the_process_with_3(tmp_path):
    flag = tmp_path / "fail"
    flag.write_text("")
    with Server(
        "eager_targets:failing", "--on-warmup-failure", "exit", env={"FAIL": str(flag)}
    ) as server:
        assert server.process.wait(60) == 3


def test_on_warmup_failure_serve_is_ready(tmp_path):
    flag = tmp_path / "fail"
    flag.write_text("")
    with Server(
        "eager_targets:failing", "--on-warmup-failure", "serve", env={"FAIL": str(flag)}
    ) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        assert server.client.get("/warmup").json()["state"] == "failed"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_compile_ends_the_process_in_time(how):
    with Server("eager_targets:slow") as server:
        server.wait_for(lambda: server.client.get("/totals").json()["in_progress"])
        began = time.monotonic()
        server.stop(how, timeout_s=10)
        assert time.monotonic() - began < 10


def serve(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "compilespan_service.cli", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_that_is_taken_is_told_with_what_to_do():
    with Server("eager_targets:slow_to_import") as server:
        done = serve("--port", str(server.port))
    assert done.returncode == 2
    assert "the port is in use; choose another one with --port" in done.stderr


def test_a_wrong_option_is_told_with_what_there_is():
    done = serve("--warmup", "sometimes")
    assert done.returncode == 2
    assert "--warmup" in done.stderr
    assert "on-start" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_exporter_is_told_without_a_traceback(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "smoke")
    done = serve("--port", "0")
    assert done.returncode == 2
    assert "'smoke', which is not installed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["é..x", "a" * 300, "999.1.1.1"])
def test_an_address_that_is_none_is_one_sentence(host):
    done = serve("--host", host, "--port", "0", "--allow-unauthenticated")
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_variable_that_is_wrong_is_named(monkeypatch):
    monkeypatch.setenv("COMPILESPAN_PROCESSES", "abc")
    done = serve("--port", "0")
    assert done.returncode == 2
    assert "COMPILESPAN_PROCESSES" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_typo_shows_one_sentence_and_no_table():
    done = serve("json:nope", "--port", "0")
    assert done.returncode == 2
    assert "has no function 'nope'" in done.stderr
    assert "/warmup" not in done.stdout
    assert "failed" not in done.stdout


def test_listening_beyond_loopback_wants_a_token_or_a_word():
    done = serve("--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "COMPILESPAN_TOKEN" in done.stderr
    assert "--allow-unauthenticated" in done.stderr
