"""Faults, each in a real process: a clear error, nothing lost, livez answering, an end in time."""

from __future__ import annotations

import json
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from receiver import Receiver
from server import Server, free_port

pytestmark = pytest.mark.system

ENDS_WITHIN_S = 10  # Docker's grace period


def warm(server):
    server.wait_for(lambda: server.client.get("/readyz").status_code == 200)


def exporting_to(port, protocol="grpc"):
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }


@contextmanager
def listening(answer):
    """Listen on a port; ``answer`` gets each connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.settimeout(0.2)
        over = threading.Event()
        kept = []

        def accept():
            while not over.is_set():
                try:
                    kept.append(listener.accept()[0])
                except TimeoutError:
                    continue
                answer(kept[-1])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()
            for connection in kept:
                connection.close()


@contextmanager
def absent():
    yield free_port()


def black_hole():
    return listening(lambda _: None)


def refusing():
    return listening(lambda connection: connection.close())


def slow():
    """It takes what is sent, and answers a byte a second, never a whole response."""

    def drip(connection):
        def run():
            try:
                while True:
                    connection.sendall(b"H")
                    time.sleep(1)
            except OSError:
                pass

        threading.Thread(target=run, daemon=True).start()

    return listening(drip)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("collector", [absent, refusing, black_hole, slow])
def test_a_collector_that_does_not_work_costs_telemetry_only(collector, protocol):
    with (
        collector() as port,
        Server("eager_targets:net2", env=exporting_to(port, protocol)) as server,
    ):
        warm(server)
        assert server.client.get("/livez").elapsed.total_seconds() < 1
        assert server.client.get("/totals").json()["total"]["compiles"] == 1
        began = time.monotonic()
        assert server.stop(timeout_s=ENDS_WITHIN_S) == 0
        assert time.monotonic() - began < ENDS_WITHIN_S


def test_what_was_compiled_while_the_collector_was_gone_arrives_when_it_is_back():
    port = free_port()
    with Server("eager_targets:net2", env=exporting_to(port)) as server:
        warm(server)
        time.sleep(1)
        with Receiver(grpc_port=port) as receiver:
            server.wait_for(lambda: receiver.received.named("torch.compile"), timeout_s=60)
            server.stop()
            received = receiver.received
    for name in ("torch.compile", "compilespan.warmup", "compilespan.startup"):
        assert received.named(name)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_signals_before_and_after_a_compile(how, moment):
    factory = "slow_to_import" if moment == "before" else "net2"
    with Receiver() as receiver:
        with Server(f"eager_targets:{factory}", env=receiver.environment()) as server:
            if moment == "after":
                warm(server)
            began = time.monotonic()
            assert server.stop(how, timeout_s=ENDS_WITHIN_S) == 0
            assert time.monotonic() - began < ENDS_WITHIN_S
        (startup,) = receiver.received.named("compilespan.startup")
    outcome = "shutdown" if moment == "before" else "ready"
    assert startup.attributes["compilespan.startup.outcome"] == outcome


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("raises", "ValueError: the weights are not there"),
        ("none", "the factory returned None; it must return a list of targets"),
        ("twice", "two targets are called 'net'"),
    ],
)
def test_a_factory_that_does_not_work_is_told(factory, says):
    with Server(f"eager_targets:{factory}") as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        health = server.client.get("/readyz")
        assert health.status_code == 503
        assert says in health.json()["detail"]
        job = server.client.get("/warmup").json()
        assert job["state"] == "failed"
        assert says in job["error"]
        post = server.client.post("/warmup")
        assert post.status_code == 404
        assert post.json()["type"] == "urn:compilespan:problem:target-not-found"
        assert server.client.get("/livez").status_code == 200
        server.stop()
    assert says in server.output
    assert "compilespan_service" not in server.output  # none of our frames
    assert ("Traceback" in server.output) == (factory == "raises")


def test_a_target_that_raises_systemexit_ends_neither_process_nor_job():
    with Server("eager_targets:exits", "--warmup", "on-request") as server:
        job = server.client.post("/warmup?wait=60").json()["job"]
        assert [item["state"] for item in job["items"]] == ["warm", "failed", "warm"]
        assert job["items"][1]["error"] == "SystemExit: the target wants to end the process"
        assert server.client.get("/livez").status_code == 200


def test_a_state_directory_that_cannot_be_written():
    with Server("eager_targets:net2", "--state-dir", "/proc/compilespan") as server:
        warm(server)
        assert server.client.get("/totals").json()["total"]["compiles"] == 1
        assert server.client.get("/history").json() == []
        server.stop()
    assert "compilespan: /proc/compilespan" in server.output
    assert "COMPILESPAN_STATE_DIR" in server.output


def test_a_disk_that_takes_no_more(tmp_path):
    """Files may not grow beyond 2 KiB: journal and compile cache both meet the end of the disk."""
    limit = 2048

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    state = tmp_path / "state"
    with Server(
        "eager_targets:net3",
        *("--state-dir", str(state)),
        cache=tmp_path / "cache",
        preexec_fn=small_files,
    ) as server:
        warm(server)
        totals = server.client.get("/totals").json()
        assert totals["total"]["compiles"] == 3  # memory has what the journal has not
        assert server.client.get("/livez").status_code == 200
        metrics = server.client.get("/metrics").text
        assert 'compilespan_telemetry_dropped_total{compilespan_signal="journal"' in metrics
        server.stop()
    assert "cannot be written" in server.output
    (journal,) = state.glob("*.jsonl")
    assert journal.stat().st_size <= limit
    whole = journal.read_text().rpartition("\n")[0]
    assert json.loads(whole.splitlines()[0])["type"] == "process"
    with Server("eager_targets:net2", "--state-dir", str(state)) as server:
        assert len(server.client.get("/history").json()) == 2  # a torn line harms no reader


def test_a_wall_clock_that_jumps_back_changes_no_duration():
    with Receiver() as receiver:
        # Not gRPC: its core has clocks of its own, which no Python target can turn back.
        env = receiver.environment("http/protobuf")
        with Server("eager_targets:clock_jumps", env=env) as server:
            warm(server)
            totals = server.client.get("/totals").json()
            job = server.client.get("/warmup").json()
            server.stop()
        (span,) = receiver.received.named("torch.compile")
    assert 1.0 <= totals["total"]["compile_s"] < 30
    assert totals["total"]["wall_s"] == totals["total"]["compile_s"]
    assert (span.end_ns - span.start_ns) / 1e9 == pytest.approx(
        totals["total"]["compile_s"], abs=1e-9
    )
    assert all(span.start_ns <= event.time_ns <= span.end_ns for event in span.events)
    assert 1.0 <= job["elapsed_s"] < 60
    assert 0 < totals["ready_after_s"] < 120


def test_1000_posts_from_50_clients_are_one_job(tmp_path):
    hold = tmp_path / "hold"
    hold.write_text("")
    options = ("--warmup", "on-request")
    with Server("eager_targets:held", *options, env={"HOLD": str(hold)}) as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        before = server.resident_bytes()

        def posts(_):
            with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
                return [client.post("/warmup") for _ in range(20)]

        with ThreadPoolExecutor(50) as clients:
            answers = [answer for each in clients.map(posts, range(50)) for answer in each]
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert server.client.get("/livez").elapsed.total_seconds() < 1
        hold.unlink()
        warm(server)
        assert len(server.client.get("/warmup/jobs").json()) == 1
        assert server.client.get("/totals").json()["total"]["compiles"] == 2
        assert server.resident_bytes() - before < 256 * 2**20


def test_bodies_that_never_end_keep_nobody_from_being_answered():
    head = b"POST /warmup HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    with Server("eager_targets:net2", "--warmup", "on-request") as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        for connection in connections:
            connection.sendall(head)
        assert server.client.post("/warmup?wait=60").status_code == 200
        assert server.client.get("/livez").elapsed.total_seconds() < 1
        began = time.monotonic()
        assert server.stop(timeout_s=ENDS_WITHIN_S) == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
        for connection in connections:
            connection.close()


def test_a_compile_cache_that_cannot_be_written_is_told_without_its_path():
    options = ("--warmup", "on-request")
    with Server("eager_targets:inductor", *options, cache="/proc/nocache") as server:
        job = server.client.post("/warmup?wait=60")
        assert job.status_code == 500
        assert "FileNotFoundError" in job.json()["detail"]
        assert "…/nocache" in job.json()["detail"]
        assert "/proc" not in job.text
        assert server.client.get("/livez").status_code == 200
        server.stop()
    assert "/proc/nocache" in server.output  # the operator's log has it whole
