"""The main job on the demo: real inductor, a fresh cache, real OTLP; then the same again, warm."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from receiver import Receiver
from server import Server

from compilespan.journal.directory import StateDirectory
from compilespan.semconv import Part

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Start:
    """What one start of the service left behind."""

    def __init__(self, cache, state_dir, protocol="grpc"):
        with Receiver() as receiver:
            arguments = ("--warmup", "on-request", "--state-dir", str(state_dir))
            env = receiver.environment(protocol)
            with Server(*arguments, cache=cache, env=env) as server:
                began_s = time.monotonic()
                self.response = server.client.post(
                    "/warmup?wait=600", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"}
                )
                self.wall_s = time.monotonic() - began_s
                self.job = self.response.json()
                self.totals = server.client.get("/totals").json()
                self.ready = server.client.get("/readyz").status_code
                self.exit_code = server.stop()
                self.output = server.output
            self.received = receiver.received
        self.compiles = self.received.named("torch.compile")
        self.journal = StateDirectory(state_dir).processes(self.totals["scope"]["instance"])


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("starts")
    return root / "cache", root / "state"


@pytest.fixture(scope="module")
def cold(directories):
    return Start(*directories)


@pytest.fixture(scope="module")
def warm(cold, directories):
    return Start(*directories, protocol="http/protobuf")


def seconds(span):
    return (span.end_ns - span.start_ns) / 1e9


def test_the_cold_job_succeeds(cold):
    assert cold.response.status_code == 200, cold.response.text
    assert cold.job["state"] == "succeeded"
    assert [item["state"] for item in cold.job["items"]] == ["warm", "warm"]
    assert cold.job["warnings"] == []
    assert (cold.ready, cold.exit_code) == (200, 0)
    assert cold.totals["scope"]["complete"] is True


def test_there_is_an_encoder_and_a_language_model(cold):
    assert cold.totals["encoder"]["compiles"] >= 1
    assert cold.totals["language_model"]["compiles"] >= 1
    assert {span.attributes["is_encoder"] for span in cold.compiles} == {True, False}
    names = {span.attributes["torch.compile.name"] for span in cold.compiles}
    assert names == {"CLIPVisionModel", "LlamaModel"}


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_every_output_shows_the_same_numbers(start, request):
    start = request.getfixturevalue(start)
    (process,) = start.journal
    from_spans = sorted(span.end_ns - span.start_ns for span in start.compiles)
    from_journal = sorted(record.duration_ns for record in process.records)
    assert from_spans == from_journal
    total_s = sum(from_spans) / 1e9
    for is_encoder, row in ((True, "encoder"), (False, "language_model")):
        component_s = sum(
            seconds(s) for s in start.compiles if s.attributes["is_encoder"] is is_encoder
        )
        histogram_s = sum(
            point.value
            for point in start.received.points("torch.compile.duration")
            if point.attributes["is_encoder"] is is_encoder
        )
        assert histogram_s == pytest.approx(component_s, abs=1e-6)
        assert start.totals[row]["compile_s"] == pytest.approx(component_s, abs=1e-6)
        assert start.job["totals"][row]["compile_s"] == start.totals[row]["compile_s"]
        assert process.builder.build().encoder.compile_s == start.totals["encoder"]["compile_s"]
    assert start.totals["total"]["compile_s"] == pytest.approx(total_s, abs=1e-6)
    assert sum(item["compile_s"] for item in start.job["items"]) == pytest.approx(total_s, abs=1e-6)


def test_probes_scrapes_and_the_page_leave_no_traces(cold):
    """They ask all the time; the server was asked for its readiness and totals."""
    servers = {span.name for span in cold.received.spans if span.name.split()[0].isupper()}
    assert servers == {"POST /warmup"}


def test_the_wall_is_within_the_time_that_passed(cold):
    wall_s = cold.totals["total"]["wall_s"]
    assert wall_s <= cold.job["elapsed_s"] <= cold.wall_s
    assert wall_s > 0.5 * cold.job["elapsed_s"]  # and explains most of it


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_the_callers_span_is_the_ancestor_of_every_compile(start, request):
    start = request.getfixturevalue(start)
    assert start.compiles
    for span in start.compiles:
        assert span.trace_id == TRACE
        item, *others = start.received.ancestors(span)
        assert item.startswith("compilespan.warmup.item ")
        assert others == ["compilespan.warmup", "POST /warmup"]
    (post,) = start.received.named("POST /warmup")
    assert post.parent_id == CALLER
    assert start.job["trace_id"] == TRACE


def test_every_compile_has_a_graph_with_its_counts_and_key(cold):
    for span in cold.compiles:
        (graph,) = [event for event in span.events if event.name == "torch.compile.graph"]
        assert graph.attributes["torch.compile.graph.index"] == 0
        assert graph.attributes["torch.compile.graph.op_count"] > 10
        assert (
            graph.attributes["torch.compile.graph.node_count"]
            > graph.attributes["torch.compile.graph.op_count"]
        )
        assert graph.attributes["torch.compile.cache.result"] == "miss"
        assert graph.attributes["torch.compile.cache.key"]


def test_no_event_has_an_attribute_that_is_a_duration(cold):
    durations = {span.end_ns - span.start_ns for span in cold.received.spans}
    for span in cold.received.spans:
        for event in span.events:
            for name, value in event.attributes.items():
                assert "duration" not in name
                assert not name.endswith(("_s", "_ms", "_us", "_ns", "time", "seconds"))
                assert not isinstance(value, float)
                assert value not in durations
            assert span.start_ns <= event.time_ns <= span.end_ns


def test_span_ids_are_distinct(cold):
    ids = [span.span_id for span in cold.received.spans]
    assert len(set(ids)) == len(ids)


def test_the_resource_names_service_instance_and_torch(cold):
    resource = cold.compiles[0].resource
    assert resource["service.name"] == "compilespan"
    assert resource["compilespan.instance.id"] == cold.totals["scope"]["instance"]
    assert resource["torch.version"].startswith("2.")


def test_metrics_of_the_warmup_arrive(cold):
    (job,) = cold.received.points("compilespan.warmup.duration")
    assert job.attributes == {"compilespan.job.state": "succeeded"}
    assert job.value == pytest.approx(cold.job["elapsed_s"], rel=0.01)
    (ready,) = cold.received.points("compilespan.ready")
    assert ready.value == 1
    (whole,) = cold.received.points("compilespan.startup.duration")
    assert whole.value == cold.totals["ready_after_s"]
    parts = dict.fromkeys(get_args(Part), 0.0)
    for point in cold.received.points("compilespan.startup.part.duration"):
        parts[point.attributes["compilespan.startup.part"]] += point.value
    parts = {part: seconds for part, seconds in parts.items() if seconds}
    assert set(parts) >= {"boot", "import", "load", "compile"}
    assert sum(parts.values()) == pytest.approx(whole.value)
    assert parts == pytest.approx(cold.totals["start"])
    assert parts.get("other", 0.0) <= 0.1 * whole.value
    graphs = {
        (
            point.attributes["is_encoder"],
            point.attributes["torch.compile.cache.result"],
        ): point.value
        for point in cold.received.points("torch.compile.graphs")
    }
    assert graphs == {(True, "miss"): 1, (False, "miss"): 2}
    assert all(p.value == 0 for p in cold.received.points("torch.compile.active_compiles"))


def test_a_second_process_with_the_same_cache_hits_and_takes_a_small_part(cold, warm):
    total = warm.totals["total"]
    assert total["graphs"] == total["cache_hits"] == cold.totals["total"]["cache_misses"]
    assert total["cache_misses"] == 0
    assert {span.attributes["torch.compile.cache.result"] for span in warm.compiles} == {"hit"}
    assert total["compile_s"] < 0.5 * cold.totals["total"]["compile_s"]


def test_a_third_process_does_not_add_the_earlier_starts_to_its_own(warm, directories):
    cache, state_dir = directories
    with Server("--warmup", "on-request", "--state-dir", str(state_dir), cache=cache) as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        totals = server.client.get("/totals").json()
    assert totals["scope"]["processes"] == 1
    assert totals["total"]["compiles"] == 0
    assert totals["total"]["compile_s"] == 0.0
    assert len(StateDirectory(state_dir).processes()) == 3


def test_what_the_terminal_says_helps(cold, warm):
    assert "compilespan on http://127.0.0.1:" in cold.output
    assert "cold start: 0 of 3 graphs came from the cache" in cold.output
    assert "language model" in cold.output
    assert "warm start: 3 of 3 graphs came from the cache" in warm.output
    assert "the last cold start compiled for" in warm.output
