"""The start of a real process as one trace, and starts that died."""

from __future__ import annotations

import itertools
import signal
import time

import pytest
from receiver import Receiver
from server import Server

pytestmark = pytest.mark.system

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def test_process_start_to_ready_is_one_trace_under_the_launchers():
    with Receiver() as receiver:
        env = {**receiver.environment(), "TRACEPARENT": TRACEPARENT}
        before_ns = time.time_ns()
        with Server("eager_targets:loads_slowly", env=env) as server:
            server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
            ready_after_s = server.client.get("/totals").json()["ready_after_s"]
            server.stop()
        received = receiver.received
    (startup,) = received.named("compilespan.startup")
    assert startup.trace_id == TRACE_ID
    assert startup.parent_id == "b7ad6b7169203331"
    assert startup.attributes["compilespan.startup.outcome"] == "ready"
    # The kernel tells the process's beginning in ticks of 10 ms.
    assert abs(startup.start_ns - before_ns) < 500_000_000
    assert (startup.end_ns - startup.start_ns) / 1e9 == pytest.approx(ready_after_s, abs=0.001)
    parts = sorted(
        (span for span in received.spans if "compilespan.startup.part" in span.attributes),
        key=lambda span: span.start_ns,
    )
    assert {part.parent_id for part in parts} == {startup.span_id}
    # One behind another, without a gap, from the beginning to the end.
    assert (parts[0].start_ns, parts[-1].end_ns) == (startup.start_ns, startup.end_ns)
    for before, after in itertools.pairwise(parts):
        assert before.end_ns == after.start_ns
    assert all(
        part.name == "compilespan.startup." + part.attributes["compilespan.startup.part"]
        for part in parts
    )
    of = {part.name.removeprefix("compilespan.startup."): part for part in parts}
    assert of["import"].attributes["compilespan.startup.part.name"]
    loaded = [
        part for part in parts if part.attributes.get("compilespan.startup.part.name") == "net"
    ]
    assert sum(part.end_ns - part.start_ns for part in loaded) / 1e9 == pytest.approx(1.0, rel=0.3)
    (warmup,) = received.named("compilespan.warmup")
    assert warmup.parent_id == startup.span_id
    assert loaded[-1].end_ns <= warmup.start_ns + 60_000_000  # what is short joins it
    (compiled,) = received.named("torch.compile")
    assert compiled.trace_id == TRACE_ID


def test_a_start_that_died_is_reported_by_the_next_with_its_own_ids(tmp_path):
    with Receiver() as receiver:
        arguments = ("--state-dir", str(tmp_path / "state"))
        env = {
            **receiver.environment(),
            "TRACEPARENT": TRACEPARENT,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        with Server("eager_targets:slow", *arguments, env=env) as server:
            server.wait_for(lambda: server.client.get("/totals").json()["in_progress"])
            instance = server.client.get("/totals").json()["scope"]["instance"]
            time.sleep(2.5)
            server.stop(signal.SIGKILL)
        exported_by_the_dead = receiver.received.named("compilespan.startup")
        for _ in range(2):  # once, not by each of the next
            with Server(
                "eager_targets:slow", *arguments, "--warmup", "on-request", env=env
            ) as server:
                server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
                history = server.client.get("/history").json()
                server.stop()
        received = receiver.received
    assert exported_by_the_dead == []
    (report,) = [
        span
        for span in received.named("compilespan.startup")
        if span.attributes["compilespan.startup.outcome"] == "died"
    ]
    assert report.attributes["compilespan.instance.id"] == instance
    assert report.trace_id == TRACE_ID
    assert report.parent_id == "b7ad6b7169203331"
    assert report.status == 2
    (event,) = report.events
    assert event.name == "compilespan.startup.interrupted"
    assert event.attributes["torch.compile.name"] == "Net"
    assert 1 <= (report.end_ns - event.time_ns) / 1e9 < 10
    parts = [
        span
        for span in received.spans
        if "compilespan.startup.part" in span.attributes and span.parent_id == report.span_id
    ]
    assert sum(part.end_ns - part.start_ns for part in parts) == report.end_ns - report.start_ns
    (compiling,) = [part for part in parts if part.name == "compilespan.startup.compile"]
    assert compiling.end_ns == report.end_ns
    told = next(start for start in history if start["instance"] == instance)
    assert told["ended"] == "killed"
    assert told["interrupted"][0]["name"] == "Net"
    assert 1 <= told["interrupted"][0]["elapsed_s"] < 10


def test_a_start_whose_models_cannot_be_loaded_ends_failed():
    with Receiver() as receiver:
        with Server("eager_targets:raises", env=receiver.environment()) as server:
            server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
            server.stop()
        received = receiver.received
    (startup,) = received.named("compilespan.startup")
    assert startup.attributes["compilespan.startup.outcome"] == "failed"
    assert startup.status == 2
    assert received.named("compilespan.startup.import")
