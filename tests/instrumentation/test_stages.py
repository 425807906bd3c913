"""Stages: one is current at each moment of a compile, and their seconds add up to it."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import get_args

import pytest
import torch
from opentelemetry.sdk.trace import SpanLimits
from torch._dynamo.utils import ChromiumEventLogger, dynamo_timed

from compilespan import TorchCompileInstrumentor, get_ledger, monitor_torch_compile, semconv
from compilespan.dynamo.stages import stage_of
from compilespan.ledger.records import CompileRecord
from compilespan.ledger.totals import TotalsBuilder
from compilespan.monitor import clock, stages
from compilespan.monitor.stages import MAX_DEPTH, Stages
from compilespan.monitor.tally import Tally
from support import Exported, events

STAGE = "torch.compile.stage"
MAX_STAGES = 32


class Times:
    """A clock that tests set."""

    def __init__(self):
        self.now = 0

    def perf_counter_ns(self):
        return self.now


@pytest.fixture
def times(monkeypatch):
    times = Times()
    monkeypatch.setattr(stages, "time", times)
    return times


@pytest.fixture
def told():
    return []


@pytest.fixture
def divided(times, told):
    divided = Stages("trace", threading.RLock(), lambda *change: told.append(change))
    divided.start(0)

    def at(now, act, *arguments):
        times.now = now
        act(*arguments)

    divided.at = at
    return divided


# The stack


def test_the_innermost_name_decides_and_an_unknown_one_is_its_parents(divided, told):
    divided.at(10, divided.enter, "backend", "lower")
    divided.at(20, divided.enter, "nobody knows", None)
    divided.at(30, divided.enter, "gcc", "kernels")
    divided.at(60, divided.leave, "gcc")
    divided.at(70, divided.leave, "nobody knows")
    divided.at(90, divided.leave, "backend")
    assert divided.stop(0, 100) == {"trace": 20, "lower": 50, "kernels": 30}
    assert told == [("trace", 0), ("lower", 10), ("kernels", 30), ("lower", 60), ("trace", 90)]


def test_the_end_of_what_surrounds_ends_what_an_exception_left_open(divided):
    divided.at(10, divided.enter, "outer", "lower")
    divided.at(20, divided.enter, "inner", "kernels")
    divided.at(30, divided.enter, "innermost", "cache")
    divided.at(40, divided.leave, "outer")
    assert divided.stop(0, 50) == {"trace": 20, "lower": 10, "kernels": 10, "cache": 10}


def test_the_end_of_what_nobody_saw_begin_changes_nothing(divided, told):
    divided.at(10, divided.enter, "known", "lower")
    divided.at(20, divided.leave, "dynamo")
    assert divided.stop(0, 50) == {"trace": 10, "lower": 40}
    assert len(told) == 2


def test_a_name_that_contains_itself_ends_once_for_each_begin(divided):
    divided.at(10, divided.enter, "pass", "lower")
    divided.at(20, divided.enter, "pass", "kernels")
    divided.at(30, divided.leave, "pass")
    divided.at(40, divided.leave, "pass")
    assert divided.stop(0, 50) == {"trace": 20, "lower": 20, "kernels": 10}


def test_names_of_other_threads_are_not_its_own(divided, told):
    divided.at(10, divided.enter, "wait", "lower")
    other = threading.Thread(target=divided.enter, args=("gcc", "kernels"))
    other.start()
    other.join()
    other = threading.Thread(target=divided.leave, args=("wait",))
    other.start()
    other.join()
    assert divided.stop(0, 50) == {"trace": 10, "lower": 40}


def test_a_stage_that_does_not_change_is_no_event(divided, told):
    divided.at(10, divided.enter, "dynamo", "trace")
    divided.at(20, divided.leave, "dynamo")
    assert told == []
    assert divided.stop(0, 50) == {"trace": 50}


def test_a_start_that_was_anothers_is_left_out(divided):
    divided.at(30, divided.enter, "gcc", "kernels")
    assert divided.stop(20, 50) == {"trace": 10, "kernels": 20}


def test_an_end_before_the_last_change_sums_up_all_the_same(divided):
    """Another thread read the clock, and this one changed its stage before it closed it."""
    divided.at(30, divided.enter, "gcc", "kernels")
    assert divided.stop(0, 25) == {"trace": 25}


def test_nothing_changes_after_the_end(divided, told):
    divided.at(10, divided.enter, "gcc", "kernels")
    assert divided.stop(0, 20) == {"trace": 10, "kernels": 10}
    divided.at(30, divided.enter, "later", "cache")
    divided.at(40, divided.leave, "gcc")
    assert len(told) == 2


def test_blocks_that_another_thread_closes_while_they_change_leave_records(exported):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            block = monitor_torch_compile("block", kind="compile")
            monitor = block.__enter__()
            closer = threading.Thread(target=monitor.close)
            closer.start()
            while closer.is_alive():
                monitor.clock.stages.enter("gcc", "kernels")
                monitor.clock.stages.leave("gcc")
            closer.join()
            block.__exit__(None, None, None)
    finally:
        sys.setswitchinterval(interval)
    assert len(records()) == 300
    assert not get_ledger().active
    for record in records():
        sums_exactly(record)


def test_a_fault_of_ours_at_the_end_leaves_nothing_in_progress(exported, monkeypatch):
    monkeypatch.setattr(Tally, "record", lambda *_, **__: 1 / 0)
    with monitor_torch_compile("block", kind="compile"):
        pass
    assert records() == ()
    assert not get_ledger().active


def test_the_depth_is_bounded(divided):
    for number in range(3 * MAX_DEPTH):
        divided.at(number, divided.enter, f"{number}", "lower")
    assert len(divided._stack) == MAX_DEPTH


# Real programs


def mlp():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 4))


def forward(backend):
    with torch.no_grad():
        torch.compile(mlp(), backend=backend)(torch.randn(2, 4))


def training(backend):
    torch.compile(mlp(), backend=backend)(torch.randn(2, 4)).sum().backward()


def convolution(backend):
    torch.compile(torch.nn.Conv2d(1, 2, 3), backend=backend)(torch.randn(1, 1, 8, 8))


def graph_break(backend):
    @torch.compile(backend=backend)
    def function(x):
        x = x + 1
        torch._dynamo.graph_break()
        return x * 2

    function(torch.zeros(3))


def recompile(backend):
    function = torch.compile(lambda x: x.cos(), backend=backend)
    for size in (3, 4, 5):
        function(torch.zeros(size))


def dynamic(backend):
    torch.compile(lambda x: x.tan(), backend=backend, dynamic=True)(torch.zeros(5))


def given_back(backend):
    torch.compile(lambda x: x, backend=backend)(torch.zeros(3))


def branches(backend):
    def function(x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    torch.compile(function, backend=backend)(torch.ones(3))


def two_outputs(backend):
    torch.compile(lambda x, y: (x @ y, x - 1), backend=backend)(torch.ones(3, 3), torch.ones(3, 3))


def in_place(backend):
    torch.compile(lambda x: x.add_(1).mul_(2), backend=backend)(torch.ones(7))


def reduction(backend):
    torch.compile(lambda x: torch.softmax(x, -1).sum(), backend=backend)(torch.ones(5, 7))


def block(backend):
    with monitor_torch_compile("block"):
        forward(backend)
        graph_break(backend)


def in_a_thread(backend):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(forward, backend).result()


PROGRAMS = [
    *(forward, training, convolution, graph_break, recompile, dynamic),
    *(given_back, branches, two_outputs, in_place, reduction, block, in_a_thread),
]


RECORDS = {
    **dict.fromkeys([forward, convolution, dynamic, given_back, branches], 1),
    **dict.fromkeys([two_outputs, in_place, reduction, block, in_a_thread], 1),
    training: 2,
    graph_break: 2,
    recompile: 2,
}


def records():
    return get_ledger().records()


def sums_exactly(record):
    assert set(record.stages) <= set(get_args(semconv.Stage))
    assert min(record.stages.values()) > 0
    assert sum(round(seconds * 1e9) for seconds in record.stages.values()) == record.duration_ns


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_stages_of_a_record_sum_to_its_duration_to_the_nanosecond(instrumented, program):
    program("aot_eager")
    assert len(records()) == RECORDS[program]
    assert not get_ledger().active
    for record in records():
        sums_exactly(record)
    totals = get_ledger().totals()
    cost_s = totals.total.compile_s + totals.total.failed_s
    assert sum(totals.by_stage.values()) == pytest.approx(cost_s, abs=1e-9)
    points = instrumented.points("torch.compile.stage.time")
    assert sum(value for _, value in points) == pytest.approx(cost_s, abs=1e-9)


def test_the_metric_is_split_by_component_stage_and_phase(instrumented):
    forward("aot_eager")
    by_stage = get_ledger().totals().by_stage
    assert set(by_stage) >= {"trace", "autograd", "lower"}
    for attributes, value in instrumented.points("torch.compile.stage.time"):
        assert value == pytest.approx(by_stage[attributes[STAGE]])
        assert {k: v for k, v in attributes.items() if k != STAGE} == {
            "is_encoder": False,
            "torch.compile.component": "other",
            "torch.compile.phase": "startup",
        }


class Recorder:
    """Exclusive seconds of torch's events by name, taken by the test itself, per thread."""

    def __init__(self, monkeypatch):
        self.seconds = defaultdict(float)
        self._stacks = defaultdict(list)
        begin, end = ChromiumEventLogger.log_event_start, ChromiumEventLogger.log_event_end

        def begins(logger, name, *args, **kwargs):
            result = begin(logger, name, *args, **kwargs)
            self._spend()
            self._stack.append([name, time.perf_counter()])
            return result

        def ends(logger, name, *args, **kwargs):
            self._spend()
            while self._stack and self._stack.pop()[0] != name:
                pass
            if self._stack:
                self._stack[-1][1] = time.perf_counter()
            return end(logger, name, *args, **kwargs)

        monkeypatch.setattr(ChromiumEventLogger, "log_event_start", begins)
        monkeypatch.setattr(ChromiumEventLogger, "log_event_end", ends)

    @property
    def _stack(self):
        return self._stacks[threading.get_ident()]

    def _spend(self):
        if self._stack and threading.get_ident() == threading.main_thread().ident:
            names = [name for name, _ in self._stack]
            now = time.perf_counter()
            self.seconds[tuple(names)] += now - self._stack[-1][1]
            self._stack[-1][1] = now


