"""Jobs of a real process: followed live, out of time, ended by signals."""

from __future__ import annotations

import signal
import threading
import time

import httpx
import pytest
from receiver import Receiver
from server import Server
from sse import events

pytestmark = pytest.mark.system


def held(hold, *arguments, **env):
    return Server(
        "eager_targets:held",
        *("--warmup", "on-request", *arguments),
        env={"HOLD": str(hold), **env},
    )


def compiling(server):
    return server.client.get("/totals").json()["in_progress"]


def test_a_job_is_followed_live_and_resumed(hold):
    with held(hold) as server:
        job = server.client.post("/warmup").json()
        url = f"/warmup/jobs/{job['id']}/events"
        seen = []
        with server.client.stream("GET", url) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for name, event_id, data in events(stream):
                if name == "comment":  # a heartbeat
                    continue
                seen.append((name, event_id, data))
                if name == "begin" and hold.exists():
                    assert compiling(server)  # it is told before it is over
                    hold.unlink()
        names = [name for name, _, _ in seen]
        assert names[0] == "job"
        assert names[-1] == "end"
        inside = [each for each in names if each in ("begin", "graph", "event", "compile")]
        assert inside == ["begin", "graph", "compile", "begin", "event", "graph", "compile"]
        assert [event_id for _, event_id, _ in seen] == list(range(1, len(seen) + 1))
        states = [data["state"] for name, _, data in seen if name == "job"]
        assert states == ["queued", "running", "succeeded"]
        items = [data["state"] for name, _, data in seen if name == "item"]
        assert items == ["running", "unverified", "running", "unverified", "warm", "warm"]
        begin = next(data for name, _, data in seen if name == "begin")
        ended = next(data for name, _, data in seen if name == "compile")
        assert begin["key"] == ended["key"]
        assert (
            ended["compile"]["duration_s"]
            == server.client.get("/compiles").json()[-1]["duration_s"]
        )
        assert ended["compile"]["events"][0]["name"] == "torch.compile.graph"
        with server.client.stream("GET", url, headers={"Last-Event-ID": "5"}) as stream:
            assert [event_id for _, event_id, _ in events(stream)] == list(range(6, len(seen) + 1))
        after = server.client.get(url, headers={"Last-Event-ID": str(len(seen))})
        assert (after.status_code, after.content) == (204, b"")
        with server.client.stream("GET", url, headers={"Last-Event-ID": "x"}) as stream:
            assert next(events(stream))[1] == 1


def test_a_budget_that_runs_out_while_a_compile_hangs(hold):
    with held(hold) as server:
        response = server.client.post("/warmup?wait=60", json={"budget_s": 1.5})
        assert response.status_code == 500
        job = response.json()["job"]
        assert job["state"] == "timed_out"
        assert "budget" in job["error"]
        assert [item["state"] for item in job["items"]] == ["failed", "cancelled"]
        assert server.client.get("/livez").status_code == 200
        assert server.client.get("/startupz").status_code == 200
        assert server.client.get("/readyz").status_code == 503
        again = server.client.post("/warmup")
        assert again.status_code == 409
        assert again.json()["type"] == "urn:compilespan:problem:compile-still-running"
        assert again.json()["job"] == f"/warmup/jobs/{job['id']}"
        assert again.headers["Retry-After"]
        hold.unlink()
        server.wait_for(lambda: not compiling(server))
        late = server.client.get(f"/warmup/jobs/{job['id']}").json()
        assert late["totals"]["total"]["compiles"] == 1  # the late record is the old job's
        assert late["state"] == "timed_out"
        server.wait_for(lambda: server.client.post("/warmup").status_code != 409)
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        assert server.client.get("/warmup").json()["totals"]["total"]["compiles"] == 1


def test_an_item_that_takes_longer_than_its_target_allows(hold):
    with held(hold, TIMEOUT_S="1") as server:
        job = server.client.post("/warmup?wait=60").json()["job"]
        assert job["state"] == "timed_out"
        assert job["items"][0]["error"].endswith("took longer than its timeout_s of 1.0 s")
        hold.unlink()


def test_on_hang_exit_ends_the_process(hold):
    arguments = ("--on-hang", "exit", "--budget-s", "1")
    with held(hold, *arguments) as server:
        server.client.post("/warmup")
        assert server.process.wait(20) == 3


def test_a_budget_that_suffices_changes_nothing(hold):
    hold.unlink()
    with held(hold, "--budget-s", "60", TIMEOUT_S="30") as server:
        assert server.client.post("/warmup?wait=60").status_code == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_streams_spans_and_the_job(hold, how, tmp_path):
    with Receiver() as receiver:
        state = tmp_path / "state"
        with held(hold, "--state-dir", str(state), **receiver.environment()) as server:
            job = server.client.post("/warmup").json()
            got = []

            def follow():
                with httpx.stream(
                    "GET",
                    f"http://127.0.0.1:{server.port}/warmup/jobs/{job['id']}/events",
                    timeout=60,
                ) as stream:
                    got.extend(name for name, _, _ in events(stream))

            follower = threading.Thread(target=follow)
            follower.start()
            server.wait_for(lambda: compiling(server))
            began = time.monotonic()
            server.stop(how, timeout_s=10)
            took_s = time.monotonic() - began
            follower.join(5)
            assert not follower.is_alive()
        received = receiver.received
    assert took_s < 8
    assert "begin" in got
    (compiled,) = received.named("torch.compile")
    assert compiled.attributes["torch.compile.outcome"] == "failed"
    assert compiled.attributes["error.type"].endswith("InterruptedCompile")
    (warmup,) = received.named("compilespan.warmup")
    assert warmup.attributes["compilespan.job.state"] == "cancelled"
    (item,) = received.named("compilespan.warmup.item")
    assert item.attributes["compilespan.item.state"] == "failed"
    (startup,) = received.named("compilespan.startup")
    assert startup.attributes["compilespan.startup.outcome"] == "shutdown"
    with held(hold, "--state-dir", str(state)) as server:
        earlier = server.client.get("/history").json()[1]
    assert earlier["ended"] == "shutdown"
    assert earlier["total"]["failed"] == 1
    assert earlier["interrupted"] == []
