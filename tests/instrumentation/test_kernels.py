"""Kernels that Triton builds: the real compiler, for a named target, since there is no GPU here."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from opentelemetry import trace

from compilespan import (
    TorchCompileInstrumentor,
    WarmupTarget,
    get_ledger,
    monitor_torch_compile,
    warm,
)
from compilespan.dynamo.kernels import Kernels
from compilespan.monitor.monitor import Monitor

triton = pytest.importorskip("triton", reason="builds kernels with Triton")
from triton import language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource, CompilationError  # noqa: E402
from triton.runtime._async_compile import AsyncCompileMode  # noqa: E402
from triton.runtime.autotuner import Autotuner, Config  # noqa: E402
from triton.runtime.errors import PTXASError  # noqa: E402

TARGET = GPUTarget("cuda", 90, 32)


@triton.jit
def add(x, y, n, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(y + at, tl.load(x + at, at < n) + 1, at < n)


@triton.jit
def wrong(x, block: tl.constexpr):
    tl.store(x + tl.arange(0, block), no_such_name)  # noqa: F821


def source(block, kernel=add):
    signature = {"x": "*fp32", "y": "*fp32", "n": "i32"} if kernel is add else {"x": "*fp32"}
    return ASTSource(kernel, {**signature, "block": "constexpr"}, {"block": block})


def build(block, kernel=add):
    return triton.compile(source(block, kernel), target=TARGET)


@pytest.fixture(autouse=True)
def instrumented(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # else 3.9 warns
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    before = triton.knobs.compilation.listener
    instrumentor = TorchCompileInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert triton.knobs.compilation.listener is before


def records():
    return get_ledger().records()


def test_a_kernel_that_is_built_is_a_record_with_its_seconds():
    began = time.perf_counter()
    build(32)
    took_s = time.perf_counter() - began
    (record,) = records()
    assert (record.name, record.kind, record.trigger) == ("add", "kernel", "kernel")
    assert (record.outcome, record.cache_result, record.graphs) == ("ok", "miss", 0)
    assert record.file == __file__
    assert 0.9 * took_s < record.duration_ns / 1e9 <= took_s
    row = get_ledger().totals().total
    assert (row.kernels, row.compiles, row.compile_s) == (1, 0, 0.0)
    assert row.kernel_s == row.wall_s == record.duration_ns / 1e9


def test_what_comes_from_tritons_cache_says_so():
    build(64)
    build(64)
    assert [record.cache_result for record in records()] == ["miss", "hit"]


@pytest.mark.parametrize(
    "compile_it",
    [
        lambda source: triton.compile(source, target=TARGET),
        lambda source: triton.compiler.compile(source, target=TARGET),
        lambda source: triton.compile(src=source, target=TARGET),
    ],
)
def test_it_is_told_once_by_whichever_name_it_is_built(compile_it):
    compile_it(source(128))
    assert [record.name for record in records()] == ["add"]


IMPORTED_LATER = """
from compilespan import TorchCompileInstrumentor, get_ledger
TorchCompileInstrumentor().instrument(skip_dep_check=True)
import triton
from test_kernels import build
build(32)
(record,) = get_ledger().records()
print(record.name, record.cache_result, [event.name for event in record.events])
"""


def test_triton_that_is_imported_later_is_wrapped_once(tmp_path):
    """One of its names is then bound to what was wrapped by the other."""
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_LATER],
        env={**env, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "add miss []\n", done.stderr


def test_inside_a_compile_it_is_a_part_of_that():
    with monitor_torch_compile("model", kind="compile"):
        build(32)
    (record,) = records()
    assert (record.name, record.kind, record.cache_result) == ("model", "compile", None)
    nested = [event.attributes for event in record.events if event.name == "torch.compile.nested"]
    assert nested == [{"torch.compile.name": "add", "torch.compile.trigger": "kernel"}]
    assert get_ledger().totals().total.kernels == 0


def test_a_thousand_kernels_of_a_compile_do_not_take_the_place_of_its_graphs():
    kernels = Kernels(lambda: None)
    with monitor_torch_compile("model", kind="compile") as monitor:
        for _ in range(1000):
            kernels._build(lambda _: None, None, (source(32),), {})
        monitor.add_event("torch.compile.graph")
    (record,) = records()
    told = [event for event in record.events if event.name != "torch.compile.stage"]
    assert len(told) == 33
    assert record.graphs == 1
    assert get_ledger().followers.dropped == {"events": 968, "stages": 1969}


class VisionTransformer(torch.nn.Module):
    def forward(self, x):
        return x + 1


def test_a_kernel_does_not_change_what_a_block_is_of():
    tower = torch.compile(VisionTransformer(), backend="eager")
    with monitor_torch_compile("block"):
        tower(torch.ones(3))
        build(32)
    (record,) = records()
    assert record.component == "encoder"


def test_a_block_in_which_only_kernels_were_built_is_one():
    with monitor_torch_compile("kernels"):
        build(32)
    (record,) = records()
    assert record.kind == "kernel"
    assert get_ledger().totals().total.compile_s == 0


def test_its_component_and_phase_are_those_of_its_surroundings():
    def run(_):
        build(32)

    warm([WarmupTarget("tower", run, [{"n": 1}], is_encoder=True)])
    assert {(record.is_encoder, record.phase) for record in records()} == {(True, "warmup")}


def test_it_is_in_progress_while_it_is_built():
    seen = set()
    over = threading.Event()

    def watch():
        while not over.is_set():
            seen.update(begun.name for begun in get_ledger().active.now())

    thread = threading.Thread(target=watch)
    thread.start()
    build(256)
    over.set()
    thread.join()
    assert seen == {"add"}
    assert get_ledger().active.now() == ()


def test_a_kernel_that_cannot_be_built_failed_and_tritons_error_is_its_own():
    with pytest.raises(CompilationError, match="no_such_name"):
        build(32, wrong)
    (record,) = records()
    assert (record.name, record.outcome) == ("wrong", "failed")
    assert "CompilationError" in record.error_type
    row = get_ledger().totals().total  # SPEC: compiles and loads alone fail
    assert (row.failed, row.kernels) == (0, 1)


@pytest.mark.parametrize("in_pool", [False, True])
@pytest.mark.parametrize("builds", [False, True])
def test_an_item_whose_verify_pass_builds_a_kernel_is_not_warm(builds, in_pool):
    """Compiled code that fits, and at the call of the verify pass a kernel that is new."""
    compiled = torch.compile(lambda x: x + 1, backend="eager")
    calls = []

    def run(_):
        calls.append(compiled(torch.ones(3)))
        if builds and len(calls) == 3:
            if in_pool:
                with ThreadPoolExecutor() as pool, AsyncCompileMode(pool) as mode:
                    # Newer versions take a further function, of what is done if it fails.
                    calls_back = len(inspect.signature(mode.submit).parameters) - 2
                    mode.submit("key", lambda: build(512), *[lambda *_: None] * calls_back)
            else:
                build(512)

    (item,) = warm([WarmupTarget("model", run, [{"n": 1}])]).items
    assert len(calls) == 3
    assert item.state == ("unstable" if builds else "warm")


def test_a_kernel_that_cannot_be_built_does_not_make_compiled_code_graphless():
    compiled = torch.compile(lambda x: x + 1, backend="eager")

    def run(_):
        compiled(torch.ones(3))
        with suppress(CompilationError):
            build(32, wrong)

    compiled(torch.ones(3))
    (item,) = warm([WarmupTarget("model", run, [{"n": 1}])]).items
    assert "no graph" not in (item.error or "")
    assert item.state == "unstable"  # it tries to build it again and again


def test_a_kernels_cache_is_not_that_of_an_items_graphs():
    (item,) = warm([WarmupTarget("model", lambda _: build(32), [{"n": 1}])]).items
    assert item.cache_result is None


def test_the_listener_of_the_program_goes_on_being_called(instrumented):
    said = []
    triton.knobs.compilation.listener = lambda **told: said.append(told["cache_hit"])
    own = triton.knobs.compilation.listener
    try:
        build(32)
        build(32)
        assert said == [False, True]
        instrumented.uninstrument()
        assert triton.knobs.compilation.listener is own
    finally:
        triton.knobs.compilation.listener = None


def test_what_the_listener_of_the_program_raises_is_its_own():
    triton.knobs.compilation.listener = lambda **_: 1 / 0
    try:
        with pytest.raises(ZeroDivisionError):
            build(32)
    finally:
        triton.knobs.compilation.listener = None


def test_after_uninstrument_nothing_is_recorded(instrumented):
    kept = triton.compile  # as a kernel keeps it that was launched before
    build(32)
    instrumented.uninstrument()
    kept(source(64), target=TARGET)
    build(128)
    assert len(records()) == 1
    assert type(triton.compile).__name__ == "function"
    instrumented.instrument(skip_dep_check=True)
    kept(source(256), target=TARGET)
    assert len(records()) == 2


def test_a_fault_of_ours_costs_no_kernel(monkeypatch):
    monkeypatch.setattr("compilespan.dynamo.kernels._unit", lambda *_: 1 / 0)
    assert build(32).asm
    assert records() == ()


# Autotuning


def tuner(tried, *, fails_at=None, on_try=None, kind=Autotuner, config=Config):
    """A real autotuner whose kernel is built for the target instead of launched."""

    class Built:
        def __init__(self):
            self.fn, self.arg_names = add.fn, add.arg_names
            self.__name__ = "add"

        def run(self, *_, block, **__):
            tried.append(block)
            if fails_at == block:
                raise ValueError("no memory")
            if on_try and block in on_try:
                on_try[block](block)
            return build(block)

    configs = [config({"block": 2**n}) for n in range(5, 8)]

    def bench(call, quantiles):
        call()
        return [1.0, 1.0, 1.0]

    return kind(Built(), add.arg_names, configs, ["n"], None, None, do_bench=bench)


def test_a_kernel_that_is_tuned_is_one_record_with_all_that_was_built_for_it():
    tried = []
    tuned = tuner(tried)
    tuned.run(None, None, 100)
    assert tried == [32, 64, 128, tuned.best_config.kwargs["block"]]
    record, *launched = records()
    assert (record.name, record.kind, record.trigger) == ("add", "kernel", "autotune")
    assert len([event for event in record.events if event.name == "torch.compile.nested"]) == 3
    assert [each.cache_result for each in launched] == ["hit"]  # the launch after it
    tuned.run(None, None, 100)  # the same key
    assert [each.trigger for each in records()] == ["autotune", "kernel", "kernel"]


def test_tuning_that_an_exception_ends_leaves_nothing_open():
    tried = []
    tuned = tuner(tried, fails_at=64)
    with pytest.raises(ValueError, match="no memory"):
        tuned.run(None, None, 100)
    assert get_ledger().active.now() == ()
    (record,) = records()
    assert (record.trigger, record.outcome, record.error_type) == (
        "autotune",
        "failed",
        "ValueError",
    )
    build(16)
    assert len(records()) == 2  # nothing adopts it


def test_a_configuration_that_cannot_be_built_makes_no_failure_of_the_tuning():
    def fails(_):
        raise PTXASError("no such instruction")

    tuned = tuner([], on_try={64: fails})
    tuned.run(None, None, 100)
    assert tuned.best_config.kwargs["block"] != 64
    record = records()[0]
    assert (record.trigger, record.outcome, record.error_type) == ("autotune", "ok", None)
    assert get_ledger().totals().total.failed == 0


def test_two_threads_tune_one_kernel_for_two_keys():
    """Each in a record of its own, and what a thread builds afterwards is its own, too."""
    barrier = threading.Barrier(2)
    tuned = tuner([], on_try={32: lambda _: barrier.wait(10)})

    def launch(key):
        tuned.run(None, None, key)
        build(16)

    threads = [threading.Thread(target=launch, args=(key,)) for key in (100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get_ledger().active.now() == ()
    by_thread = {each.thread_id: [] for each in records()}
    for each in records():
        by_thread[each.thread_id].append(each.trigger)
    assert sorted(by_thread.values()) == [["autotune", "kernel", "kernel"]] * 2


class Stopped(Exception):
    """An error between two tries, as a signal handler raises it."""


@pytest.mark.parametrize("where", ["between two tries", "early stop", "uninstrument"])
def test_tuning_that_does_not_come_to_its_last_try_leaves_nothing_open(where, instrumented):
    class Stopping(Config):
        def __hash__(self):
            if where == "between two tries" and self.kwargs["block"] == 64:
                raise Stopped
            return id(self)

        __eq__ = object.__eq__

    class Early(Autotuner):
        def run(self, *args, **kwargs):
            self.nargs = {}
            configs = self.prune_configs(kwargs)
            self._bench(*args, config=configs[0])

    on_try = {64: lambda _: instrumented.uninstrument()} if where == "uninstrument" else {}
    kind = Early if where == "early stop" else Autotuner
    tuned = tuner([], on_try=on_try, kind=kind, config=Stopping)
    with suppress(Stopped):
        tuned.run(None, None, 100)
    assert get_ledger().active.now() == ()
    assert trace.get_current_span() is trace.INVALID_SPAN
    if not instrumented.is_instrumented_by_opentelemetry:
        instrumented.instrument(skip_dep_check=True)
    before = len(records())
    build(16)
    assert len(records()) == before + 1  # nothing adopts it


def test_a_fault_of_ours_while_tuning_is_nobody_elses(monkeypatch):
    monkeypatch.setattr(Monitor, "open", lambda _: 1 / 0)
    tuned = tuner([])
    tuned.run(None, None, 100)
    assert tuned.best_config


def test_what_inductor_tunes_at_the_first_launch_is_a_record(monkeypatch):
    """Launching needs a GPU: the kernel is built instead, by the real autotuner."""
    import torch._inductor.runtime.triton_heuristics as heuristics

    caching = object.__new__(heuristics.CachingAutotuner)
    caching.fn = add
    caching.inductor_meta = {"kernel_name": "triton_poi_fused_add_0"}
    caching.compile_id = caching.is_backward = None
    caching.launchers = [object()]
    caching.bench = lambda *_: build(16)
    with suppress(AttributeError):  # what it does with the launcher
        caching.autotune_to_one_config()
    (record,) = records()
    assert (record.name, record.kind, record.trigger) == (
        *("triton_poi_fused_add_0", "kernel", "autotune"),
    )
    assert [each.trigger for each in records()] == ["autotune"]
    assert set(record.stages) == {"autotune", "kernels"}


IN_A_WORKER = """
from concurrent.futures import Future
import os
from torch._inductor.compile_worker.subproc_pool import SubprocPool
from inductor_job import job
pool = SubprocPool(1)
print(pool.submit(job).result(60))
pool.shutdown()
"""


def test_what_inductors_pool_builds_is_a_part_of_the_compile_that_waits_for_it(tmp_path):
    """The workers import torch, and whatever instruments each process instruments them."""
    (tmp_path / "inductor_job.py").write_text(
        "import sys\n"
        "def job():\n"
        "    from compilespan import TorchCompileInstrumentor, get_ledger\n"
        "    TorchCompileInstrumentor().instrument(skip_dep_check=True)\n"
        "    from test_kernels import build\n"
        "    build(32)\n"
        "    return len(get_ledger().records())\n"
    )
    (tmp_path / "main.py").write_text(IN_A_WORKER)
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    path = [str(tmp_path), str(Path(__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "main.py")],
        env={**env, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "0\n", done.stderr