# As the issue of the stages words them, once more and in another way than the product's table.
WORDS = {
    "kernels": ("compile_file", "async_compile"),
    "cache": ("_key", "AOTAutogradCache", "PyCodeCache", "TritonBundler"),
    "autograd": ("aot_", "dispatcher_function", "min_cut", "entire_backward"),
    "lower": (
        *("GraphLowering", "Scheduler", "codegen", "code_gen", "_passes"),
        *("inductor_compile", "backend_compile"),
    ),
    "trace": ("bytecode_tracing", "build_guards"),
}


def worded(names):
    """Return the stage that the innermost name with a known word has."""
    for name in reversed(names):
        for stage, words in WORDS.items():
            if any(word in name for word in words):
                return stage
    return None


INDUCTOR_PROGRAMS = [program for program in PROGRAMS if program is not in_a_thread]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", INDUCTOR_PROGRAMS)
def test_stages_of_inductor_are_the_exclusive_seconds_of_torchs_own_events(
    program, monkeypatch, inductor_cache
):
    recorder = Recorder(monkeypatch)
    TorchCompileInstrumentor().instrument()
    program("inductor")
    by_stage = get_ledger().totals().by_stage
    for record in records():
        sums_exactly(record)
        if record.trigger != "explicit":
            assert record.stages.get("other", 0.0) <= 0.05 * record.duration_s
    theirs = defaultdict(float)
    for names, seconds in recorder.seconds.items():
        if (stage := worded(names)) is not None:
            theirs[stage] += seconds
    # Time in none of torch's events is tracing, too: what a first compile imports.
    assert by_stage["trace"] >= 0.95 * theirs.pop("trace")
    for stage, seconds in theirs.items():
        assert by_stage.get(stage, 0.0) == pytest.approx(seconds, rel=0.05, abs=0.05), stage


