"""Starts of real vLLM (CPU build, tiny models, dummy weights), instrumented without touching it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from receiver import Receiver
from vllm_start import HERE, PYTHON, environment

from compilespan.journal.directory import StateDirectory
from compilespan.ledger.totals import TotalsBuilder

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def seconds(span):
    return (span.end_ns - span.start_ns) / 1e9


def agrees(ours_s, told_s):
    """Within 1 % or 20 ms, and what two decimals of a log line leave open."""
    return abs(ours_s - told_s) <= max(0.01 * told_s, 0.02) + 0.005


def totals(state):
    builder = TotalsBuilder()
    for process in StateDirectory(state).processes():
        builder.update(process.builder)
    return builder.build()


def test_a_cold_start_is_one_trace_over_all_processes(cold):
    assert cold.code == 0, cold.log
    assert cold.startup.attributes["compilespan.startup.outcome"] == "ready"
    (compiled,) = cold.compiles()
    assert compiled.trace_id == cold.startup.trace_id
    assert compiled.parent_id == cold.startup.span_id
    instances = {span.resource["compilespan.instance.id"] for span in cold.received.spans}
    assert len(instances) == 1
    # The compile is the worker's, the start the first process's.
    assert compiled.resource["service.instance.id"] != cold.startup.resource["service.instance.id"]
    assert cold.startup.start_ns < compiled.start_ns < compiled.end_ns < cold.startup.end_ns


def test_a_cold_compile_agrees_with_vllms_own_number(cold):
    (compiled,) = cold.compiles()
    assert compiled.attributes["torch.compile.name"] == "backbone"
    assert compiled.attributes["is_encoder"] is False
    assert compiled.attributes["torch.compile.phase"] == "warmup"
    assert agrees(seconds(compiled), cold.told_s("language_model"))
    assert agrees(seconds(compiled), cold.took_s()[0])
    assert totals(cold.state).language_model.compile_s == pytest.approx(seconds(compiled))


def test_its_graphs_are_events_with_index_count_range_and_cache_result(cold):
    (compiled,) = cold.compiles()
    graphs = [event for event in compiled.events if event.name == "torch.compile.graph"]
    assert [event.attributes["torch.compile.graph.index"] for event in graphs] == [0, 1, 2]
    for event in graphs:
        assert event.attributes["torch.compile.graph.count"] == 3
        assert event.attributes["torch.compile.range"] == "1-256"
        assert event.attributes["torch.compile.cache.result"] in ("miss", "bypass")
        assert event.attributes["torch.compile.graph.op_count"] > 0
        assert compiled.start_ns <= event.time_ns <= compiled.end_ns


def test_the_probe_that_missed_left_nothing(cold):
    assert cold.compiles("load") == []
    assert all(span.status != 2 for span in cold.received.spans)
    assert totals(cold.state).total.failed == 0


def test_a_warm_start_is_a_load_although_vllm_uses_the_same_words(warm):
    assert warm.code == 0, warm.log
    assert "Directly load AOT compilation" in warm.log
    assert warm.compiles() == []
    (loaded,) = warm.compiles("load")
    assert loaded.attributes["torch.compile.trigger"] == "aot_load"
    assert loaded.attributes["torch.compile.name"] == "backbone"
    assert agrees(seconds(loaded), warm.took_s()[0])
    assert loaded.parent_id == warm.startup.span_id
    row = totals(warm.state).total  # of both starts: the first compiled, the second loaded
    assert (row.compiles, row.loads) == (1, 1)
    assert row.load_s == pytest.approx(seconds(loaded))


def test_a_start_that_finds_only_another_cache_names_the_variable(cold, start, scratch, tmp_path):
    assert cold.code == 0
    shutil.copytree(scratch / "cache", tmp_path / "cache")
    changed = start("llama", tmp_path, VLLM_EC_SIDE_CHANNEL_PORT="5702")
    assert changed.code == 0, changed.log
    (compiled,) = changed.compiles()
    reasons = {
        event.attributes.get("torch.compile.cache.miss.reason")
        for event in compiled.events
        if event.name == "torch.compile.graph"
    }
    assert reasons == {"environment `VLLM_EC_SIDE_CHANNEL_PORT`"}


def test_vllms_own_spans_stay_whole_in_the_same_trace_and_run_prints_the_table(
    cold, models, scratch
):
    """A warm start under ``compilespan run``, with vLLM's own traces switched on."""
    with Receiver() as receiver:
        env = environment(scratch, receiver)
        options = {"otlp_traces_endpoint": env["OTEL_EXPORTER_OTLP_ENDPOINT"]}
        done = subprocess.run(
            [
                *(Path(PYTHON).with_name("compilespan"), "run", "--"),
                *(PYTHON, HERE / "start.py", models / "llama", json.dumps(options)),
            ],
            env=env,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        spans = receiver.received.spans
    assert done.returncode == 0, done.stderr
    assert "READY" in done.stdout
    table = done.stderr[done.stderr.index("compilespan ·") :]
    assert "backbone" in table
    assert "loads" in table
    (startup,) = [span for span in spans if span.name == "compilespan.startup"]
    theirs = [span for span in spans if not span.name.startswith(("compilespan.", "torch.compile"))]
    assert len({span.name for span in theirs}) >= 3, {span.name for span in theirs}
    assert {span.trace_id for span in theirs} == {startup.trace_id}
    (loaded,) = [span for span in spans if "torch.compile.trigger" in span.attributes]
    assert loaded.trace_id == startup.trace_id
    # It hangs where the work happens: under vLLM's span that was current.
    assert loaded.parent_id in {span.span_id for span in theirs}


def test_encoder_and_language_model_are_split_as_vllm_splits_them(start, tmp_path):
    """Qwen2.5-VL with its vision tower compiled."""
    options = {
        "compilation_config": {"compile_mm_encoder": True},
        "limit_mm_per_prompt": {"image": 1, "video": 0},
    }
    qwen = start("qwen", tmp_path, options)
    assert qwen.code == 0, qwen.log
    compiles, loads = qwen.compiles(), qwen.compiles("load")
    encoder = [span for span in compiles if span.attributes["is_encoder"]]
    model = [span for span in compiles if not span.attributes["is_encoder"]]
    assert {span.attributes["torch.compile.name"] for span in encoder} == {
        "Qwen2_5_VisionPatchEmbed",
        "Qwen2_5_VisionBlock",
        "Qwen2_5_VisionPatchMerger",
    }
    assert [span.attributes["torch.compile.name"] for span in model] == ["backbone"]
    # vLLM counts the second block's load of what the first one stored as compile time.
    assert all(span.attributes["is_encoder"] for span in loads)
    assert agrees(sum(map(seconds, encoder + loads)), qwen.told_s("encoder"))
    assert agrees(sum(map(seconds, model)), qwen.told_s("language_model"))


def test_two_ranks_are_visible_and_their_wall_is_vllms_maximum(start, tmp_path):
    both = start("llama", tmp_path, {"tensor_parallel_size": 2}, VLLM_CPU_OMP_THREADS_BIND="0|1")
    assert both.code == 0, both.log
    first, second = both.compiles()
    assert first.resource["service.instance.id"] != second.resource["service.instance.id"]
    assert {span.resource["torch.distributed.rank"] for span in (first, second)} == {0, 1}
    assert first.trace_id == second.trace_id == both.startup.trace_id
    row = totals(both.state).total
    assert row.compiles == 2
    assert row.compile_s == pytest.approx(seconds(first) + seconds(second))
    assert agrees(row.wall_s, both.told_s("language_model"))


def stopwatch(start, directory, name):
    """Start as vLLM is, without a patch of the mode; returns it and what the decorator took."""
    measured = directory / name
    env = {"COMPILESPAN_STATE_DIR": str(directory / "state" / name), "STOPWATCH": str(measured)}
    done = start("llama", directory, FORCE_MODE_3="", **env)
    assert done.code == 0, done.log
    return done, sum(map(float, measured.read_text().split()))


def test_stock_vllm_is_recorded_cold_and_warm(start, tmp_path):
    """The CPU platform falls back to mode 2, in which vLLM reports 0 s and cannot load."""
    cold, took_s = stopwatch(start, tmp_path, "cold")
    assert cold.took_s() == []
    (compiled,) = cold.compiles()
    assert cold.compiles("load") == []
    assert compiled.attributes["torch.compile.cache.result"] == "miss"
    assert 0.98 * took_s < seconds(compiled) < 1.02 * took_s

    warm, took_s = stopwatch(start, tmp_path, "warm")
    assert "Compiling model again due to a load failure" in warm.log
    (loaded,) = warm.compiles("load")
    (compiled,) = warm.compiles()
    assert loaded.attributes["torch.compile.outcome"] == "failed"
    assert loaded.attributes["error.type"] == "AttributeError"
    row = totals(tmp_path / "state" / "warm").total
    assert (row.compiles, row.loads, row.failed) == (1, 0, 1)
    assert 0.98 * took_s < row.wall_s < 1.02 * took_s


def artefact(directory):
    (found,) = (directory / "cache").rglob("rank_0_0/model")
    return found


@pytest.fixture
def stored(warm, scratch, tmp_path):
    """What the first start stored, for a test that damages or slowly loads it."""
    shutil.copytree(scratch / "cache", tmp_path / "cache")
    return tmp_path


def test_an_artefact_that_is_damaged_is_a_failed_load_and_is_compiled_again(start, stored):
    file = artefact(stored)
    file.write_bytes(file.read_bytes()[:1000])
    again = start("llama", stored)
    assert again.code == 0, again.log
    (loaded,) = again.compiles("load")
    assert loaded.attributes["torch.compile.outcome"] == "failed"
    assert loaded.attributes["error.type"]
    assert loaded.status == 2
    assert len(again.compiles()) == 1
    row = totals(stored / "state").total
    assert (row.compiles, row.loads, row.failed) == (1, 0, 1)
    assert row.failed_s == pytest.approx(seconds(loaded))


def test_a_load_that_is_killed_is_told(models, stored):
    begun = killed_in_the_middle(models, stored, SLOW_LOAD="100")
    assert begun == ["backbone"]


def test_stock_torch_compile_is_recorded_too(start, tmp_path):
    stock = start("llama", tmp_path, {"compilation_config": {"mode": 1}})
    assert stock.code == 0, stock.log
    assert stock.took_s() == []  # nor does vLLM count here
    compiles = stock.compiles()
    assert compiles
    assert {span.attributes["torch.compile.name"] for span in compiles} == {"LlamaForCausalLM"}
    assert {span.attributes["torch.compile.phase"] for span in compiles} == {"warmup"}
    assert {span.trace_id for span in compiles} == {stock.startup.trace_id}


def test_a_compile_that_fails_is_an_error_and_vllms_exception_is_its_own(start, tmp_path):
    failed = start("llama", tmp_path, FAIL_COMPILE="1")
    assert failed.code != 0
    assert "AttributeError: '_OpNamespace' '_C' object has no attribute" in failed.log
    (compiled,) = failed.received.named("torch.compile")
    assert compiled.status == 2
    assert compiled.attributes["torch.compile.outcome"] == "failed"
    assert compiled.attributes["error.type"]
    assert compiled.attributes.get("torch.compile.cache.result") != "hit"
    assert totals(failed.state).total.failed_s == pytest.approx(seconds(compiled))
    assert failed.startup.attributes["compilespan.startup.outcome"] == "failed"


def killed_in_the_middle(models, directory, **env):
    """Kill a start while something is in progress; returns the names of what its journal tells."""
    process = subprocess.Popen(
        [PYTHON, HERE / "start.py", models / "llama"],
        env=environment(directory, OTEL_TRACES_EXPORTER="none", **env),
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    state = StateDirectory(directory / "state")
    while not any(each.in_progress for each in state.processes()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGKILL)  # its own session: the engine and the worker too
    process.wait()
    while any(each.is_running for each in state.processes()):  # a kernel takes its time for them
        time.sleep(0.2)
    return [begun.name for each in state.processes() for begun in each.interrupted]


def test_a_start_that_is_killed_is_told_by_the_next_which_compiles_nothing(start, models, tmp_path):
    assert killed_in_the_middle(models, tmp_path) == ["backbone"]
    following = start("llama", tmp_path, {"compilation_config": {"mode": 0}})
    assert following.code == 0, following.log
    assert following.received.named("torch.compile") == []  # mode NONE
    (died,) = [
        span
        for span in following.received.named("compilespan.startup")
        if span.attributes["compilespan.startup.outcome"] == "died"
    ]
    assert died.status == 2


def test_with_nothing_configured_nothing_happens(tmp_path):
    code = """
import json, sys
import vllm.envs
from vllm.plugins import load_general_plugins
key = vllm.envs.compile_factors()
load_general_plugins()
import torch._dynamo.metrics_context, vllm.compilation.monitor, vllm.compilation.decorators
import os
print(json.dumps({
    "compilespan": sorted(name for name in sys.modules if name.startswith("compilespan")),
    "hooked": type(torch._dynamo.metrics_context.MetricsContext.__dict__["__enter__"]).__name__,
    "monitor": type(vllm.compilation.monitor.monitor_torch_compile).__name__,
    "environment": [name for name in os.environ if name.startswith(("COMPILESPAN", "TRACEPARENT"))],
    "plugins": os.environ.get("VLLM_PLUGINS"),
    "same_key": vllm.envs.compile_factors() == key,
}))
"""
    env = environment(tmp_path)
    del env["COMPILESPAN_STATE_DIR"]
    done = subprocess.run(
        [PYTHON, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=200
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert "compilespan.servers.vllm" in found["compilespan"]  # vLLM did load it
    # The library's base and nothing else: no SDK, no hook.
    assert not {
        "compilespan.sdk",
        "compilespan.servers.vllm.monitors",
        "compilespan.servers.vllm.engine",
    } & set(found["compilespan"])
    assert (found["hooked"], found["monitor"]) == ("function", "function")
    assert found["environment"] == []
    assert found["plugins"] is None
    assert found["same_key"] is True  # of vLLM's compile cache