@pytest.mark.timeout(300)
def test_a_standalone_compile_has_stages_without_a_window(instrumented, inductor_cache):
    from torch._inductor import standalone_compile

    captured = []

    def backend(module, inputs):
        captured.append((module, inputs))
        return module.forward

    torch.compile(lambda x: x.sinh() + 2, backend=backend)(torch.zeros(6))
    get_ledger().renew()
    standalone_compile(*captured[0], dynamic_shapes="from_example_inputs")
    (record,) = records()
    sums_exactly(record)
    assert record.trigger == "standalone"
    assert {"autograd", "lower"} <= set(record.stages)
    assert "trace" not in record.stages


def failing(graph_module, inputs):
    raise RuntimeError("the backend cannot")


def test_a_compile_that_fails_has_its_stages_and_they_are_in_the_totals(instrumented):
    with suppress(Exception):
        torch.compile(mlp(), backend=failing)(torch.randn(2, 4))
    (record,) = records()
    sums_exactly(record)
    assert record.outcome == "failed"
    totals = get_ledger().totals()
    assert sum(totals.by_stage.values()) == pytest.approx(totals.total.failed_s, abs=1e-9)


def test_an_exception_in_the_middle_leaves_the_stages_of_the_next_compile_right(instrumented):
    def breaks(graph_module, inputs):
        with dynamo_timed("GraphLowering.run"), dynamo_timed("compile_file"):
            raise RuntimeError

    with monitor_torch_compile("block"):
        with suppress(Exception):
            torch.compile(lambda x: x + 1, backend=breaks)(torch.zeros(2))
        time.sleep(0.05)
    (record,) = records()
    sums_exactly(record)
    assert record.stages["other"] >= 0.05


def test_a_failed_load_is_cache_as_a_whole(instrumented):
    with suppress(ValueError), monitor_torch_compile("artefact", kind="load"):
        with dynamo_timed("GraphLowering.run"):
            time.sleep(0.01)
        raise ValueError
    (record,) = records()
    assert record.stages == {"cache": record.duration_s}
    totals = get_ledger().totals()
    assert totals.by_stage == {"cache": pytest.approx(totals.total.failed_s)}


def test_a_load_that_succeeds_and_an_empty_block_are_in_no_stage_of_the_totals(exported):
    with monitor_torch_compile("artefact", kind="load"):
        pass
    with monitor_torch_compile("nothing"):
        pass
    assert get_ledger().totals().by_stage == {}
    assert exported.points("torch.compile.stage.time") == []


# Threads and tasks


def test_what_a_block_waits_for_in_another_thread_is_kernels_and_its_stages_are_not_added(
    instrumented,
):
    with monitor_torch_compile("block"), ThreadPoolExecutor(1) as pool:
        context = contextvars.copy_context()
        pool.submit(context.run, forward, "aot_eager").result()
        time.sleep(0.02)
    (record,) = records()
    sums_exactly(record)
    assert set(record.stages) == {"other", "kernels"}
    assert record.stages["other"] >= 0.02


def test_two_tasks_of_one_thread_keep_their_stages_apart(instrumented):
    async def task(name, stage_name):
        with monitor_torch_compile(name, kind="compile"):
            with dynamo_timed(stage_name):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)

    async def both():
        await asyncio.gather(task("one", "compile_file"), task("two", "GraphLowering.run"))

    asyncio.run(both())
    for record in records():
        sums_exactly(record)
        inside = "kernels" if record.name == "one" else "lower"
        assert set(record.stages) == {inside, "other"}
        assert record.stages[inside] >= 0.05


def test_a_compile_that_outlives_its_block_has_the_stages_of_its_own_time(instrumented):
    began, go_on = threading.Event(), threading.Event()

    def slow(graph_module, inputs):
        began.set()
        go_on.wait(10)
        time.sleep(0.05)
        return graph_module.forward

    with ThreadPoolExecutor(1) as pool:
        with monitor_torch_compile("block"):
            context = contextvars.copy_context()
            compiled = torch.compile(mlp(), backend=slow)
            ended = pool.submit(context.run, compiled, torch.randn(2, 4))
            began.wait(10)
        go_on.set()
        ended.result()
    for record in records():
        sums_exactly(record)
    assert len(records()) == 2


# Events


def test_each_change_of_stage_is_an_event_of_the_span_and_accounts_for_nothing(instrumented):
    forward("aot_eager")
    (span,) = instrumented.compiles
    changes = [event for event in span.events if event.name == STAGE]
    told = [(event.timestamp, dict(event.attributes)) for event in changes]
    assert told[0] == (span.start_time, {STAGE: "trace"})
    assert [attributes for _, attributes in told[:3]] == [
        {STAGE: "trace"},
        {STAGE: "lower"},
        {STAGE: "autograd"},
    ]
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    assert all(len(attributes) == 1 for _, attributes in told)


def test_the_seconds_of_a_record_are_those_between_its_events(instrumented):
    forward("aot_eager")
    (record,) = records()
    changes = [event for event in record.events if event.name == STAGE]
    ends = [*(event.time_ns for event in changes[1:]), record.end_ns]
    spent = defaultdict(int)
    for event, end_ns in zip(changes, ends, strict=True):
        spent[event.attributes[STAGE]] += end_ns - event.time_ns
    assert spent == record.stages_ns


def many_stages(graph_module, inputs):
    for _ in range(100):
        with dynamo_timed("compile_file"):
            pass
    return graph_module.forward


def test_events_of_stages_are_bounded_and_their_seconds_are_not(instrumented):
    torch.compile(mlp(), backend=many_stages)(torch.randn(2, 4))
    (record,) = records()
    sums_exactly(record)
    told = [event for event in record.events if event.name == STAGE]
    assert len(told) == MAX_STAGES
    assert get_ledger().followers.dropped["stages"] > 100


def test_events_of_stages_never_cost_an_event_of_a_graph():
    exported = Exported.create(SpanLimits(max_events=10))
    TorchCompileInstrumentor().instrument(**exported.providers)
    with monitor_torch_compile("block") as monitor:
        for number in range(4):
            monitor.add_event("torch.compile.graph", {"torch.compile.graph.index": number})
            with dynamo_timed("compile_file"):
                pass
            with dynamo_timed("GraphLowering.run"):
                pass
        for number in range(4, 8):
            monitor.add_event("torch.compile.graph", {"torch.compile.graph.index": number})
    (span,) = exported.compiles
    graphs = events(span, "torch.compile.graph")
    assert [graph["torch.compile.graph.index"] for graph in graphs] == list(range(8))
    assert len(span.events) == 10
    assert "torch.compile.event.dropped" not in span.attributes
    assert get_ledger().followers.dropped["stages"] > 0


def test_log_based_events_of_stages_are_emitted_while_it_compiles():
    exported = Exported.create()
    TorchCompileInstrumentor().instrument(**exported.providers, events="log")
    seen = []

    def backend(graph_module, inputs):
        seen.extend(
            each.log_record.attributes
            for each in exported.logs_exporter.get_finished_logs()
            if each.log_record.event_name == STAGE
        )
        return graph_module.forward

    torch.compile(mlp(), backend=backend)(torch.randn(2, 4))
    assert [dict(each) for each in seen] == [{STAGE: "trace"}, {STAGE: "lower"}]
    (span,) = exported.compiles
    assert not events(span, STAGE)


@pytest.mark.parametrize(
    ("inner", "stage"), [("load", "cache"), ("compile", "other"), (None, "other")]
)
def test_what_is_adopted_has_the_stage_of_its_kind(exported, inner, stage):
    with monitor_torch_compile("block", kind="compile"):
        with monitor_torch_compile("inner", kind=inner):
            time.sleep(0.02)
        time.sleep(0.01)
    (record,) = records()
    sums_exactly(record)
    assert record.stages[stage] >= 0.02
    assert record.stages["other"] >= 0.01


def test_what_compiles_now_says_its_stage(instrumented):
    seen = []

    def backend(graph_module, inputs):
        seen.append(get_ledger().active.now()[0].stage)
        with dynamo_timed("async_compile.wait"):
            seen.append(get_ledger().active.now()[0].stage)
        return graph_module.forward

    torch.compile(mlp(), backend=backend)(torch.randn(2, 4))
    assert seen == ["lower", "kernels"]


# Tuning at a kernel's first launch (there is no GPU here: torch's own timer, without a kernel)


def test_tuning_outside_of_everything_is_a_record_of_its_own(instrumented):
    metadata = {"kernel_name": "triton_poi_fused_add_0"}
    with dynamo_timed("CachingAutotuner.benchmark_all_configs", metadata=metadata):
        time.sleep(0.01)
        with dynamo_timed("CachingAutotuner.slow_precompile_config"):
            time.sleep(0.01)
    (record,) = records()
    assert (record.name, record.kind, record.trigger, record.outcome) == (
        *("triton_poi_fused_add_0", "kernel", "autotune", "ok"),
    )
    assert record.duration_s >= 0.02
    assert set(record.stages) == {"autotune", "kernels"}
    sums_exactly(record)
    assert get_ledger().totals().total.kernels == 1
    assert get_ledger().totals().by_stage == {}


@pytest.mark.parametrize(
    "name",
    [
        "CachingAutotuner.coordinate_descent_tuning",
        "CachingAutotuner.combo_sequential_autotune",
        "mm_template_autotuning",
        "benchmark_fused_nodes",
    ],
)
def test_each_kind_of_tuning_is_known(instrumented, name):
    with dynamo_timed(name):
        pass
    assert [record.trigger for record in records()] == ["autotune"]


def test_tuning_inside_a_compile_is_a_stage_of_it(instrumented):
    def backend(graph_module, inputs):
        with dynamo_timed("mm_template_autotuning"), dynamo_timed("mm_template_precompiling"):
            time.sleep(0.01)
        return graph_module.forward

    torch.compile(mlp(), backend=backend)(torch.randn(2, 4))
    (record,) = records()
    assert record.kind == "compile"
    assert record.stages["autotune"] >= 0.01


def test_tuning_inside_a_block_makes_it_a_kernels(instrumented):
    with (
        monitor_torch_compile("launch"),
        dynamo_timed("CachingAutotuner.benchmark_all_configs"),
    ):
        time.sleep(0.01)
    (record,) = records()
    assert (record.kind, record.trigger) == ("kernel", "explicit")
    assert record.stages["autotune"] >= 0.01


def test_a_tuning_that_ends_in_another_thread_keeps_nothing(instrumented):
    def tuned():
        with dynamo_timed("CachingAutotuner.benchmark_all_configs"):
            yield

    generator = tuned()
    next(generator)
    closer = threading.Thread(target=lambda: suppress(Exception) and generator.close())
    closer.start()
    closer.join()
    for number in range(2):
        torch.compile(lambda x, n=number: x + n, backend="eager")(torch.ones(3))
    assert [record.kind for record in records()] == ["kernel", "compile", "compile"]
    assert not get_ledger().active


def test_a_compile_that_tunes_ends_no_tuning_of_another_thread(instrumented):
    """Both are called alike."""
    name = "CachingAutotuner.benchmark_all_configs"
    tunes, go_on = threading.Event(), threading.Event()

    def launch():
        with dynamo_timed(name):
            tunes.set()
            go_on.wait(10)
            time.sleep(0.05)

    def backend(graph_module, inputs):
        with dynamo_timed(name):
            pass
        return graph_module.forward

    launched = threading.Thread(target=launch)
    launched.start()
    tunes.wait(10)
    torch.compile(mlp(), backend=backend)(torch.randn(2, 4))
    assert [record.kind for record in records()] == ["compile"]
    go_on.set()
    launched.join()
    assert records()[1].kind == "kernel"
    assert records()[1].duration_s >= records()[0].duration_s + 0.05


def test_a_tuning_in_which_instrumenting_ends_keeps_nothing(instrumented):
    with dynamo_timed("CachingAutotuner.benchmark_all_configs"):
        TorchCompileInstrumentor().uninstrument()
    TorchCompileInstrumentor().instrument(**instrumented.providers)
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(3))
    assert [record.kind for record in records()] == ["compile"]


def test_tuning_that_fails_is_a_failed_record_and_the_next_one_is_not(instrumented):
    with suppress(ValueError), dynamo_timed("CachingAutotuner.benchmark_all_configs"):
        raise ValueError
    try:
        {}["nothing"]
    except KeyError:  # it is handled when the next one begins
        with dynamo_timed("CachingAutotuner.benchmark_all_configs"):
            pass
    assert [(each.outcome, each.error_type) for each in records()] == [
        ("failed", "ValueError"),
        ("ok", None),
    ]
    assert not get_ledger().active


# Torch's names


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("compile_attempt_3", "trace"),
        ("bytecode_hooks_0", "trace"),
        ("CachingAutotuner.slow_precompile_config", "kernels"),
        ("CachingAutotuner.benchmark_all_configs", "autotune"),
        ("bmm_template_autotuning", "autotune"),
        ("_recursive_post_grad_passes", "lower"),
        ("pass.post_grad_passes.pass_pattern_1", None),
        ("a name of a later torch", None),
        ("gc", None),
    ],
)
def test_a_name_is_a_stage_or_its_parents(name, stage):
    assert stage_of(name) == stage


# CPU


def test_a_compile_says_how_long_its_thread_ran_and_waited_for_a_cpu(instrumented):
    def busy(graph_module, inputs):
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        time.sleep(0.05)
        return graph_module.forward

    torch.compile(mlp(), backend=busy)(torch.randn(2, 4))
    (record,) = records()
    assert 0.04 <= record.cpu_s <= record.duration_s - 0.03  # it counts in ticks
    assert 0.0 <= record.cpu_wait_s <= record.duration_s - record.cpu_s + 0.02
    (span,) = instrumented.compiles
    assert span.attributes["torch.compile.cpu.time"] == record.cpu_s
    assert span.attributes["torch.compile.cpu.wait"] == record.cpu_wait_s
    total = get_ledger().totals().total
    assert (total.cpu_s, total.cpu_wait_s) == (record.cpu_s, record.cpu_wait_s)


def test_a_thread_that_others_keep_from_running_waits_for_a_cpu(instrumented):
    def busy(graph_module, inputs):
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        return graph_module.forward

    one_cpu = {next(iter(os.sched_getaffinity(0)))}
    before = os.sched_getaffinity(0)
    burn = [sys.executable, "-c", "while True: pass"]
    os.sched_setaffinity(0, one_cpu)
    burners = [subprocess.Popen(burn) for _ in range(3)]
    try:
        time.sleep(0.3)
        torch.compile(mlp(), backend=busy)(torch.randn(2, 4))
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
        os.sched_setaffinity(0, before)
    (record,) = records()
    assert record.cpu_wait_s >= 0.3 * record.duration_s
    assert record.cpu_s + record.cpu_wait_s == pytest.approx(record.duration_s, rel=0.2)


def test_where_the_kernel_does_not_say_it_nobody_does(instrumented, monkeypatch):
    monkeypatch.setattr(clock, "_cpu_ns", lambda: None)
    forward("aot_eager")
    (record,) = records()
    assert (record.cpu_s, record.cpu_wait_s) == (None, None)
    assert not {key for key in instrumented.compiles[0].attributes if ".cpu." in key}
    total = get_ledger().totals().total
    assert (total.cpu_s, total.cpu_wait_s) == (0.0, 0.0)


def test_what_another_thread_closes_has_no_cpu_time(exported):
    def block():
        block = monitor_torch_compile("block", kind="compile")
        block.__enter__()
        other = threading.Thread(target=block.__exit__, args=(None, None, None))
        other.start()
        other.join()

    contextvars.copy_context().run(block)
    assert records()[0].cpu_s is None


# What is written down


def test_a_record_survives_json_with_its_stages(instrumented):
    forward("aot_eager")
    (record,) = records()
    assert CompileRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_record_whose_stages_do_not_sum_to_its_duration_is_refused(instrumented):
    forward("aot_eager")
    values = records()[0].to_json()
    values["stages"] = {**values["stages"], "kernels": 1.0}
    with pytest.raises(ValueError, match="do not sum"):
        CompileRecord.from_json(values)


def test_totals_of_several_processes_add_their_stages(instrumented):
    forward("aot_eager")
    own = TotalsBuilder()
    get_ledger().add_totals_to(own)
    both = own.copy()
    both.update(own)
    for stage, seconds in own.build().by_stage.items():
        assert both.build().by_stage[stage] == pytest.approx(2 * seconds)
